"""What a command asks before it acts: opens a dialog or the prompt, and does what the answer says. Imports lazily."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from nettop.errors import NettopError, UsageError
from nettop.model.filter.expression import parse
from nettop.model.flows.capture import FlowCapture
from nettop.model.table import SortKey
from nettop.session.base import save_path
from nettop.session.status import DeviceChoice, NetnsChoice, shown_netns
from nettop.ui.actions.choosing import choose
from nettop.ui.commands import keys_text, offered
from nettop.ui.palette import themed_app
from nettop.ui.panes.table_view import TableView
from nettop.ui.screens.pending import Stand, opening, over, switch
from nettop.ui.widgets.choices import Choice
from nettop.ui.widgets.prompt_request import PromptRequest, discard

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen


_EXAMPLES = {"chain": "table filter and rate > 0", "rule": "verdict drop or packets == 0"}  # by kind of filter


def table_view(screen: MainScreen) -> TableView:
    """Return the view on the screen, for a command that only views with a table have."""
    assert isinstance(screen.view, TableView)
    return screen.view


def filter_(screen: MainScreen) -> Awaitable[None]:
    """`/`: the display filter of the table that has the focus."""
    kind, wanted = screen.table.filter_kind, screen.table.filter
    example = _EXAMPLES.get(kind, "host 10.0.0.1 and port 443")
    advice = f"{example} · Enter shows what matches · empty shows all"
    now, check = "" if wanted is None else wanted.text, lambda text: discard(parse(text, kind))

    def shown(text: str) -> None:
        before = "" if screen.table.filter is None else screen.table.filter.text
        try:
            wanted = parse(text, screen.table.filter_kind)
        except NettopError as error:  # of another table: another namespace is watched since
            screen.say(str(error), error=True)
            return
        if text != before:
            screen.leave()
        screen.table.set_filter(wanted)
        screen.write_bars()

    return screen.type_in(PromptRequest("filter", " / ", now, check, advice, shown, kind))


def sort(screen: MainScreen) -> Awaitable[None]:
    """By which column, and by which next; the same again turns the order round."""
    from nettop.ui.screens.sort import SortScreen

    return screen.app.push_screen(SortScreen(screen.table))


def group(screen: MainScreen) -> Awaitable[None]:
    """By what to group, or not at all."""
    from nettop.model.flow_groups.table import GROUPS

    grouping = table_view(screen).grouping
    now = "" if grouping is None or grouping.by is None else grouping.by
    found = [Choice(key, title.lower(), "now" if key == now else "") for key, title in GROUPS.items()]
    found.append(Choice("", "not grouped", "" if now else "now"))
    chosen = lambda answer: _group_by(screen, answer[0] or None)  # noqa: E731
    return choose(screen, "Group flows by", found, chosen, start=now or next(iter(GROUPS)))


def _group_by(screen: MainScreen, by: str | None) -> None:
    screen.leave()
    table_view(screen).group_by(by)
    screen.write_bars()


def holders(screen: MainScreen) -> None:
    """Who holds the table: flows by source, those with most flows first."""
    screen.show("flows")
    _group_by(screen, "source")
    screen.table.set_sort((SortKey("flows"),))
    screen.write_bars()


def columns(screen: MainScreen) -> Awaitable[None]:
    """Which columns, in which order."""
    table = screen.table
    known = {column.key: column for column in table.info.columns}
    order = [key for key in table.chosen if key in known] + [key for key in known if key not in table.chosen]
    found = [Choice(key, known[key].title.strip() or key, key) for key in order]
    chosen = lambda answer: table.set_columns(tuple(answer))  # noqa: E731
    return choose(screen, "Columns", found, chosen, several=True, ticked=table.chosen)


def palette(screen: MainScreen) -> Awaitable[None]:
    """Every command of this view by its words."""
    usable = [c for c in screen.commands if c.palette and offered(c, screen.where)]
    found = [Choice(c.name, c.title, keys_text(c)) for c in usable]
    chosen = lambda answer: screen.call_later(screen.action_command, answer[0])  # noqa: E731
    return choose(screen, "Commands", found, chosen, search=True)


def theme(screen: MainScreen) -> Awaitable[None]:
    """Another theme, at once."""
    app = themed_app(screen)
    found = [Choice(n, n, "now" if n == app.palette.theme.name else "") for n in sorted(app.themes)]
    chosen = lambda answer: app.wear(app.themes[answer[0]])  # noqa: E731
    return choose(screen, "Themes", found, chosen, start=app.palette.theme.name)


def namespace(screen: MainScreen) -> Awaitable[None]:
    """The namespaces there are; what is typed may also be a path or pid:N."""

    def chosen(answer: list[str]) -> None:
        spec = answer[0]
        switch(screen, spec, screen.done(f"watching {spec or 'the host'}"))

    def offer(found: Sequence[NetnsChoice]) -> Awaitable[None]:
        choices = [Choice(n.spec, n.label or "host", n.note) for n in found]
        return choose(screen, "Watch a namespace", choices, chosen, search=True, free=True)

    return opening(screen, screen.session.namespaces, offer)


def capture(screen: MainScreen, flow: FlowCapture | None = None) -> Awaitable[None] | None:
    """Devices and capture filter; filled in for a flow."""
    if over(screen):
        return None

    def offer(found: Sequence[DeviceChoice]) -> Awaitable[None]:
        from nettop.ui.screens.capture import CaptureScreen

        return Stand(screen).push(CaptureScreen(screen, found, flow), lambda answer: None)

    return opening(screen, screen.session.devices, offer)


def _file_name(screen: MainScreen, ending: str = "") -> str:
    """A name for a new file: `nettop-gw-a-120431.pcapng`."""
    label = "".join(c if c.isalnum() else "-" for c in shown_netns(screen.status) or "host")
    stamp = time.strftime("%H%M%S", time.localtime(screen.status.clock_ns // 1_000_000_000))
    return f"nettop-{label}-{stamp}{ending}.pcapng"


def _new_file(path: str) -> None:
    """UsageError unless a new file of this name can be thought of. The session has the last word."""
    path = save_path(path)
    if not path:
        raise UsageError("a file name is needed")
    if os.path.lexists(path):
        raise UsageError("exists already, and nothing is overwritten", "choose another name")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"no folder {folder}", "choose another name")


def record(screen: MainScreen) -> Awaitable[None] | None:
    """Ask where to, or end the running recording."""
    if screen.status.recording:
        screen.session.stop_recording(screen.done("recording ended"))
        return None
    advice = "every stream goes into one pcapng · Enter starts"

    def taken(path: str) -> None:
        screen.session.start_recording(path, screen.done(f"recording to {path}"))

    return screen.type_in(PromptRequest("record", " record to ", _file_name(screen), _new_file, advice, taken))


def export(screen: MainScreen) -> Awaitable[None] | None:
    """Ask where the packets shown go to."""
    wanted = screen.table.filter
    what = f"the packets that match {wanted.text}" if wanted is not None else "every packet shown"
    advice = f"{what} · Enter writes"

    def taken(path: str) -> None:
        screen.session.export(path, wanted, screen.done(f"written to {path}"))

    return screen.type_in(
        PromptRequest("export", " write to ", _file_name(screen, "-packets"), _new_file, advice, taken)
    )


def help_(screen: MainScreen) -> Awaitable[None]:
    """Every key."""
    from nettop.ui.screens.help import HelpScreen

    return screen.app.push_screen(HelpScreen(screen.commands, screen.where))


def quit_(screen: MainScreen) -> Awaitable[None] | None:
    """Leave; while recording only after a question."""
    if not screen.status.recording:
        screen.app.exit(0)
        return None
    found = [Choice("stay", "Go on recording", "Esc"), Choice("quit", "End the recording properly and quit")]
    chosen = lambda answer: screen.app.exit(0) if answer == ["quit"] else None  # noqa: E731
    return choose(screen, "A recording is running", found, chosen)
