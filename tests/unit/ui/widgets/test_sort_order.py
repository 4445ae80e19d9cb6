"""Orders by two columns, chosen one after the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.model.table import Column, SortKey
from nettop.ui.widgets.sort_order import Sort, first_by, mark, then_by

COLUMNS = [Column(key, key.upper(), 5, right=key > "c") for key in "abcdef"]
choices = st.lists(st.tuples(st.sampled_from(COLUMNS), st.booleans()), max_size=12)


@given(choices)
def test_there_are_never_more_than_two_and_never_one_twice(chosen: list[tuple[Column, bool]]) -> None:
    sort: Sort = ()
    for column, then in chosen:
        before = sort
        sort = (then_by if then else first_by)(sort, column)
        assert 1 <= len(sort) <= 2 and len({key.key for key in sort}) == len(sort)
        assert column.key in [key.key for key in sort]
        if then and before and before[0].key != column.key:
            assert sort[0] == before[0], "the first one stays"
        elif not then:
            assert sort[0].key == column.key


def test_the_same_again_turns_round_and_numbers_begin_with_the_largest() -> None:
    name, size = COLUMNS[0], COLUMNS[5]
    assert first_by((), size) == (SortKey("f", True),)
    assert first_by((), name) == (SortKey("a", False),)
    assert first_by((SortKey("f"), SortKey("a")), size) == (SortKey("f", False), SortKey("a"))
    assert then_by((SortKey("f"), SortKey("a", False)), name) == (SortKey("f"), SortKey("a", True))


def test_marks_are_numbered_where_there_are_two_shown_or_not() -> None:
    sort = (SortKey("a"), SortKey("b", False))
    assert (mark("a", sort), mark("b", sort), mark("c", sort)) == ("▼¹", "▲²", "")
    assert mark("a", sort[:1]) == "▼"
