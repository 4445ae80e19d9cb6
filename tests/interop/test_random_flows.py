"""Random traffic through a real NAT gateway: at every step table, commands and events are what conntrack says.

`NETTOP_SEEDS=20 pytest tests/interop/test_random_flows.py` walks more seeds, `NETTOP_SEEDS=7-7` that one alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.start import start
from tests.interop.conntrack_xml import (
    TIMEOUTS_S,
    Key,
    Row,
    by_flow,
    by_key,
    key_of,
    listed,
    told,
    unequal,
    unequal_by_events,
    unequal_events,
)
from tests.interop.live_table import LiveTable
from tests.interop.nat_world import NatWorld
from tests.interop.random_traffic import Traffic
from tests.kernel.commands import command, environment, holds, nettop, rows, running
from tests.kernel.namespaces import Lab, command_in, netlink_sockets, poll, run_in, settled

pytestmark = pytest.mark.kernel

STEPS = 30
LISTED_EVERY = 10  # steps; `nettop flows` takes half a second
DUMPS_EVERY_S = 0.1


def seeds() -> range:
    """As many as NETTOP_SEEDS says, or from-to."""
    first, dash, last = os.environ.get("NETTOP_SEEDS", "3").partition("-")
    return range(int(first), int(last) + 1) if dash else range(int(first))


@pytest.fixture(scope="module")
def world() -> Iterator[NatWorld]:
    lab = Lab()
    try:
        yield NatWorld(lab)
    finally:
        lab.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with start("root", confine=False) as made:
        yield made


class Watch:
    """Everything that looks at the gateway at once: two live tables, `nettop events`, `nettop record`, conntrack."""

    def __init__(self, stack: ExitStack, broker: Broker, ns: str, scratch: Path) -> None:
        self.ns = ns
        self.recording = scratch / "r.pcapng"
        self._events, self._xml = scratch / "events.jsonl", scratch / "events.xml"
        record = ("record", "--netns", ns, "-i", "lo", "-w", str(self.recording))
        self.recorder = stack.enter_context(running(*record))
        conntrack = command_in(ns, "conntrack", "-E", "-o", "xml,id,ktimestamp")
        for argv, path in ((command("events", "--json", "--netns", ns), self._events), (conntrack, self._xml)):
            with path.open("wb") as out:
                process = subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL, env=environment(), cwd="/")
            stack.callback(_ended, process)
        self.polled = LiveTable(broker, ns, DUMPS_EVERY_S)
        stack.callback(self.polled.close)
        self.heard = LiveTable(broker, ns)
        stack.callback(self.heard.close)
        poll(lambda: listeners(ns) == 5, what="five listeners to conntrack's events")
        poll(lambda: self.polled.dumped() and self.heard.dumped())
        poll(lambda: holds(self.recording, b"conntrack-dump"))

    def table(self) -> dict[Key, Row]:
        """The kernel's table, as conntrack lists it."""
        return listed(run_in(self.ns, "conntrack", "-L", "-o", "xml,id,ktimestamp"))

    def compared(self, ours: Callable[[], dict[Key, Row]]) -> list[str]:
        """In words, where our table is not the kernel's; timeouts may differ by the time it took to ask for both."""
        began = min(time.time(), self.polled.dumps() / 1e9)
        theirs, mine = self.table(), ours()
        return unequal(theirs, mine, timeouts_s=TIMEOUTS_S + int(time.time() - began))

    def events(self) -> list[dict[str, Any]]:
        """What `nettop events` has printed of flows so far."""
        lines = self._events.read_text().rpartition("\n")[0].splitlines()
        return [row for row in map(json.loads, lines) if row["kind"] == "event"]

    def events_of_conntrack(self) -> list[Row]:
        """What `conntrack -E` has printed so far."""
        return told(self._xml.read_text())


def listeners(ns: str) -> int:
    """How many sockets of this namespace have joined conntrack's NEW group."""
    lines = netlink_sockets(ns)
    return sum(line[1] == "12" and bool(int(line[3], 16) & 1) for line in lines)


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(30)


@pytest.mark.parametrize("seed", seeds())
def test_at_every_step_we_say_what_conntrack_says(world: NatWorld, broker: Broker, seed: int, tmp_path: Path) -> None:
    world.conntrack("-F")
    traffic = Traffic(world, seed)
    with ExitStack() as stack:
        stack.callback(traffic.close)
        for _ in range(4):  # flows older than any listener: of these the kernel sends no events
            traffic.step()
        older = set(watchless(world))
        watch = Watch(stack, broker, world.gateway, tmp_path)
        for number in range(STEPS):
            traffic.step()
            walked = f"seed {seed}: " + "; ".join(traffic.steps)
            assert not settled(lambda: watch.compared(watch.polled.rows)), walked
            assert not settled(lambda: told_only(watch, older)), walked
            assert not settled(lambda: unequal_events(watch.events_of_conntrack(), watch.events())), walked
            if number % LISTED_EVERY == LISTED_EVERY - 1:
                assert not settled(lambda: watch.compared(lambda: now(watch.ns))), walked
        poll(lambda: all_stay(watch), what="what is about to expire has gone")
        assert not settled(lambda: unequal_events(watch.events_of_conntrack(), watch.events())), walked
        watch.recorder.signal()
        assert watch.recorder.end()[0] == 0
        kept = {key: row for key, row in watch.heard.rows().items() if key not in older}
        replayed = by_key(row for row in rows("flows", "-r", str(watch.recording)) if key_of(row) not in older)
        assert replayed == kept, walked
        again = nettop("events", "-r", str(watch.recording), "--json")
        assert again.returncode == 0, again.stderr
        assert timeless(map(json.loads, again.stdout.splitlines())) == timeless(watch.events()), walked


def watchless(world: NatWorld) -> dict[Key, Row]:
    """The table while nobody watches."""
    return listed(world.conntrack("-L", "-o", "xml,id"))


def all_stay(watch: Watch) -> bool:
    """Whether no flow is about to expire, and none has that the kernel has not swept up: it counts such, unlisted."""
    rows = watch.table()
    return len(rows) == int(run_in(watch.ns, "conntrack", "-C")) and all(row["timeout"] > 5 for row in rows.values())


def told_only(watch: Watch, older: set[Key]) -> list[str]:
    """Where the table that had no dump since the start differs in what events tell."""
    tables = (watch.table(), watch.heard.rows())
    theirs, mine = ({key: row for key, row in table.items() if key not in older} for table in tables)
    return [f"without dumps: {line}" for line in unequal_by_events(theirs, mine)]


def now(ns: str) -> dict[Key, Row]:
    """What `nettop flows` prints."""
    return by_key(rows("flows", "--netns", ns))


def timeless(events: Iterable[dict[str, Any]]) -> dict[Key, list[Row]]:
    """Events flow by flow: from two processors, two listeners get them in two orders. Each takes the time itself."""
    told = (row for row in events if row["kind"] == "event")
    return by_flow({key: value for key, value in row.items() if key != "ts_ns"} for row in told)
