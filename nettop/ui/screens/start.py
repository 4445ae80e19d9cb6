"""The start screen for a user without the privileges to watch this host: what can be done instead."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Middle, Vertical
from textual.events import Key

from nettop.errors import UsageError
from nettop.text.sanitize import clean
from nettop.ui.palette import ColouredApp
from nettop.ui.strips import keys_line
from nettop.ui.theme import Theme
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.prompt_request import PromptRequest
from nettop.ui.widgets.text_panes import TextPane

if TYPE_CHECKING:
    from nettop.ui.widgets.prompt import Prompt


@dataclass(frozen=True, slots=True)
class StartChoice:
    """The chosen action: watch through sudo, build the demo lab, or open the file `path`."""

    action: Literal["sudo", "demo", "open"]
    path: str = ""


_CHOICES = (
    Choice("sudo", "Watch this host, through sudo", "asks for your password"),
    Choice("demo", "Demo: two NAT gateways and their traffic", "needs no rights"),
    Choice("open", "Open a capture or recording…", "pcap, pcapng"),
)


def _check_file(text: str) -> None:
    """Raise UsageError if there is no file of this name. An empty name is accepted."""
    if text.strip() and not os.path.isfile(os.path.expanduser(text.strip())):
        raise UsageError("no such file")


class StartApp(ColouredApp[StartChoice], inherit_bindings=False):
    """The app of the start screen. Its return value is the choice, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,escape", "leave", "Leave", show=False),
        Binding("ctrl+z", "suspend_process", show=False),
    ]
    CSS = """
    Screen { background: $nt-background; }
    #box { width: 72; max-width: 96%; height: auto; border: round $nt-border; border-title-color: $nt-text;
           border-title-style: bold; background: $nt-dialog; padding: 1 1; }
    """

    def __init__(self, reason: str, theme: Theme) -> None:
        super().__init__(theme)
        self.reason = reason
        self.choices = Choices(_CHOICES)
        self._reason_pane = TextPane(surface="dialog")
        self._hints = TextPane(surface="dialog")
        self._prompt: Prompt | None = None

    def compose(self) -> ComposeResult:
        """Yield the reason, the choices and the keys."""
        box = Vertical(id="box")
        box.border_title = "nettop"
        with Middle(), Center(), box:
            yield self._reason_pane
            yield self.choices
            yield self._hints

    def on_mount(self) -> None:
        """Write the keys and focus the choices."""
        self._hints.write([(), keys_line("", " Enter", " choose  ", "q", " quit")])
        self._hints.styles.height = 2
        self.choices.focus()

    def on_resize(self) -> None:
        """Wrap the reason for the new width."""
        width = min(72, self.size.width * 96 // 100) - 6
        text = [((" ", ""), (line, "")) for line in textwrap.wrap(clean(self.reason), max(10, width))]
        self._reason_pane.styles.height = len(text) + 1
        self._reason_pane.write(text)

    def on_choices_accepted(self) -> None:
        """Exit with the choice, or ask for a file."""
        choice = self.choices.current
        if choice is None:
            return
        if choice.ident == "open":
            self._ask_path()
        elif choice.ident == "sudo":
            self.exit(StartChoice("sudo"))
        else:
            self.exit(StartChoice("demo"))

    def _ask_path(self) -> None:
        """Open the prompt. It is made when it is first used."""
        if self._prompt is None:
            from nettop.ui.widgets.prompt import Prompt

            self._prompt = Prompt()
            self._prompt.styles.dock = "bottom"
            self.mount(self._prompt)
        advice = "a pcap, pcapng or nettop recording · Enter opens"
        request = PromptRequest("open", " open ", "", _check_file, advice, self._open)
        self.call_after_refresh(self._prompt.open, request)

    def _open(self, path: str) -> None:
        if path:
            self.exit(StartChoice("open", os.path.expanduser(path)))

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """Pass on the text of the prompt."""
        message.request.accept(message.text.strip())

    def on_prompt_cancelled(self) -> None:
        """Close the prompt."""
        if self._prompt is not None:
            self._prompt.display = False
        self.choices.focus()

    def on_key(self, event: Key) -> None:
        """Choose by the first letter of a choice's ident."""
        for choice in _CHOICES:
            if event.key == choice.ident[0]:
                self.choices.select(choice.ident)
                self.on_choices_accepted()
                event.stop()

    def action_leave(self) -> None:
        """Exit without a choice."""
        self.exit(None)
