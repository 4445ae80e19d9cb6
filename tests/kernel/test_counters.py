"""Counters of a real kernel as they move: streams of deltas, resets, what is deleted."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from nettop.batch import Batch, Counter64, DumpMark, Item, item_time
from nettop.broker.client import Broker
from nettop.broker.requests import CounterName
from nettop.decode.nftables.sets import NftSetsDecoder
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.counters.forecast import forecast
from nettop.model.counters.series import Series
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from tests.kernel.commands import running
from tests.kernel.counting import counting_namespace, listed, nfacct
from tests.kernel.live import read_until
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]


@pytest.fixture
def here(lab: Lab) -> str:
    return counting_namespace(lab)


def test_a_stream_of_deltas_adds_up_to_what_nft_counted(here: str) -> None:
    lines: list[dict[str, Any]] = []
    with running("counters", "--netns", here, "--json", "--interval", "0.2", "--group", "nft-counter") as stream:
        lines.append(json.loads(stream.line()))
        for _ in range(5):
            run_in(here, "ping", "-c", "4", "-i", "0.01", "127.0.0.1")
        final = {one["name"]: one["packets"] for one in listed(here, "counters")}
        while (lines[-1]["name"], lines[-1]["value"], lines[-1]["rate"]) != ("inet t total", final["total"], 0.0):
            lines.append(json.loads(stream.line()))  # until it has come to rest, and that is said
        stream.signal()
        code, text, err = stream.end()
    assert (code, err) == (0, "")
    lines += [json.loads(line) for line in text.splitlines()]
    every = [line for line in lines if line["name"] == "inet t total"]
    assert every[0]["delta"] is None
    assert every[0]["value"] + sum(line["delta"] for line in every[1:]) == every[-1]["value"] == final["total"]
    assert all(line["rate"] >= 0 for line in every[1:]) and any(line["rate"] > 0 for line in every[1:])
    assert every[-1]["rate"] == 0.0, "it came to rest, and that was said"
    assert [line["name"] for line in lines].count("inet t idle") == 1, "what does not move is printed once"


class Watched:
    """An engine fed by live sources of a namespace, all at a short interval."""

    def __init__(self, broker: Broker, ns: str) -> None:
        self.plumbing = Plumbing()
        self.live = LiveSources(broker, broker.netns(ns), self.plumbing)
        self.engine = Engine(self.live.netns.label)
        # No share of a core limits them: a busy machine would stretch the interval to many seconds.
        self.live.watch(*(replace(feed, share=None) for feed in (feeds.OBJECTS, *feeds.COUNTING)), every_s=0.1)

    def row(self, group: str, name: str) -> Series | None:
        """That counter, as of now."""
        for item in self.plumbing.handoff.get(0.05)[1]:
            self.engine.apply(item, item_time(item) or time.time_ns())
        rows = self.engine.counters.rows()
        return next((row for row in rows if (row.key.group, row.key.name) == (group, name)), None)

    def close(self) -> None:
        self.live.close()
        self.plumbing.close()


@pytest.fixture
def watched(here: str, broker: Broker) -> Iterator[Watched]:
    made = Watched(broker, here)
    yield made
    made.close()


def counted(watched: Watched, group: str, name: str) -> Series | None:
    """That counter, when it is above 0."""
    row = watched.row(group, name)
    return row if row is not None and row.value else None


@pytest.mark.parametrize(
    ("group", "name"), [("nft-counter", "inet t total"), ("nft-quota", "inet t small"), ("nfacct", "acct")]
)
def test_what_is_reset_begins_anew_without_a_negative_rate(
    here: str, broker: Broker, watched: Watched, group: str, name: str
) -> None:
    nfacct(broker, here, "acct")
    run_in(here, "iptables", "-A", "OUTPUT", "-m", "nfacct", "--nfacct-name", "acct")
    run_in(here, "ping", "-c", "2", "-i", "0.01", "127.0.0.1")
    row = poll(lambda: counted(watched, group, name))
    assert row is not None
    wanted = watched.engine.counters.reset_name(row.ident)
    names = {"nfacct": CounterName("nfacct", 0, "", "acct")}
    assert wanted == names.get(group, CounterName(group, 1, "t", name.rpartition(" ")[2]))
    broker.reset_counter(watched.live.netns, wanted)
    assert all(one["packets"] == 0 for one in listed(here, "counters") if f"inet t {one['name']}" == name)
    poll(lambda: (found := watched.row(group, name)) is not None and found.reset_ns, what="the reset is seen")
    assert row.value == 0 and not row.rate
    run_in(here, "ping", "-c", "2", "-i", "0.01", "127.0.0.1")
    poll(lambda: counted(watched, group, name), what="it counts again")
    assert all(rate >= 0 for rate in row.rates)


def test_an_object_that_is_deleted_leaves(here: str, watched: Watched) -> None:
    poll(lambda: watched.row("nft-counter", "inet t idle"))
    run_in(here, "nft", "delete", "counter", "inet", "t", "idle")
    poll(lambda: watched.row("nft-counter", "inet t idle") is None)
    assert watched.row("nft-counter", "inet t total") is not None


def test_elements_come_and_go_with_the_set(here: str, watched: Watched) -> None:
    poll(lambda: watched.row("nft-element", "inet t names lo"))
    run_in(here, "nft", "add", "element", "inet", "t", "names", '{ "eth8" }')
    poll(lambda: watched.row("nft-element", "inet t names eth8"))
    run_in(here, "nft", "delete", "element", "inet", "t", "names", '{ "eth7" }')
    poll(lambda: watched.row("nft-element", "inet t names eth7") is None)
    run_in(here, "nft", "flush", "chain", "inet", "t", "o")
    run_in(here, "nft", "delete", "set", "inet", "t", "names")
    poll(
        lambda: watched.row("nft-set", "inet t names") is None and watched.row("nft-element", "inet t names lo") is None
    )


FILLING = """
import select, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, 65536):
    try:
        sock.sendto(b"x", ("127.0.0.1", port))
    except OSError:
        pass
    select.select([], [], [], 0.002)
