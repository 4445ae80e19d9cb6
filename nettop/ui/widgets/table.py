"""THE table: virtual, drawn by line. It asks its session only for the rows on the screen and a few around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from nettop.model.filter import Filter
from nettop.model.view import Column, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.ui import lines
from nettop.ui.commands import MOVES
from nettop.ui.palette import Palette, palette_of
from nettop.ui.session_protocol import Session, ViewInfo
from nettop.ui.widgets import rows
from nettop.ui.widgets.layout import Layout, column_at, lay_out, shifted, stops
from nettop.ui.widgets.window import Window

HEADER = 1  # lines above the rows
_GIVE_UP = 2.0  # seconds after which an unanswered question is asked again
_AGES_EVERY = 2.0  # seconds between questions when nothing but the time has changed
_RETRIES = 3  # times a moving anchor is run after before the next tick
_CACHE = 2048  # strips
_MARGIN = 4  # rows asked for above and below the screen: a step is drawn before it is answered

Post = Callable[..., None]  # post(function, *args): run it on the UI's loop, from any thread


class Table(Widget, can_focus=True):
    """A window on one view of the session. Rows come from snapshots; the cursor holds on to a row's identity."""

    DEFAULT_CSS = "Table { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(move.keys), f"move('{move.name}')", move.title, show=False, priority=True) for move in MOVES
    ]

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

    class Opened(Message):
        """Enter or a second click: the person wants to see more of this row."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

    def __init__(self, view: str, session: Session, post: Post, info: ViewInfo, *, can_follow: bool = False) -> None:
        super().__init__(id=f"table-{view}")
        self.view = view
        self.session = session
        self.post = post
        self.info = info
        self.can_follow = can_follow
        self.window = Window()
        self.chosen = info.default_columns
        self.sort: tuple[SortKey, ...] = info.default_sort
        self.filter: Filter | None = None
        self.scope: int | None = None
        self.paused = False
        self.advice: tuple[Line, ...] = ()  # what an empty table says when the model says nothing
        self._by_key = {column.key: column for column in info.columns}
        self._layout = Layout((), 1, 0, 0, 1)
        self._sideways = 0  # index into stops; 0 is the fitted layout
        self._generation = 0
        self._asked_at: float | None = None
        self._asked_last = 0.0
        self._version = -1  # of the session's, when last asked by time
        self._again = False
        self._retries = 0
        self._painted: list[object] = []
        self._cache: dict[tuple[Row, str, str], Strip] = {}
        self._cached_for: Palette | None = None
        self._last_ident: int | None = None
        self.lost = False  # the row that the cursor held on to has left; until the person moves

    # ── what is wanted ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def columns(self) -> list[Column]:
        """The chosen columns, in order."""
        return [self._by_key[key] for key in self.chosen if key in self._by_key]

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
            anchor=self.window.anchor,
            follow=self.window.follow,
            frozen=self.window.holding or self.paused,
            scope=self.scope,
        )

    def ask(self) -> None:
        """Ask for the window; one question at a time is on its way, the next one follows its answer."""
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at < _GIVE_UP:
            self._again = True
            return
        if not self._layout.placed:
            return
        self._asked_at = self._asked_last = now
        generation = self._generation
        self.session.ask(self.view, self.spec(), lambda snapshot: self.post(self._arrived, generation, snapshot))

    def tick(self) -> bool:
        """Time for fresh rows, where there may be any; ages are drawn every two seconds. Returns whether it asked."""
        self._retries = 0
        version = self.session.version(self.view)
        if self.paused or (version == self._version and time.monotonic() - self._asked_last < _AGES_EVERY):
            return False
        self._version = version
        self.ask()
        return True

    def _arrived(self, generation: int, snapshot: Snapshot) -> None:
        self._asked_at = None
        again, self._again = self._again, False
        if generation == self._generation and self.is_attached:
            self.lost |= snapshot.spec.anchor is not None and snapshot.anchor is None
            uncovered = self.window.arrived(snapshot)
            self._retries += uncovered
            again = again or (uncovered and self._retries <= _RETRIES)
            self.post_message(self.Arrived(self, snapshot))
            self._repaint()
        elif self.is_attached:
            again = True
        if again:
            self.ask()

    def change(self, *, top: bool = True) -> None:
        """Filter, sort, scope or columns changed: older answers no longer count."""
        self._generation += 1
        if top:
            self.window.reset()
            self.lost = False
        self.refresh(Region(0, 0, self.size.width, HEADER))
        self.ask()

    def start_over(self) -> None:
        """Another namespace: nothing that was shown or asked for counts any more; filter, sort and columns stay."""
        self._generation += 1
        self.window.start_over()
        self.lost = False
        self.scope = None

    # ── what a person does ──────────────────────────────────────────────────────────────────────────────────────

    def set_filter(self, wanted: Filter | None) -> None:
        """Show only the rows that match."""
        self.filter = wanted
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

    def sort_by(self, key: str) -> None:
        """Sort by a column; the same again turns the order round. The column sorted by before breaks ties."""
        first = self.sort[0] if self.sort else None
        column = self._by_key[key]
        descending = not first.descending if first is not None and first.key == key else column.right
        rest = tuple(k for k in self.sort if k.key != key)[:1]
        self.set_sort((SortKey(key, descending), *rest))

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
        self._retries = 0
        self.ask()

    def _scroll_sideways(self, by: int) -> None:
        everything = lay_out(self.columns, self.size.width - 1, everything=True)
        last = len(stops(everything, self.size.width - 1)) - 1
        wanted = max(0, min(self._sideways + by, last + (1 if self._layout.hidden else 0)))
        if wanted != self._sideways:
            self._sideways = wanted
            self._lay_out()
            self.change(top=False)

    def _lay_out(self) -> None:
        width = max(1, self.size.width - 1)  # the last cell is the scroll bar's
        layout = lay_out(self.columns, width)
        if self._sideways and (layout.hidden or layout.width > width):
            everything = lay_out(self.columns, width, everything=True)
            offsets = stops(everything, width)
            layout = shifted(everything, offsets[min(self._sideways, len(offsets) - 1)])
        self._layout = layout
        self._cache.clear()
        self._painted = []
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.window.resize(event.size.height - HEADER)
        self._lay_out()
        self._generation += 1
        self.ask()

    def on_click(self, event: events.Click) -> None:
        if event.y < HEADER:
            column = column_at(self._layout, event.x)
            if column is not None and column.sortable:
                self.sort_by(column.key)
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

    def _state(self) -> list[object]:
        """What each line of the screen shows: lines whose state is the same need no paint."""
        shown = self.window.shown
        height = self.window.height
        if shown is None or not shown.snapshot.matched:
            return [(None if shown is None else shown.snapshot.notes, self.advice, y) for y in range(height)]
        top, size = rows.thumb(shown.first, height, shown.snapshot.matched)
        return [
            (
                self.window.row(shown.first + y),
                shown.first + y == shown.index and (2 if self.has_focus else 1),
                size and (2 if top <= y < top + size else 1),
            )
            for y in range(height)
        ]

    def _repaint(self) -> None:
        """Paint the lines that changed, and tell who asks when another row is under the cursor."""
        state = self._state()
        if len(state) != len(self._painted):
            self.refresh()
        else:
            width = self.size.width
            changed = [y for y, (new, old) in enumerate(zip(state, self._painted, strict=True)) if new != old]
            if changed:
                self.refresh(*(Region(0, y + HEADER, width, 1) for y in changed))
        self._painted = state
        current = self.window.current
        ident = None if current is None else current.ident
        if ident != self._last_ident:
            self._last_ident = ident
            self.post_message(self.Moved(self))

    def render_line(self, y: int) -> Strip:
        """One line of the widget, the header first."""
        palette = palette_of(self)
        width = self.size.width
        if palette is not self._cached_for:
            self._cache.clear()
            self._cached_for = palette
        if y < HEADER:
            return rows.draw_header(self._layout, self.sort, width, palette)
        shown = self.window.shown
        if shown is None:
            return lines.blank(width, palette.style())
        if not shown.snapshot.matched:
            return self._empty_line(y - HEADER, shown.snapshot, palette)
        return self._row_line(y - HEADER, palette)

    def _row_line(self, y: int, palette: Palette) -> Strip:
        shown = self.window.shown
        assert shown is not None
        width = self.size.width - 1
        row = self.window.row(shown.first + y)
        top, size = rows.thumb(shown.first, self.window.height, shown.snapshot.matched)
        bar = " " if not size else rows.THUMB if top <= y < top + size else rows.TRACK
        end = Segment(bar, palette.style("key" if bar == rows.THUMB else "dim"))
        if row is None:
            return Strip([*lines.blank(width, palette.style()), end], width + 1)
        cursor = shown.first + y == shown.index
        surface = "background" if not cursor else "cursor" if self.has_focus else "cursor_idle"
        body = self._body(row, surface, rows.CURSOR_MARK if cursor else " ", shown.snapshot.spec.columns, palette)
        return Strip([*body, end], width + 1)

    def _body(self, row: Row, surface: str, mark: str, keys: Sequence[str], palette: Palette) -> Strip:
        found = self._cache.get((row, surface, mark))
        if found is None:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            order = {key: i for i, key in enumerate(keys)}
            found = rows.draw_row(row, self._layout, order, self.size.width - 1, palette, surface, mark)
            self._cache[row, surface, mark] = found
        return found

    def _empty_line(self, y: int, snapshot: Snapshot, palette: Palette) -> Strip:
        notes = self._empty_notes(snapshot)
        at = y - 1
        line: Line = notes[at] if 0 <= at < len(notes) else ()
        return lines.strip((("  ", ""), *line), self.size.width, palette)

    def _empty_notes(self, snapshot: Snapshot) -> tuple[Line, ...]:
        if self.filter is not None and snapshot.total:
            return (
                ((f"None of {snapshot.total:,} matches ", "heading"), (self.filter.text, "accent")),
                (("Esc", "key"), (" clears the filter, ", "dim"), ("/", "key"), (" changes it.", "dim")),
            )
        return snapshot.notes or self.advice
