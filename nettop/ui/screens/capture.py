"""The capture dialog: devices and capture filter (in libpcap's language, run by the kernel)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.widgets import Input

from nettop.model.flows.capture import FlowCapture
from nettop.model.table import Line
from nettop.session.status import DeviceChoice, shown_netns
from nettop.text.sanitize import clean
from nettop.ui.screens.dialog import Dialog, text_line
from nettop.ui.screens.pending import WatchContext
from nettop.ui.strips import keys_line
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.text_panes import TextPane

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

_OTHER_LINES = 4  # without the devices and the lines below the filter
_MIN_DEVICES, _MAX_DEVICES = 3, 12  # lines


def _lines_below(expression: str, error: str, room: int, scrolled: bool) -> list[Line]:
    """Return the lines below the capture filter, each of `room` cells: the error, or the rest of a long filter.

    The rest is all of it if its input is `scrolled`, else the part after its first line.
    """
    if error:
        message, *pointer = [clean(part) for part in error.split("\n")][:3]  # expression and caret are not wrapped
        return [((f" {part}", "bad"),) for part in (*textwrap.wrap(message, room)[:3], *pointer)]
    whole = textwrap.wrap(clean(expression), room) if cell_len(clean(expression)) >= room else []
    return [((f" {part}", ""),) for part in (whole if scrolled else whole[1:])]


def _cut(lines: list[Line], count: int) -> list[Line]:
    """Return the first `count` lines. The last one ends with … if there are more."""
    if len(lines) <= count:
        return lines
    (text, role), *_ = lines[count - 1]
    return [*lines[: count - 1], ((f"{text} …", role),)]


class CaptureScreen(Dialog[None], inherit_bindings=False):
    """Starts a capture and closes, or shows the error and stays open."""

    keys = (
        *keys_line("", " Space", " toggle  ", "Tab", " filter/devices  ", "Enter", " start  ", "Ctrl-S", " stop  "),
        *keys_line("", "Esc", " cancel"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave", show=False),
        Binding("tab,shift+tab", "other", "Other part", show=False),
        Binding("ctrl+s", "stop", "Stop", show=False),
    ]

    def __init__(self, main: MainScreen, devices: Sequence[DeviceChoice], flow: FlowCapture | None = None) -> None:
        super().__init__()
        self._main, self._watch_context = main, WatchContext(main)
        self._flow = flow  # the dialog is filled in for this flow
        status = main.session.status()
        now = status.capturing if flow is None else None  # otherwise for the running capture
        sides = {} if flow is None else dict(flow.devices)
        if now is not None:
            sides = {d.name: f"{d.note}, captured now" for d in devices if d.name in now.devices}
        expression = now.expression if now else "" if flow is None else flow.expression
        usual = [d.name for d in devices if d.usual] or [d.name for d in devices[:1]]
        choices = [Choice(d.name, d.name, sides.get(d.name, d.note)) for d in devices]
        ticked = [d.name for d in devices if d.name in sides] or usual
        self.choices = Choices(choices, several=True, ticked=ticked)
        placeholder = "every packet; e.g. tcp port 443 and net 10.0.0.0/8"
        self.expression = Input(expression, select_on_focus=False, placeholder=placeholder)
        self.expression.cursor_blink = False
        self._error = ""
        self._edited = False  # the filter has had the focus: its input may have scrolled, and a flow's is unfolded
        self._about = TextPane(surface="dialog")
        self._below = TextPane(surface="dialog")
        what = "Capture packets" if flow is None else "Capture exactly this flow"
        self.box_title = f"{what} in {shown_netns(status)}" if status.others else what
        titles = (((f" {text}", "heading"),) for text in ("Devices", "Capture filter (as tcpdump takes it)"))
        devices_line, filter_line = map(text_line, titles)
        about = (self._about,) if flow is not None else ()
        self.parts = (*about, devices_line, self.choices, filter_line, self.expression, self._below)

    def on_descendant_focus(self) -> None:
        """Show the whole filter once it can be edited."""
        if self.expression.has_focus and not self._edited:
            self._edited = True
            self.fit_screen()

    def on_input_changed(self) -> None:
        """Remove the error of the previous filter."""
        self._show_error("")

    def action_other(self) -> None:
        """Move the focus to the filter or to the devices."""
        (self.expression if self.choices.has_focus else self.choices).focus()

    def on_input_submitted(self) -> None:
        """Start the capture."""
        if not self.choices.chosen:
            self._show_error("select at least one device")
            return
        if not self._watch_context.unchanged:
            self._show_error("another namespace is watched now")
            return
        self._main.session.start_capture(
            self.choices.chosen, self.expression.value.strip(), lambda error: self._main.post(self._on_started, error)
        )

    on_choices_accepted = on_input_submitted

    def _on_started(self, error: str | None) -> None:
        if self.answered:
            return  # Enter was pressed twice
        if error is None:
            what, then = ("", "") if self._flow is None else ("this flow ", ": 4 shows its packets")
            self._main.say(f"capturing {what}on {', '.join(self.choices.chosen)}{then}")
            self.answer(None)
            if self._flow is None and self._main.command_context.view != "packets":
                self._main.show("packets")
        else:
            self._show_error(error)

    def _show_error(self, error: str) -> None:
        self._error = error
        self.fit_screen()

    def fit_screen(self) -> None:
        """Write the lines below the filter, and give the devices the lines that are left."""
        room = max(20, min(74, self.app.size.width * 96 // 100 - 2) - 2)
        room_below = self.app.size.height * 9 // 10 - 2 - _OTHER_LINES
        about: list[Line] = (
            [((f" {part}", ""),) for part in textwrap.wrap(self._flow.notes, room)] if self._flow else []
        )
        about = _cut(about, max(1, room_below - _MIN_DEVICES - 1))
        self._about.styles.height = max(1, len(about))
        self._about.write(about)
        room_below -= len(about)
        folded = self._flow is not None and not self._edited
        expression = "" if folded else self.expression.value
        lines = _cut(_lines_below(expression, self._error, room, self._edited), max(1, room_below - _MIN_DEVICES))
        self._below.styles.height = max(1, len(lines))
        self._below.write(lines)
        self.choices.styles.max_height = max(_MIN_DEVICES, min(_MAX_DEVICES, room_below - len(lines)))

    def action_stop(self) -> None:
        """Stop the running capture and close."""
        if not self.answered:
            stop_capture(self._main)
        self.answer(None)


def stop_capture(screen: MainScreen) -> None:
    """Stop capturing and report it."""
    running = screen.session.status().capturing is not None
    screen.session.stop_capture()
    screen.say("capture stopped, packets kept" if running else "no capture is running")
