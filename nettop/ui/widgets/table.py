"""The virtual table of all views, drawn by line. It requests only the rows on the screen and a few around them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from nettop.model.filter.expression import Filter
from nettop.model.table import Column, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.session.base import Session
from nettop.ui.commands import MOVES, bindings
from nettop.ui.palette import palette_of, themed_app
from nettop.ui.strips import flowed
from nettop.ui.widgets import painter as rows
from nettop.ui.widgets import sort_order as sorting
from nettop.ui.widgets.bar_lines import no_match
from nettop.ui.widgets.column_layout import ColumnLayout, ContentWidths, column_at, lay_out, scroll_stops, scrolled
from nettop.ui.widgets.column_titles import fitted
from nettop.ui.widgets.painter import Painter
from nettop.ui.widgets.self_drawn import SelfDrawn
from nettop.ui.widgets.snapshot_requests import Post, SnapshotRequests
from nettop.ui.widgets.viewport import TableState, Viewport

HEADER = 1  # lines above the rows
RESUME_AFTER = 10.0  # seconds without a key after which a paused order is live again
CLEARS, RETURNS = "clears the filter", "goes back"  # what Esc does
_MARGIN = 4  # rows requested above and below the screen, so that a step is drawn at once


class Table(SelfDrawn, can_focus=True):
    """The rows of one view of the session, from its snapshots. The cursor is anchored to a row's identity."""

    DEFAULT_CSS = "Table { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = bindings(MOVES, "move")

    @dataclass
    class Moved(Message):
        """Another row is under the cursor."""

        table: Table

    @dataclass
    class Arrived(Message):
        """A snapshot arrived: totals and notes may have changed."""

        table: Table
        snapshot: Snapshot

    @dataclass
    class RowGone(Message):
        """The followed row is no longer in the table."""

        table: Table
        ident: int

    @dataclass
    class Opened(Message):
        """The row was opened by Enter or a second click."""

        table: Table

    part: ClassVar[float] = 0.4  # of the view's height, at most, above a child

    def __init__(self, view: str, session: Session, post: Post, *, can_follow: bool = False) -> None:
        super().__init__(id=f"table-{view}")
        self.view, self._session = view, session
        self.info = info = session.views[view]
        self.filter_kind = ""  # for model.filter.parse; "": no filter
        self.can_follow = can_follow
        self.viewport = Viewport()
        self.chosen = info.default_columns
        self.sort: tuple[SortKey, ...] = info.default_sort
        self.filter: Filter | None = None
        self.scope: int | None = None
        self.options = ViewSpec(())  # fields that few tables have: group, zeroes, toggled, find, …
        self.group_title = ""  # the title of the column of group names
        self.paused = self.lost = False  # lost: the anchored row has left the table, and the cursor has not moved since
        self.advice: tuple[Line, ...] = ()  # the text of an empty table, if the model has none
        self.final: tuple[Line, ...] = ()  # its text when nothing more can arrive; comes before the model's
        self.esc_text = CLEARS  # what Esc does when nothing matches
        self._by_key = {column.key: column for column in info.columns}
        self._widths = ContentWidths(self._by_key)
        self._layout = ColumnLayout((), 1, 0, 0, 1)
        self._layout_sort: tuple[SortKey, ...] = ()  # the order whose marks have room in the layout
        self._sideways = 0  # index into scroll_stops; 0 is the fitted layout
        self._painter = Painter(self.viewport)
        drawn = lambda: self.spec() if self._layout.placed and self.is_attached else None  # noqa: E731
        self._requests = SnapshotRequests(view, session, post, drawn, self._apply)
        self._last_ident: int | None = None
        self._painted_paused = False  # the title says that the order is paused

    @property
    def columns(self) -> list[Column]:
        """The chosen columns, in order. The column of group names has the title of the grouping."""
        found = [self._by_key[key] for key in self.chosen if key in self._by_key]
        return [replace(c, title=self.group_title) if c.key == "name" and self.group_title else c for c in found]

    @property
    def sortable(self) -> bool:
        """True if there is a column to sort by."""
        return any(column.sortable for column in self.info.columns)

    @property
    def lines_wanted(self) -> int:
        """The lines that show all rows."""
        return (self.viewport.matched or 1) + HEADER

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.viewport.current

    def spec(self) -> ViewSpec:
        """Return the request for the rows now shown."""
        first, height = self.viewport.request_range(margin=_MARGIN)
        return replace(
            self.options,
            columns=self._layout.keys,
            first=first,
            height=height,
            filter=self.filter,
            sort=self.sort,
            anchor=self.viewport.anchor,
            follow=self.viewport.follow,
            frozen=self.paused or (self.viewport.frozen and (self.can_follow or bool(self.sort))),
            scope=self.scope,
        )

    def ask(self) -> None:
        """Request the rows of the viewport."""
        self._requests.ask()

    def tick(self) -> bool:
        """Request fresh rows if there may be any, unless paused. Return True if a request was sent."""
        if self.sort_paused and time.monotonic() - themed_app(self).last_input >= RESUME_AFTER:
            self.viewport.release()
            self._requests.ask()
            self._repaint()
        return not self.paused and self._requests.tick()

    @property
    def sort_paused(self) -> bool:
        """True while sorted rows keep their places for the reader."""
        kept = self.viewport.frozen and not self.paused and not self.can_follow
        return kept and bool(self.sort) and self.viewport.matched > 0

    def _apply(self, snapshot: Snapshot) -> bool:
        if not self.is_attached:
            return False
        self.lost |= snapshot.spec.anchor is not None and snapshot.anchor is None
        followed = self.viewport.ident if self.viewport.tracking else None
        uncovered = self.viewport.apply(snapshot)
        if self._widths.add(snapshot):
            self._lay_out()
            uncovered |= snapshot.spec.columns != self._layout.keys
        if followed is not None and not self.viewport.tracking:
            self.post_message(self.RowGone(self, followed))
        self.post_message(self.Arrived(self, snapshot))
        self._repaint()
        return uncovered

    def change(self, *, top: bool = True) -> None:
        """Request rows after a change of filter, order, scope or columns. Earlier requests are void."""
        self._requests.void()
        if top:
            self.viewport.reset()
            self._widths.restart()
            self.lost = False
        if self._layout_sort != self.sort and self._layout.placed:
            self._lay_out()
        self.refresh(Region(0, 0, self.size.width, HEADER))
        self.ask()

    def start_over(self) -> None:
        """Start again for other namespaces. Filter, order and the columns that were chosen stay."""
        before, self.info = self.info, self._session.views.get(self.view, self.info)
        if self.chosen == before.default_columns != self.info.default_columns:  # one for several namespaces
            self.set_columns(self.info.default_columns)
        self.viewport.start_over()
        self.lost, self.scope = False, None
        self._requests.void()

    def end(self, final: tuple[Line, ...]) -> None:
        """Set the text of an empty table to which nothing more can arrive; (): rows can still arrive."""
        if final != self.final:
            self.final = final
            self._repaint()

    def set_options(self, **options: Any) -> None:
        """Request with these fields of ViewSpec from now on."""
        self.options = replace(self.options, **options)
        self.change(top=False)

    def set_filter(self, display_filter: Filter | None) -> None:
        """Show only the rows that match."""
        self.filter, self.esc_text = display_filter, CLEARS
        self.change(top=not self.viewport.follow)

    def set_scope(self, scope: int | None) -> None:
        """Show the rows of this parent."""
        if scope != self.scope:
            self.scope = scope
            self.change()

    def set_sort(self, sort: tuple[SortKey, ...]) -> None:
        """Set the order and stop following: the newest row is no longer the last one."""
        self.sort, self.viewport.follow = sort, False
        self.change()

    def sort_by(self, key: str, *, then: bool = False) -> None:
        """Sort by a column first, or with `then` break ties by it. The same again reverses it."""
        choose = sorting.then_by if then else sorting.first_by
        self.set_sort(choose(self.sort, self._by_key[key]))

    def set_group(self, by: str | None, title: str) -> None:
        """Group by this key. `change` requests the groups."""
        self.options, self.group_title = replace(self.options, group=by), title
        if self._layout.placed:
            self._lay_out()

    def set_columns(self, chosen: tuple[str, ...]) -> None:
        """Show these columns, in this order."""
        self.chosen, self._sideways = chosen, 0
        self._lay_out()
        self.change(top=False)

    def set_follow(self, on: bool) -> None:
        """Follow the end, or stop at the row of the cursor."""
        if on:
            self.sort = ()
            self.viewport.go_follow()
            self.change(top=False)
        else:
            self.viewport.move_to(self.viewport.index)
            self._moved()

    def track(self, on: bool) -> None:
        """Follow the row under the cursor as the order moves it, or stop."""
        self.viewport.track(on)
        self._moved()

    def seek(self, ident: int) -> None:
        """Move the cursor to the row with this identity."""
        self.viewport.seek(ident)
        self.lost = False
        self.change(top=False)

    @property
    def state(self) -> TableState:
        """The filter, order and position now, to come back to."""
        return TableState(self.filter, self.sort, self.scope, self.viewport.state)

    def restore(self, state: TableState) -> None:
        """Go back to a saved state."""
        self.filter, self.sort, self.scope = state.filter, state.sort, state.scope
        self.viewport.restore(state.viewport)
        self.lost = False
        self.change(top=False)

    def action_move(self, where: str) -> None:
        """Move the cursor by one of the keys of MOVES; left and right scroll sideways."""
        page = max(1, (viewport := self.viewport).height - 1)
        steps = {"down": 1, "up": -1, "page_down": page, "page_up": -page, "top": -viewport.index}
        if where in steps:
            viewport.move_to(viewport.index + steps[where])
        elif where == "bottom" and self.can_follow and not self.sort:
            viewport.go_follow()
        elif where == "bottom":
            viewport.move_to(max(0, viewport.matched - 1))
        else:
            self._scroll_sideways(1 if where == "right" else -1)
        self._moved()

    def _moved(self) -> None:
        self.lost = False
        self._repaint()
        self._requests.moved()

    def _scroll_sideways(self, by: int) -> None:
        columns, _ = fitted(self._widths.sized(self.columns, self.size.width - 1), self.size.width - 1, self.sort)
        everything = lay_out(columns, self.size.width - 1, everything=True)
        last = len(scroll_stops(everything, self.size.width - 1)) - 1
        target = max(0, min(self._sideways + by, last + (1 if self._layout.hidden else 0)))
        if target != self._sideways:
            self._sideways = target
            self._lay_out()
            self.change(top=False)

    def _lay_out(self) -> None:
        width = max(1, self.size.width - 1)  # the last cell is the scroll bar's
        columns, layout = fitted(self._widths.sized(self.columns, width), width, self.sort)
        if self._sideways and (layout.hidden or layout.width > width):
            everything = lay_out(columns, width, everything=True)
            offsets = scroll_stops(everything, width)
            layout = scrolled(everything, offsets[min(self._sideways, len(offsets) - 1)])
        self._layout, self._layout_sort = layout, self.sort
        self._painter.lay_out(layout, self.size.width)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Lay out the columns and request the rows for the new size."""
        height, width = event.size.height - HEADER, event.size.width
        if (self.viewport.height, self._painter.width) == (height, width):
            return  # shown again, as large as before
        self.viewport.resize(height)
        self._lay_out()
        self._requests.void()
        self.ask()

    def on_click(self, event: events.Click) -> None:
        """Resume sorting, sort by the clicked title, jump to the place in the scroll bar, or select the row."""
        if event.y < HEADER:
            notice = rows.notice_position(self._layout, self.sort, self.size.width)
            column = column_at(self._layout, event.x)
            if self.sort_paused and 0 <= event.x - notice < len(rows.SORT_PAUSED):
                self.action_move("top")
            elif column is not None and column.sortable:
                self.sort_by(column.key, then=event.shift or event.ctrl)
        elif 0 < event.y - HEADER <= len(advice := self._advice()):
            self.press_key_at((("  ", ""), *advice[event.y - HEADER - 1]), event.x)
        elif event.x >= self.size.width - 1:
            self._jump(event.y - HEADER)
        else:
            self._click_row(event.y - HEADER)

    def _click_row(self, line: int) -> None:
        shown = self.viewport.shown
        if shown is None or (index := shown.first + line) >= self.viewport.matched:
            return
        if index == self.viewport.index:
            self.post_message(self.Opened(self))
        else:
            self.viewport.move_to(index)
            self._moved()

    def _jump(self, line: int) -> None:
        span = max(1, self.viewport.height - 1)
        self.viewport.scroll((self.viewport.matched - self.viewport.height) * line // span - self.viewport.first)
        self._moved()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll three rows down; at the end of a table that can follow, follow it."""
        event.stop()
        self.viewport.scroll(3)
        if self.can_follow and not self.sort and self.viewport.first >= self.viewport.matched - self.viewport.height:
            self.viewport.go_follow()
        self._moved()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll three rows up."""
        event.stop()
        self.viewport.scroll(-3)
        self._moved()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Paint with or without the focus."""
        self._repaint()

    def _repaint(self) -> None:
        """Paint the changed lines. Report if another row is under the cursor."""
        if self._painted_paused != self.sort_paused:
            self._painted_paused = self.sort_paused
            self.refresh(Region(0, 0, self.size.width, HEADER))
        changed = self._painter.changed(self.has_focus, self._advice())
        if changed is None:
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y + HEADER, self.size.width, 1) for y in changed))
        self._report_moved()

    def _report_moved(self) -> None:
        ident = None if self.current is None else self.current.ident
        if ident != self._last_ident:
            self._last_ident = ident
            self.post_message(self.Moved(self))

    def render_line(self, y: int) -> Strip:
        """Draw line y; line 0 is the header."""
        palette = palette_of(self)
        if y < HEADER:
            return rows.draw_header(self._layout, self.sort, self.size.width, palette, self.sort_paused)
        return self._painter.line(y - HEADER, palette, self.has_focus, self._advice())

    def _advice(self) -> tuple[Line, ...]:
        """Return the text to show instead of rows, as wide as the table; () if there are rows."""
        if (window := self.viewport.shown) is None or (shown := window.snapshot).matched:
            return ()
        text = self.final or shown.notes or self.advice
        if self.filter is not None and shown.total:
            text = no_match(self.view, shown.total, self.filter.text, self.esc_text)
        return tuple(part for line in text for part in flowed(line, self.size.width - 3))
