"""What the kernel drops of the events: every one counted, and told at the place where it is missing."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, Counters, Gap, Item, Stream
from nettop.broker.client import Broker
from nettop.columns import Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.kinds import GapReason, StreamKind
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.events.ring import EVENT_GAP, EventRing
from nettop.model.ledger import LedgerRow
from nettop.pipeline import feeds
from nettop.pipeline.live_sources import LiveSources
from nettop.session.run import Run
from nettop.sources.netlink import NetlinkEvents
from tests import flood
from tests.kernel.commands import ROOT
from tests.kernel.live import read_until
from tests.kernel.namespaces import command_in, poll, run_in

pytestmark = pytest.mark.kernel

ROOMY = 1 << 20  # bytes of a buffer that a quick reader may keep from overrunning
SO_MEMINFO = 55  # asm-generic/socket.h


@contextmanager
def events(broker: Broker, ns: str, rcvbuf: int) -> Iterator[NetlinkEvents]:
    opened = broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER, feeds.EVENTS.groups, rcvbuf)
    source = NetlinkEvents(Stream(1, StreamKind.NETLINK, "conntrack"), opened, Counter64())
    source.read(1)
    try:
        yield source
    finally:
        source.close()


def flooding(ns: str, count: int, rate: int = 0) -> subprocess.Popen[bytes]:
    argv = command_in(ns, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.flood", str(count), str(rate))
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL)


def flooded(ns: str, count: int) -> None:
    assert flooding(ns, count).wait(60) == 0
    run_in(ns, "conntrack", "-F")


def told(items: list[Item]) -> list[int | Gap]:
    """The numbers of the flows whose NEW events came, and the gaps among them, in order."""
    decode, found = ConntrackDecoder(Strings()), list[int | Gap]()
    for item in items:
        if isinstance(item, Batch):
            cols = decode(item).cols
            new = cols.take(cols["event"] == 1)
            found += number(new["odst_lo"], new["odport"]).tolist()
        elif isinstance(item, Gap):
            found.append(item)
    return found


def number(dst: np.ndarray, dport: np.ndarray) -> np.ndarray:
    """Which packet of tests.flood a flow is of."""
    return (dst.astype(np.int64) - flood.FIRST) * flood.PORTS + dport.astype(np.int64) - 1000


def missing(sequence: list[int | Gap], last: int) -> list[tuple[int, int]]:
    """For each place in the sequence where there are gaps, or numbers are missing: (missing, said to be lost)."""
    found, expected, said = list[tuple[int, int]](), 0, 0
    for one in [*sequence, last]:
        if isinstance(one, Gap):
            assert one.lost is not None and one.why is GapReason.KERNEL
            said += one.lost
        else:
            if said or one != expected:
                found.append((one - expected, said))
            expected, said = one + 1, 0
    return found


def came(items: list[Item]) -> tuple[int, int]:
    return sum(len(i) for i in items if isinstance(i, Batch)), sum(i.lost or 0 for i in items if isinstance(i, Gap))


def test_a_loss_is_told_behind_the_last_event_before_it_however_little_is_read_at_once(
    broker: Broker, sender: str
) -> None:
    with events(broker, sender, 64 << 10) as source:
        assert flooding(sender, 1_000).wait(60) == 0
        said = source.losses()  # by the clock, while events from before the loss wait unread
        items = list(said)
        while sum(came(items)) < 1_000:
            items += source.read(1) + source.losses()
    assert [item for item in said if isinstance(item, Gap)] == []
    totals = [item for item in said if isinstance(item, Counters)]
    assert totals[0].dropped == came(items)[1] > 0, "the ledger knows at once"
    sequence = told(items)
    assert [type(one) for one in sequence[-2:]] == [int, Gap]
    assert missing(sequence, 1_000) == [(1_000 - came(items)[0], came(items)[1])]


def test_losses_in_turn_each_stand_where_their_events_are_missing(broker: Broker, sender: str) -> None:
    with events(broker, sender, 256 << 10) as source:
        for _ in range(4):
            assert flooding(sender, 2_000).wait(60) == 0
            items = read_until(source, lambda items: sum(came(items)) >= 2_000)
            assert all(a == b for a, b in missing(told(items), 2_000)) and came(items)[1] > 0
            run_in(sender, "conntrack", "-F")
            read_until(source, lambda items: sum(came(items)) >= 2_000)


def dropped(source: NetlinkEvents) -> int:
    """Messages that the kernel has dropped at the source's socket: SK_MEMINFO_DROPS of linux/sock_diag.h."""
    with socket.socket(fileno=os.dup(source.fileno())) as sock:
        return int(struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[8])


