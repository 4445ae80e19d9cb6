"""The ledger knows what a view hides and what made room, by stream; with it every stream's equation holds."""

from __future__ import annotations

import numpy as np

from nettop.batch import Batch, End, PacketMeta, Stream, StreamAdded
from nettop.kinds import StreamKind
from nettop.model.filter import parse
from nettop.model.packets import PacketModel
from nettop.model.view import ViewSpec
from nettop.pipeline.engine import Engine

SECOND = 1_000_000_000
# Ethernet, IPv4, UDP from 10.0.0.1 port 1 to 10.0.0.2 port 53 or 54
HEAD = bytes.fromhex("02020202020204040404040408004500002000000000401100000a0000010a0000020001")


def packets(stream: int, seq: int, ports: list[int]) -> Batch:
    frames = [HEAD + port.to_bytes(2, "big") + bytes.fromhex("000c0000") + b"data" for port in ports]
    size = np.array([len(frame) for frame in frames], np.uint32)
    off = (np.cumsum(size) - size).astype(np.uint32)
    stamps = SECOND * seq + np.arange(len(frames), dtype=np.int64)
    return Batch(stream, seq, b"".join(frames), off, size, stamps, PacketMeta(size))


def engine_with(streams: list[str], model: PacketModel | None = None) -> Engine:
    engine = Engine("")
    if model is not None:
        engine.read_packets_with(model)
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
    engine = engine_with(["eth0"], PacketModel(budget=200_000))
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
    assert len(engine.ended) <= 32
    assert engine.ended[-1].error == "device veth999 is gone"
