"""Orders by two columns: what a first and a second choice make of the present one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.table import Column, SortKey

DESCENDING, ASCENDING = "▼", "▲"
_PLACES = "¹²"

Sort = tuple[SortKey, ...]


def first_by(sort: Sort, column: Column) -> Sort:
    """By this column first; the same again turns it round. The one sorted by before breaks ties."""
    now = sort[0] if sort else None
    descending = not now.descending if now is not None and now.key == column.key else column.right
    rest = tuple(key for key in sort if key.key != column.key)[:1]
    return (SortKey(column.key, descending), *rest)


def then_by(sort: Sort, column: Column) -> Sort:
    """Ties broken by this column; the same again turns it round. Without a first one it is the first."""
    if not sort or sort[0].key == column.key:
        return first_by(sort, column)
    now = sort[1] if len(sort) > 1 else None
    descending = not now.descending if now is not None and now.key == column.key else column.right
    return (sort[0], SortKey(column.key, descending))


def mark(key: str, sort: Sequence[SortKey]) -> str:
    """`▼` or `▲` for the column that is sorted by, `▼¹` and `▲²` for two, also where one is not shown; else ""."""
    places = [wanted.key for wanted in sort]
    if key not in places:
        return ""
    arrow = DESCENDING if sort[places.index(key)].descending else ASCENDING
    return arrow + (_PLACES[places.index(key) : places.index(key) + 1] if len(places) > 1 else "")
