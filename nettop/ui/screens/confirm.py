"""A dialog before a change on the host: its consequences and the choices. Esc changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from nettop.ui.screens.dialog import Dialog
from nettop.ui.strips import keys_line
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.text_panes import TextPane


class ConfirmScreen(Dialog[str], inherit_bindings=False):
    """The answer is the ident of the choice confirmed by y, Enter or a second click; None for Esc."""

    DEFAULT_CSS = "ConfirmScreen Choices { max-height: 12; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "accept", "Do it", show=False),
        Binding("escape,ctrl+c,q,n", "leave", "Leave", show=False),
    ]

    keys = keys_line("", " y", " or ", "Enter", " confirm  ", "Esc", " cancel")

    def __init__(self, title: str, text: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.box_title, self._text = title, text
        self.choices = Choices(choices)
        self._question = TextPane(surface="dialog")
        self.parts = (self._question, self.choices)

    def fit_screen(self) -> None:
        """Wrap the question."""
        lines = [*self.wrapped(self._text), ()]
        self._question.styles.height = len(lines)
        self._question.write(lines)

    def action_accept(self) -> None:
        """Confirm the choice under the cursor."""
        choice = self.choices.current
        self.answer(None if choice is None else choice.ident)

    on_choices_accepted = action_accept
