"""One view: its table (or groups), totals and detail, for Chains the rules below. What stands where at every size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget

from nettop.model.table import Detail, GroupDetail, Line, Row, Snapshot
from nettop.session.interface import Session
from nettop.session.status import Status
from nettop.text.sanitize import clean
from nettop.ui import strips as lines
from nettop.ui.panes.detail import DetailPane
from nettop.ui.panes.grouping import Grouped, Grouping
from nettop.ui.views import CHILD_ADVICE, ViewDef, ended_advice
from nettop.ui.widgets.bar_lines import capture_line, title_line
from nettop.ui.widgets.painter import described
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.table import Table, TablePlace
from nettop.ui.widgets.text_panes import Paper
from nettop.ui.widgets.timeline import TALL, Band


@dataclass(frozen=True, slots=True)
class ViewPlace:
    """What a view showed: enough to come back to it."""

    tables: tuple[TablePlace, ...]
    inside: bool
    grouped: Grouped | None


class Body(Vertical, Covered):
    """Holds the views."""


class View(Vertical, Covered):
    """A table with its totals, a detail pane, and where the view has such, groups or a child table.

    `leaving` is called before the view itself goes to another place (into a group).
    """

    DEFAULT_CSS = "View { height: 1fr; width: 1fr; }"

    class Changed(Message):
        """What is filtered or grouped by, or whether a detail is open, has changed."""

    def __init__(
        self,
        definition: ViewDef,
        session: Session,
        post: Post,
        live: bool = True,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(id=f"view-{definition.name}")
        self.definition = definition
        self.session = session
        self.post = post
        self._leaving = leaving
        name, child, groups = definition.name, definition.child, definition.groups
        self.table = Table(name, session, post, session.views[name], can_follow=definition.can_follow)
        self.table.advice = definition.advice if live else definition.replay_advice
        self.grouping: Grouping | None = None
        if groups in session.views:
            second = Table(groups, session, post, session.views[groups])
            second.advice = self.table.advice
            self.grouping = Grouping(self.table, second, definition.filter_kind)
        self.child = Table(child, session, post, session.views[child]) if child in session.views else None
        self.child_title = Paper(surface="background")
        self.band = Band(session, post) if definition.band else None
        self.capture = Paper() if definition.captures else None  # the one in force, said by stand()
        self.offer = Paper()  # said once: what could be switched on
        self.offer.display = False
        self.totals = Paper()
        self.detail = DetailPane(name, session, post)
        self.is_open = False  # the detail
        self.inside = False  # the child has (or would have) the screen
        self._bare = False  # the table is empty, and its child is not shown

    def compose(self) -> ComposeResult:
        if self.band is not None:
            yield self.band
        if self.capture is not None:
            yield self.capture
        yield self.table
        if self.grouping is not None:
            yield self.grouping.groups
        if self.child is not None:
            self.child.advice = CHILD_ADVICE
            yield self.child_title
            yield self.child
        yield self.offer
        yield self.totals
        yield self.detail

    def on_mount(self) -> None:
        self.place()

    def on_resize(self) -> None:
        self.place()

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def tables(self) -> list[Table]:
        """The table, its groups and its child, where there are such."""
        groups = None if self.grouping is None else self.grouping.groups
        return [table for table in (self.table, groups, self.child) if table is not None]

    @property
    def in_groups(self) -> bool:
        """Whether groups are shown, not rows."""
        return self.grouping is not None and self.grouping.in_front

    @property
    def active(self) -> Table:
        """The table that commands are about."""
        if self.grouping is not None:
            return self.grouping.front
        return self.child if self.child is not None and self.inside else self.table

    @property
    def filter_kind(self) -> str:
        """What model.filter.parse is told for the active table; "" where it takes no filter."""
        return self.definition.child_filter_kind if self.active is self.child else self.definition.filter_kind

    @property
    def filters(self) -> Line:
        """What is grouped and filtered by here: `by source   / host 10.0.0.1`, of a child `rules / verdict drop`."""
        said: list[tuple[str, str]] = [] if self.grouping is None else [*self.grouping.words()]
        tables = [(table, table.filter) for table in self.tables]
        for table, wanted in tables if self.grouping is None else [(self.table, self.grouping.said)]:
            if wanted is not None:
                of = f"{table.view} " if table is self.child else ""
                said += [(("   " if said else "") + of, "dim"), ("/ ", "key"), (clean(wanted.text), "accent")]
        return tuple(said)

    @property
    def standing(self) -> ViewPlace:
        """What is shown, to come back to."""
        grouped = None if self.grouping is None else self.grouping.place
        return ViewPlace(tuple(table.place for table in self.tables), self.inside, grouped)

    def return_to(self, place: ViewPlace) -> None:
        """Show again what was shown there."""
        self._close()
        self.inside = place.inside
        if self.grouping is not None and place.grouped is not None:
            self.grouping.return_to(place.grouped)
        for table, there in zip(self.tables, place.tables, strict=True):
            table.return_to(there)
        self.place()
        self.focus_something()

    def tick(self) -> None:
        """Ask for what is on the screen, and nothing else."""
        asked = [table.tick() for table in self.tables if table.display]
        if self.table.paused:
            return
        if self.is_open and (any(asked) or not asked):
            self.detail.ask()
        if self.band is not None:
            self.band.tick()

    def stand(self, status: Status) -> None:
        """What the session says of itself that is told here: the capture in force, and that no more comes."""
        goes_on = status.beside and self.definition.of_all
        for table in self.tables:
            table.end(() if goes_on else ended_advice(status.mode))
        if self.capture is not None:
            self.capture.display = status.capturing is not None
            if status.capturing is not None:
                self.capture.write([capture_line(status.capturing, self.app.size.width)])

    # ── what a person does ──────────────────────────────────────────────────────────────────────────────────────

    def open_row(self) -> None:
        """Enter: into the group or the child, or the detail of the row; in a packet's tree, fold or unfold."""
        if self.in_groups:
            self._open_group()
        elif self.is_open and self.screen.focused is self.detail.body:
            self.detail.body.fold()
        elif self.child is not None and not self.inside:
            self.inside = True
            self.place()
            self.screen.set_focus(self.child)
        elif self.active.current is not None and not self.is_open:
            self.is_open = True
            self.active.window.pin(True)
            self.place()
            self.focus_something()
            self.detail.show(self.active.view, self.active.current.ident)
            self.post_message(self.Changed())

    def back(self) -> bool:
        """Esc: one step out; False when there was nothing to leave."""
        if self.is_open:
            self._close()
        elif self.inside:
            self.inside = False
        elif self.grouping is not None and self.grouping.opened:
            self.grouping.leave()
        else:
            return False
        self.place()
        self.screen.set_focus(self.active)
        self.active.ask()
        return True

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.active.window.pin(False)
            self.post_message(self.Changed())

    def group_by(self, by: str | None) -> None:
        """Show groups instead of rows, or rows again."""
        if self.grouping is not None:
            self._close()
            self.grouping.group(by)
            self.place()
            self.focus_something()

    def _open_group(self) -> None:
        """The rows of the group under the cursor, by the filter that its detail names."""
        row = self.active.current
        if row is not None and self.grouping is not None:
            name, by = row.cells[0] if row.cells else "", self.grouping.by
            self.session.detail(self.active.view, row.ident, lambda found: self.post(self._into, name, by, found))

    def _into(self, name: str, by: str, found: Detail | None) -> None:
        grouping = self.grouping
        if grouping is None or not grouping.in_front or grouping.by != by or found is None or not self.is_attached:
            return  # its last flow has ended, and the row will go; or the person has gone elsewhere
        if not isinstance(found, GroupDetail):
            self.app.notify("the filter is too long to be narrowed to a group", severity="warning")
            return
        self._leaving()
        grouping.open(name, found.filter)
        self.table.way_out = "goes back to the groups"
        self.place()
        self.focus_something()
        self.post_message(self.Changed())

    def start_over(self) -> None:
        """Another namespace is watched: back to the list, at its top."""
        self.is_open = self.inside = False
        self.detail.forget()
        if self.grouping is not None and self.grouping.opened:
            self.grouping.group(self.grouping.by)
        for table in self.tables:
            table.start_over()
        if self.display:
            self.place()

    def copied(self) -> str:
        """What `y` copies: the open detail, or the row under the cursor."""
        if self.is_open and (text := self.detail.plain()):
            return text
        row, shown = self.active.current, self.active.window.shown
        return "" if row is None or shown is None else described(row, shown.snapshot.spec, self.active.info.columns)

    # ── panes ───────────────────────────────────────────────────────────────────────────────────────────────────

    def walk(self) -> list[Widget]:
        """The panes that Tab walks through."""
        child_too = self.child is not None and not self.is_open
        hidden = self._small() and self.is_open
        panes: list[Widget] = [t for t in self.tables if (t.display or child_too) and not hidden]
        if self.is_open:
            panes.append(self.detail.body)
            if self.detail.has_bytes:
                panes.append(self.detail.bytes)
        return panes

    def next_pane(self, step: int) -> None:
        """Tab and Shift-Tab."""
        panes = self.walk()
        focused = self.screen.focused
        at = panes.index(focused) if focused in panes else -step
        self.show_pane(panes[(at + step) % len(panes)])

    def show_pane(self, pane: Widget) -> None:
        """Focus a pane; on a small screen it takes the place of the one before."""
        if pane in self.tables:
            self.inside = pane is self.child
        self.detail.bytes_in_front = pane is self.detail.bytes
        self.place()
        self.screen.set_focus(pane)

    def focus_something(self) -> None:
        """Put the focus where the person was."""
        small_open = self.is_open and self._small()
        self.screen.set_focus(self.detail.body if small_open else self.active)

    # ── what stands where ───────────────────────────────────────────────────────────────────────────────────────

    def _small(self) -> bool:
        return self.app.size.height < TALL

    def place(self) -> None:
        """Show and size the parts for this screen."""
        small, height = self._small(), self.size.height
        lists = not (small and self.is_open)
        self._bare = self._is_bare()
        if self._bare and self.inside and not self.is_open:
            self.inside = False
            if self.screen.focused is self.child:
                self.screen.set_focus(self.table)
        alone = small and self.child is not None
        self.table.display = lists and not (alone and self.inside) and not self.in_groups
        if self.grouping is not None:
            self.grouping.groups.display = lists and self.in_groups
        if self.child is not None:
            self.child.display = lists and not (alone and not self.inside) and not self._bare
            self.child_title.display = self.child.display
            self.table.styles.height = self._upper_height(height) if self.child.display else "1fr"
        self.totals.display = lists
        if self.band is not None:
            self.band.place()
        self.detail.display = self.is_open
        self.detail.styles.height = "1fr" if small else self._detail_height(height) + 1
        self.detail.place()
        self._write_titles()

    def _is_bare(self) -> bool:
        """Whether the table has no row, so that there is nothing a child could belong to: its advice needs the room."""
        shown = self.table.window.shown
        return self.child is not None and shown is not None and not shown.snapshot.matched

    def _upper_height(self, height: int) -> int:
        rows = self.table.window.matched or 1
        return max(2, min(rows + 1, height * 2 // 5))

    def _detail_height(self, height: int) -> int:
        return max(8, height // 2 - 1) if self.definition.name == "packets" else max(8, height // 3)

    def _write_titles(self) -> None:
        self.detail.write_title()
        if self.child is not None and (row := self.table.current) is not None:
            self.child_title.write([title_line(_parent_words(self.table, row), self.app.size.width)])

    # ── what comes from the tables ──────────────────────────────────────────────────────────────────────────────

    def on_table_moved(self, message: Table.Moved) -> None:
        message.stop()
        if message.table is self.table and self.child is not None:
            row = self.table.current
            self.child.set_scope(None if row is None else row.ident)
            self._write_titles()
        if self.is_open and message.table is self.active and not message.table.lost:
            row = message.table.current
            self.detail.show(message.table.view, None if row is None else row.ident)

    def on_table_opened(self, message: Table.Opened) -> None:
        message.stop()
        self.open_row()

    def on_table_arrived(self, message: Table.Arrived) -> None:
        message.stop()
        if message.table is self.active or (self.child is None and not self.grouping):
            self.totals.write([self._totals_line(message.table, message.snapshot)])
        if message.table is self.table and self.child is not None:
            if self._bare != self._is_bare():
                self.place()
            if self.child.display and self.table.styles.height is not None:
                self.table.styles.height = self._upper_height(self.size.height)
            self._write_titles()

    def _totals_line(self, table: Table, snapshot: Snapshot) -> Line:
        right: Line = ()
        if snapshot.matched and snapshot.notes:
            right = tuple(part for note in snapshot.notes for part in (*note, ("  ", "")))
            if snapshot.spec.sort and table.window.holding and not table.window.pinned:
                right = (*right, ("g ", "key"), ("live ", "dim"))
        if table.window.follow or table.window.riding:
            right = (*right, ("FOLLOW ▼ " if table.window.follow else "FOLLOW ▶ ", "key"))
        return tuple(lines.spread(((" ", ""), *snapshot.totals), right, self.app.size.width))


def _parent_words(table: Table, row: Row) -> Line:
    """What the rules below belong to: `inet fw forward   priority 0 filter   policy drop   nft`."""
    shown = table.window.shown
    cells = dict(zip(shown.snapshot.spec.columns, row.cells, strict=False)) if shown is not None else {}
    name = " ".join(cells[key].strip() for key in ("family", "table", "chain") if cells.get(key, "").strip())
    rest = [f"{key} {cells[key].strip()}" for key in ("hook", "priority", "policy") if cells.get(key, "").strip()]
    return ((name, "heading"), ("".join(f"   {words}" for words in (*rest, cells.get("backend", "")) if words), "dim"))
