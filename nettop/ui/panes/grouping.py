"""The groups of a view: by what, their table, and the group that was opened. The table of rows stays beside it."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.model.filter.expression import Filter, parse
from nettop.model.table import Line
from nettop.ui.widgets.table import Table


@dataclass(frozen=True, slots=True)
class Grouped:
    """How a view was grouped, to come back to it."""

    by: str | None
    opened: str
    base: Filter | None
    wanted: Filter | None


class Grouping:
    """Which of two tables is in front: groups, or rows (all of them, or those of one group)."""

    def __init__(self, rows: Table, groups: Table, kind: str) -> None:
        self.rows, self.groups = rows, groups
        self._kind = kind  # of the filter
        self.by: str | None = None
        self.opened = ""  # the name of the group whose rows are shown
        self._wanted: Filter | None = None  # the filter of that group

    @property
    def in_front(self) -> bool:
        """Whether the groups are shown, not the rows."""
        return self.by is not None and not self.opened

    @property
    def base(self) -> Filter | None:
        """The filter without that of the opened group."""
        return self.rows.filter if self.by is None else self.groups.filter

    def group(self, by: str | None) -> None:
        """Group by this; None shows the rows again, with the same filter."""
        base = self.base
        if by is None:
            if self.rows.filter is not base:
                self.rows.set_filter(base)
        else:
            self.groups.set_group(by, title_of(by))
            self.groups.filter = base
            self.groups.change()
        self.by, self.opened = by, ""

    def open(self, name: str, text: str) -> None:
        """Show the rows that this filter selects: one group's. NettopError when it is not understood."""
        self._wanted = parse(text, self._kind)
        self.rows.set_filter(self._wanted)
        self.opened = name.strip() or "–"

    @property
    def said(self) -> Filter | None:
        """The filter to name beside the group: its own goes without saying."""
        return self.base if self.opened and self.rows.filter is self._wanted else self.front.filter

    @property
    def front(self) -> Table:
        """The table that is shown."""
        return self.groups if self.in_front else self.rows

    def leave(self) -> None:
        """Back to the groups; they stand where they stood."""
        self.opened = ""
        self.groups.ask()

    @property
    def place(self) -> Grouped:
        """To come back to."""
        return Grouped(self.by, self.opened, self.groups.filter, self._wanted)

    def return_to(self, place: Grouped) -> None:
        """Group as it was there; the tables' own places are set by others."""
        self.by, self.opened, self._wanted = place.by, place.opened, place.wanted
        self.groups.set_group(place.by, "" if place.by is None else title_of(place.by))
        self.groups.filter = place.base

    def words(self) -> Line:
        """`by source`, `by source ▸ 10.0.0.1`; nothing where there are no groups."""
        if self.by is None:
            return ()
        line: Line = (("by ", "dim"), (title_of(self.by).lower(), "accent"))
        return (*line, (" ▸ ", "dim"), (self.opened, "accent")) if self.opened else line


def title_of(by: str) -> str:
    """What a grouping is called."""
    from nettop.model.flow_groups.table import GROUPS

    return GROUPS.get(by, by)
