"""Live netlink sources against a real kernel: every event, exact loss, dumps that say whether they are complete."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, Counters, DumpMark, End, Gap, Item, NetlinkMeta, Stream, StreamAdded, Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest
from nettop.kinds import GapReason, StreamKind, TextKind
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.pipeline import feeds
from nettop.pipeline.feed import Feed
from nettop.sources.dumps import DumpSource
from nettop.sources.netlink import NetlinkEvents
from nettop.sources.texts import TextSource
from tests.kernel.commits import commits
from tests.kernel.live import count, injector, read_until, records
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.rights import hash_of_the_host

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

TRACKED = """table ip t {
  chain in { type filter hook input priority 0; policy accept; ct state new counter accept; }
}
"""
BUCKETS = Path("/sys/module/nf_conntrack/parameters/hashsize")


@pytest.fixture
def tracking(lab: Lab) -> tuple[str, str]:
    """Two joined namespaces; conntrack is at work in the second."""
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b)
    run_in(b, "nft", "-f", "-", stdin=TRACKED)
    run_in(b, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.veth0.rp_filter=0")
    run_in(b, "ip", "route", "add", "default", "via", "10.99.0.1")
    run_in(b, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    return a, b


@contextmanager
def events(broker: Broker, ns: Netns, rcvbuf: int = 8 << 20) -> Iterator[NetlinkEvents]:
    opened = broker.netlink_socket(ns, NETLINK_NETFILTER, feeds.EVENTS.groups, rcvbuf)
    source = NetlinkEvents(Stream(1, StreamKind.NETLINK, "conntrack"), opened, Counter64())
    try:
        yield source
    finally:
        source.close()


def opened_dump(feed: Feed, broker: Broker, ns: Netns) -> DumpSource:
    """The source of a feed's dumps in a namespace."""
    return feed.dump(feed.new_stream(2, ns.label), broker, broker.netlink_socket(ns, feed.family), Counter64())


@contextmanager
def dumps(broker: Broker, ns: Netns, interval: float | None) -> Iterator[DumpSource]:
    source = opened_dump(replace(feeds.TABLE, every_s=interval, share=None), broker, ns)
    try:
        yield source
    finally:
        source.close()


def send_flows(broker: Broker, sender: Netns, receiver: str, how_many: int, first: int = 0) -> None:
    """UDP packets of that many distinct flows, straight onto the wire."""
    link = run_in(receiver, "ip", "-br", "link", "show", "veth0")
    mac = bytes.fromhex(link.split()[2].replace(":", ""))
    with injector(broker, sender, "veth0") as wire:
        for number in range(first, first + how_many):
            wire.send(mac + b"\x02\0\0\0\0\x01\x08\x00" + udp_packet(number))


