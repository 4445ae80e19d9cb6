"""THE table: virtual, drawn by line. It asks its session only for the rows on the screen and a few around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from nettop.model.filter.expression import Filter
from nettop.model.table import Column, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.session.interface import Session
from nettop.ui.commands import MOVES, bindings
from nettop.ui.palette import palette_of
from nettop.ui.widgets import painter as rows
from nettop.ui.widgets import sort_order as sorting
from nettop.ui.widgets.column_layout import Layout, column_at, lay_out, shifted, stops
from nettop.ui.widgets.column_titles import roomy
from nettop.ui.widgets.painter import Painter
from nettop.ui.widgets.self_drawn import Drawn
from nettop.ui.widgets.snapshot_requests import Post, Questions
from nettop.ui.widgets.viewport import Spot, Window

HEADER = 1  # lines above the rows
_CLEARS = "clears the filter"
_MARGIN = 4  # rows asked for above and below the screen: a step is drawn before it is answered


@dataclass(frozen=True, slots=True)
class TablePlace:
    """What a table showed: enough to come back to it."""

    filter: Filter | None
    sort: tuple[SortKey, ...]
    scope: int | None
    spot: Spot


class Table(Drawn, can_focus=True):
    """A window on one view of the session. Rows come from snapshots; the cursor holds on to a row's identity."""

    DEFAULT_CSS = "Table { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = bindings(MOVES, "move")

    class Moved(Message):
        """Another row is under the cursor."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

    class Arrived(Message):
        """A snapshot came: totals and notes may have changed."""

        def __init__(self, table: Table, snapshot: Snapshot) -> None:
            super().__init__()
            self.table = table
            self.snapshot = snapshot

    class Left(Message):
        """The row that was followed is not in the table any more."""

        def __init__(self, table: Table, ident: int) -> None:
            super().__init__()
            self.table = table
            self.ident = ident

    class Opened(Message):
        """Enter or a second click: the person wants to see more of this row."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

    def __init__(self, view: str, session: Session, post: Post, *, can_follow: bool = False) -> None:
        super().__init__(id=f"table-{view}")
        self.view = view
        self.info = info = session.views[view]
        self.filter_kind = ""  # for model.filter.parse; "" where it takes no filter
        self.can_follow = can_follow
        self.window = Window()
        self.chosen = info.default_columns
        self.sort: tuple[SortKey, ...] = info.default_sort
        self.filter: Filter | None = None
        self.scope: int | None = None
        self.group: str | None = None
        self.named = ""  # the title of the groups' names
        self.paused = False
        self.lost = False  # the row that the cursor held on to has left; until the person moves
        self.advice: tuple[Line, ...] = ()  # what an empty table says when the model says nothing
        self.final: tuple[Line, ...] = ()  # what it says, whatever its model does, when nothing more can come
        self.way_out = _CLEARS  # what Esc does where nothing matches
        self._by_key = {column.key: column for column in info.columns}
        self._layout = Layout((), 1, 0, 0, 1)
        self._laid_for: tuple[SortKey, ...] = ()  # the order that the layout has room for the marks of
        self._sideways = 0  # index into stops; 0 is the fitted layout
        self._painter = Painter(self.window)
        self._questions = Questions(view, session, post, self._wanted, self._answered)
        self._last_ident: int | None = None

    # ── what is wanted ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def columns(self) -> list[Column]:
        """The chosen columns, in order; that of the groups' names is called what is grouped by."""
        found = [self._by_key[key] for key in self.chosen if key in self._by_key]
        return [replace(c, title=self.named) if c.key == "name" and self.named else c for c in found]

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.window.current

    def spec(self) -> ViewSpec:
        """What the model is asked for now."""
        first, height = self.window.wanted(margin=_MARGIN)
        return ViewSpec(
            columns=self._layout.keys,
            first=first,
            height=height,
            filter=self.filter,
            sort=self.sort,
            group=self.group,
            anchor=self.window.anchor,
            follow=self.window.follow,
            frozen=(self.window.holding and not self.window.riding) or self.paused,
            scope=self.scope,
        )

    def _wanted(self) -> ViewSpec | None:
        return self.spec() if self._layout.placed and self.is_attached else None

    def ask(self) -> None:
        """Ask for the window."""
        self._questions.ask()

    def tick(self) -> bool:
        """Time for fresh rows, where there may be any. Returns whether it asked."""
        return not self.paused and self._questions.tick()

    def _answered(self, snapshot: Snapshot) -> bool:
        if not self.is_attached:
            return False
        self.lost |= snapshot.spec.anchor is not None and snapshot.anchor is None
        followed = self.window.ident if self.window.riding else None
        uncovered = self.window.arrived(snapshot)
        if followed is not None and not self.window.riding:
            self.post_message(self.Left(self, followed))
        self.post_message(self.Arrived(self, snapshot))
        self._repaint()
        return uncovered

    def change(self, *, top: bool = True) -> None:
        """Filter, sort, scope or columns changed: older answers no longer count."""
        self._questions.void()
        if top:
            self.window.reset()
            self.lost = False
        if self._laid_for != self.sort and self._layout.placed:
            self._lay_out()
        self.refresh(Region(0, 0, self.size.width, HEADER))
        self.ask()

    def start_over(self) -> None:
        """Another namespace: nothing that was shown or asked for counts any more; filter, sort and columns stay."""
        self._questions.void()
        self.window.start_over()
        self.lost = False
        self.scope = None

    def end(self, final: tuple[Line, ...]) -> None:
        """Nothing more can come, and an empty table says this; () when something can."""
        if final != self.final:
            self.final = final
            self._repaint()

    # ── what a person does ──────────────────────────────────────────────────────────────────────────────────────

    def set_filter(self, wanted: Filter | None) -> None:
        """Show only the rows that match."""
        self.filter, self.way_out = wanted, _CLEARS
        self.change(top=not self.window.follow)

    def set_scope(self, scope: int | None) -> None:
        """Show what belongs to another parent."""
        if scope != self.scope:
            self.scope = scope
            self.change()

    def set_sort(self, sort: tuple[SortKey, ...]) -> None:
        """Order the rows; following ends, for there is no newest end any more."""
        self.sort = sort
        self.window.follow = False
        self.change()

    def sort_by(self, key: str, *, then: bool = False) -> None:
        """Sort by a column first, or break ties by it; the same again turns its order round."""
        choose = sorting.then_by if then else sorting.first_by
        self.set_sort(choose(self.sort, self._by_key[key]))

    def set_group(self, by: str | None, title: str) -> None:
        """Show these groups from now on; `change` asks for them."""
        self.group, self.named = by, title
        if self._layout.placed:
            self._lay_out()

    def set_columns(self, chosen: tuple[str, ...]) -> None:
        """Draw these columns, in this order."""
        self.chosen = chosen
        self._sideways = 0
        self._lay_out()
        self.change(top=False)

    def set_follow(self, on: bool) -> None:
        """Stay at the end, or stand still where the cursor is."""
        if on:
            self.sort = ()
            self.window.go_follow()
            self.change(top=False)
        else:
            self.window.move_to(self.window.index)
            self._moved()

    def ride(self, on: bool) -> None:
        """Go with the row under the cursor wherever the order takes it, or stand still again."""
        self.window.ride(on)
        self._moved()

    def seek(self, ident: int) -> None:
        """Put the cursor on the row with this identity, wherever it stands."""
        self.window.seek(ident)
        self.lost = False
        self.change(top=False)

    @property
    def place(self) -> TablePlace:
        """What is shown, to come back to."""
        return TablePlace(self.filter, self.sort, self.scope, self.window.spot)

    def return_to(self, place: TablePlace) -> None:
        """Show again what was shown there."""
        self.filter, self.sort, self.scope = place.filter, place.sort, place.scope
        self.window.return_to(place.spot)
        self.lost = False
        self.change(top=False)

    def action_move(self, where: str) -> None:
        """One of the keys of MOVES."""
        window = self.window
        page = max(1, window.height - 1)
        steps = {"down": 1, "up": -1, "page_down": page, "page_up": -page}
        if where in steps:
            window.move_to(window.index + steps[where])
        elif where == "top":
            window.move_to(0)
        elif where == "bottom":
            self._bottom()
        else:
            self._scroll_sideways(1 if where == "right" else -1)
        self._moved()

    def _bottom(self) -> None:
        if self.can_follow and not self.sort:
            self.window.go_follow()
        else:
            self.window.move_to(max(0, self.window.matched - 1))

    def _moved(self) -> None:
        self.lost = False
        self._repaint()
        self._questions.moved()

    def _scroll_sideways(self, by: int) -> None:
        columns, _ = self._fitted(self.size.width - 1)
        everything = lay_out(columns, self.size.width - 1, everything=True)
        last = len(stops(everything, self.size.width - 1)) - 1
        wanted = max(0, min(self._sideways + by, last + (1 if self._layout.hidden else 0)))
        if wanted != self._sideways:
            self._sideways = wanted
            self._lay_out()
            self.change(top=False)

    def _fitted(self, width: int) -> tuple[list[Column], Layout]:
        """The columns, with room for what they are sorted by, and those of them that fit."""
        columns = self.columns
        layout = lay_out(columns, width)
        wider = roomy(columns, layout, self.sort)
        return (columns, layout) if wider == columns else (wider, lay_out(wider, width))

    def _lay_out(self) -> None:
        width = max(1, self.size.width - 1)  # the last cell is the scroll bar's
        columns, layout = self._fitted(width)
        self._laid_for = self.sort
        if self._sideways and (layout.hidden or layout.width > width):
            everything = lay_out(columns, width, everything=True)
            offsets = stops(everything, width)
            layout = shifted(everything, offsets[min(self._sideways, len(offsets) - 1)])
        self._layout = layout
        self._painter.lay_out(layout, self.size.width)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        height, width = event.size.height - HEADER, event.size.width
        if (self.window.height, self._painter.width) == (height, width):
            return  # shown again, as large as before
        self.window.resize(height)
        self._lay_out()
        self._questions.void()
        self.ask()

    def on_click(self, event: events.Click) -> None:
        if event.y < HEADER:
            column = column_at(self._layout, event.x)
            if column is not None and column.sortable:
                self.sort_by(column.key, then=event.shift or event.ctrl)
        elif event.x >= self.size.width - 1:
            self._jump(event.y - HEADER)
        else:
            self._click_row(event.y - HEADER)

    def _click_row(self, line: int) -> None:
        if self.window.shown is None:
            return
        index = self.window.shown.first + line
        if index >= self.window.matched:
            return
        if index == self.window.index:
            self.post_message(self.Opened(self))
            return
        self.window.move_to(index)
        self._moved()

    def _jump(self, line: int) -> None:
        span = max(1, self.window.height - 1)
        self.window.scroll((self.window.matched - self.window.height) * line // span - self.window.first)
        self._moved()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.window.scroll(3)
        if self.can_follow and not self.sort and self.window.first >= self.window.matched - self.window.height:
            self.window.go_follow()
        self._moved()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.window.scroll(-3)
        self._moved()

    def on_focus(self) -> None:
        self._repaint()

    def on_blur(self) -> None:
        self._repaint()

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _repaint(self) -> None:
        """Paint the lines that changed, and tell who asks when another row is under the cursor."""
        changed = self._painter.changed(self.has_focus, self._advice())
        if changed is None:
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y + HEADER, self.size.width, 1) for y in changed))
        current = self.window.current
        ident = None if current is None else current.ident
        if ident != self._last_ident:
            self._last_ident = ident
            self.post_message(self.Moved(self))

    def render_line(self, y: int) -> Strip:
        """One line of the widget, the header first."""
        palette = palette_of(self)
        if y < HEADER:
            return rows.draw_header(self._layout, self.sort, self.size.width, palette)
        return self._painter.line(y - HEADER, palette, self.has_focus, self._advice())

    def _advice(self) -> tuple[Line, ...]:
        """What stands where there is no row."""
        shown = self.window.shown
        if shown is None or shown.snapshot.matched:
            return ()
        if self.filter is not None and shown.snapshot.total:
            return (
                ((f"None of {shown.snapshot.total:,} matches ", "heading"), (self.filter.text, "accent")),
                (("Esc", "key"), (f" {self.way_out}, ", "dim"), ("/", "key"), (" changes it.", "dim")),
            )
        return self.final or shown.snapshot.notes or self.advice
