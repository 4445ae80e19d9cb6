"""The line below a table: its totals, its notes, and whether it follows."""

from __future__ import annotations

from nettop.model.table import Line, Snapshot
from nettop.ui.strips import spread
from nettop.ui.widgets.table import Table


def totals_line(table: Table, snapshot: Snapshot, width: int) -> Line:
    """Return the totals of a snapshot at the left, its notes and FOLLOW at the right."""
    right: Line = ()
    if snapshot.matched and snapshot.notes:
        right = tuple(part for note in snapshot.notes for part in (*note, ("  ", "")))
        if snapshot.spec.sort and table.viewport.anchored and not table.viewport.pinned:
            right = (*right, ("g ", "key"), ("live ", "dim"))
    if table.viewport.follow or table.viewport.tracking:
        right = (*right, ("FOLLOW ▼ " if table.viewport.follow else "FOLLOW ▶ ", "key"))
    return tuple(spread(((" ", ""), *snapshot.totals), right, width))
