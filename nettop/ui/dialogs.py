"""What a command asks before it acts: opens a dialog or the prompt, and does what the answer says. Imports lazily."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from nettop.errors import UsageError
from nettop.ui.commands import COMMANDS, keys_text
from nettop.ui.session_protocol import DeviceChoice, NetnsChoice

if TYPE_CHECKING:
    from nettop.ui.app import NettopApp
    from nettop.ui.screens.main import MainScreen


def _app(screen: MainScreen) -> NettopApp:
    from nettop.ui.app import NettopApp

    assert isinstance(screen.app, NettopApp)
    return screen.app


def sort(screen: MainScreen) -> Awaitable[None]:
    """The sort menu: the same column again turns the order round."""
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    table = screen.table
    now = {key.key: "▼ now" if key.descending else "▲ now" for key in table.sort}
    found = [Choice(c.key, c.title.strip() or c.key, now.get(c.key, "")) for c in table.columns if c.sortable]
    natural = Choice("", "As they come", "" if table.sort else "now")

    def chosen(answer: list[str] | None) -> None:
        if answer and answer[0]:
            table.sort_by(answer[0])
        elif answer:
            table.set_sort(())

    first = table.sort[0].key if table.sort else ""
    return screen.app.push_screen(ChooseScreen("Sort by", [*found, natural], start=first), chosen)


def columns(screen: MainScreen) -> Awaitable[None]:
    """Which columns, in which order."""
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    table = screen.table
    known = {column.key: column for column in table.info.columns}
    order = [key for key in table.chosen if key in known] + [key for key in known if key not in table.chosen]
    found = [Choice(key, known[key].title.strip() or key, key) for key in order]

    def chosen(answer: list[str] | None) -> None:
        if answer:
            table.set_columns(tuple(answer))
            kept = tuple(key for key in table.sort if key.key in answer)
            if kept != table.sort:
                table.set_sort(kept)

    dialog = ChooseScreen("Columns", found, several=True, ticked=table.chosen)
    return screen.app.push_screen(dialog, chosen)


def palette(screen: MainScreen) -> Awaitable[None]:
    """Every command of this view by its words."""
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    usable = [c for c in COMMANDS if c.palette and screen.check_action("command", (c.name,))]
    found = [Choice(c.name, c.title, keys_text(c)) for c in usable]

    def chosen(answer: list[str] | None) -> None:
        if answer:
            screen.call_later(screen.action_command, answer[0])

    return screen.app.push_screen(ChooseScreen("Commands", found, search=True), chosen)


def theme(screen: MainScreen) -> Awaitable[None]:
    """Another theme, at once."""
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    app = _app(screen)
    found = [Choice(n, n, "now" if n == app.palette.theme.name else "") for n in sorted(app.themes)]

    def chosen(answer: list[str] | None) -> None:
        if answer:
            app.wear(app.themes[answer[0]])

    return screen.app.push_screen(ChooseScreen("Themes", found, start=app.palette.theme.name), chosen)


def namespace(screen: MainScreen) -> None:
    """The namespaces there are; what is typed may also be a path or pid:N."""
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    def chosen(answer: list[str] | None) -> None:
        if answer:
            spec = answer[0]
            screen.session.switch_namespace(spec, screen.done(f"watching {spec or 'the host'}"))

    def offer(found: list[NetnsChoice]) -> None:
        choices = [Choice(n.spec, n.label or "host", n.note) for n in found]
        screen.app.push_screen(ChooseScreen("Watch a namespace", choices, search=True, free=True), chosen)

    screen.session.namespaces(lambda found: screen.post(offer, list(found)))


def capture(screen: MainScreen) -> None:
    """Devices and capture filter."""

    def offer(found: list[DeviceChoice]) -> None:
        from nettop.ui.screens.capture import CaptureScreen

        screen.app.push_screen(CaptureScreen(screen, found))

    screen.session.devices(lambda found: screen.post(offer, list(found)))


def _new_file(path: str) -> None:
    """UsageError unless a new file of this name can be thought of. The session has the last word."""
    if not path.strip():
        raise UsageError("a file name is needed")
    if os.path.lexists(path.strip()):
        raise UsageError("exists already, and nothing is overwritten", "choose another name")
    folder = os.path.dirname(path.strip()) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"no folder {folder}", "choose another name")


def record(screen: MainScreen) -> Awaitable[None] | None:
    """Ask where to, or end the running recording."""
    if screen.status.recording:
        screen.session.stop_recording(screen.done("recording ended"))
        return None
    advice = "every stream goes into one pcapng · Enter starts · Esc leaves"
    return screen.type_in("record", " record to ", screen.file_name(), _new_file, advice)


def export(screen: MainScreen) -> Awaitable[None] | None:
    """Ask where the packets shown go to."""
    wanted = screen.view.table.filter
    what = f"the packets that match {wanted.text}" if wanted is not None else "every packet shown"
    advice = f"{what} · Enter writes · Esc leaves"
    return screen.type_in("export", " write to ", screen.file_name("-packets"), _new_file, advice)


def help_(screen: MainScreen) -> Awaitable[None]:
    """Every key."""
    from nettop.ui.screens.help import HelpScreen

    return screen.app.push_screen(HelpScreen(screen.view.definition.name, [v.name for v in screen.views], screen.live))


def quit_(screen: MainScreen) -> Awaitable[None] | None:
    """Leave; while recording only after a question."""
    if not screen.status.recording:
        screen.app.exit(0)
        return None
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    def chosen(answer: list[str] | None) -> None:
        if answer == ["quit"]:
            screen.app.exit(0)

    found = [Choice("stay", "Go on recording", "Esc"), Choice("quit", "End the recording properly and quit")]
    return screen.app.push_screen(ChooseScreen("A recording is running", found), chosen)
