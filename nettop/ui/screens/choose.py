"""A dialog to choose one or several items, with an optional search line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from textwrap import wrap
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input

from nettop.text.sanitize import clean
from nettop.ui.screens.dialog import WIDTH, Dialog, limit_height
from nettop.ui.strips import keys_line
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.text_panes import TextPane

_MOST_BELOW = 8  # lines


class _Search(Input):
    """The search line. Where several can be chosen Space is not typed: it ticks."""

    several = False

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Return whether a key is typed here, although it is bound."""
        return not (self.several and key == "space") and super().check_consume_key(key, character)


class ChooseScreen(Dialog[list[str]], inherit_bindings=False):
    """The answer is the chosen idents: one, or with `several` the ticked ones in order; None for Esc.

    With `search` typed text narrows the list; with `several`, too, the choice under the cursor comes before those
    ticked. With `free` a text that matches nothing is chosen. `keys` maps a key to the ident that it chooses at once.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave", show=False),
        Binding("down", "step(1)", "Down", show=False),
        Binding("up", "step(-1)", "Up", show=False),
        Binding("q", "leave", "Leave", show=False),
        Binding("space", "tick", "Tick", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        *,
        several: bool = False,
        ticked: Sequence[str] = (),
        search: bool = False,
        free: bool = False,
        start: str = "",
        keys: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._chosen_by = dict(keys or {})
        self.box_title = title
        self._all = list(choices)
        self._free = free
        self._start = start
        self.choices = Choices(choices, several=several, ticked=ticked)
        self._input: Input | None = None
        more = keys_line("", " Space", " toggle  ", *(("J K", " move  ") if not search else ())) if several else ()
        self.keys = (*more, *keys_line("", " Enter", " choose  ", "Esc", " cancel"))
        self._detail = TextPane(surface="dialog")
        self._below: dict[str, list[str]] = {}  # by the ident of a choice
        self.parts: list[Widget] = [self.choices, self._detail]
        if search:
            self._input = _Search(select_on_focus=False, placeholder="type to search")
            self._input.several = several
            self._input.cursor_blink = False
            self.parts.insert(0, self._input)

    def on_mount(self) -> None:
        """Set the cursor; with an input, the keys go to that alone."""
        self.choices.can_focus = self._input is None
        self.choices.select(self._start)

    def fit_screen(self) -> None:
        """Make the box as wide as its longest text, and share its height: choices, and what is below them."""
        wanted, room = max(WIDTH, *map(_width, self._all)), self.app.size.width * 96 // 100
        self.query_one(Vertical).styles.width = wanted
        self._below = {choice.ident: _below(choice, min(wanted, room)) for choice in self._all}
        lines = max(map(len, self._below.values()), default=0)
        self._detail.styles.height, self._detail.display = lines, lines > 0
        limit_height(self.choices, lines + (1 if self._input is None else 2))
        self.on_choices_moved()

    def on_choices_moved(self) -> None:
        """Show what belongs to the choice under the cursor."""
        choice = self.choices.current
        self._detail.write([((line, "dim"),) for line in (self._below.get(choice.ident, ()) if choice else ())])

    def on_key(self, event: events.Key) -> None:
        """Choose by one of `keys`."""
        if event.character in self._chosen_by:
            event.stop()
            self.answer([self._chosen_by[event.character]])

    def action_step(self, by: int) -> None:
        """Move the cursor while the search line has the focus."""
        self.choices.action_move(by)

    def action_tick(self) -> None:
        """Tick or untick the choice under the cursor."""
        self.choices.action_tick()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key works: Space is typed where several cannot be chosen."""
        return action != "tick" or self.choices.several

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the choices that match the text."""
        self.choices.offer(_matching(self._all, event.value.casefold()))

    def on_choices_accepted(self) -> None:
        """Accept the choice."""
        if self.choices.several and self._input is None:
            self.answer(self.choices.chosen)
            return
        typed = self._input.value.strip() if self._free and self._input is not None else ""
        first = self.choices.current.ident if self.choices.current is not None else typed or None
        ticked = (choice.ident for choice in self._all if choice.ident in self.choices.ticked)
        if first is not None:
            self.answer([*dict.fromkeys((first, *ticked))])

    on_input_submitted = on_choices_accepted


def _width(choice: Choice) -> int:
    """Return the cells that a choice needs in a box, with its borders, cursor and tick."""
    return max(cell_len(choice.label) + cell_len(choice.note) + 11, *(cell_len(line) + 6 for line in choice.detail), 0)


def _below(choice: Choice, width: int) -> list[str]:
    """Return the lines below the list for a choice: its label if the list cuts it, then its detail."""
    texts = ((choice.label,) if _width(replace(choice, detail=())) > width else ()) + choice.detail
    wrapped = [wrap(clean(text), width - 5, initial_indent="   ", subsequent_indent="     ") for text in texts]
    return list(chain.from_iterable(wrapped))[:_MOST_BELOW]


def _matching(choices: Sequence[Choice], text: str) -> list[Choice]:
    """Return the choices with every word of `text`: first by start of the label, then by label, then by note."""

    def rank(choice: Choice) -> int:
        label = choice.label.casefold()
        return 0 if label.startswith(text.strip()) else 1 if all(word in label for word in words) else 2

    words = text.split()
    return sorted((c for c in choices if all(w in f"{c.label} {c.note}".casefold() for w in words)), key=rank)
