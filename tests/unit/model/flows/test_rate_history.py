"""The course of a flow's rate: eight readings in one number, fine enough for bars, gone with the flow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.columns import EVENT_DESTROY, EVENT_NEW, Strings
from nettop.model.flows.rate_history import READINGS, RateHistory, history_text, levels, peak, peak_levels, rates_of
from nettop.model.flows.store import FlowStore
from nettop.model.flows.table import FlowTable
from nettop.model.table import SortKey, ViewSpec
from tests.unit.model.flows.flow_rows import SECOND, T0, begin, decoded, end, row

rates = st.none() | st.floats(0, 1e12)


def packed(values: list[float | None]) -> int:
    course = 0
    for level in levels(np.array([math.nan if v is None else v for v in values])).tolist():
        course = course << 8 | level
    return course


@given(st.lists(rates, min_size=READINGS, max_size=READINGS))
def test_a_reading_comes_back_within_a_bars_height(values: list[float | None]) -> None:
    found = rates_of(packed(values))
    for value, back in zip(values, found, strict=True):
        assert (back is None) == (value is None)
        assert value is None or back == (pytest.approx(value, rel=0.06) if value >= 1 else 0.0)
    highest = peak(packed(values))
    assert highest == max((back for back in found if back is not None), default=None)
    assert peak_levels(np.array([packed(values)], np.uint64))[0] == max(packed(values).to_bytes(8, "big"))


def test_bars_are_scaled_to_the_highest_and_blank_where_nothing_is_known() -> None:
    assert history_text(packed([None, 0, 100, 200, 400, 800, 800, 0])) == " ▁▁▂▄██▁"
    assert history_text(0) == ""
    assert history_text(packed([0.0] * 8)) == "▁" * 8


def test_without_rates_nothing_is_kept() -> None:
    course = RateHistory(FlowStore())
    course.add(np.arange(3), np.full(3, np.nan))
    assert (course._readings, course._generation.nbytes, course.readings()) == (None, 0, {})


def table(sizes: list[int]) -> FlowTable:
    """One flow whose bytes are these at dumps a second apart, beside one that stands still."""
    flows = FlowTable(Strings())
    for n, size in enumerate(sizes):
        dump(flows, n, row(sport=1, id=1, obytes=size, rbytes=0), row(sport=2, id=2, obytes=7, rbytes=0))
    return flows


def dump(flows: FlowTable, second: int, *rows: dict[str, int]) -> None:
    now_ns = T0 + second * SECOND
    flows.apply(begin(), 0, now_ns)
    flows.apply(decoded(*(one | {"ts_ns": now_ns} for one in rows)), 0, now_ns)
    flows.apply(end(), 0, now_ns)


def shown(flows: FlowTable, *columns: str) -> list[tuple[str, ...]]:
    spec = ViewSpec(columns, sort=(SortKey("course"), SortKey("id")))
    return [r.cells for r in flows.snapshot(spec, T0 + 60 * SECOND).rows]


def test_every_dump_is_a_reading_and_the_column_sorts_by_the_peak() -> None:
    found = shown(table([0, 100, 300, 1100]), "id", "course")
    assert found == [("1", "     ▁▂█"), ("2", "     ▁▁▁")]


def test_one_dump_alone_says_nothing_of_a_rate() -> None:
    assert shown(table([5]), "course") == [("–",), ("–",)]


def test_the_course_of_a_flow_that_is_gone_is_not_its_successors() -> None:
    flows = table([0, 100, 300])
    flows.apply(decoded(row(sport=1, id=1, event=EVENT_DESTROY)), 0, T0)
    flows.apply(decoded(row(sport=9, id=9, event=EVENT_NEW)), 0, T0)
    assert sorted(shown(flows, "id", "course")) == [("2", "      ▁▁"), ("9", "–")]
    dump(flows, 5, row(sport=2, id=2, obytes=7, rbytes=0), row(sport=9, id=9, obytes=1, rbytes=1))
    assert sorted(shown(flows, "id", "course")) == [("2", "     ▁▁▁"), ("9", "–")]


def test_another_namespaces_dump_is_no_reading_of_this_one() -> None:
    flows = table([0, 100])
    flows.apply(begin(), 1, T0)
    flows.apply(end(), 1, T0)
    assert sorted(shown(flows, "id", "course")) == [("1", "       █"), ("2", "       ▁")]


def rate_line(flows: FlowTable) -> str:
    """What the detail of the first flow says of its rate."""
    ident = int(flows.store.idents(np.array([0]))[0])
    detail = flows.detail(ident, T0 + 3 * SECOND)
    assert detail is not None
    return next("".join(text for text, _ in line) for line in detail.lines if line and "rate" in line[0][0])


def test_the_detail_draws_the_course_with_its_peak() -> None:
    assert rate_line(table([0, 100, 300])) == "  rate      200/s         ▄█   peak about 200/s in the last 8 readings"


def test_a_flow_that_rests_has_no_peak() -> None:
    assert "peak" not in rate_line(table([100, 100, 100]))
