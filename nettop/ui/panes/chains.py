"""The view of chains: the matrix of hooks and priorities, or a list, above the rules of the chain under the cursor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from textual.app import ComposeResult

from nettop.ui.panes.pane import PaneHost, ViewDef
from nettop.ui.panes.table_view import TableView, ViewState
from nettop.ui.widgets.matrix import MatrixTable
from nettop.ui.widgets.table import Table


class ChainsView(TableView):
    """Chains as a matrix or as a list, and their rules."""

    def __init__(self, definition: ViewDef, host: PaneHost) -> None:
        super().__init__(definition, host)
        self.matrix: MatrixTable | None = None
        self._other: Table | None = None  # of matrix and list, the one that is not shown
        if "matrix" in self.session.views:
            self.matrix = MatrixTable("matrix", self.session, self.post)
            self.matrix.filter_kind, self.matrix.advice = self.table.filter_kind, self.table.advice
            self.matrix.viewport.has_child = True
            self._other = self.matrix
            self._swap()

    def compose(self) -> ComposeResult:
        """Yield matrix and list, then what is below."""
        yield from self._hidden()
        yield from super().compose()

    def _hidden(self) -> Iterator[Table]:
        if self._other is not None:
            yield self._other

    @property
    def kind(self) -> str:
        """The view's name, or `matrix` while that has the cursor."""
        return "matrix" if self.table is self.matrix and not self.child_in_front else self.definition.name

    @property
    def state(self) -> ViewState:
        """The state of the view for `restore`."""
        return replace(super().state, front=self.table.view)

    def restore(self, state: ViewState) -> None:
        """Show again what was shown in this state."""
        if state.front != self.table.view:
            self._swap()
        super().restore(state)

    def toggle(self) -> None:
        """Show the list instead of the matrix, or the matrix again, with the cursor on the same chain."""
        row = self.table.current
        self._swap()
        self.table.ask()
        if row is not None:
            self.table.seek(row.ident)
        self.lay_out()
        self.focus_something()
        self.post_message(self.Changed())

    def _swap(self) -> None:
        if self._other is not None:
            self.table, self._other = self._other, self.table
            if self.child is not None:
                self.child.parent = self.table

    def start_over(self) -> None:
        """Go back to the first chain: another namespace is watched."""
        for table in self._hidden():
            table.start_over()
        super().start_over()

    def lay_out(self) -> None:
        """Show and size the parts for this screen."""
        for table in self._hidden():
            table.display = False
        super().lay_out()


def shown_matrix(screen: Any) -> MatrixTable:
    """Return the matrix on the screen, for its commands."""
    assert isinstance(screen.view, ChainsView) and screen.view.matrix is not None
    return screen.view.matrix
