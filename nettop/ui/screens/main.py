"""The main screen: header, tabs, one view, line of keys. It runs the commands."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from nettop.model.table import Detail, Line
from nettop.session.base import Session
from nettop.session.status import Status
from nettop.text.sanitize import clean
from nettop.ui.commands import Command, CommandContext, applies
from nettop.ui.navigation import JumpHistory, JumpPlace
from nettop.ui.panes.pane import Pane, ViewDef
from nettop.ui.views import VIEWS
from nettop.ui.widgets.bar_lines import FINAL_MODES, hints_line, typing_line
from nettop.ui.widgets.header import Header, Tabs
from nettop.ui.widgets.prompt_request import PromptRequest
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.table import CLEARS, RETURNS, Table
from nettop.ui.widgets.text_panes import Banner, TextPane, TooSmall

if TYPE_CHECKING:
    from nettop.ui.widgets.prompt import Prompt

TICK = 0.15  # seconds between requests to the session: a new flow is on the screen within 200 ms
_READ_ONLY = "--read-only"
Body = TypeVar("Body", bound=Pane)


class _Body(Vertical, Covered):
    """The container of the views."""


class MainScreen(Screen[None], Covered, inherit_bindings=False):
    """The screen below the dialogs."""

    DEFAULT_CSS = """
    MainScreen { background: $nt-background; color: $nt-text; layers: base over; }
    MainScreen #body { height: 1fr; }
    """
    commands: ClassVar[Sequence[Command]] = ()  # set, with their bindings, by a subclass
    AUTO_FOCUS = ""

    def __init__(self, session: Session, post: Post, banner: str = "") -> None:
        super().__init__()
        self.session = session
        self.post = post
        self.views: list[ViewDef] = [v for v in VIEWS if v.name in session.views]
        self.status = session.status()
        self.paused = False
        self._mounted: dict[str, Pane] = {}
        self._current = session.first_view or self.views[0].name
        self._reported: set[str] = set()
        self._history = JumpHistory()
        self._origin: JumpPlace | None = None  # of the jump that led here: Esc leads back to it
        self._depth = 0  # of the view when the jump led here
        self._prompt: Prompt | None = None
        self._header = Header(id="header")
        self._tabs = Tabs(id="tabs", surface="background")
        self._banner = Banner(banner)
        self._body = _Body(id="body")
        self._hints = TextPane(id="hints")
        self._second = 0  # in which the header was written
        self._hinted: tuple[object, ...] = ()  # the facts that the hints depend on
        self._tiny = TooSmall(id="tiny", surface="background")

    def compose(self) -> ComposeResult:
        """Yield the bars and the body."""
        yield from (self._header, self._tabs, self._banner, self._body, self._hints, self._tiny)

    def on_mount(self) -> None:
        """Show the first view and start the timer."""
        self._switch(self._current)
        self.set_interval(TICK, self.tick)

    def on_resize(self) -> None:
        """Write the bars for the new size."""
        self.write_bars()

    @property
    def live(self) -> bool:
        """True while a namespace is watched, not a file."""
        return self.status.mode != "REPLAY"

    @property
    def view(self) -> Pane:
        """The view on the screen."""
        return self._mounted[self._current]

    def view_as(self, kind: type[Body]) -> Body:
        """Return the view on the screen, for a command of views of this kind."""
        assert isinstance(self.view, kind)
        return self.view

    @property
    def table(self) -> Table:
        """The table that commands act on. Commands of a view without a table do not use it."""
        table = self.view.active
        assert table is not None
        return table

    def show(self, name: str) -> None:
        """Go to a view. [ leads back."""
        if name != self._current:
            self.record_position()
            self._origin = None
        self._switch(name)

    @contextmanager
    def jump(self, name: str) -> Iterator[None]:
        """Go to a row of a view, chosen within this context. Esc leads back, once what is opened there is left."""
        origin = self._place() if name != self._current else self._origin
        self.show(name)
        yield
        self._origin, self._depth = origin, self.view.depth
        self.write_bars()

    def _name_escape(self) -> None:
        """Let the text of a filter that matches nothing say what Esc does."""
        if (table := self.view.active) is not None and table.esc_text in (CLEARS, RETURNS):
            table.esc_text = CLEARS if self._origin is None else RETURNS

    def _switch(self, name: str) -> None:
        """Show a view. It is made when it is first shown."""
        for other in self._mounted.values():
            other.display = False
        self._current = name
        if name not in self._mounted:
            definition = next(v for v in self.views if v.name == name)
            view = definition.body(definition, self)
            self._mounted[name] = view
            self._body.mount(view)
            self.call_after_refresh(self._focus_view)
        else:
            self.view.display = True
            self._focus_view()
        self.write_bars()
        self.view.tick(self.status, self.paused)

    def _focus_view(self) -> None:
        """Focus the view, unless the prompt is open."""
        if not self.typing:
            self.view.focus_something()

    def tick(self) -> None:
        """Update the bars and the rows on the screen. Called every TICK seconds."""
        before, self.status = self.status, self.session.status()
        if self.status.netns != before.netns:
            for view in self._mounted.values():
                view.start_over()
            self._origin = None
            self._focus_view()
        second = int(time.time())
        if second != self._second or _facts(self.status) != _facts(before):
            self._second = second
            self._write_header()
        if _bar_facts(self.status) != _bar_facts(before):
            self.write_bars()
        for note in self.status.notes:
            if note not in self._reported:
                self._reported.add(note)
                self.say(note)
        self.view.tick(self.status, self.paused)
        self._write_hints()

    def write_bars(self) -> None:
        """Write header, tabs and keys."""
        self._name_escape()
        width, height = self.app.size
        self._write_header()
        titles = [v.title for v in self.views]
        at = [v.name for v in self.views].index(self._current)
        self._tabs.show(titles, at, self.filter_line(), width)
        self._write_hints()
        self._banner.fit(width)
        self._tiny.fit(width, height)

    def _write_hints(self) -> None:
        width, prompt = self.app.size.width, self._prompt
        typed = prompt if prompt and prompt.display else None
        facts = width, typed and typed.completes, self.command_context
        if facts == self._hinted:
            return
        self._hinted = facts
        line = typing_line(typed.completes, width) if typed else hints_line(self.commands, self.command_context, width)
        self._hints.write([line])

    def _write_header(self) -> None:
        status = replace(self.status, paused=True) if self.paused else self.status
        self._header.show(status, self.app.size.width)

    def filter_line(self) -> Line:
        """Return the right end of the tabs: receive filter, grouping, display filter."""
        only = self.status.receive_filter
        received: Line = (("only ", "key"), (only, "warn")) if only else ()
        filters = self.view.filters
        return (*received, ("   ", ""), *filters) if received and filters else received or filters

    def on_pane_changed(self) -> None:
        """Write the bars."""
        self.write_bars()

    def on_tabs_selected(self, message: Tabs.Selected) -> None:
        """Go to the view of the tab."""
        if not self.typing:
            self.show(self.views[message.at].name)

    def on_table_row_gone(self, message: Table.RowGone) -> None:
        """Report why following ended: the flow has ended, or no longer matches the filter."""

        def on_detail(found: Detail | None) -> None:
            self.say("the followed flow " + ("has ended" if found is None else "no longer matches the filter"))

        self.session.detail(message.table.view, message.ident, lambda found: self.post(on_detail, found))

    async def on_packet_tree_chosen(self) -> None:
        """Go to the rule of the step that was chosen."""
        await self.action_command("rule_of")

    async def on_header_clicked(self, message: Header.Clicked) -> None:
        """Run the command of what was clicked."""
        await self.action_command(message.command)

    @property
    def command_context(self) -> CommandContext:
        """The context that decides which commands work."""
        view, status = self.view, self.status
        table = view.active
        row = None if table is None else table.current
        no_row = row is None and table is not None and table.viewport.shown is not None
        return CommandContext(
            view.kind,
            tuple(self.session.views),
            self.live,
            status.read_only,
            view.reading,
            view.depth > 0 or self._origin is not None,
            not no_row,
            row is not None and row.resettable,
            table is not None and table.sortable,
            status.tracing is not None,
            table is None or table.display,
            status.mode not in FINAL_MODES or bool(status.others),
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a command may run: not that of another view, and none while the prompt is open."""
        if action != "command":
            return True
        return not self.typing and applies(self._command(str(parameters[0])), replace(self.command_context, live=True))

    def _command(self, name: str) -> Command:
        return next(command for command in self.commands if command.name == name)

    async def action_command(self, name: str) -> None:
        """Run a command by its name. Return when a dialog that it opens is ready for the next key."""
        if not self.check_action("command", (name,)):
            return
        command = self._command(name)
        if command.live and not self.live:
            self.say("this is a recording: that key needs a live namespace", error=True)
        elif command.changes and self.status.read_only:
            self.say(f"read-only: nettop changes nothing on this host ({_READ_ONLY})", error=True)
        else:
            opening = command.run(self)
            if isinstance(opening, Awaitable):
                await opening

    def say(self, message: str, *, error: bool = False) -> None:
        """Show a message of one line at the edge of the screen for a few seconds."""
        line = clean(message.replace("\n", " "))
        self.app.notify(line, severity="error" if error else "information", timeout=8 if error else 5, markup=False)

    def done(self, success: str, after: Callable[[], None] | None = None) -> Callable[[str | None], None]:
        """Return a callback for the session (any thread) that shows `success`, if any, or the error."""

        def on_done(error: str | None) -> None:
            if error is not None:
                self.say(error, error=True)
                return
            if success:
                self.say(success)
            if after is not None:
                after()

        return lambda error: self.post(on_done, error)

    def back(self) -> None:
        """Go one step out of the view; from where a jump led, back to where it came from."""
        if self._origin is not None and self.view.depth <= self._depth:
            self.record_position()
            self._return(self._origin)
        else:
            self.view.back()
        self.write_bars()

    def pause(self) -> None:
        """Pause or resume the display."""
        self.paused = not self.paused
        self.session.pause(self.paused)
        self.write_bars()
        self.view.tick(self.status, self.paused)

    def _place(self) -> JumpPlace:
        return JumpPlace(self._current, self.view.state, self._origin, self._depth)

    def record_position(self) -> None:
        """Add the current position to the history before a jump: [ leads back to it."""
        self._history.add(self._place())

    def navigate(self, step: int) -> None:
        """Go back in the history (step=-1), or forward (1)."""
        place = self._history.go(step, self._place())
        if place is None:
            self.say("no earlier position to go back to" if step < 0 else "no later position to go forward to")
            return
        self._return(place)
        self.write_bars()

    def _return(self, place: JumpPlace) -> None:
        self._switch(place.view)
        self.view.restore(place.state)
        self._origin, self._depth = place.origin, place.depth

    async def open_prompt(self, request: PromptRequest) -> None:
        """Open the prompt. It is made when it is first used."""
        if self._prompt is None:
            from nettop.ui.widgets.prompt import Prompt

            self._prompt = Prompt()
            await self.mount(self._prompt, before=self._hints)
        self.app.clear_notifications()  # they would cover what is typed
        self._prompt.open(request)
        self._write_hints()

    @property
    def typing(self) -> bool:
        """True while the prompt is open: every key goes to it."""
        return self._prompt is not None and self._prompt.display

    def on_descendant_focus(self) -> None:
        """Keep the focus in an open prompt."""
        if self.typing and self._prompt is not None:
            self._prompt.keep_focus()

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        """Close the prompt and pass on its text."""
        self._close_prompt()
        message.request.accept(message.text.strip())

    def on_prompt_cancelled(self) -> None:
        """Close the prompt."""
        self._close_prompt()

    def _close_prompt(self) -> None:
        if self._prompt is not None:
            self._prompt.display = False
            self._write_hints()
        self.view.focus_something()


def _facts(status: Status) -> Status:
    """Return what the header shows at once: the clock's seconds; our own CPU changes on the header with the second."""
    return replace(status, clock_ns=status.clock_ns // 1_000_000_000, cpu_percent=None)


def _bar_facts(status: Status) -> tuple[object, ...]:
    """Return the parts of the status that the tabs and the line of keys depend on."""
    return status.mode, status.read_only, status.receive_filter, status.tracing is None