"""


def test_a_table_that_fills_says_when_and_one_at_rest_says_nothing(lab: Lab, here: str, watched: Watched) -> None:
    run_in(here, "nft", "add", "rule", "inet", "t", "o", "ct", "state", "new")
    watched.live.watch(feeds.STATISTICS, every_s=0.1)
    poll(lambda: counted(watched, "table", "max_entries"))
    entries = watched.row("table", "entries")
    assert entries is not None and forecast(entries.trend, entries.about.limit) == "–"
    filling = lab.spawn_in(here, "python3", "-c", FILLING)

    def said() -> str | None:
        row = watched.row("table", "entries")
        words = "–" if row is None else forecast(row.trend, row.about.limit)
        return words if words != "–" else None

    words = poll(said, what="a forecast")
    filling.kill()
    assert re.fullmatch(r"~\d+ (min|h) at \+[\d.]+k?/s", words or "")


def test_what_netfilter_drops_on_output_is_a_discard(here: str, watched: Watched) -> None:
    run_in(here, "nft", "insert", "rule", "inet", "t", "o", "udp", "dport", "77", "drop")
    poll(lambda: watched.row("ip", "IpOutDiscards"))
    run_in(here, "python3", "-c", FILLING.replace("range(1, 65536)", "[77] * 5"))
    row = poll(lambda: row if (row := counted(watched, "ip", "IpOutDiscards")) and row.value >= 5 else None)
    assert row is not None and row.value == 5
    assert watched.engine.counters.rows().index(row) < 60, "it came up from among those that never moved"


def test_sets_that_do_not_count_are_read_once_those_that_do_in_every_turn(broker: Broker, here: str) -> None:
    opened = broker.netlink_socket(broker.netns(here), NETLINK_NETFILTER)
    feed = replace(feeds.NFT_SETS, every_s=0.05, share=None)
    source = feed.dump(feed.new_stream(1, ""), broker, opened, Counter64())
    try:
        items = read_until(source, lambda items: sum(_ends(item, "nft-sets") for item in items) >= 4)
    finally:
        source.close()
    decoder = NftSetsDecoder()
    batches = [item for item in items if isinstance(item, Batch)]
    read = Counter(of[2] for batch in batches for of, part in decoder(batch).elements if part is not None)
    assert {name: min(times, 2) for name, times in read.items()} == {
        "nets": 2, "both": 2, "names": 2, "verdicts": 2, "seen": 2, "pairs": 2, "six": 1, "ports": 1,
    }  # fmt: skip


def _ends(item: Item, what: str) -> bool:
    return isinstance(item, DumpMark) and item.what == what and not item.begin


def test_a_namespace_without_nft_or_nfacct_has_no_such_rows_and_no_error(lab: Lab, broker: Broker) -> None:
    watched = Watched(broker, lab.netns("plain"))
    try:
        poll(lambda: watched.row("softnet", "processed"))
        groups = {row.key.group for row in watched.engine.counters.rows()}
    finally:
        watched.close()
    assert not {group for group in groups if group.startswith("nf")}
    assert not watched.engine.failures
