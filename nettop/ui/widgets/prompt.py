"""One line to type in at the bottom of the screen, with a caret under what is wrong and a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from nettop.errors import FilterError, NettopError
from nettop.model.view import Line
from nettop.text.sanitize import clean
from nettop.ui.lines import fit
from nettop.ui.widgets.paper import Paper

Check = Callable[[str], None]  # raises NettopError (FilterError with a position) when the text will not do

_LONGEST = 4096  # characters: a filter is a line, not a file


def caret_line(text_at: int, position: int | None, message: str, width: int) -> Line:
    """The line under the input: a caret under cell `position` and the message beside it, wherever there is room."""
    message = clean(message)
    if position is None:
        return ((" " * text_at, ""), (fit(message, max(1, width - text_at)).rstrip(), "bad"))
    caret = min(text_at + position, width - 1)
    if caret + 2 + cell_len(message) <= width or caret < width // 2:
        return ((" " * caret, ""), ("^ ", "bad"), (fit(message, max(1, width - caret - 2)).rstrip(), "bad"))
    shown = fit(message, max(1, caret - 1)).rstrip()
    return ((" " * (caret - 1 - cell_len(shown)), ""), (shown, "bad"), (" ^", "bad"))


# Editing keys and the Input's actions.
_EDITING = {
    "ctrl+u": "delete_left_all",
    "ctrl+k": "delete_right_all",
    "ctrl+w": "delete_left_word",
    "backspace": "delete_left",
    "delete": "delete_right",
    "home": "home",
    "ctrl+a": "home",
    "end": "end",
    "ctrl+e": "end",
    "left": "cursor_left",
    "right": "cursor_right",
}


class _OneLine(Input):
    """An Input one line high, whose editing keys take their turn among the characters.

    As bindings they are run by the screen, after characters that were typed behind them.
    """

    async def _on_key(self, event: events.Key) -> None:
        action = _EDITING.get(event.key)
        if action is None:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        getattr(self, f"action_{action}")()


class Prompt(Vertical):
    """A labelled line of input; Enter gives it back when `check` has nothing against it, Esc leaves."""

    DEFAULT_CSS = """
    Prompt { height: 2; width: 1fr; background: $nt-bar; }
    Prompt Horizontal { height: 1; }
    Prompt #prompt-label { width: auto; }
    Prompt Input { height: 1; border: none; padding: 0; background: $nt-bar; color: $nt-text; width: 1fr; }
    Prompt Input:focus { border: none; background-tint: $nt-bar 0%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("up", "past(1)", "Earlier", show=False),
        Binding("down", "past(-1)", "Later", show=False),
    ]

    class Submitted(Message):
        """Enter was pressed on a good text."""

        def __init__(self, purpose: str, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Left(Message):
        """Esc was pressed."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.purpose = ""
        self._check: Check | None = None
        self._history: dict[str, list[str]] = {}
        self._back = 0
        self._label = Paper(id="prompt-label")
        self._below = Paper()
        self._input = _OneLine(select_on_focus=False, max_length=_LONGEST)
        self._input.cursor_blink = False

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._label
            yield self._input
        yield self._below

    def open(self, purpose: str, label: str, value: str, check: Check, advice: str) -> None:
        """Ask for a text. `purpose` comes back with it, `advice` stands below until something is typed wrong."""
        self.purpose, self._check, self._back = purpose, check, 0
        self._advice = advice
        self._label.styles.width = cell_len(label)
        self._label.write([((label, "key"),)])
        self._input.value = value
        self._input.cursor_position = len(value)
        self._judge(value)
        self.display = True
        self.screen.set_focus(self._input)

    def _at(self) -> int:
        return int(self._label.styles.width.value) if self._label.styles.width else 0

    def refuse(self, message: str) -> None:
        """Say below the input why the text will not do."""
        self._below.write([caret_line(self._at(), None, message, self.app.size.width)])

    def _judge(self, text: str) -> bool:
        """Whether the text will do; what is wrong stands below it."""
        try:
            if self._check is not None:
                self._check(text)
        except FilterError as error:
            position = None if error.position is None else cell_len(text[: error.position])
            self._below.write([caret_line(self._at(), position, error.what, self.app.size.width)])
            return False
        except NettopError as error:
            self.refuse(str(error))
            return False
        self._below.write([((" " * self._at(), ""), (self._advice, "dim"))])
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._judge(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._judge(event.value):
            return
        history = self._history.setdefault(self.purpose, [])
        if event.value.strip() and history[-1:] != [event.value]:
            history.append(event.value)
        self.post_message(self.Submitted(self.purpose, event.value))

    def action_leave(self) -> None:
        """Leave without a text."""
        self.post_message(self.Left())

    def action_past(self, by: int) -> None:
        """An earlier or later text of the same purpose."""
        history = self._history.get(self.purpose, [])
        self._back = max(0, min(self._back + by, len(history)))
        self._input.value = history[-self._back] if self._back else ""
        self._input.cursor_position = len(self._input.value)
