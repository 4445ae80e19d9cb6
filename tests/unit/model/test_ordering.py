"""The first rows of an order, and the place of one, are what sorting all of them in plain Python gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Array
from nettop.model.ordering import Rows, ascending, first_rows, no_ties, position_of

numbers = st.integers(0, 3)
floats = st.sampled_from([0.0, 1.0, 2.5, math.nan])
tables = st.lists(st.tuples(floats, numbers, numbers, numbers), min_size=1, max_size=80)


def columns(rows: list[tuple[float, int, int, int]]) -> tuple[list[Any], list[Any]]:
    """Two keys and two ties."""
    kinds = (np.float64, np.uint32, np.uint64, np.uint8)
    first, second, third, fourth = (
        np.array(values, kind) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)
    )
    return [first, second], [third, fourth]


def last_if_absent(row: tuple[float, ...]) -> tuple[Any, ...]:
    return (math.isnan(row[0]), 0.0 if math.isnan(row[0]) else row[0], *row[1:])


@given(tables, st.integers(0, 90))
def test_the_first_rows_are_those_of_a_full_sort_with_the_ties_decided(
    rows: list[tuple[float, int, int, int]], n: int
) -> None:
    keys, ties = columns(rows)
    wanted = sorted(range(len(rows)), key=lambda at: (last_if_absent(rows[at]), at))
    found = first_rows(keys, n, lambda places: (tie[places] for tie in ties))
    assert found.tolist() == wanted[:n]
    by_place = sorted(range(len(rows)), key=lambda at: (last_if_absent(rows[at][:2]), at))
    assert first_rows(keys, n).tolist() == by_place[:n]


@given(tables, st.integers(0, 79))
def test_the_place_of_a_row_is_where_the_order_has_it(rows: list[tuple[float, int, int, int]], at: int) -> None:
    keys, ties = columns(rows)
    at %= len(rows)
    order = first_rows(keys, len(rows), lambda places: (tie[places] for tie in ties)).tolist()
    assert position_of(keys, at, lambda places: (tie[places] for tie in ties)) == order.index(at)
    assert position_of(keys, at, no_ties) == first_rows(keys, len(rows)).tolist().index(at)


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_descending_is_the_reverse_for_integers(values: list[int]) -> None:
    column = np.array(values, np.uint64)
    found = first_rows([ascending(column, True)], len(values)) if values else np.array([], np.intp)
    assert column[found].tolist() == sorted(values, reverse=True)


@given(st.lists(st.floats()), st.sampled_from([np.float32, np.float64]))
def test_floats_of_every_kind_stand_in_order_and_what_is_none_last(values: list[float], kind: type) -> None:
    with np.errstate(over="ignore"):
        column = np.array(values, kind)
    if len(column):
        found = column[first_rows([column, np.arange(len(column))], len(column))].tolist()
        assert [v for v in found if v == v] == sorted(v for v in column.tolist() if v == v)
        assert all(math.isnan(v) for v in found[len([v for v in found if v == v]) :])
        assert (
            first_rows([np.zeros(len(column)), column], len(column)).tolist()
            == first_rows([column], len(column)).tolist()
        )


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_signed_integers_stand_in_order(values: list[int]) -> None:
    assert np.array(values)[first_rows([np.array(values, np.int64)], len(values))].tolist() == sorted(values)


def test_no_further_column_is_made_once_one_decides() -> None:
    count, all_equal = 1000, np.zeros(1000)

    def ties(positions: Rows | None) -> Iterator[Array]:
        some = slice(None) if positions is None else positions
        yield np.zeros(count, np.uint64)[some]
        yield np.arange(count, dtype=np.uint64)[::-1][some]
        assert positions is not None, "of a million rows it takes 8 MB and more"

    assert first_rows([all_equal], 3, ties).tolist() == [999, 998, 997]
    assert first_rows([np.arange(count)], 0, ties).tolist() == []
