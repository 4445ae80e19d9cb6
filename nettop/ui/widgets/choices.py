"""A list from which one or several items are chosen, drawn by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from nettop.model.table import Line
from nettop.ui import strips as lines
from nettop.ui.palette import palette_of
from nettop.ui.widgets.self_drawn import SelfDrawn


@dataclass(frozen=True, slots=True)
class Choice:
    """One item of the list: `ident` is the result, `note` is at the right end of the line."""

    ident: str
    label: str
    note: str = ""
    detail: tuple[str, ...] = ()  # lines below the list while the cursor is here


class Choices(SelfDrawn, can_focus=True):
    """The choices with a cursor. With `several` each has a tick box."""

    DEFAULT_CSS = "Choices { width: 1fr; height: auto; max-height: 100%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("home,g", "move(-1000000)", "First", show=False),
        Binding("end,G", "move(1000000)", "Last", show=False),
        Binding("space", "tick", "Tick", show=False),
        Binding("J,shift+down", "carry(1)", "Move down", show=False),
        Binding("K,shift+up", "carry(-1)", "Move up", show=False),
        Binding("enter", "accept", "Choose", show=False),
    ]

    class Accepted(Message):
        """Enter was pressed, or the line under the cursor was clicked."""

    class Moved(Message):
        """The cursor is on another choice."""

    def __init__(self, choices: Sequence[Choice], *, several: bool = False, ticked: Sequence[str] = ()) -> None:
        super().__init__()
        self.choices = list(choices)
        self.several = several
        self.ticked = set(ticked)
        self.index = 0
        self.first = 0

    @property
    def current(self) -> Choice | None:
        """The choice under the cursor."""
        return self.choices[self.index] if self.choices else None

    @property
    def chosen(self) -> list[str]:
        """The idents of the ticked choices, in the order of the list."""
        return [choice.ident for choice in self.choices if choice.ident in self.ticked]

    def offer(self, choices: Sequence[Choice]) -> None:
        """Replace the choices. The cursor goes to the first one."""
        self.choices = list(choices)
        self.index = self.first = 0
        self.post_message(self.Moved())
        self.refresh(layout=True)

    def select(self, ident: str) -> None:
        """Move the cursor to this choice, if it is in the list."""
        for i, choice in enumerate(self.choices):
            if choice.ident == ident:
                self.index = i
                self._show()

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """Return the number of lines: one for each choice, at least one."""
        return max(1, len(self.choices))

    def action_move(self, by: int) -> None:
        """Move the cursor by this many lines, at most to an end of the list."""
        self.index = max(0, min(self.index + by, len(self.choices) - 1))
        self._show()

    def action_tick(self) -> None:
        """Tick or untick the choice under the cursor."""
        if self.several and (choice := self.current) is not None:
            self.ticked ^= {choice.ident}
            self.refresh()

    def action_carry(self, by: int) -> None:
        """Move the choice under the cursor up or down. Only with `several`: the order is part of the result."""
        to = self.index + by
        if self.several and 0 <= to < len(self.choices):
            self.choices[self.index], self.choices[to] = self.choices[to], self.choices[self.index]
            self.action_move(by)

    def action_accept(self) -> None:
        """Accept the choice under the cursor, or the ticked ones."""
        self.post_message(self.Accepted())

    def _show(self) -> None:
        height = max(1, self.size.height)
        first = max(min(self.first, self.index), self.index - height + 1)
        self.first = max(0, min(first, len(self.choices) - height))  # no blank lines below while some are hidden above
        self.post_message(self.Moved())
        self.refresh()

    def on_resize(self) -> None:
        """Scroll to the top, as far as the line of the cursor allows."""
        self.first = 0
        self._show()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor here. With `several` tick the choice, else a second click accepts it."""
        at = self.first + event.y
        if at < len(self.choices):
            again, self.index = at == self.index, at
            if self.several:
                self.action_tick()
            elif again:
                self.action_accept()
            self._show()

    def on_mouse_scroll_down(self) -> None:
        """Move the cursor three lines down."""
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        """Move the cursor three lines up."""
        self.action_move(-3)

    def _more(self, y: int) -> str:
        """Return the mark at the end of line y: an arrow if there are more choices above or below it."""
        if y == 0 and self.first:
            return "↑"
        return "↓" if y == self.size.height - 1 and self.first + self.size.height < len(self.choices) else " "

    def render_line(self, y: int) -> Strip:
        """Draw the choice on line y."""
        at = self.first + y
        palette, width = palette_of(self), self.size.width
        if not self.choices:
            return lines.strip(((" nothing to choose", "dim"),) if y == 0 else (), width, palette, "dialog")
        if at >= len(self.choices):
            return lines.blank(width, palette.style("", "dialog"))
        choice = self.choices[at]
        cursor = at == self.index
        mark = "▶" if cursor else " "
        tick = ("[x] " if choice.ident in self.ticked else "[ ] ") if self.several else ""
        left: Line = ((f"{mark}{tick}", "key"), (choice.label, ""))
        drawn = lines.spread(left, ((choice.note, "dim"), (self._more(y), "key")), width)
        return lines.strip(drawn, width, palette, "cursor" if cursor else "dialog")
