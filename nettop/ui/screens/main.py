"""The main screen: header, tabs, one view, keys. Commands of the table in commands.py end here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen

from nettop.errors import NettopError
from nettop.model.filter import parse
from nettop.text.sanitize import clean
from nettop.ui import dialogs
from nettop.ui.commands import COMMANDS, applies, by_name
from nettop.ui.screens.view import View
from nettop.ui.session_protocol import Session, Status
from nettop.ui.views import VIEWS, ViewDef
from nettop.ui.widgets.bars import ONE_LINE, header_lines, hints_line, tab_spans, tabs_line
from nettop.ui.widgets.paper import Paper
from nettop.ui.widgets.table import Post, Table

if TYPE_CHECKING:
    from nettop.ui.widgets.prompt import Prompt

TICK = 0.2  # seconds between questions to the session
_EXAMPLES = {"chain": "table filter and rate > 0", "rule": "verdict drop or packets == 0"}  # by kind of filter
TINY = (30, 8)  # below this there is room for nothing


class Tabs(Paper):
    """The views' names; a click goes to one."""

    def on_click(self, event: events.Click) -> None:
        screen = self.screen
        assert isinstance(screen, MainScreen)
        for definition, (x, cells, _) in zip(screen.views, tab_spans([v.title for v in screen.views], 0), strict=True):
            if x <= event.x < x + cells:
                screen.show(definition.name)