def udp_packet(number: int) -> bytes:
    source = bytes([10, 100 + number // 50_000, 0, 1])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 29, 0, 0, 64, 17, 0) + source + bytes([10, 99, 0, 2])
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + head[12:]
    return head + struct.pack("!HHHHB", 1024 + number % 50_000, 9, 9, 0, 0)


def marks(items: list[Item]) -> list[DumpMark]:
    return [item for item in items if isinstance(item, DumpMark)]


def ended(items: list[Item], how_many: int = 1) -> bool:
    return sum(not mark.begin for mark in marks(items)) >= how_many


def message_types(items: list[Item]) -> list[int]:
    return [kind for record in records(items) for kind in _types(record)]


def _types(record: bytes) -> Iterator[int]:
    at = 0
    while at + 16 <= len(record):
        length, kind = struct.unpack_from("=IH", record, at)
        yield kind
        at += (length + 3) & ~3


def lost(items: list[Item]) -> int:
    return sum(item.lost or 0 for item in items if isinstance(item, Gap))


def test_every_event_arrives_one_a_record(broker: Broker, tracking: tuple[str, str]) -> None:
    a, b = tracking
    with events(broker, broker.netns(b)) as source:
        first = source.read(1)
        began = time.time_ns()
        send_flows(broker, broker.netns(a), b, 3_000)
        items = read_until(source, lambda items: count(items) >= 3_000)
        run_in(b, "conntrack", "-F")
        gone = read_until(source, lambda items: count(items) >= 3_000)
    assert isinstance(first[0], StreamAdded)
    assert message_types(items) == [0x100] * 3_000  # IPCTNL_MSG_CT_NEW
    assert message_types(gone)[:3_000] == [0x102] * 3_000  # IPCTNL_MSG_CT_DELETE
    batches = [item for item in items if isinstance(item, Batch)]
    assert all(not batch.meta.outgoing.any() for batch in batches if isinstance(batch.meta, NetlinkMeta))
    stamps = np.concatenate([batch.ts_ns for batch in batches])
    assert began <= stamps[0]
    assert np.all(np.diff(stamps) >= 0)
    assert lost(items) == 0


def test_a_buffer_that_is_too_small_loses_exactly_what_is_said(broker: Broker, tracking: tuple[str, str]) -> None:
    a, b = tracking
    with events(broker, broker.netns(b), rcvbuf=8192) as source:
        source.read(1)
        send_flows(broker, broker.netns(a), b, 2_000)
        items = read_until(source, lambda items: count(items) + lost(items) >= 2_000)
        send_flows(broker, broker.netns(a), b, 5, first=2_000)  # the socket goes on
        items += read_until(source, lambda more: count(items + more) + lost(items + more) >= 2_005)
    assert count(items) + lost(items) == 2_005
    assert 0 < lost(items) < 2_000
    gaps = [item for item in items if isinstance(item, Gap)]
    assert {gap.why for gap in gaps} == {GapReason.KERNEL}
    totals = [item for item in items if isinstance(item, Counters)][-1]
    assert (totals.received, totals.dropped) == (2_005, lost(items))


def test_losses_are_counted_by_time_without_a_read_and_told_in_their_place(
    broker: Broker, tracking: tuple[str, str]
) -> None:
    a, b = tracking
    with events(broker, broker.netns(b), rcvbuf=8192) as source:
        source.read(1)
        send_flows(broker, broker.netns(a), b, 1_000)
        said = source.losses()
        items = read_until(source, lambda items: count(items) + lost(items) >= 1_000)
    assert lost(said) == 0, "what came before the loss was not read yet"
    dropped = [item.dropped for item in said if isinstance(item, Counters)]
    assert [lost(items)] == dropped and 0 < lost(items) < 1_000


def test_a_dump_is_marked_complete_and_holds_the_table(broker: Broker, tracking: tuple[str, str]) -> None:
    a, b = tracking
    send_flows(broker, broker.netns(a), b, 5_000)
    with dumps(broker, broker.netns(b), None) as source:
        items = read_until(source, lambda items: any(isinstance(item, End) for item in items))
    kinds = [type(item) for item in items if not isinstance(item, Counters)]
    assert kinds[:3] == [StreamAdded, DumpMark, Batch]
    assert kinds[-2:] == [DumpMark, End]
    request = next(item for item in items if isinstance(item, Batch))
    assert isinstance(request.meta, NetlinkMeta)
    assert request.meta.outgoing.tolist() == [True]
    assert struct.unpack_from("=IHH", request.record(0)) == (20, 0x101, 0x301)  # IPCTNL_MSG_CT_GET, a dump
    begin, end = marks(items)
    assert (begin.what, begin.begin, end.begin, end.complete) == ("conntrack", True, False, True)
    assert message_types(items).count(0x100) >= 5_000
    assert message_types(items)[-1] == 3  # NLMSG_DONE


def test_dumps_repeat_by_time_and_when_poked(broker: Broker, tracking: tuple[str, str]) -> None:
    _, b = tracking
    with dumps(broker, broker.netns(b), 3600.0) as source:
        read_until(source, ended)
        due = source.due_ns()
        assert due is not None
        assert due - time.monotonic_ns() > 3000 * 10**9
        threading.Thread(target=source.poke).start()
        again = read_until(source, ended)
    assert [mark.begin for mark in marks(again)] == [True, False]
    with dumps(broker, broker.netns(b), 0.05) as source:
        assert len(marks(read_until(source, lambda items: ended(items, 3)))) == 6


def test_polling_stays_within_its_share_of_a_core(broker: Broker, tracking: tuple[str, str]) -> None:
    a, b = tracking
    send_flows(broker, broker.netns(a), b, 20_000)
    ns = broker.netns(b)
    source = opened_dump(replace(feeds.TABLE, every_s=0.0), broker, ns)
    try:
        began, busy = time.monotonic(), time.thread_time()
        read_until(source, lambda items: ended(items, 4), deadline_s=120)
        share = (time.thread_time() - busy) / (time.monotonic() - began)
    finally:
        source.close()
    assert share < 0.1  # five per cent in all, of which some of the first dump's pause is not over yet


def test_the_mark_of_a_dump_is_given_before_its_request_is_sent(broker: Broker, tracking: tuple[str, str]) -> None:
    """Else an event between the kernel's answer and the mark would be taken for older than the dump."""
    a, b = tracking
    send_flows(broker, broker.netns(a), b, 10)
    with dumps(broker, broker.netns(b), None) as source:
        first = source.read(1 << 20)
        assert [mark.begin for mark in marks(first)] == [True]
        assert not any(isinstance(item, Batch) for item in first)
        rest = read_until(source, lambda items: any(isinstance(item, End) for item in items))
        assert len(records(rest)) > 0 and [mark.complete for mark in marks(rest)] == [True]


@hash_of_the_host
def test_a_resize_of_the_hash_makes_a_dump_incomplete_and_it_is_asked_for_again(
    broker: Broker, tracking: tuple[str, str]
) -> None:
    a, b = tracking
    send_flows(broker, broker.netns(a), b, 2_000)
    before = int(BUCKETS.read_text())
    with dumps(broker, broker.netns(b), None) as source:
        try:
            begun = source.read(1) + source.read(1)  # the request is sent, the first answers wait
            BUCKETS.write_text(str(before * 2))
            items = begun + read_until(source, lambda items: any(isinstance(item, End) for item in items))
        finally:
            BUCKETS.write_text(str(before))
    assert [mark.complete for mark in marks(items) if not mark.begin] == [False, True]


def test_a_second_dump_on_a_busy_socket_is_not_taken_for_a_complete_one(
    broker: Broker, tracking: tuple[str, str]
) -> None:
    a, b = tracking
    send_flows(broker, broker.netns(a), b, 5_000)
    ns = broker.netns(b)
    opened = broker.netlink_socket(ns, NETLINK_NETFILTER)
    feed = replace(feeds.TABLE, every_s=None)
    source = feed.dump(feed.new_stream(2, ns.label), broker, opened, Counter64())
    try:
        broker.request(opened, ReadRequest.CONNTRACK_DUMP)  # somebody else's, not read yet
        items = read_until(source, lambda items: any(isinstance(item, End) for item in items))
    finally:
        source.close()
    ends = [mark.complete for mark in marks(items) if not mark.begin]
    assert ends[-1] is True
    assert message_types(items[_last_begin(items) :]).count(0x100) >= 5_000


def _last_begin(items: list[Item]) -> int:
    return max(i for i, item in enumerate(items) if isinstance(item, DumpMark) and item.begin)


def test_statistics_come_in_one_round(broker: Broker, tracking: tuple[str, str]) -> None:
    _, b = tracking
    source = opened_dump(replace(feeds.STATISTICS, every_s=0.05), broker, broker.netns(b))
    try:
        items = read_until(source, lambda items: ended(items, 2))
    finally:
        source.close()
    # GET_STATS_CPU and its request, GET_STATS, EXP_GET_STATS_CPU's answer, NLMSG_DONE
    assert set(message_types(items)) == {0x104, 0x105, 0x103, 3}
    assert [(mark.what, mark.complete) for mark in marks(items) if not mark.begin] == [("ctstats", True)] * 2


def test_thousands_of_named_counters_are_polled_more_seldom_than_the_rules(
    broker: Broker, tracking: tuple[str, str]
) -> None:
    _, b = tracking
    counters = "".join(f"counter c{number} {{ }}\n" for number in range(2_000))
    run_in(b, "nft", "-f", "-", stdin=f"table ip many {{\n{counters}}}\n")
    source = opened_dump(replace(feeds.NFT, every_s=0.02, share=None), broker, broker.netns(b))
    try:
        items = read_until(source, lambda items: sum(mark.what == "nft-rules" for mark in marks(items)) >= 12)
    finally:
        source.close()
    began = [mark.ts_ns for mark in marks(items) if mark.begin and mark.what == "nft-objects"]
    assert began and sum(not mark.begin and mark.what == "nft-rules" for mark in marks(items)) >= 6
    assert all(later - earlier > 500_000_000 for earlier, later in pairwise(began)), "25 times as seldom"


def test_nft_dumps_come_table_by_table_and_again_after_a_commit(broker: Broker, tracking: tuple[str, str]) -> None:
    _, b = tracking
    ns = broker.netns(b)
    listening = broker.netlink_socket(ns, NETLINK_NETFILTER, feeds.NFT_EVENTS.groups)
    source = opened_dump(replace(feeds.NFT, every_s=3600.0), broker, ns)
    stream = feeds.NFT_EVENTS.new_stream(5, ns.label)
    heard = NetlinkEvents(stream, listening, Counter64(), feeds.NFT_EVENTS.announces, source.poke)
    try:
        items = read_until(source, lambda items: ended(items, 5))
        run_in(b, "nft", "add", "chain", "ip", "t", "added")
        read_until(heard, lambda items: count(items) >= 2)
        again = read_until(source, lambda items: ended(items, 5))
    finally:
        source.close()
        heard.close()
    expected = ["nft-tables", "nft-chains", "nft-rules", "nft-tables", "nft-objects"]
    for turn in (items, again):
        assert [mark.what for mark in marks(turn) if mark.begin] == expected
        assert all(mark.complete for mark in marks(turn) if not mark.begin)
    assert message_types(items).count(0xA03) == 1  # NFT_MSG_NEWCHAIN
    assert message_types(again).count(0xA03) == 2


def test_a_commit_has_only_the_rules_of_its_tables_read_again(broker: Broker, tracking: tuple[str, str]) -> None:
    _, b = tracking
    run_in(b, "nft", "-f", "-", stdin="add table inet own\nadd chain inet own c\nadd set inet own s { type mark; }\n")
    ns = broker.netns(b)
    listening = broker.netlink_socket(ns, NETLINK_NETFILTER, feeds.NFT_EVENTS.groups)
    source = opened_dump(replace(feeds.NFT, every_s=3600.0), broker, ns)
    stream, row = feeds.NFT_EVENTS.new_stream(5, ns.label), feeds.NFT_EVENTS
    heard = NetlinkEvents(stream, listening, Counter64(), row.announces, source.poke, parts_of=row.parts_of)
    turns = []
    try:
        read_until(source, lambda items: ended(items, 5))
        for commit in ("add rule inet own c accept", "add element inet own s { 1 }", "delete table inet own"):
            run_in(b, "nft", commit)
            read_until(heard, lambda items: count(items) >= 1)
            turn = read_until(
                source, lambda items: "nft-objects" in [mark.what for mark in marks(items) if not mark.begin]
            )
            turns.append([mark.what for mark in marks(turn) if mark.begin])
    finally:
        source.close()
        heard.close()
    others = ["nft-tables", "nft-chains", "nft-tables", "nft-objects"]
    of_table = [*others[:2], "nft-rules inet own", *others[2:]]
    assert turns == [of_table, others, of_table]


def test_a_few_commits_in_a_row_are_reported_soon_and_continuous_ones_seldom(broker: Broker, lab: Lab) -> None:
    ns, reported = lab.netns("row"), list[float]()
    run_in(ns, "nft", "add table ip t")
    listening = broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER, feeds.NFT_EVENTS.groups)
    announces, minute = feeds.NFT_EVENTS.announces, 60_000_000_000
    stream = feeds.NFT_EVENTS.new_stream(5, ns)
    heard = NetlinkEvents(
        stream, listening, Counter64(), announces, lambda parts: reported.append(time.monotonic()), lambda: minute, True
    )
    heard.read(1 << 20)

    def commit(name: str) -> None:
        run_in(ns, "nft", f"add chain ip t {name}")
        heard.read(1 << 20)
        due = heard.due_ns()
        if due is not None:
            poll(lambda: time.monotonic_ns() >= due, what="the end of a rest of less than a second")
            heard.read(1 << 20)

    try:
        for name in "abc":
            commit(name)
        assert len(reported) == 3
        rests = [later - earlier for earlier, later in pairwise(reported)]
        assert 0.15 < rests[0] < 2 and 0.35 < rests[1] < 4, "each rest is twice as long as the one before"
    finally:
        heard.close()


def test_polling_nft_reads_what_counts(broker: Broker, tracking: tuple[str, str]) -> None:
    _, b = tracking
    source = opened_dump(replace(feeds.NFT, every_s=0.05), broker, broker.netns(b))
    try:
        items = read_until(source, lambda items: ended(items, 9))
    finally:
        source.close()
    turn = ["nft-chains", "nft-rules", "nft-tables", "nft-objects"]
    assert [mark.what for mark in marks(items) if mark.begin][5:9] == turn


def test_texts_come_at_the_start_and_when_poked(broker: Broker, tracking: tuple[str, str]) -> None:
    _, b = tracking
    kinds = (TextKind.SYSCTLS, TextKind.NFT_RULESET)
    source = TextSource(Stream(6, StreamKind.TEXT, "text"), broker, broker.netns(b), kinds, Counter64())
    items = read_until(source, lambda items: sum(isinstance(item, Text) for item in items) == 2, 30)
    assert source.due_ns() is None
    source.poke()
    items += read_until(source, lambda items: sum(isinstance(item, Text) for item in items) == 2, 30)
    texts = [item for item in items if isinstance(item, Text)]
    assert [text.what for text in texts] == [*kinds, *kinds]
    assert b"net.netfilter.nf_conntrack_max = " in texts[0].body
    assert b"chain in" in texts[1].body
    assert [text.error for text in texts] == [""] * 4


def test_a_text_that_fails_is_an_item_with_its_reason(broker: Broker, lab: Lab) -> None:
    ns = broker.netns(lab.netns("a"))
    broker.leave(ns)
    source = TextSource(Stream(6, StreamKind.TEXT, "text"), broker, ns, (TextKind.NFT_RULESET,), Counter64(), once=True)
    items = read_until(source, lambda items: any(isinstance(item, End) for item in items), 30)
    text = next(item for item in items if isinstance(item, Text))
    assert text.body == b""
    assert text.error


def test_closed_sources_let_the_namespace_go(broker: Broker, lab: Lab, tracking: tuple[str, str]) -> None:
    a, b = tracking
    ns = broker.netns(b)
    with events(broker, ns) as heard, dumps(broker, ns, 3600.0) as asked:
        heard.read(1)
        read_until(asked, ended)
    broker.leave(ns)
    lab.remove(b)
    poll(lambda: "veth0" not in run_in(a, "ip", "link", "show"))


def test_a_dump_that_each_turn_of_changes_interrupts_is_requested_once_a_turn(broker: Broker, lab: Lab) -> None:
    spec = lab.netns("churn")
    run_in(spec, "nft", "-f", "-", stdin="add table inet t\nadd chain inet t c\nadd chain inet t other\n")
    for first in range(1, 5_001, 500):  # the buffers of a user namespace are small
        rules = "".join(f"add rule inet t c tcp dport {port} counter\n" for port in range(first, first + 500))
        run_in(spec, "nft", "-f", "-", stdin=rules)
    source = opened_dump(replace(feeds.NFT, every_s=0.01, share=None), broker, broker.netns(spec))
    turns: list[list[bool]] = [[]]  # of each whether its dumps of the rules were interrupted

    def again() -> list[list[bool]]:
        """Those that begin interrupted, as the one before ended."""
        return [turn for before, turn in pairwise(turns[:-1]) if before[-1] and turn[0]]

    def enough() -> bool:
        for mark in source.read(1 << 20):
            if isinstance(mark, DumpMark) and not mark.begin:
                turns.extend([[]] if mark.what == "nft-chains" and turns[-1] else [])
                turns[-1].extend([mark.interrupted] if mark.what == "nft-rules" else [])
        return len(again()) >= 3

    try:
        with commits(spec, lambda _: "flush chain inet t other; add rule inet t other counter", 0.003):
            poll(enough, 20.0, "turns that changes interrupt")
    finally:
        source.close()
    assert all(len(turn) == 1 for turn in again()) and all(len(turn) <= 2 for turn in turns)
