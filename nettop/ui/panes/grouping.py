"""Groups of a view: the grouping key, the table of groups, and the group that is open. The table of rows is kept."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.model.filter.expression import Filter, parse
from nettop.model.table import Line
from nettop.ui.widgets.table import Table


@dataclass(frozen=True, slots=True)
class GroupingState:
    """The grouping of a view at one time, to return to it."""

    by: str | None
    opened: str
    base: Filter | None
    group_filter: Filter | None


class Grouping:
    """Two tables of which one is shown: groups, or rows (all of them, or those of one group)."""

    def __init__(self, rows: Table, groups: Table, kind: str) -> None:
        self.rows, self.groups = rows, groups
        self._kind = kind  # of the filter
        self.by: str | None = None  # key of GROUPS; None: not grouped
        self.opened = ""  # the name of the group whose rows are shown
        self._group_filter: Filter | None = None  # selects those rows

    @property
    def in_front(self) -> bool:
        """True while the groups are shown, not the rows."""
        return self.by is not None and not self.opened

    @property
    def base(self) -> Filter | None:
        """The display filter without the filter of the open group."""
        return self.rows.filter if self.by is None else self.groups.filter

    def group(self, by: str | None) -> None:
        """Group by this key; None shows the rows again, with the same filter."""
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
        """Show the rows of the group `name`, which the filter `text` selects. FilterError when it does not parse."""
        self._group_filter = parse(text, self._kind)
        self.rows.set_filter(self._group_filter)
        self.opened = name.strip() or "–"

    @property
    def named_filter(self) -> Filter | None:
        """The filter to show next to the name of the group, which stands for the group's own filter."""
        return self.base if self.opened and self.rows.filter is self._group_filter else self.front.filter

    @property
    def front(self) -> Table:
        """The table that is shown."""
        return self.groups if self.in_front else self.rows

    def leave(self) -> None:
        """Go back to the groups, at the position they had."""
        self.opened = ""
        self.groups.ask()

    @property
    def state(self) -> GroupingState:
        """The grouping as it is now."""
        return GroupingState(self.by, self.opened, self.groups.filter, self._group_filter)

    def restore(self, state: GroupingState) -> None:
        """Restore this grouping; the caller restores the tables."""
        self.by, self.opened, self._group_filter = state.by, state.opened, state.group_filter
        self.groups.set_group(state.by, "" if state.by is None else title_of(state.by))
        self.groups.filter = state.base

    def label(self) -> Line:
        """Return `by source`, or in a group `by source ▸ 10.0.0.1`; () when not grouped."""
        if self.by is None:
            return ()
        line: Line = (("by ", "key"), (title_of(self.by).lower(), "accent"))
        return (*line, (" ▸ ", "dim"), (self.opened, "accent")) if self.opened else line


def title_of(by: str) -> str:
    """Return the title of a grouping key."""
    from nettop.model.flow_groups.table import GROUPS

    return GROUPS.get(by, by)
