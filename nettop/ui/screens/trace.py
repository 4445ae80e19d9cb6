"""The dialog before a trace: the packets, the limits, and what changes on the host meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from nettop.model.table import Line
from nettop.session.status import TraceRequest
from nettop.ui.screens.dialog import Dialog
from nettop.ui.strips import keys_line
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.text_panes import TextPane

# field of TraceRequest → its name, and its values with their texts
_VALUES: dict[str, tuple[str, dict[Any, str]]] = {
    "syn": ("packets", {False: "all that match", True: "only those that open a TCP connection (SYN)"}),
    "also": (
        "hooks",
        {
            "": "of IPv4 and IPv6",
            "bridge": "and those of bridges",
            "ingress": "and the ingress of devices",
            "bridge ingress": "and those of bridges, and the ingress of devices",
        },
    ),
    "per_second": ("rate", {n: f"at most {n:,} packets a second" for n in (10, 50, 200, 1000)}),
    "seconds": ("time", {60: "1 minute", 600: "10 minutes", 3600: "1 hour", 86_400: "1 day"}),
    "count": ("count", {0: "no limit", 1: "1 packet", 10: "10 packets", 100: "100 packets"}),
}
_EFFECT = (
    "A table of our own, inet nettop-…, marks them until the trace ends; the kernel removes it with nettop, killed or "
    "not. Until then `nft flush ruleset` does not remove it; a ruleset saved with it cannot be restored."
)


class _Options(Choices):
    """The limits. Space changes the one under the cursor."""

    on_change: Callable[[], None]

    def action_tick(self) -> None:
        """Show the next value."""
        self.on_change()


class TraceScreen(Dialog[TraceRequest], inherit_bindings=False):
    """The answer is the request with the limits chosen; `on_edit` is called for other packets, None is Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c,q", "leave", "Leave", show=False),
        Binding("e", "edit", "Edit", show=False),
    ]
    box_title = "Trace packets"
    keys = (*keys_line("", " Enter", " start  ", "Space", " change  ", "e", " other packets  ", "Esc", " cancel"),)

    def __init__(self, request: TraceRequest, netns: str, on_edit: Callable[[TraceRequest], object]) -> None:
        super().__init__()
        self._request, self._on_edit = request, on_edit
        self.box_title = f"Trace packets in {netns or 'the host'}"
        self.choices = _Options(self._choices())
        self.choices.on_change = self._change
        self._about, self._effect = TextPane(surface="dialog"), TextPane(surface="dialog")
        self.parts = (self._about, self.choices, self._effect)

    def _choices(self) -> list[Choice]:
        chosen = {field: getattr(self._request, field) for field in _VALUES}
        return [
            Choice(field, f"{name:<9} {values.get(chosen[field], chosen[field])}")
            for field, (name, values) in _VALUES.items()
        ]

    def _change(self) -> None:
        choice = self.choices.current
        if choice is not None:
            values = list(_VALUES[choice.ident][1])
            now = getattr(self._request, choice.ident)
            following = values[(values.index(now) + 1) % len(values)] if now in values else values[0]
            self._request = replace(self._request, **{choice.ident: following})
            self.choices.choices = self._choices()
            self.choices.refresh()

    def fit_screen(self) -> None:
        """Wrap the texts."""
        about = self.wrapped(self._request.expression or "every packet", "accent")
        if self._request.only:
            about += self.wrapped(f"shows only the packets that meet {self._request.only}")
        effect: list[Line] = [(), *self.wrapped(_EFFECT, "dim"), ()]
        for pane, lines in ((self._about, [*about, ()]), (self._effect, effect)):
            pane.styles.height = len(lines)
            pane.write(lines)

    def on_choices_accepted(self) -> None:
        """Start the trace."""
        self.answer(self._request)

    def action_edit(self) -> None:
        """Ask for other packets instead."""
        if not self.answered:
            self.answer(None)
            self._on_edit(self._request)
