"""The tree of the map: a table in which ← folds and → unfolds what is below the row."""

from __future__ import annotations

from nettop.model.map.rows import FOLDED
from nettop.ui.widgets.table import Table


class MapTree(Table):
    """The tree of the map. ← on a row that does not fold goes to the row above in the tree; → scrolls sideways."""

    def action_move(self, where: str) -> None:
        """Move the cursor by one of the keys of MOVES, fold and unfold."""
        row = self.current
        if row is None or row.link is None or where not in ("left", "right"):
            super().action_move(where)
            return
        folds, folded = row.link == row.ident, FOLDED in row.cells[0]
        if folds and folded == (where == "right"):
            self.set_options(toggled=self.options.toggled ^ {row.ident})
        elif where == "left" and not folds:
            self.seek(row.link)
        else:
            super().action_move(where)
