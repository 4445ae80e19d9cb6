"""Events that our own queue cannot hold: counted, and told where they are missing, between and after other losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Counters, Gap, Stream, StreamAdded
from nettop.kinds import GapReason, StreamKind
from nettop.model.events.ring import EVENT_GAP
from nettop.pipeline.engine import Engine
from nettop.pipeline.handoff import Handoff
from tests.unit.decode.netlink_bytes import batch, udp

SIZE = 10  # events of a batch
Step = int | str
STEPS = st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["take", "kernel"])), max_size=40)


@given(STEPS)
def test_gaps_stand_where_events_are_missing_and_the_equation_holds(steps: list[Step]) -> None:
    queue, engine, sent, missing = Handoff(limit=4_000), Engine("gw-a"), 0, list[int]()
    queue.put([StreamAdded(Stream(0, StreamKind.NETLINK, "conntrack", "gw-a"), 0)], wait=False)

    def take() -> None:
        for item in queue.get(0, max_items=1000)[1]:
            engine.apply(item, 0)

    for step in steps:
        if step == "take":
            take()
        elif step == "kernel":  # the kernel loses seven
            queue.put([Gap(0, sent, 7, GapReason.KERNEL, sent, sent)], wait=False)
            missing += range(sent, sent + 7)
            sent += 7
        else:
            for _ in range(int(step)):
                events = batch([udp(sent + i, flags=0x600) for i in range(SIZE)])
                queue.put([replace(events, stream=0, ts_ns=np.arange(sent, sent + SIZE))], wait=False)
                sent += SIZE
    queue.put([Counters(0, sent, sent, sent, 0)], wait=False)  # as the source does when its count has changed
    take()
    engine.tick(0)
    row = engine.ledger.row(0)
    assert row.seen == sent == row.shown + row.queue + row.kernel and row.kernel == len(missing)
    assert row.shown == sum(engine.events.counts.values())
    _stand_where_they_are_missing(engine, sent)


def _stand_where_they_are_missing(engine: Engine, sent: int) -> None:
    rows = engine.events.ring.rows(0, engine.events.ring.end)
    expected = said = 0
    for event, port, lost in zip(*(rows[name].tolist() for name in ("event", "osport", "opackets")), strict=True):
        if event == EVENT_GAP:
            said += lost
        else:
            assert port - expected == said
            expected, said = port + 1, 0
    assert sent - expected == said
