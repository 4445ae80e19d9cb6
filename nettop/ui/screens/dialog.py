"""The common part of all dialogs: their style, their height, and that each is answered once."""

from __future__ import annotations

from typing import TypeVar

from textual.screen import ModalScreen

from nettop.ui.widgets.choices import Choices

Answer = TypeVar("Answer")

DIALOG_CSS = """
{name} {{ align: center middle; background: $nt-background 60%; }}
{name} > Vertical {{
    width: 76; max-width: 96%; height: auto; max-height: 90%;
    border: round $nt-border; border-title-color: $nt-text; border-title-style: bold; background: $nt-dialog;
}}
{name} Input {{ height: 1; border: none; padding: 0 1; background: $nt-background; color: $nt-text; }}
{name} Input:focus {{ border: none; }}
"""
MAX_CHOICES = 24  # visible at a time


class Dialog(ModalScreen[Answer], inherit_bindings=False):
    """A screen over the main screen. Keys that reach it after its answer do nothing."""

    answered = False

    def answer(self, answer: Answer | None) -> None:
        """Close with this answer. Only the first one counts: a second dismissal would close the screen below."""
        if not self.answered:
            self.answered = True
            self.dismiss(answer)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.answer(None)


def limit_height(choices: Choices, others: int) -> None:
    """Limit the height of the choices, so that the `others` lines of the dialog stay on the screen."""
    choices.styles.max_height = max(3, min(MAX_CHOICES, choices.app.size.height * 9 // 10 - 2 - others))
