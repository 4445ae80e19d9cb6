"""A view that is a table with its totals and its detail; some have groups, a child table or a timeline."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from nettop.model.table import Detail, GroupDetail, Line, Row, Snapshot
from nettop.session.status import Status
from nettop.ui.panes.child import ChildTable
from nettop.ui.panes.detail import DetailPane
from nettop.ui.panes.grouping import Grouping
from nettop.ui.panes.pane import Pane, PaneHost, ViewDef, ViewState
from nettop.ui.strips import keys_line, spread
from nettop.ui.widgets.painter import row_text
from nettop.ui.widgets.table import Table
from nettop.ui.widgets.text_panes import AccountingOffer, TextPane
from nettop.ui.widgets.timeline import TALL, Timeline

# The text of an empty table in a mode in which no more data can come.
_ENDED = {
    "GONE": (
        (("Nothing here, and nothing will come: the namespace is gone.", "heading"),),
        keys_line("", "@", " watches another namespace."),
    ),
    "ENDED": (
        (("Nothing here, and nothing will come: nettop's broker has ended.", "heading"),),
        keys_line("Start nettop again: ", "q", " leaves."),
    ),
}


class TableView(Pane):
    """A table with its totals and a detail pane, and if the view has them, groups, a child table or a timeline."""

    def __init__(self, definition: ViewDef, host: PaneHost) -> None:
        super().__init__(definition, host)
        session, post = host.session, host.post
        kind, tables = definition.filter_kind, session.views
        self.table = self._make_table(definition.name, kind, definition.can_follow)
        self.grouping: Grouping | None = None
        if definition.groups in tables:
            self.grouping = Grouping(self.table, self._make_table(definition.groups, kind), kind)
        self.child: ChildTable | None = None
        if definition.child in tables:
            self.table.viewport.has_child = True
            self.child = ChildTable(self.table, self._make_table(definition.child, definition.child_filter_kind))
        self.timeline = Timeline(session, post) if definition.timeline else None
        self.facts = TextPane()  # of the running capture or trace
        self.offer = AccountingOffer() if definition.offers_accounting else None
        self.totals = TextPane()
        self.detail = DetailPane(definition.name, session, post)
        self._open = False  # the detail is shown
        if definition.can_follow and (host.live or definition.name != "packets"):
            self.table.viewport.go_follow()

    def _make_table(self, name: str, kind: str, can_follow: bool = False) -> Table:
        table = Table(name, self.session, self.post, can_follow=can_follow)
        table.filter_kind = kind
        table.advice = self.definition.advice if self.host.live else self.definition.replay_advice
        return table

    def compose(self) -> ComposeResult:
        """Yield the parts of this view, from top to bottom."""
        groups = None if self.grouping is None else self.grouping.groups
        child = () if self.child is None else (self.child.title, self.child.table, self.child.full)
        parts = (self.timeline, self.facts, self.table, groups, *child, self.offer, self.totals, self.detail)
        yield from (part for part in parts if part is not None)

    def on_mount(self) -> None:
        """Lay the parts out."""
        self.lay_out()

    def on_resize(self) -> None:
        """Lay the parts out for the new size."""
        self.lay_out()

    @property
    def tables(self) -> list[Table]:
        """The table, and if there are any its groups and its child."""
        groups = None if self.grouping is None else self.grouping.groups
        child = None if self.child is None else self.child.table
        return [table for table in (self.table, groups, child) if table is not None]

    @property
    def in_groups(self) -> bool:
        """True while groups are shown, not rows."""
        return self.grouping is not None and self.grouping.in_front

    @property
    def kind(self) -> str:
        """The view's name, or that of its groups while they are shown."""
        return self.definition.groups if self.in_groups else self.definition.name

    @property
    def child_in_front(self) -> bool:
        """True while commands are about the child, not about the table above."""
        return self.child is not None and self.child.in_front

    @property
    def active(self) -> Table:
        """The table that commands act on."""
        if self.grouping is not None:
            return self.grouping.front
        return self.child.table if self.child is not None and self.child.in_front else self.table

    @property
    def is_open(self) -> bool:
        """True while the detail of a row is open."""
        return self._open

    @property
    def reading(self) -> bool:
        """True while a detail is open that is not a tree (in a tree Enter folds and unfolds)."""
        return self._open and not self.detail.has_tree

    @property
    def depth(self) -> int:
        """The number of what can be left: a detail, a group, a filter, a grouping, a child, the offer of accounting."""
        offered = self.offer is not None and self.offer.display
        in_group = self.grouping is not None and bool(self.grouping.opened)
        filtered = self.active.filter is not None
        return sum((self._open, filtered, self.in_groups, self.child_in_front, offered, in_group))

    @property
    def filters(self) -> Line:
        """Grouping and filters: `by source   / host 10.0.0.1`; a child's filter is `rules / verdict drop`."""
        line: list[tuple[str, str]] = [] if self.grouping is None else [*self.grouping.label()]
        own = self.grouping and [(self.table, self.grouping.named_filter)]
        for table, display_filter in own or [(table, table.filter) for table in self.tables]:
            if display_filter is not None:
                name = ("   " if line else "") + ("" if table is self.table else f"{table.view} ")
                line += [(name, "dim"), ("/ ", "key"), (display_filter.text, "accent")]
        return tuple(line)

    @property
    def state(self) -> ViewState:
        """The state of the view for `restore`."""
        grouping = None if self.grouping is None else self.grouping.state
        row = self.active.current if self._open and not self.detail.answers else None
        opened, in_detail = None if row is None else row.ident, self.screen.focused is self.detail.body
        return ViewState(tuple(table.state for table in self.tables), self.child_in_front, grouping, opened, in_detail)

    def restore(self, state: ViewState) -> None:
        """Show again what was shown in this state."""
        self._close()
        if self.child is not None:
            self.child.in_front = state.child_in_front
        if self.grouping is not None and state.grouping is not None:
            self.grouping.restore(state.grouping)
        for table, table_state in zip(self.tables, state.tables, strict=True):
            table.restore(table_state)
        if state.opened is not None:
            self._open = self.active.viewport.pinned = True
        self.lay_out()
        self.focus_something()
        if state.opened is not None:
            self.detail.show(self.active.view, state.opened)
            if state.in_detail:
                self.screen.set_focus(self.detail.body)

    def tick(self, status: Status, paused: bool) -> None:
        """Show the running capture, the offer of accounting, and the end of the data; request what is on the screen."""
        goes_on = status.others and self.definition.all_namespaces
        for table in self.tables:
            table.paused = paused
            table.end(() if goes_on else _ENDED.get(status.mode, ()))
        facts = () if self.definition.facts is None else self.definition.facts(status, self.app.size.width)
        self.facts.styles.height = len(facts)
        self.facts.write(facts)
        if self.offer is not None:
            self.offer.show(status, self.table.viewport.matched)
        if not paused:
            self._request()

    def _request(self) -> None:
        requested = [table.tick() for table in self.tables if table.display]
        if self._open and (any(requested) or not requested):
            self.detail.request()
        if self.timeline is not None:
            self.timeline.tick()

    def open_row(self) -> None:
        """Open the group, the child or the detail of the row; in a packet's tree, fold or unfold (Enter)."""
        if self.in_groups:
            self._open_group()
        elif self._open and self.screen.focused is self.detail.body:
            self.detail.body.fold()
        elif self.child is not None and not self.child.in_front:
            self.child.in_front = True
            self.lay_out()
            self.screen.set_focus(self.child.table)
        elif self._open or self.active.current is None or not self._follow_link(self.active.current):
            self.open_detail()

    def open_detail(self) -> None:
        """Open the detail of the row."""
        if self.active.current is not None and not self._open:
            self._open = True
            self.active.viewport.pin(True)
            self.lay_out()
            self.focus_something()
            self.detail.show(self.active.view, self.active.current.ident)
            self.post_message(self.Changed())

    def _follow_link(self, row: Row) -> bool:
        """Go to the row that this one links to, or fold or unfold it. Return False if it has no link."""
        if row.link == row.ident:
            self.active.set_options(toggled=self.active.options.toggled ^ {row.ident})
        if row.link is not None:
            self.active.seek(row.link)
        return row.link is not None

    def back(self) -> None:
        """Go one step out (Esc): close the detail, leave the group, clear the filter, or ungroup."""
        if self._open:
            self._close()
        elif self.grouping is not None and self.grouping.opened:
            self.host.record_position()
            self.grouping.leave()
        elif self.active.filter is not None:
            self.host.record_position()
            self.active.set_filter(None)
            return
        elif self.in_groups:
            self.host.record_position()
            self.group_by(None)
            return
        elif self.child is not None and self.child.in_front:
            self.child.in_front = False
        else:
            if self.offer is not None and self.offer.display:
                self.offer.decline(self.session.status().netns)
            return
        self.lay_out()
        self.screen.set_focus(self.active)
        self.active.ask()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self.active.viewport.pin(False)
            self.post_message(self.Changed())

    def group_by(self, by: str | None) -> None:
        """Show groups instead of rows, or rows again."""
        if self.grouping is not None:
            self._close()
            self.grouping.group(by)
            self.lay_out()
            self.focus_something()

    def _open_group(self) -> None:
        """Show the rows of the group under the cursor, by the filter in its detail."""
        row = self.active.current
        if row is not None and self.grouping is not None:
            name, by = row.cells[0] if row.cells else "", self.grouping.by
            self.session.detail(self.active.view, row.ident, lambda found: self.post(self._on_group, name, by, found))

    def _on_group(self, name: str, by: str, found: Detail | None) -> None:
        grouping = self.grouping
        if grouping is None or not grouping.in_front or grouping.by != by or found is None or not self.is_attached:
            return  # its last flow has ended, and its row will go; or something else is shown by now
        if not isinstance(found, GroupDetail):
            self.app.notify("the filter is too long to be narrowed to a group", severity="warning")
            return
        self.host.record_position()
        grouping.open(name, found.filter)
        self.table.esc_text = "goes back to the groups"
        self.lay_out()
        self.focus_something()
        self.post_message(self.Changed())

    def start_over(self) -> None:
        """Go back to the top of the list: another namespace is watched."""
        self._open = False
        if self.child is not None:
            self.child.in_front = False
        self.detail.forget()
        if self.grouping is not None and self.grouping.opened:
            self.grouping.group(self.grouping.by)
        for table in self.tables:
            table.start_over()
        if self.display:
            self.lay_out()

    def copy_text(self) -> str:
        """Return the text that `y` copies: the open detail, or the row under the cursor."""
        if self._open and (text := self.detail.plain()):
            return text
        row, shown = self.active.current, self.active.viewport.shown
        return "" if row is None or shown is None else row_text(row, shown.snapshot.spec, self.active.info.columns)

    def _parts(self) -> list[Widget]:
        """Return the parts that Tab walks through."""
        child_too = self.child is not None and not self._open
        hidden = self._small() and self._open
        parts: list[Widget] = [t for t in self.tables if (t.display or child_too) and not hidden]
        if self._open:
            parts.append(self.detail.body)
            if self.detail.has_bytes:
                parts.append(self.detail.bytes)
        return parts

    def next_pane(self, step: int) -> None:
        """Focus the next part (Tab: step 1), or the one before (Shift-Tab: -1); a small screen shows only that part."""
        parts = self._parts()
        focused = self.screen.focused
        at = parts.index(focused) if focused in parts else -step
        part = parts[(at + step) % len(parts)]
        if self.child is not None and part in self.tables:
            self.child.in_front = part is self.child.table
        self.detail.bytes_in_front = part is self.detail.bytes
        self.lay_out()
        self.screen.set_focus(part)

    def focus_something(self) -> None:
        """Give the keyboard focus to the table, or to a detail that covers it."""
        small_open = self._open and self._small()
        self.screen.set_focus(self.detail.body if small_open else self.active)

    def _small(self) -> bool:
        return self.app.size.height < TALL

    def lay_out(self) -> None:
        """Show and size the parts for this screen."""
        small, height = self._small(), self.size.height
        lists = not (small and self._open)
        if self.child is not None:
            self._hide_child_of_empty_parent(self.child)
        alone = small and self.child is not None
        self.table.display = lists and not (alone and self.child_in_front) and not self.in_groups
        if self.grouping is not None:
            self.grouping.groups.display = lists and self.in_groups
        if self.child is not None:
            self.child.lay_out(lists, alone, height)
        self.totals.display = lists
        if self.timeline is not None:
            self.timeline.lay_out()
        self.detail.display = self._open
        large = max(9, height // 2 if self.definition.name in ("packets", "traces") else height // 3 + 1)
        self.detail.styles.height = "1fr" if small else large
        self.detail.lay_out()
        self.detail.write_title()

    def _hide_child_of_empty_parent(self, child: ChildTable) -> None:
        child.parent_empty = child.is_parent_empty()
        if child.parent_empty and child.in_front and not self._open:
            child.in_front = False
            if self.screen.focused is child.table:
                self.screen.set_focus(self.table)

    def on_table_moved(self, message: Table.Moved) -> None:
        """Show the rows and the detail that belong to the row now under the cursor."""
        message.stop()
        if message.table is self.table and self.child is not None:
            self.child.follow_parent()
        elif self.child is not None:
            self.child.write_full()
        if self._open and message.table is self.active and not message.table.lost:
            row = message.table.current
            self.detail.show(message.table.view, None if row is None else row.ident)

    def on_table_opened(self, message: Table.Opened) -> None:
        """Do what Enter does."""
        message.stop()
        self.open_row()

    def on_table_arrived(self, message: Table.Arrived) -> None:
        """Write the totals of the new snapshot, and give the child the room it leaves."""
        message.stop()
        table = message.table
        if table is self.active or (self.child is None and not self.grouping):
            self.totals.write([_totals_line(table, message.snapshot, self.app.size.width)])
        if table is self.table and self.child is not None:
            if self.child.parent_empty != self.child.is_parent_empty():
                self.lay_out()
            self.child.fit(self.size.height)
        elif self.child is not None:
            self.child.fit(self.size.height)
            self.child.write_full()


def _totals_line(table: Table, snapshot: Snapshot, width: int) -> Line:
    """Return the totals of a snapshot at the left, its notes and FOLLOW at the right."""
    notes = snapshot.notes if snapshot.matched else ()
    right = tuple(part for note in notes for part in (*note, ("  ", "")))
    if table.sort_paused and not table.viewport.pinned:
        right = (*right, ("g", "key"), (" resumes sorting ", "dim"))
    if table.viewport.follow or table.viewport.tracking:
        right = (*right, ("FOLLOW ▼ " if table.viewport.follow else "FOLLOW ▶ ", "key"))
    return tuple(spread(((" ", ""), *snapshot.totals), right, width))