class MainScreen(Screen[None], inherit_bindings=False):
    """Everything that is not a dialog."""

    DEFAULT_CSS = """
    MainScreen { background: $nt-background; color: $nt-text; layers: base over; }
    MainScreen #body { height: 1fr; }
    MainScreen #tiny { layer: over; display: none; width: 100%; height: 100%; }
    """
    # Priority: keys are then handled in the order they were typed, by the app, before the next one is given to
    # whatever has the focus. Else the text after a fast `/` would still go to the table.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(c.keys), f"command('{c.name}')", c.title, show=False, priority=True)
        for c in COMMANDS
        if c.keys
    ]
    AUTO_FOCUS = ""

    def __init__(self, session: Session, post: Post) -> None:
        super().__init__()
        self.session = session
        self.post = post
        self.views: list[ViewDef] = [v for v in VIEWS if v.name in session.views]
        self.status = session.status()
        self.paused = False
        self._mounted: dict[str, View] = {}
        self._current = self.views[0].name
        self._told: set[str] = set()
        self._prompt: Prompt | None = None
        self._header = Paper(id="header")
        self._tabs = Tabs(id="tabs", surface="background")
        self._body = Vertical(id="body")
        self._hints = Paper(id="hints")
        self._tiny = Paper(id="tiny", surface="background")

    def compose(self) -> ComposeResult:
        yield self._header
        yield self._tabs
        yield self._body
        yield self._hints
        yield self._tiny

    def on_mount(self) -> None:
        self.show(self._current)
        self.set_interval(TICK, self.tick)

    def on_resize(self) -> None:
        self.write_bars()

    # ── views ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def live(self) -> bool:
        """Whether a namespace is watched, not a file."""
        return self.status.mode != "REPLAY"

    @property
    def view(self) -> View:
        """The view on the screen."""
        return self._mounted[self._current]

    @property
    def table(self) -> Table:
        """The table that commands are about."""
        return self.view.active

    def show(self, name: str) -> None:
        """Go to a view; it is made when it is first wanted."""
        for other in self._mounted.values():
            other.display = False
        self._current = name
        if name not in self._mounted:
            self._mounted[name] = view = self._make(name)
            self._body.mount(view)
            self.call_after_refresh(self._focus_view)
        else:
            self.view.display = True
            self._focus_view()
            self.view.place()
        self._hold_still()
        self.write_bars()
        self.view.tick()

    def _focus_view(self) -> None:
        """Give the keys to the view, unless something is being typed."""
        if self._prompt is None or not self._prompt.display:
            self.view.focus_something()

    def _make(self, name: str) -> View:
        definition = next(v for v in self.views if v.name == name)
        view = View(definition, self.session, self.post, self.live)
        if definition.can_follow and not (name == "packets" and self.status.mode == "REPLAY"):
            view.table.window.go_follow()
        return view

    def tick(self) -> None:
        """Five times a second: the header's facts, and the rows on the screen."""
        before, self.status = self.status, self.session.status()
        if self.status.netns != before.netns:
            for view in self._mounted.values():
                view.start_over()
            self._focus_view()
        if _second(self.status) != _second(before):
            self.write_bars()
        for note in self.status.notes:
            if note not in self._told:
                self._told.add(note)
                self.say(note)
        self.view.tick()

    def write_bars(self) -> None:
        """Header, tabs and keys as they are now."""
        width, height = self.app.size
        status = self._seen()
        self._header.styles.height = 1 if width >= ONE_LINE else 2
        self._header.write(header_lines(status, width))
        titles = [v.title for v in self.views]
        at = [v.name for v in self.views].index(self._current)
        self._tabs.write([tabs_line(titles, at, self.view.filters, width)])
        self._hints.write([hints_line(self._current, width, self.live)])
        self._write_tiny(width, height)

    def _write_tiny(self, width: int, height: int) -> None:
        tiny = width < TINY[0] or height < TINY[1]
        self._tiny.styles.display = "block" if tiny else "none"
        if tiny:
            words = f"too small: {width}×{height}, nettop needs {TINY[0]}×{TINY[1]}"
            parts = [words[i : i + width] for i in range(0, len(words), max(1, width))]
            self._tiny.write([((part, "warn"),) for part in parts])

    def _seen(self) -> Status:
        return replace(self.status, paused=True) if self.paused else self.status

    def _hold_still(self) -> None:
        for table in self.view.tables:
            table.paused = self.paused

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key of another view does nothing here; while something is typed every key belongs to the text."""
        if action != "command":
            return True
        if self._prompt is not None and self._prompt.display:
            return False
        name = str(parameters[0])
        if name.startswith("view_"):
            return any(v.name == name[5:] for v in self.views)
        return applies(by_name(name), self._current, self.live)

    async def action_command(self, name: str) -> None:
        """Run a command by its name; returns when what it opens can take the next key."""
        if not self.check_action("command", (name,)):
            return
        if name.startswith("view_"):
            self.show(name[5:])
        elif isinstance(opening := _DOES[name](self), Awaitable):
            await opening

    def say(self, message: str, *, error: bool = False) -> None:
        """One line at the edge of the screen, for a few seconds."""
        line = clean(message.replace("\n", " "))
        self.app.notify(line, severity="error" if error else "information", timeout=8 if error else 5, markup=False)

    def done(self, success: str, after: Callable[[], None] | None = None) -> Callable[[str | None], None]:
        """A callback for the session (any thread): says `success` (if anything) or the error."""

        def told(error: str | None) -> None:
            if error is not None:
                self.say(error, error=True)
                return
            if success:
                self.say(success)
            if after is not None:
                after()

        return lambda error: self.post(told, error)

    def back(self) -> None:
        """Esc: close the detail, else clear the filter, else one step out."""
        if not self.view.is_open and self.table.filter is not None:
            self.apply_filter("")
        else:
            self.view.back()

    def copy(self) -> None:
        """To the clipboard, by the terminal's OSC 52."""
        if text := self.view.copied():
            self.app.copy_to_clipboard(text)
            self.say("copied, if this terminal allows it (OSC 52)")
        else:
            self.say("nothing to copy here")

    def pause(self) -> None:
        """Hold the screens still, or go on."""
        self.paused = not self.paused
        self.session.pause(self.paused)
        self._hold_still()
        self.write_bars()
        if not self.paused:
            self.view.tick()

    def follow(self) -> None:
        """Stay at the newest row, or stop doing so."""
        self.table.set_follow(not self.table.window.follow)

    # ── the line to type in ─────────────────────────────────────────────────────────────────────────────────────

    async def type_in(self, purpose: str, label: str, value: str, check: Callable[[str], None], advice: str) -> None:
        """Open the prompt (made when it is first wanted); on_prompt_submitted gets the answer."""
        if self._prompt is None:
            from nettop.ui.widgets.prompt import Prompt

            self._prompt = Prompt()
            await self.mount(self._prompt, before=self._hints)
        self._prompt.open(purpose, label, value, check, advice)

    def filter(self) -> Awaitable[None]:
        """`/`: the display filter of the table that has the focus."""
        kind = self.view.filter_kind
        now = "" if self.table.filter is None else self.table.filter.text
        example = _EXAMPLES.get(kind, "host 10.0.0.1 and port 443")
        advice = f"{example} · Enter shows what matches · empty shows all · ↑ earlier · Esc leaves"
        return self.type_in("filter", " / ", now, lambda text: void(parse(text, kind)), advice)

    def apply_filter(self, text: str) -> None:
        """Show the rows that match; text has been checked."""
        try:
            self.table.set_filter(parse(text, self.view.filter_kind))
        except NettopError as error:
            self.say(str(error), error=True)
        self.write_bars()

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        text = message.text.strip()
        self._close_prompt()
        if message.purpose == "filter":
            self.apply_filter(text)
        elif message.purpose == "record":
            self.session.start_recording(text, self.done(f"recording to {text}"))
        elif message.purpose == "export":
            self.session.export(text, self.view.table.filter, self.done(f"written to {text}"))

    def on_prompt_left(self) -> None:
        self._close_prompt()

    def _close_prompt(self) -> None:
        if self._prompt is not None:
            self._prompt.display = False
        self.view.focus_something()

    def file_name(self, ending: str = "") -> str:
        """A name for a new file: `nettop-gw-a-120431.pcapng`."""
        label = "".join(c if c.isalnum() else "-" for c in self.status.netns or "host")
        stamp = time.strftime("%H%M%S", time.localtime(self.status.clock_ns // 1_000_000_000))
        return f"nettop-{label}-{stamp}{ending}.pcapng"


def void(_: object) -> None:
    """For a check of which only the exception counts."""


_DOES: dict[str, Callable[[MainScreen], object]] = {
    "open": lambda screen: screen.view.open_row(),
    "back": MainScreen.back,
    "next_pane": lambda screen: screen.view.next_pane(1),
    "previous_pane": lambda screen: screen.view.next_pane(-1),
    "filter": MainScreen.filter,
    "sort": dialogs.sort,
    "columns": dialogs.columns,
    "follow": MainScreen.follow,
    "copy": MainScreen.copy,
    "pause": MainScreen.pause,
    "capture": dialogs.capture,
    "stop_capture": lambda screen: screen.session.stop_capture(),
    "export": dialogs.export,
    "record": dialogs.record,
    "namespace": dialogs.namespace,
    "acct_on": lambda screen: screen.session.set_acct(True, screen.done("accounting is on: new flows are counted")),
    "acct_off": lambda screen: screen.session.set_acct(False, screen.done("accounting is off")),
    "theme": dialogs.theme,
    "palette": dialogs.palette,
    "help": dialogs.help_,
    "quit": dialogs.quit_,
}


def _second(status: Status) -> Status:
    """The facts with the clock as it is drawn: in seconds."""
    return replace(status, clock_ns=status.clock_ns // 1_000_000_000)
