"""Sort orders by one or two columns: the new order after a choice. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.table import Column, SortKey

DESCENDING, ASCENDING = "▼", "▲"
_POSITIONS = "¹²"

Sort = tuple[SortKey, ...]


def first_by(sort: Sort, column: Column) -> Sort:
    """Sort by this column first; the same column again reverses it. The previous first column breaks ties."""
    rest = tuple(key for key in sort if key.key != column.key)[:1]
    return (_key(column, sort[:1]), *rest)


def then_by(sort: Sort, column: Column) -> Sort:
    """Break ties by this column; the same column again reverses it. Without a first column it becomes the first."""
    if not sort or sort[0].key == column.key:
        return first_by(sort, column)
    return (sort[0], _key(column, sort[1:]))


def _key(column: Column, current: Sort) -> SortKey:
    """Return the key that replaces `current` (one key or none): reversed if it is of the same column."""
    same = bool(current) and current[0].key == column.key
    return SortKey(column.key, not current[0].descending if same else column.right)


def mark(key: str, sort: Sequence[SortKey]) -> str:
    """Return `▼` or `▲` for a sort column, with two of them `▼¹` and `▲²` (also if one is not shown); else ""."""
    keys = [part.key for part in sort]
    if key not in keys:
        return ""
    position = keys.index(key)
    arrow = DESCENDING if sort[position].descending else ASCENDING
    return arrow + (_POSITIONS[position : position + 1] if len(keys) > 1 else "")