def test_losses_while_it_is_read_stand_where_their_events_are_missing(broker: Broker, sender: str) -> None:
    """A reader that always comes too late: between two reads, while events come, the kernel has dropped some more."""
    with events(broker, sender, 256 << 10) as source, flooding(sender, 80_000, 40_000) as sending:
        items, before = list[Item](), 0
        while sum(came(items)) < 80_000:
            poll(lambda seen=before: dropped(source) > seen or sending.poll() is not None)  # type: ignore[misc]
            before = dropped(source)
            items += source.read(40_000) + source.losses()
        assert sending.wait(60) == 0
    found = missing(told(items), 80_000)
    assert len(found) >= 3, "several losses"
    # One that is held up between two looks at the buffer tells some of a loss with the next one, and never before it.
    late = np.cumsum([lost - said for lost, said in found])
    assert late[-1] == 0 and all(0 <= left <= lost for left, (lost, _) in zip(late, found, strict=True))
    assert np.count_nonzero(late) <= len(found) // 2, "most are told where they were"


def shown(ring: EventRing) -> tuple[int, int]:
    """Events that have a row, and those that the rows between them say are lost."""
    rows = ring.rows(ring.start, ring.end)
    gaps = rows["event"] == EVENT_GAP
    return int(np.count_nonzero(~gaps)), int(rows["opackets"][gaps].sum())


def accounts(run: Run) -> list[LedgerRow]:
    """The ledger, asked on the models' thread."""
    return run.waited(lambda engine, now_ns: engine.ledger.rows())


@pytest.mark.parametrize("rcvbuf", [2_304, 16 << 10, ROOMY])
def test_a_session_accounts_for_every_event(broker: Broker, sender: str, rcvbuf: int) -> None:
    """Seen and lost are what was sent, in the ledger and row by row, and rows stand in the order of time."""
    count = 60_000
    netns = broker.netns(sender)
    run = Run(netns.label, True, Counter64(), Counter64())
    run.start()
    sources = LiveSources(broker, netns, run.plumbing)
    try:
        sources.events(rcvbuf)
        poll(lambda: accounts(run), what="the stream")
        with flooding(sender, count) as sending:
            assert sending.wait(60) == 0
        account = poll(lambda: next((r for r in accounts(run) if r.seen == count), None))
        # The ledger knows of a loss at once; its row comes when the events before it have been read.
        poll(lambda: run.waited(lambda engine, now_ns: sum(shown(engine.events.ring))) == count)
    finally:
        run.close()
    assert account.kernel > 0 or rcvbuf == ROOMY, "smaller ones overrun whoever reads"
    assert account.unknown == run.engine.ledger.unknown() == 0
    ring = run.engine.events.ring
    rows = ring.rows(ring.start, ring.end)
    gaps = rows["event"] == EVENT_GAP
    seen, lost = shown(ring)
    assert seen + lost == count
    assert run.engine.ledger.rows()[0].kernel == lost
    assert (np.diff(rows["ts_ns"]) >= 0).all()
    assert (rows["start_ns"][gaps] <= rows["stop_ns"][gaps]).all()
    numbers = number(rows["odst_lo"][~gaps], rows["odport"][~gaps])
    assert (np.diff(numbers) > 0).all()
