"""One line to type in at the bottom of the screen: a caret under what is wrong, what may come next, a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from nettop.ui.strips import fit
from nettop.ui.widgets.completion import Walk, options_line
from nettop.ui.widgets.question import Asked
from nettop.ui.widgets.text_panes import Paper


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
    """An Input one line high, in which every key takes its turn among the characters.

    As bindings they are run by the screen, after characters that were typed behind them.
    """

    cut: Callable[[int], None]  # called with how many characters of a paste there was no room for
    keys: Mapping[str, Callable[[], None]]  # the keys that are the prompt's
    moved: Callable[[], None]  # called when the cursor may stand elsewhere
    over = False  # the prompt has been answered: the keys behind that are the screen's

    async def _on_key(self, event: events.Key) -> None:
        if self.over or event.key in self.keys or event.key in _EDITING:
            event.stop()
            event.prevent_default()
        if self.over:
            self.app.post_message(events.Key(event.key, event.character))
        elif event.key in self.keys:
            self.keys[event.key]()
        elif event.key in _EDITING:
            getattr(self, f"action_{_EDITING[event.key]}")()
            self.moved()
        else:
            await super()._on_key(event)

    def _on_paste(self, event: events.Paste) -> None:
        """As one line, as much as there is room for: an Input takes the first line, and none that is too long."""
        event.stop()
        event.prevent_default()
        text = " ".join(clean(line.replace("\t", " ")).strip() for line in event.text.splitlines()).strip()
        room = MAX_LENGTH - len(self.value) + len(self.selected_text)
        self.replace(text[:room], *self.selection)
        if len(text) > room:
            self.cut(len(text) - room)


class Prompt(Vertical):
    """A labelled line of input; Enter gives it back when its check has nothing against it, Esc leaves."""

    DEFAULT_CSS = """
    Prompt { height: auto; width: 1fr; background: $nt-bar; }
    Prompt Horizontal { height: 1; }
    Prompt #prompt-label { width: auto; }
    Prompt Input { height: 1; border: none; padding: 0; background: $nt-bar; color: $nt-text; width: 1fr; }
    Prompt Input:focus { border: none; background-tint: $nt-bar 0%; }
    """

    class Submitted(Message):
        """Enter was pressed on a good text."""

        def __init__(self, asked: Asked, text: str) -> None:
            super().__init__()
            self.asked = asked
            self.text = text

    class Left(Message):
        """Esc was pressed."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._asked: Asked | None = None
        self._history: dict[str, list[str]] = {}
        self._back = 0
        self._walk: Walk | None = None  # through what may stand at the cursor
        self._label = Paper(id="prompt-label")
        self._below = Paper()
        self._options = Paper()
        self._input = _OneLine(select_on_focus=False, max_length=MAX_LENGTH)
        self._input.cursor_blink = False
        self._input.cut = self._cut
        self._input.moved = self._look
        self._input.keys = {
            "tab": partial(self._tab, 1),
            "shift+tab": partial(self._tab, -1),
            "enter": self._submit,
            "escape": self._leave,
            "ctrl+c": self._leave,
            "up": partial(self._past, 1),
            "down": partial(self._past, -1),
        }

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._label
            yield self._input
        yield self._below
        yield self._options

    def open(self, asked: Asked) -> None:
        """Ask for a text."""
        self._asked, self._back = asked, 0
        self._label.styles.width = cell_len(asked.label)
        self._label.write([((asked.label, "key"),)])
        self._options.display = bool(asked.kind)
        self._put(asked.value, len(asked.value))
        self._judge(asked.value)
        self._look()
        self.display, self._input.over = True, False
        self.keep_focus()

    def keep_focus(self) -> None:
        """The keys belong to the text, whatever was clicked on."""
        if self.screen.focused is not self._input:
            self.screen.set_focus(self._input)

    @property
    def completes(self) -> bool:
        """Whether Tab does something."""
        return self._asked is not None and bool(self._asked.kind)

    def _put(self, text: str, cursor: int) -> None:
        self._input.value = text
        self._input.cursor_position = cursor

    def _at(self) -> int:
        return int(self._label.styles.width.value) if self._label.styles.width else 0

    def _cut(self, count: int) -> None:
        words = f"{grouped(count)} characters were left out: a line holds {grouped(MAX_LENGTH)}"
        self.app.notify(words, severity="warning", markup=False)

    # ── what will do ────────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self, text: str) -> bool:
        """Whether the text will do; what is wrong stands below it."""
        assert self._asked is not None
        try:
            self._asked.check(text)
        except FilterError as error:
            position = None if error.position is None else cell_len(text[: error.position])
            self._below.write([caret_line(self._at(), position, error.what, self.app.size.width)])
            return False
        except NettopError as error:
            self._below.write([caret_line(self._at(), None, str(error), self.app.size.width)])
            return False
        self._below.write([((" " * self._at(), ""), (self._asked.advice, "dim"))])
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._judge(event.value)
        if self._walk is None or event.value != self._walk.filled[0]:
            self._look()

    def _submit(self) -> None:
        text = self._input.value
        if self._asked is None or not self._judge(text):
            return
        history = self._history.setdefault(self._asked.purpose, [])
        if text.strip() and history[-1:] != [text]:
            history.append(text)
        self._input.over = True
        self.post_message(self.Submitted(self._asked, text))

    def _leave(self) -> None:
        self._input.over = True
        self.post_message(self.Left())

    # ── what may come ───────────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        """What may stand at the cursor now."""
        kind = "" if self._asked is None else self._asked.kind
        text = self._input.value
        self._walk = Walk(text, complete(text, self._input.cursor_position, kind)) if kind else None
        self._write_options()

    def _write_options(self) -> None:
        walk = self._walk
        options = () if walk is None else walk.found.options
        self._options.write([options_line(options, -1 if walk is None else walk.at, self._at(), self.app.size.width)])

    def _tab(self, step: int) -> None:
        """Put the next option into the text."""
        if self._walk is None or self._input.value != self._walk.filled[0]:  # typed in this very burst
            self._look()
        if self._walk is not None and self._walk.found.options:
            self._walk = self._walk.step(step)
            self._put(*self._walk.filled)
            if len(self._walk.found.options) == 1:
                self._look()
            self._write_options()

    def _past(self, by: int) -> None:
        """An earlier or later text of the same purpose."""
        history = self._history.get("" if self._asked is None else self._asked.purpose, [])
        self._back = max(0, min(self._back + by, len(history)))
        text = history[-self._back] if self._back else ""
        self._put(text, len(text))
