"""Titles and their sort marks never run into one another, and no mark is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nettop.model.flows.table import FlowTable
from nettop.model.table import Column, SortKey
from nettop.ui.palette import Palette
from nettop.ui.theme import FALLBACK
from nettop.ui.widgets.column_titles import fitted, titles
from nettop.ui.widgets.painter import draw_header

FLOWS = [c for c in FlowTable.columns if c.key in (*FlowTable.default_columns, "bytes")]


def header(columns: list[Column], width: int, *sort: SortKey) -> str:
    _, layout = fitted(columns, width - 1, sort)
    return draw_header(layout, sort, width, Palette(FALLBACK)).text


@pytest.mark.parametrize("width", [80, 100, 120, 140, 160, 200])
@pytest.mark.parametrize("first", [c.key for c in FLOWS if c.sortable])
@pytest.mark.parametrize("second", ["rate", "bytes", "up"])
def test_flows_sorted_by_two_columns_have_a_blank_between_all_titles(width: int, first: str, second: str) -> None:
    said = header(FLOWS, width, SortKey(first), SortKey(second))
    shown = [c.title for c in FLOWS if c.title in said]
    assert len(said) == width
    for word in said.replace("REPLY TO", "REPLY_TO").rstrip(" ›").split():
        assert sum(word.rstrip("▼▲¹²").replace("_", " ") == title for title in shown) == 1, said


def test_bytes_beside_a_rate_sorted_by() -> None:
    columns = [Column("rate", "RATE", 6, right=True), Column("bytes", "BYTES", 6, right=True)]
    assert header(columns, 16, SortKey("bytes"), SortKey("rate")).split() == ["RATE▼²", "BYTES▼¹"]


def test_a_second_key_that_is_not_shown_is_told_by_the_number_of_the_first() -> None:
    columns = [Column("state", "STATE", 11), Column("rate", "RATE", 8, right=True)]
    assert header(columns, 40, SortKey("state", False), SortKey("bytes")).split() == ["STATE▲¹", "RATE"]


columns = st.lists(
    st.builds(
        lambda title, more, right, key: Column(key, title, len(title) + more, right=right),
        st.text("ABC", min_size=1, max_size=6),
        st.integers(0, 3),
        st.booleans(),
        st.integers(0, 10**9).map(str),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda c: c.key,
)


@given(columns, st.integers(20, 120), st.data())
def test_titles_stand_apart_whatever_is_sorted_by(found: list[Column], width: int, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from([c.key for c in found]), max_size=2, unique=True))
    sort = tuple(SortKey(key, data.draw(st.booleans())) for key in keys)
    _, layout = fitted(found, width, sort)
    x = 0
    for place, title in zip(layout.placed, titles(layout, sort), strict=True):
        assert title.x > x - 1 and title.x >= place.x and title.text.startswith(place.column.title)
        assert title.x + cell_len(title.text) <= place.x + place.width + 1
        assert title.marked == (place.column.key in keys) == (title.text[len(place.column.title) :] != "")
        x = title.x + cell_len(title.text) + 1
