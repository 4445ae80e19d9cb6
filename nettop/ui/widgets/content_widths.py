"""The widths of columns follow the texts shown: none is wider than its longest text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.cells import cell_len

from nettop.model.table import Column, Row, Snapshot
from nettop.ui.widgets.column_layout import line_width, min_width

_KEPT_RANK = 3  # columns up to this rank come before a column that is shown whole


class ContentWidths:
    """The longest text of each column that grows. It becomes longer only, until `restart`: columns do not jitter."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._longest: dict[str, int] = {}
        self._stale = False  # of rows that are no longer shown: the next snapshot's replace them

    def restart(self) -> None:
        """Measure again: other rows are shown from the next snapshot on."""
        self._stale = True

    def add(self, snapshot: Snapshot) -> bool:
        """Measure the rows of a snapshot. Return True if a width has changed."""
        if not snapshot.rows:
            return False
        found = {} if self._stale else dict(self._longest)
        keys = snapshot.spec.columns
        growing = [(at, key) for at, key in enumerate(keys) if key in self._columns and self._columns[key].grow]
        for row in snapshot.rows:
            last = _last_text(row)
            for at, key in growing:
                if at < last or at == len(keys) - 1:
                    found[key] = max(found.get(key, 0), cell_len(row.cells[at]))
        changed = found != self._longest
        self._longest, self._stale = found, False
        return changed

    def sized(self, columns: Sequence[Column], width: int) -> list[Column]:
        """Return the columns for a line of `width` cells."""
        found = list(columns)
        for at, column in enumerate(columns):
            if column.key in self._longest:
                found[at] = self._sized(column, [*found[:at], *found[at + 1 :]], width)
        return found

    def _sized(self, column: Column, others: Sequence[Column], width: int) -> Column:
        longest = max(min_width(column), self._longest[column.key])
        longest = min(longest, column.max_width or longest)
        least = column.width
        if column.whole:
            room = width - line_width([other for other in others if other.rank <= _KEPT_RANK], 1) - 1
            least = max(least, min(longest, room, column.preferred_width or longest))
        preferred = min(column.preferred_width, longest)
        return replace(column, width=least, preferred_width=preferred, max_width=max(least, longest))


def _last_text(row: Row) -> int:
    """Return the index of the last cell with a text: it may extend over the empty ones after it."""
    return max((at for at, text in enumerate(row.cells) if text), default=-1)
