"""The prompt at the bottom of the screen: one line of input with its error, completion and history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input

from nettop.errors import FilterError, NettopError
from nettop.model.filter.completion import complete
from nettop.model.filter.lexer import MAX_LENGTH
from nettop.model.table import Line
from nettop.text.sanitize import clean
from nettop.text.units import grouped
from nettop.ui.strips import fit, wrapped
from nettop.ui.widgets.completion import OptionCycle, options_line
from nettop.ui.widgets.prompt_request import PromptRequest
from nettop.ui.widgets.text_panes import TextPane


def caret_line(text_at: int, position: int | None, message: str, width: int) -> Line:
    """Return the line under the input: a caret at cell `position` and the message next to it, on the side with room."""
    message = clean(message)
    if position is None:
        return ((" " * text_at, ""), (fit(message, max(1, width - text_at)).rstrip(), "bad"))
    caret = min(text_at + position, width - 1)
    if caret + 2 + cell_len(message) <= width or caret < width // 2:
        return ((" " * caret, ""), ("^ ", "bad"), (fit(message, max(1, width - caret - 2)).rstrip(), "bad"))
    shown = fit(message, max(1, caret - 1)).rstrip()
    return ((" " * (caret - 1 - cell_len(shown)), ""), (shown, "bad"), (" ^", "bad"))


# Editing keys, with the names of the Input's actions.
_EDITING = {
    "ctrl+u": "delete_left_all", "ctrl+k": "delete_right_all", "ctrl+w": "delete_left_word",
    "backspace": "delete_left", "delete": "delete_right", "home": "home", "ctrl+a": "home", "end": "end",
    "ctrl+e": "end", "left": "cursor_left", "right": "cursor_right",
}  # fmt: skip


class _OneLine(Input):
    """An Input of one line that handles its keys in the order in which they were typed.

    Bindings would be run by the screen, after characters that were typed later.
    """

    on_cut: Callable[[int], None]  # called with the number of pasted characters that did not fit
    keys: Mapping[str, Callable[[], None]]  # the prompt's own keys
    on_moved: Callable[[], None]  # called when the cursor may have moved
    closed = False  # the prompt has been answered: later keys go to the screen

    async def _on_key(self, event: events.Key) -> None:
        if self.closed or event.key in self.keys or event.key in _EDITING:
            event.stop()
            event.prevent_default()
        if self.closed:
            self.app.post_message(events.Key(event.key, event.character))
        elif event.key in self.keys:
            self.keys[event.key]()
        elif event.key in _EDITING:
            getattr(self, f"action_{_EDITING[event.key]}")()
            self.on_moved()
        else:
            await super()._on_key(event)

    def _on_paste(self, event: events.Paste) -> None:
        """Insert the pasted lines as one line, cut to MAX_LENGTH. An Input inserts only the first line, or nothing."""
        event.stop()
        event.prevent_default()
        text = " ".join(clean(line.replace("\t", " ")).strip() for line in event.text.splitlines()).strip()
        room = MAX_LENGTH - len(self.value) + len(self.selected_text)
        self.replace(text[:room], *self.selection)
        if len(text) > room:
            self.on_cut(len(text) - room)


class Prompt(Vertical):
    """A line of input with a label. Enter submits the text if it is valid, Esc cancels."""

    DEFAULT_CSS = """
    Prompt { height: auto; width: 1fr; background: $nt-bar; }
    Prompt Horizontal { height: 1; }
    Prompt #prompt-label { width: auto; }
    Prompt Input { height: 1; border: none; padding: 0; background: $nt-bar; color: $nt-text; width: 1fr; }
    Prompt Input:focus { border: none; background-tint: $nt-bar 0%; }
    """

    @dataclass
    class Submitted(Message):
        """Enter was pressed on a valid text."""

        request: PromptRequest
        text: str

    class Cancelled(Message):
        """Esc was pressed."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._request: PromptRequest | None = None
        self._history: dict[str, list[str]] = {}
        self._back = 0
        self._cycle: OptionCycle | None = None
        self._label = TextPane(id="prompt-label")
        self._below = TextPane()
        self._options = TextPane()
        self._input = _OneLine(select_on_focus=False, max_length=MAX_LENGTH)
        self._input.cursor_blink = False
        self._input.on_cut = self._warn_of_cut
        self._input.on_moved = self._complete
        self._input.keys = {
            "tab": partial(self._tab, 1),
            "shift+tab": partial(self._tab, -1),
            "enter": self._submit,
            "escape": self._cancel,
            "ctrl+c": self._cancel,
            "up": partial(self._recall, 1),
            "down": partial(self._recall, -1),
        }

    def compose(self) -> ComposeResult:
        """Yield the label, the input and the lines below it."""
        with Horizontal():
            yield self._label
            yield self._input
        yield self._below
        yield self._options

    def open(self, request: PromptRequest) -> None:
        """Open the prompt for this request."""
        self._request, self._back = request, 0
        self._label.styles.width = cell_len(request.label)
        self._label.write([((request.label, "key"),)])
        self._options.display = bool(request.kind)
        self._put(request.value, len(request.value))
        self._validate(request.value)
        self._complete()
        self.display, self._input.closed = True, False
        self.keep_focus()

    def keep_focus(self) -> None:
        """Keep the focus in the input, also after a click elsewhere."""
        if self.screen.focused is not self._input:
            self.screen.set_focus(self._input)

    @property
    def completes(self) -> bool:
        """True if the request has completion: Tab works."""
        return self._request is not None and bool(self._request.kind)

    def _put(self, text: str, cursor: int) -> None:
        self._input.value = text
        self._input.cursor_position = cursor

    def _indent(self) -> int:
        """Return the cells of the label."""
        return int(self._label.styles.width.value) if self._label.styles.width else 0

    def _warn_of_cut(self, count: int) -> None:
        message = f"{grouped(count)} characters were left out: a line holds {grouped(MAX_LENGTH)}"
        self.app.notify(message, severity="warning", markup=False)

    def _validate(self, text: str) -> bool:
        """Return True if the text is valid. An error is shown below it."""
        assert self._request is not None
        width, error = self.app.size.width, self._error(text)
        advice = wrapped(((" " * self._indent(), ""), (self._request.advice, "dim")), width)
        self._below.styles.height = 1 if error else len(advice)
        self._below.write([caret_line(self._indent(), *error, width)] if error else advice)
        return not error

    def _error(self, text: str) -> tuple[int | None, str] | None:
        """Return the cell and the message of the error in a text; None: it is valid."""
        assert self._request is not None
        try:
            self._request.check(text)
        except FilterError as error:
            return None if error.position is None else cell_len(text[: error.position]), error.message
        except NettopError as error:
            return None, str(error)
        return None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Validate the text, and complete it again if it was not changed by Tab."""
        event.stop()
        self._validate(event.value)
        if self._cycle is None or event.value != self._cycle.filled[0]:
            self._complete()

    def _submit(self) -> None:
        text = self._input.value
        if self._request is None or not self._validate(text):
            return
        history = self._history.setdefault(self._request.purpose, [])
        if text.strip() and history[-1:] != [text]:
            history.append(text)
        self._input.closed = True
        self.post_message(self.Submitted(self._request, text))

    def _cancel(self) -> None:
        self._input.closed = True
        self.post_message(self.Cancelled())

    def _complete(self) -> None:
        """Find the options at the cursor and show them."""
        kind = "" if self._request is None else self._request.kind
        text = self._input.value
        self._cycle = OptionCycle(text, complete(text, self._input.cursor_position, kind)) if kind else None
        self._write_options()

    def _write_options(self) -> None:
        cycle = self._cycle
        options = () if cycle is None else cycle.found.options
        self._options.write(
            [options_line(options, -1 if cycle is None else cycle.at, self._indent(), self.app.size.width)]
        )

    def _tab(self, step: int) -> None:
        """Insert the next option into the text (step=-1: the previous one)."""
        if self._cycle is None or self._input.value != self._cycle.filled[0]:  # typed since the last completion
            self._complete()
        if self._cycle is not None and self._cycle.found.options:
            self._cycle = self._cycle.step(step)
            self._put(*self._cycle.filled)
            if len(self._cycle.found.options) == 1:
                self._complete()
            self._write_options()

    def _recall(self, by: int) -> None:
        """Show an earlier (by=1) or later (by=-1) text of the same purpose."""
        history = self._history.get("" if self._request is None else self._request.purpose, [])
        self._back = max(0, min(self._back + by, len(history)))
        text = history[-self._back] if self._back else ""
        self._put(text, len(text))
