"""The capture dialog: on which devices, with which capture filter (libpcap's language, run by the kernel)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from nettop.model.flows.capture import FlowCapture
from nettop.model.table import Line
from nettop.session.status import DeviceChoice, shown_netns
from nettop.text.sanitize import clean
from nettop.ui.screens.dialog import DIALOG_CSS, Dialog
from nettop.ui.screens.pending import Stand
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.text_panes import TextPane

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

_KEYS: Line = (
    (" Space", "key"),
    (" tick  ", "dim"),
    ("Tab", "key"),
    (" filter/devices  ", "dim"),
    ("Enter", "key"),
    (" start  ", "dim"),
    ("Ctrl-S", "key"),
    (" stop  ", "dim"),
    ("Esc", "key"),
    (" leave", "dim"),
)


_OTHERS = 4  # lines beside the devices and what is said below the filter
_LEAST, _MOST = 3, 12  # lines of devices


def _below(expression: str, advice: str, refusal: str, room: int, scrolled: bool) -> list[Line]:
    """Return the lines below the capture filter, each of `room` cells: the error, or the rest of the filter and advice.

    The rest is all of a long filter if its input is `scrolled`, else the part after its first line.
    """
    if refusal:
        what, *shown = [clean(part) for part in refusal.split("\n")][:3]  # expression and caret stay as they are
        return [((f" {part}", "bad"),) for part in (*textwrap.wrap(what, room)[:3], *shown)]
    whole = textwrap.wrap(clean(expression), room) if cell_len(clean(expression)) >= room else []
    more = whole if scrolled else whole[1:]
    return [*(((f" {part}", ""),) for part in more), *(((f" {part}", "dim"),) for part in textwrap.wrap(advice, room))]


def _cut(words: list[Line], most: int) -> list[Line]:
    """Return as many lines as there is room for; the last one ends with … where there are more."""
    if len(words) <= most:
        return words
    (text, role), *_ = words[most - 1]
    return [*words[: most - 1], ((f"{text} …", role),)]


class CaptureScreen(Dialog[None], inherit_bindings=False):
    """Starts a capture and closes, or says why it cannot and stays."""

    DEFAULT_CSS = DIALOG_CSS.format(name="CaptureScreen")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave", show=False),
        Binding("tab,shift+tab", "other", "Other part", show=False),
        Binding("ctrl+s", "stop", "Stop", show=False),
    ]

    def __init__(self, main: MainScreen, devices: Sequence[DeviceChoice], flow: FlowCapture | None = None) -> None:
        super().__init__()
        self._main, self._stand = main, Stand(main)
        self._flow = flow  # filled in for this flow
        now = main.session.status().capturing if flow is None else None  # else filled in as it is captured now
        sides = {} if flow is None else dict(flow.devices)
        if now is not None:
            sides = {d.name: f"{d.note}, captured now" for d in devices if d.name in now.devices}
        expression = now.expression if now else "" if flow is None else flow.expression
        usual = [d.name for d in devices if d.usual] or [d.name for d in devices[:1]]
        found = [Choice(d.name, d.name, sides.get(d.name, d.note)) for d in devices]
        ticked = [d.name for d in devices if d.name in sides] or usual
        self.choices = Choices(found, several=True, ticked=ticked)
        placeholder = "every packet; e.g. tcp port 443 and net 10.0.0.0/8"
        self.expression = Input(expression, select_on_focus=False, placeholder=placeholder)
        self._refusal = ""
        self._edited = False  # the cursor was in the filter: its line begins anywhere since
        self._said = TextPane(surface="dialog")
        self._hints = TextPane(surface="dialog")

    def compose(self) -> ComposeResult:
        box = Vertical()
        status = self._main.session.status()
        what = "Capture packets" if self._flow is None else "Capture exactly this flow"
        box.border_title = f"{what} in {shown_netns(status)}" if status.others else what
        self.expression.cursor_blink = False
        with box:
            yield self._line("Devices")
            yield self.choices
            yield self._line("Capture filter (as tcpdump takes it)")
            yield self.expression
            yield self._said
            yield self._hints

    def _line(self, text: str) -> TextPane:
        paper = TextPane(surface="dialog")
        paper.text = (((f" {text}", "heading"),),)
        return paper

    def on_mount(self) -> None:
        self._hints.write([_KEYS])
        self._write()
        self.choices.focus()

    def on_resize(self) -> None:
        self._write()

    def on_descendant_focus(self) -> None:
        if self.expression.has_focus and not self._edited:
            self._edited = True
            self._write()

    def on_input_changed(self) -> None:
        self._refuse("")

    def action_other(self) -> None:
        """Tab: filter or devices."""
        (self.expression if self.choices.has_focus else self.choices).focus()

    def on_choices_accepted(self) -> None:
        self._start()

    def on_input_submitted(self) -> None:
        self._start()

    def _start(self) -> None:
        if not self.choices.chosen:
            self._refuse("tick at least one device")
            return
        if not self._stand.same:
            self._refuse("another namespace is watched now")
            return
        self._main.session.start_capture(
            self.choices.chosen, self.expression.value.strip(), lambda error: self._main.post(self._told, error)
        )

    def _told(self, error: str | None) -> None:
        if self.answered:
            return  # Enter was pressed twice
        if error is None:
            self._main.say(f"capturing on {', '.join(self.choices.chosen)}")
            self.answer(None)
            if self._flow is None and self._main.where.view != "packets":
                self._main.show("packets")
        else:
            self._refuse(error)

    def _refuse(self, why: str) -> None:
        self._refusal = why
        self._write()

    def _write(self) -> None:
        """Below the filter: all of it where it is longer than its line, and what must be known, or what is wrong."""
        room = max(20, min(74, self.app.size.width * 96 // 100 - 2) - 2)
        lines = self.app.size.height * 9 // 10 - 2 - _OTHERS
        advice = "" if self._flow is None else self._flow.notes
        words = _below(self.expression.value, advice, self._refusal, room, self._edited)
        kept = _cut(words, max(1, lines - _LEAST))
        self._said.styles.height = max(1, len(kept))
        self._said.write(kept)
        self.choices.styles.max_height = max(_LEAST, min(_MOST, lines - len(kept)))

    def action_stop(self) -> None:
        """Stop the running capture."""
        if not self.answered:
            stop_capture(self._main)
        self.answer(None)


def stop_capture(screen: MainScreen) -> None:
    """Stop capturing, and say so."""
    running = screen.session.status().capturing is not None
    screen.session.stop_capture()
    screen.say("the capture has ended: what was captured stays" if running else "no capture is running")
