"""The saved state of a view that is a table."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.ui.panes.grouping import GroupingState
from nettop.ui.widgets.table_state import TableState


@dataclass(frozen=True, slots=True)
class ViewState:
    """The state of a view at one time, to return to it."""

    tables: tuple[TableState, ...]
    child_in_front: bool
    grouping: GroupingState | None
    opened: int | None = None  # the row whose detail is open
    in_detail: bool = False  # keys go to the detail
    front: str = ""  # of several tables in the same place, the view of the one that is shown
