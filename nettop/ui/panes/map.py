"""The view of the map: the tree of namespaces and devices, its drawing, and lists of what a namespace has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal

from nettop.model.findings import Finding
from nettop.model.map.idents import is_namespace, same_namespace
from nettop.model.map.lists import LISTS
from nettop.model.map.route_path import RouteDetail
from nettop.model.map.table import MapSnapshot
from nettop.model.map_findings.findings import where
from nettop.model.table import Detail, Line
from nettop.session.status import Status
from nettop.ui.panes.pane import PaneHost, ViewDef, ViewState
from nettop.ui.panes.table_view import TableView
from nettop.ui.widgets.bar_lines import title_line
from nettop.ui.widgets.map_drawing import DrawingTable
from nettop.ui.widgets.map_tree import MapTree
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.table import Table
from nettop.ui.widgets.text_panes import TextPane

WIDE = 140  # cells from which tree and drawing are side by side


class _TreeAndDrawing(Horizontal, Covered):
    """Tree and drawing."""

    DEFAULT_CSS = """
    _TreeAndDrawing { height: 1fr; width: 1fr; }
    _TreeAndDrawing MapTree { width: 11fr; }
    _TreeAndDrawing DrawingTable { width: 9fr; }
    """


class MapView(TableView):
    """Tree, drawing, or both; below them the detail of a row, or the list of its addresses, routes, …."""

    def __init__(self, definition: ViewDef, host: PaneHost) -> None:
        super().__init__(definition, host)
        self.drawing = DrawingTable("drawing", self.session, self.post)
        self.drawing.filter_kind = definition.filter_kind
        self.lists = self._make_table("lists", definition.filter_kind)
        self.list_title = TextPane(surface="background")
        self.upper = _TreeAndDrawing(self.table, self.drawing)
        self.findings = TextPane(surface="background")
        self.listed = ""  # one of LISTS, which is open; "": none
        self._hidden: Table | None = None  # tree or drawing; None: both are shown, or on a narrow screen the tree
        self._front: Table = self.table

    def _make_table(self, name: str, kind: str, can_follow: bool = False) -> Table:
        table = super()._make_table(name, kind, can_follow)
        if name == self.definition.name:
            tree = MapTree(name, self.session, self.post)
            tree.filter_kind, tree.advice = table.filter_kind, table.advice
            return tree
        return table

    def compose(self) -> ComposeResult:
        """Yield the parts, from top to bottom."""
        yield from (self.upper, self.totals, self.findings, self.list_title, self.lists, self.detail)

    @property
    def tables(self) -> list[Table]:
        """Tree, drawing and list."""
        return [self.table, self.drawing, self.lists]

    @property
    def active(self) -> Table:
        """The table that commands act on."""
        return self._front

    @property
    def pointing(self) -> Table:
        """The table whose cursor is on a device or a namespace: not a list."""
        upper = self.drawing if self._hidden is self.table else self.table
        return upper if self._front is self.lists else self._front

    @property
    def depth(self) -> int:
        """The number of what can be left: a list and a route are two of them."""
        return bool(self.listed) + bool(self.drawing.lit) + super().depth

    @property
    def state(self) -> ViewState:
        """The state of the view for `restore`."""
        return replace(super().state, front=" ".join((self._front.view, self.listed)))

    def restore(self, state: ViewState) -> None:
        """Show again what was shown in this state."""
        front, _, self.listed = state.front.partition(" ")
        self._front = next(table for table in self.tables if table.view == front)
        self.lists.options = replace(self.lists.options, group=self.listed or LISTS[0])
        super().restore(state)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Let commands act on the table that has the focus."""
        if isinstance(event.widget, Table) and event.widget is not self._front:
            self._front = event.widget
            self.post_message(self.Changed())

    def toggle_drawing(self) -> None:
        """Show the drawing instead of the tree; on a wide screen both, then one of them."""
        wide = self.app.size.width >= WIDE
        order = (None, self.table, self.drawing) if wide else (None, self.table)
        hidden = self._hidden if wide else self.table if self._hidden is self.table else None
        self._hidden = order[(order.index(hidden) + 1) % len(order)]
        self._bring(self.drawing if self._hidden is self.table else self.table)

    def open_list(self, what: str) -> None:
        """Open this list of the row under the cursor; again, close it."""
        if self.listed == what:
            self.back()
            return
        self._close()
        self.listed = what
        self.lists.options = replace(self.lists.options, group=what)
        self.lists.filter = None
        row = self.pointing.current
        self.lists.scope = None if row is None else row.ident
        self.lists.change()
        self._bring(self.lists)

    def _bring(self, front: Table) -> None:
        """Put the focus on a table, with the cursor on the same row."""
        row = self._front.current
        if row is not None and self.lists not in (front, self._front):
            front.seek(row.ident)
        self._front = front
        self.lay_out()
        front.ask()
        self.focus_something()
        self.post_message(self.Changed())

    def open_row(self) -> None:
        """Open the detail of a device (Enter); enter a namespace."""
        row = self.active.current
        if row is None or self._front is self.lists or not is_namespace(row.ident):
            self.open_detail()
        elif not self._open:
            self.call_later(self.screen.run_action, "command('enter_namespace')")

    def back(self) -> None:
        """Go one step out (Esc): close the detail, clear the filter of the list, close the list, clear the route."""
        if self.listed and not self._open and (self._front is not self.lists or self.lists.filter is None):
            self.listed = ""
            self._bring(self.table if self._hidden is not self.table else self.drawing)
        elif self.drawing.lit and not self._open and self.active.filter is None:
            self.drawing.light(frozenset())
        else:
            super().back()

    def next_hit(self, step: int) -> None:
        """Go to the next device that the drawing's filter finds, or (-1) to the one before."""
        self.drawing.next_found(step)

    def show_answer(self, answer: Detail) -> None:
        """Show what was asked, in place of the detail, until the cursor moves. Esc ends its light in the drawing."""
        self.drawing.light(answer.path if isinstance(answer, RouteDetail) else frozenset())
        self.open_detail()
        self.detail.show_answer(answer)

    def show_row(self, ident: int) -> None:
        """Go to this device or namespace: unfold what hides it, and clear the filter."""
        self._close()
        self.listed, self._hidden = "", None
        self.table.filter = None
        toggled = frozenset(one for one in self.table.options.toggled if not same_namespace(one, ident))
        self.table.options = replace(self.table.options, toggled=toggled)
        self.table.seek(ident)
        self._front = self.table
        if self.is_mounted:
            self.lay_out()
            self.focus_something()

    def tick(self, status: Status, paused: bool) -> None:
        """Keep the map live where the shown namespace is gone."""
        super().tick(replace(status, mode="LIVE") if status.mode == "GONE" else status, paused)

    def _close(self) -> None:
        super()._close()
        for table in self.tables:
            table.viewport.pin(False)

    def start_over(self) -> None:
        """Go to the namespace that is shown now; the filter stays."""
        self.listed = ""
        self.drawing.light(frozenset())  # idents of another map
        super().start_over()

    def lay_out(self) -> None:
        """Show and size the parts for this screen."""
        super().lay_out()
        small, wide = self._small(), self.app.size.width >= WIDE
        self.lists.display = self.list_title.display = bool(self.listed) and not self._open
        upper = not (small and (self._open or self.listed))
        self.upper.display = self.totals.display = upper
        self.drawing.display = self._hidden is not self.drawing and (wide or self._hidden is self.table)
        self.table.display = self._hidden is not self.table
        self.lists.styles.height = "1fr" if small else max(6, self.size.height // 3)
        if not self._front.display and not self._open:
            self._front = next(table for table in (self.lists, self.table, self.drawing) if table.display)

    def on_table_moved(self, message: Table.Moved) -> None:
        """Show the same device in tree, drawing, list and detail."""
        message.prevent_default()  # Textual would call the handler of TableView, too
        row = message.table.current
        if message.table is self._front and row is not None and self._front is not self.lists:
            for other in (self.table, self.drawing):
                if other is not self._front and other.display and other.viewport.ident != row.ident:
                    other.seek(row.ident)
            if self.listed:
                self.lists.set_scope(row.ident)
        super().on_table_moved(message)

    def on_table_arrived(self, message: Table.Arrived) -> None:
        """Write the totals, or the title of the list."""
        message.prevent_default()
        if isinstance(message.snapshot, MapSnapshot):
            self._show_findings(message.snapshot.findings)
        if message.table is not self.lists:
            super().on_table_arrived(message)
            return
        message.stop()
        self.list_title.write([title_line(message.snapshot.totals, self.app.size.width)])

    def _show_findings(self, found: Sequence[Finding]) -> None:
        found = () if self._small() or self._open or self.listed else found
        self.findings.display = bool(found)
        self.findings.styles.height = len(found)
        self.findings.write([_finding_line(one) for one in found])


def _finding_line(found: Finding) -> Line:
    """Return ` ! vm4 @ gw-a   the sentence   evidence: …`."""
    evidence = f"   evidence: {found.evidence[0]}" if found.evidence else ""
    return ((" ! ", "warn"), (where(found), "accent"), (f"   {found.summary}", ""), (evidence, "dim"))
