"""The common part of all dialogs: their style, their height, and that each is answered once."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from nettop.model.table import Line
from nettop.text.sanitize import clean
from nettop.ui.widgets.choices import Choices
from nettop.ui.widgets.text_panes import TextPane

Answer = TypeVar("Answer")

WIDTH = 76  # cells of a box, unless its texts need more
MAX_CHOICES = 24  # visible at a time


class Dialog(ModalScreen[Answer], inherit_bindings=False):
    """A screen over the main screen: a box with a title. Keys that reach it after its answer do nothing."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $nt-background 60%; }
    Dialog > Vertical {
        width: WIDTH; max-width: 96%; height: auto; max-height: 90%;
        border: round $nt-border; border-title-color: $nt-text; border-title-style: bold; background: $nt-dialog;
    }
    Dialog Input { height: 1; border: none; padding: 0 1; background: $nt-background; color: $nt-text; }
    Dialog Input:focus { border: none; }
    """.replace("WIDTH", str(WIDTH))
    box_title = box_subtitle = ""
    parts: Sequence[Widget] = ()  # of the box, from top to bottom
    keys: Line = ()  # below them
    answered = False

    def compose(self) -> ComposeResult:
        """Yield the parts in a box with the title."""
        box = Vertical()
        box.border_title, box.border_subtitle = self.box_title, self.box_subtitle
        with box:
            yield from self.parts
            if self.keys:
                yield text_line(self.keys)

    def on_mount(self) -> None:
        """Arrange the texts and focus the first part that can be focused."""
        self.fit_screen()
        next(part for part in self.parts if part.can_focus).focus()

    def on_resize(self) -> None:
        """Arrange the texts for the new size."""
        self.fit_screen()

    def fit_screen(self) -> None:
        """Write the texts and limit the heights for the size of the screen."""

    def wrapped(self, text: str, role: str = "") -> list[Line]:
        """Return a text, of several lines if it has any, as lines that fit in the box."""
        room = max(10, min(WIDTH, self.app.size.width * 96 // 100) - 4)
        parts = (wrap(clean(line), room, break_on_hyphens=False) for line in text.split("\n"))
        return [((f" {part}", role),) for found in parts for part in found]

    def answer(self, answer: Answer | None) -> None:
        """Close with this answer. Only the first one counts: a second dismissal would close the screen below."""
        if not self.answered:
            self.answered = True
            self.dismiss(answer)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.answer(None)


def text_line(line: Line) -> TextPane:
    """Return one line of a dialog."""
    pane = TextPane(surface="dialog")
    pane.text = (line,)
    return pane


def limit_height(choices: Choices, others: int) -> None:
    """Limit the height of the choices, so that the `others` lines of the dialog stay on the screen."""
    choices.styles.max_height = max(3, min(MAX_CHOICES, choices.app.size.height * 9 // 10 - 2 - others))
