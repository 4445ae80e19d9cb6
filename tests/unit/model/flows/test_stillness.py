"""A dump that finds every flow as it was is told from one that does not; time left runs down between still dumps."""

from __future__ import annotations

from typing import Any

import pytest

from nettop.columns import EVENT_NEW, EVENT_UPDATE, Strings
from nettop.model.flows.stillness import EXPIRING_S
from nettop.model.flows.table import FlowTable
from nettop.model.table import ViewSpec
from tests.unit.model.flows.flow_rows import SECOND, T0, begin, decoded, end, row

EVERY = 2
LEFT = 100


def flow(seconds: int = 0, **given: Any) -> dict[str, Any]:
    """A flow of a dump so many seconds after the first one, in which it has carried nothing."""
    return row(**({"timeout": LEFT - seconds, "obytes": 7, "opackets": 1, "ts_ns": T0 + seconds * SECOND} | given))


def dump(flows: FlowTable, seconds: int, *rows: dict[str, Any], complete: bool = True, netns: int = 0) -> None:
    now_ns = T0 + seconds * SECOND
    flows.apply(begin(now_ns), netns, now_ns)
    flows.apply(decoded(*rows), netns, now_ns)
    flows.apply(end(complete, now_ns), netns, now_ns)


def still(dumps: int = 2) -> FlowTable:
    """A table that was dumped so often, always with the same flow."""
    flows = FlowTable(Strings())
    for n in range(dumps):
        dump(flows, n * EVERY, flow(n * EVERY))
    return flows


def test_dumps_without_a_change_are_counted() -> None:
    assert [still(dumps).still_dumps(0) for dumps in range(1, 5)] == [0, 1, 2, 3]
    assert still().still_dumps(1) == 0, "another namespace"


def test_an_empty_table_is_still() -> None:
    flows = FlowTable(Strings())
    for n in range(3):
        dump(flows, n * EVERY)
    assert flows.still_dumps(0) == 3


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [flow(4), row(sport=2, ts_ns=T0 + 4 * SECOND)],
        [flow(4, opackets=2, obytes=9)],
        [flow(4, timeout=LEFT)],
        [flow(4, status=8)],
        [flow(4, mark=1)],
        [row(ts_ns=T0 + 4 * SECOND)],
        [flow(4, timeout=EXPIRING_S)],
    ],
    ids=["gone", "new", "counted", "renewed", "status", "mark", "uncounted", "expiring"],
)
def test_a_change_ends_the_count(rows: list[dict[str, Any]]) -> None:
    flows = still()
    dump(flows, 4, *rows)
    assert flows.still_dumps(0) == 0


@pytest.mark.parametrize("left", [LEFT - 3, LEFT - 4, LEFT - 5])
def test_whole_seconds_that_the_kernel_rounds_are_no_change(left: int) -> None:
    flows = still()
    dump(flows, 4, flow(4, timeout=left))
    assert flows.still_dumps(0) == 2


def test_a_dump_cut_short_shows_nothing_of_stillness() -> None:
    flows = still()
    dump(flows, 4, flow(4), complete=False)
    assert flows.still_dumps(0) == 0


def test_an_event_ends_the_count_at_once_and_the_next_dump_only_begins_another() -> None:
    flows = still(4)
    flows.apply(decoded(flow(7, event=EVENT_UPDATE)), 0, T0 + 7 * SECOND)
    assert flows.still_dumps(0) == 0
    counts = []
    for seconds in (8, 10, 12):
        dump(flows, seconds, flow(seconds))
        counts.append(flows.still_dumps(0))
    assert counts == [0, 1, 2]


def time_left(flows: FlowTable, seconds: int) -> list[str]:
    """The column TIMEOUT, so many seconds after the first dump."""
    rows = flows.snapshot(ViewSpec(("timeout",), height=9), T0 + seconds * SECOND).rows
    return sorted(row.cells[0] for row in rows)


def test_time_left_runs_down_between_two_dumps_of_still_flows() -> None:
    flows = still()
    assert [time_left(flows, s) for s in (2, 3, 5, 6)] == [["1m38"], ["1m37"], ["1m35"], ["1m34"]]
    assert time_left(flows, 500) == ["0s"]
    flows.apply(decoded(flow(5, sport=2, event=EVENT_NEW, timeout=30)), 0, T0 + 5 * SECOND)
    assert time_left(flows, 6) == ["1m38", "30s"], "as they were reported, since flows change"


def test_time_left_is_as_it_was_read_while_flows_change() -> None:
    assert time_left(still(1), 3) == ["1m40"]


def test_a_namespace_that_was_forgotten_begins_again() -> None:
    flows = still(4)
    for _ in range(2):  # the second time it is empty
        flows.forget(0)
        assert flows.still_dumps(0) == 0
    flows.apply(begin(), 0, T0)
    flows.apply(decoded(flow()), 0, T0)
    assert time_left(flows, 3) == ["1m40"], "the dump has not ended"
