"""The window and the held order over rows that come, change and go, against plain lists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nettop.model.table import SortKey, ViewSpec
from nettop.model.window import RESORT_NS, Handles, Match, Order, OrderCache, position_in, value_keys, visible

BY_VALUE = (SortKey("value", descending=False),)
SPEC = ViewSpec((), height=3, sort=BY_VALUE)
HELD = replace(SPEC, frozen=True)
tables = st.dictionaries(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 5)), max_size=25)


class Rows:
    """Values by identity, in the order of their making."""

    def __init__(self, values: dict[int, int | None], long: bool) -> None:
        self.values = values
        self.version = 0
        self._long = long
        self._orders = OrderCache(self._match, self._alive if long else None)

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        found = dict(self.values)
        handles = np.array(list(found), np.int64)
        return Match(handles, lambda: value_keys(spec.sort, lambda key: found.values()))

    def _alive(self, handles: Handles) -> NDArray[np.bool_]:
        return np.array([handle in self.values for handle in handles.tolist()], np.bool_)

    def become(self, values: dict[int, int | None]) -> None:
        self.values, self.version = values, self.version + 1

    def order(self, spec: ViewSpec, now_ns: int = 0) -> Order:
        return self._orders.current(spec, now_ns, self.version)

    def shown(self, spec: ViewSpec, now_ns: int = 0) -> list[int]:
        order = self.order(spec, now_ns)
        return order[visible(spec, len(order))].tolist()


def in_order(values: dict[int, int | None]) -> list[int]:
    return sorted(values, key=lambda row: (values[row] is None, values[row] or 0))


@given(st.integers(-5, 200), st.integers(1, 60), st.booleans(), st.integers(0, 150))
def test_a_window_lies_within_the_rows_and_is_as_full_as_it_can_be(
    first: int, height: int, follow: bool, count: int
) -> None:
    part = visible(ViewSpec((), first=first, height=height, follow=follow), count)
    shown = range(count)[part]
    assert part.start >= 0 and len(shown) == min(height, count)
    assert not follow or not count or shown[-1] == count - 1
    assert follow or part.start == max(0, min(first, count - height))


@given(st.sets(st.integers(0, 40)), st.one_of(st.none(), st.integers(-2, 42)))
def test_a_row_among_ascending_numbers_is_found_or_is_nowhere(numbers: set[int], ident: int | None) -> None:
    found = sorted(numbers)
    assert position_in(found, ident) == (found.index(ident) if ident in numbers and ident is not None else None)


@given(tables, st.integers(0, 30), st.booleans())
def test_the_order_is_that_of_the_values_with_the_unknown_last(
    values: dict[int, int | None], first: int, long: bool
) -> None:
    rows, wanted = Rows(values, long), in_order(values)
    spec = replace(SPEC, first=first)
    start = max(0, min(first, len(wanted) - 3))
    assert rows.shown(spec) == wanted[start : start + 3]
    order = rows.order(spec)
    assert [order.position_of(row) for row in wanted] == list(range(len(wanted)))
    assert order.position_of(99) is None and order.position_of(None) is None


@given(tables, tables)
def test_a_held_order_of_a_short_table_keeps_what_is_left_and_adds_what_is_new(
    before: dict[int, int | None], after: dict[int, int | None]
) -> None:
    rows, spec = Rows(before, long=False), replace(HELD, height=99)
    rows.shown(spec)
    rows.become(after)
    kept = [row for row in in_order(before) if row in after]
    assert rows.shown(spec) == [*kept, *(row for row in in_order(after) if row not in before)]
    assert rows.order(spec).note(spec, 9 * RESORT_NS)[0][0][0].startswith("SORT PAUSED") if after else True
    assert rows.shown(replace(spec, frozen=False)) == in_order(after)


@given(tables, tables)
def test_a_held_order_of_a_long_table_keeps_what_is_left_and_counts_what_is_new(
    before: dict[int, int | None], after: dict[int, int | None]
) -> None:
    rows, spec = Rows(before, long=True), replace(HELD, height=99)
    rows.shown(spec)
    rows.become(after)
    kept = [row for row in in_order(before) if row in after]
    shown, order = rows.shown(spec, RESORT_NS), rows.order(spec, RESORT_NS)
    if before and not kept:
        assert shown == in_order(after), "nothing was left of it"
    else:
        assert shown == kept and order.new == len(set(after) - set(before))
        assert [order.position_of(row) for row in kept] == list(range(len(kept)))
    assert rows.shown(replace(spec, frozen=False), RESORT_NS) == in_order(after)


def test_another_order_or_scope_is_not_held() -> None:
    rows = Rows({1: 5, 2: 4}, long=False)
    assert rows.shown(SPEC) == [2, 1]
    rows.become({1: 3, 2: 4})
    assert rows.shown(HELD) == [2, 1] and rows.shown(replace(HELD, scope=7)) == [1, 2]
    assert rows.shown(replace(HELD, sort=(SortKey("value"),))) == [2, 1]


def test_a_long_table_keeps_its_order_for_as_long_as_it_says() -> None:
    rows = Rows({1: 5, 2: 4}, long=True)
    rows.shown(SPEC)
    rows.become({1: 3, 2: 4, 3: 0})
    orders = rows._orders
    assert orders.current(SPEC, RESORT_NS - 1, rows.version, RESORT_NS)[:9].tolist() == [2, 1]
    assert orders.current(SPEC, RESORT_NS, rows.version, RESORT_NS)[:9].tolist() == [3, 1, 2]
