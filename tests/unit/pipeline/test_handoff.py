"""The hand-off keeps order, bounds memory, and counts every record it drops."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Batch, Gap, NetlinkMeta
from nettop.kinds import GapReason
from nettop.pipeline.handoff import Handoff
from tests.kernel.namespaces import poll


def batch(stream: int, seq: int, records: int = 1, size: int = 1000) -> Batch:
    return Batch(
        stream,
        seq,
        bytes(size),
        np.zeros(records, np.uint32),
        np.zeros(records, np.uint32),
        np.full(records, seq, np.int64),
        NetlinkMeta(np.zeros(records, np.bool_)),
    )


def everything(handoff: Handoff) -> list[object]:
    found: list[object] = []
    while True:
        _, items = handoff.get(0)
        if not items:
            return found
        found += items


def test_items_come_out_in_the_order_they_went_in() -> None:
    handoff = Handoff(1 << 20)
    batches = [batch(1, n) for n in range(200)]
    handoff.put(batches, wait=False)
    assert everything(handoff) == batches


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.booleans()), max_size=60))
def test_shown_plus_lost_is_what_was_put(steps: list[tuple[int, int, bool]]) -> None:
    handoff = Handoff(3000)
    put: dict[int, int] = {}
    got: dict[int, int] = {}

    def drain() -> None:
        for item in everything(handoff):
            n = len(item) if isinstance(item, Batch) else item.lost  # type: ignore[attr-defined]
            got[item.stream] = got.get(item.stream, 0) + n  # type: ignore[attr-defined]

    for seq, (stream, records, read) in enumerate(steps):
        handoff.put([batch(stream, seq, records)], wait=False)
        put[stream] = put.get(stream, 0) + records
        if read:
            drain()
    handoff.flush()
    drain()
    assert got == put


def test_a_gap_stands_where_the_batches_are_missing() -> None:
    handoff = Handoff(500)
    handoff.put([batch(7, 0), batch(7, 1, 4), batch(7, 2, 5)], wait=False)
    first = everything(handoff)
    handoff.put([batch(7, 3)], wait=False)
    second = everything(handoff)
    assert [type(item) for item in first] == [Batch]
    gap = second[0]
    assert isinstance(gap, Gap)
    assert (gap.lost, gap.why, gap.from_ns, gap.to_ns) == (9, GapReason.QUEUE, 1, 2)


def test_our_own_requests_are_not_counted_as_lost() -> None:
    handoff = Handoff(100)
    ours = batch(1, 1, 2)
    assert isinstance(ours.meta, NetlinkMeta)
    ours.meta.outgoing[:] = True
    handoff.put([batch(1, 0), ours], wait=False)
    handoff.flush()
    assert [item.lost for item in everything(handoff) if isinstance(item, Gap)] == [0]


def test_a_source_that_can_wait_loses_nothing() -> None:
    handoff = Handoff(2000)
    batches = [batch(1, n) for n in range(50)]
    writer = threading.Thread(target=handoff.put, args=(batches, True))
    writer.start()
    got: list[object] = []
    while len(got) < len(batches):
        got += handoff.get(5.0, max_items=1)[1]
    writer.join(30)
    assert got == batches


def test_close_frees_a_waiting_source() -> None:
    handoff = Handoff(10)
    writer = threading.Thread(target=handoff.put, args=([batch(1, n) for n in range(5)], True))
    writer.start()
    handoff.close()
    writer.join(30)
    assert not writer.is_alive()


def test_calls_come_before_items() -> None:
    handoff = Handoff(1000)
    handoff.put([batch(1, 0)], wait=False)
    handoff.call(lambda: None)
    calls, items = handoff.get(0)
    assert len(calls) == 1
    assert len(items) == 1


def test_a_source_that_waits_fills_an_eighth_at_most() -> None:
    handoff = Handoff(40_000)
    writer = threading.Thread(target=handoff.put, args=([batch(1, n) for n in range(20)], True))
    writer.start()
    poll(lambda: len(handoff._items) >= 4, what="the source fills its share")
    writer.join(0.1)
    assert writer.is_alive() and len(handoff._items) <= 5
    handoff.close()
    writer.join(30)
    assert len(everything(handoff)) == 20


def test_a_dump_that_waits_leaves_room_for_events() -> None:
    handoff = Handoff(40_000)
    writer = threading.Thread(target=handoff.put, args=([batch(1, n) for n in range(20)], True))
    writer.start()
    poll(lambda: len(handoff._items) >= 4, what="the dump fills its share")
    handoff.put([batch(2, n) for n in range(100, 103)], wait=False)
    handoff.close()
    writer.join(30)
    handoff.flush()
    found = everything(handoff)
    assert not [item for item in found if isinstance(item, Gap)]
    assert len([item for item in found if isinstance(item, Batch) and item.stream == 2]) == 3
