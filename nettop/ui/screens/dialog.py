"""What every dialog has in common: how it looks, what it leaves room for, and that it is answered once."""

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
MOST = 24  # choices that stand in a dialog at a time


class Dialog(ModalScreen[Answer], inherit_bindings=False):
    """A screen over the main one. Keys that were on their way to it when it was answered do nothing."""

    answered = False

    def answer(self, answer: Answer | None) -> None:
        """Give this back and leave; a second answer is none: dismissing again would take the screen below."""
        if not self.answered:
            self.answered = True
            self.dismiss(answer)

    def action_leave(self) -> None:
        """Esc."""
        self.answer(None)


def leave_room(choices: Choices, others: int) -> None:
    """So many lines for the choices that the dialog's other lines, its keys above all, stay on the screen."""
    choices.styles.max_height = max(3, min(MOST, choices.app.size.height * 9 // 10 - 2 - others))
