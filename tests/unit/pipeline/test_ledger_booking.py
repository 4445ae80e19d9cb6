"""The ledger knows what a view hides and what made room, by stream; with it every stream's equation holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nettop.batch import Batch, End, Gap, PacketMeta, Stream, StreamAdded
from nettop.kinds import GapReason, StreamKind
from nettop.model.filter.expression import parse
from nettop.model.packets.table import BUDGET
from nettop.model.table import ViewSpec
from nettop.pipeline.engine import Engine
from nettop.pipeline.receive_filter import ReceiveFilter
from tests.unit.decode.conntrack.expectation_messages import expectation
from tests.unit.decode.netlink_bytes import batch, nlmsg, udp

SECOND = 1_000_000_000
# Ethernet, IPv4, UDP from 10.0.0.1 port 1 to 10.0.0.2 port 53 or 54
HEAD = bytes.fromhex("02020202020204040404040408004500002000000000401100000a0000010a0000020001")


def packets(stream: int, seq: int, ports: list[int]) -> Batch:
    frames = [HEAD + port.to_bytes(2, "big") + bytes.fromhex("000c0000") + b"data" for port in ports]
    size = np.array([len(frame) for frame in frames], np.uint32)
    off = (np.cumsum(size) - size).astype(np.uint32)
    stamps = SECOND * seq + np.arange(len(frames), dtype=np.int64)
    return Batch(stream, seq, b"".join(frames), off, size, stamps, PacketMeta(size))


def engine_with(streams: list[str], budget: int = BUDGET) -> Engine:
    engine = Engine("")
    engine.keep_packets(budget)
    for number, name in enumerate(streams):
        engine.apply(StreamAdded(Stream(number, StreamKind.PACKETS, name), number), 0)
    return engine


def shown(engine: Engine, expression: str = "") -> None:
    engine.snapshot("packets", ViewSpec(("number",), filter=parse(expression, "packet")), 1000 * SECOND)
    engine.tick(1000 * SECOND)


def test_what_the_filter_hides_is_booked_for_each_device() -> None:
    engine = engine_with(["eth0", "eth1"])
    engine.apply(packets(0, 1, [53, 53, 54]), SECOND)
    engine.apply(packets(1, 2, [53, 54, 54, 54]), SECOND)
    shown(engine, "port 53")
    rows = engine.ledger.rows()
    assert [(row.seen, row.shown, row.filtered) for row in rows] == [(3, 2, 1), (4, 1, 3)]
    shown(engine)
    assert [row.filtered for row in engine.ledger.rows()] == [0, 0]


def test_what_made_room_is_booked_for_its_device() -> None:
    engine = engine_with(["eth0"], budget=200_000)
    for seq in range(1, 60):
        engine.apply(packets(0, seq, [53] * 200), SECOND * seq)
    shown(engine)
    row = engine.ledger.rows()[0]
    assert row.evicted == engine.packets.store.evicted > 0
    assert row.seen == row.shown + row.evicted == 59 * 200


def test_endings_do_not_pile_up() -> None:
    engine = Engine("")
    for seq in range(1000):
        engine.apply(End(seq, seq), 0)
        engine.apply(End(seq, seq, error=f"device veth{seq} is gone"), 0)
    assert len(engine.failures) <= 32
    assert engine.failures[-1].error == "device veth999 is gone"


def events_engine(capacity: int, *netns: str) -> Engine:
    engine = Engine("", keep_events=capacity)
    for number, label in enumerate(netns):
        stream = Stream(number, StreamKind.NETLINK, "conntrack", label)
        engine.apply(StreamAdded(stream, number), 0)
    return engine


def new(number: int) -> bytes:
    return udp(number, flags=0x600)


def event_batch(stream: int, *messages: bytes) -> Batch:
    return replace(batch(messages), stream=stream)


def accounts(engine: Engine, expression: str = "", **spec: Any) -> list[tuple[int, int, int, int, int]]:
    """Seen, shown, filtered, evicted, lost of each stream. The equation holds."""
    wanted = parse(expression, "event") if expression else None
    found = engine.snapshot("events", ViewSpec(("time",), filter=wanted, **spec), SECOND)
    engine.tick(SECOND)
    rows = engine.ledger.rows()
    for row in rows:
        assert row.seen == row.shown + row.filtered + row.evicted + row.unreadable + row.lost + row.in_flight
    gaps = sum(row.lost > 0 for row in rows)
    shown = sum(row.shown for row in rows)
    assert shown <= found.matched <= shown + 2 * gaps, "the list has what the ledger says is shown, and gaps"
    return [(row.seen, row.shown, row.filtered, row.evicted, row.lost) for row in rows]


def test_events_of_two_namespaces_evicted_and_hidden_are_booked_for_each() -> None:
    engine = events_engine(10, "", "gw-a")
    engine.apply(event_batch(0, *map(new, range(6))), SECOND)
    engine.apply(event_batch(1, *map(new, range(6)), expectation(), expectation(0x202, 0)), SECOND)
    assert accounts(engine) == [(6, 2, 0, 4, 0), (8, 8, 0, 0, 0)]
    assert accounts(engine, "tcp") == [(6, 0, 2, 4, 0), (8, 2, 6, 0, 0)]
    engine.apply(event_batch(1, *map(new, range(30))), SECOND)
    assert accounts(engine, "tcp") == [(6, 0, 0, 6, 0), (38, 0, 10, 28, 0)]
    assert accounts(engine) == [(6, 0, 0, 6, 0), (38, 10, 0, 28, 0)]


def test_what_cannot_be_read_is_not_shown_and_gaps_are_no_events() -> None:
    engine = events_engine(4, "gw-a")
    engine.apply(event_batch(0, new(1), nlmsg(0x100, b"\1"), new(2), b"\0\0"), SECOND)
    engine.apply(Gap(0, 5, 70, GapReason.KERNEL, 0, SECOND), SECOND)
    engine.apply(Gap(0, 6, 7, GapReason.QUEUE, 0, SECOND), SECOND)
    assert accounts(engine) == [(81, 2, 0, 0, 77)]
    assert engine.events.damaged == engine.ledger.unreadable() == 2
    engine.apply(event_batch(0, *map(new, range(3))), SECOND)
    assert accounts(engine) == [(84, 3, 0, 2, 77)]


def test_a_filtered_stream_that_follows_has_accounts_of_its_own() -> None:
    engine = events_engine(5, "gw-a", "gw-a")
    engine.apply(event_batch(0, *map(new, range(4))), SECOND)
    engine.apply(event_batch(1, *map(new, range(4))), SECOND)
    assert accounts(engine) == [(4, 1, 0, 3, 0), (4, 4, 0, 0, 0)]
    assert accounts(engine, "tcp") == [(4, 0, 1, 3, 0), (4, 0, 4, 0, 0)]


def test_only_some_flows_are_wanted_and_expectations_as_well() -> None:
    engine = events_engine(5, "gw-a")
    engine.watch(ReceiveFilter("host 0.0.0.2"))
    engine.apply(event_batch(0, new(1), expectation(), new(2), expectation(dport=7)), SECOND)
    assert accounts(engine) == [(4, 2, 2, 0, 0)]
