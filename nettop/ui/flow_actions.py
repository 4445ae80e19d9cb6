"""What can be done with a flow: delete it, copy it, capture it, go to the same thing elsewhere. Imports lazily."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from nettop.errors import NettopError
from nettop.model.filter import Filter, parse
from nettop.model.view import Detail, Row
from nettop.text.sanitize import clean
from nettop.text.units import grouped
from nettop.ui.lines import fit
from nettop.ui.session_protocol import DeviceChoice, FlowCapture

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

COPIED = ("flows", "events")  # views whose rows have several forms
_READABLE = 15.0  # seconds: time to select what was copied
_FORMS = (("text", "Text", "y"), ("json", "JSON", "J"), ("conntrack", "The conntrack command that shows it", "c"))


def _words(row: Row) -> str:
    """The row's cells in one line, as far as there are any."""
    return clean("  ".join(cell.strip() for cell in row.cells if cell.strip()))


def _flows(count: int) -> str:
    return "1 flow" if count == 1 else f"{grouped(count)} flows"


# ── delete ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def delete(screen: MainScreen) -> None:
    """Ask which to delete: this flow or all that match; in groups, those of the group. Counted before it is asked."""
    row = screen.table.current
    if row is None:
        screen.say("there is no flow here to delete")
    elif screen.view.in_groups:
        screen.session.detail(
            screen.table.view,
            row.ident,
            lambda found: screen.post(_count, screen, row, "" if found is None else str(found.marks.get("filter", ""))),
        )
    elif screen.table.filter is not None:
        _count(screen, row, screen.table.filter.text)
    else:
        _ask(screen, row, None, 0)


def _count(screen: MainScreen, row: Row, text: str) -> None:
    if not text:
        screen.say("this group has no flows any more, or the filter is too long to be narrowed to it")
        return
    wanted = parse(text, "flow")
    screen.session.count_flows(wanted, lambda count: screen.post(_ask, screen, row, wanted, count))


def _ask(screen: MainScreen, row: Row, wanted: Filter | None, count: int) -> None:
    from nettop.ui.screens.confirm import ConfirmScreen
    from nettop.ui.widgets.choices import Choice

    found = [] if screen.view.in_groups else [Choice("one", "Delete this flow")]
    if wanted is not None:
        found.append(Choice("all", f"Delete the {_flows(count)} that match / {clean(wanted.text)}"))
    where = f"From the table of {screen.status.netns or 'the host'}. A connection that goes on is tracked anew."

    def confirmed(answer: str | None) -> None:
        told = lambda words: screen.post(screen.say, words)  # noqa: E731
        if answer == "one":
            screen.session.delete_flow(row.ident, screen.done(""), told)
        elif answer == "all":
            screen.session.delete_matching(wanted, screen.done(""), told)

    screen.app.push_screen(ConfirmScreen("Delete", f"{_words(row)}\n{where}", found), confirmed)


# ── follow ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def follow(screen: MainScreen) -> None:
    """Stay at the newest row, or with the flow under the cursor; or stop doing so."""
    table = screen.table
    if table.can_follow:
        table.set_follow(not table.window.follow)
    elif table.current is None:
        screen.say("there is no flow here to follow")
    else:
        table.ride(not table.window.riding)


def no_longer_followed(screen: MainScreen, view: str, ident: int) -> None:
    """Say why following ended: the flow has, or what is shown is filtered and it matches no longer."""

    def told(found: Detail | None) -> None:
        screen.say("the followed flow " + ("has ended" if found is None else "no longer matches the filter"))

    screen.session.detail(view, ident, lambda found: screen.post(told, found))


# ── copy ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def copy(screen: MainScreen) -> Awaitable[None] | None:
    """To the clipboard, by the terminal's OSC 52; a flow or an event in the form that is chosen."""
    row = screen.table.current
    if screen.table.view not in COPIED or row is None:
        _to_clipboard(screen, screen.view.copied())
        return None
    from nettop.ui.screens.choose import ChooseScreen
    from nettop.ui.widgets.choices import Choice

    found = [Choice(form, label, key) for form, label, key in _FORMS]
    if screen.view.is_open:
        found.append(Choice("detail", "The whole detail", "d"))

    def chosen(answer: list[str] | None) -> None:
        if answer == ["detail"]:
            _to_clipboard(screen, screen.view.copied())
        elif answer:
            screen.session.copy_as(
                screen.table.view, row.ident, answer[0], lambda text: screen.post(_to_clipboard, screen, text)
            )

    keys = {choice.note: choice.ident for choice in found}
    return screen.app.push_screen(ChooseScreen("Copy as", found, keys=keys), chosen)


def _to_clipboard(screen: MainScreen, text: str) -> None:
    """Line by line without control characters."""
    lines = [clean(line) for line in text.split("\n")]
    if text.strip():
        screen.app.copy_to_clipboard("\n".join(lines))
        screen.app.notify(_copied_words(lines, screen.app.size.width), timeout=_READABLE, markup=False)
    else:
        screen.say("nothing to copy here" if screen.table.current is None else "it is gone: nothing to copy")


def _copied_words(lines: Sequence[str], width: int) -> str:
    """That it was copied, and (for a terminal that takes no OSC 52) the first line, to be selected by mouse."""
    way = "copied, if this terminal allows it (OSC 52"
    way += "; tmux: set-clipboard on)" if os.environ.get("TMUX") else ")"
    first = next(line for line in lines if line.strip())
    count = f", the first of {grouped(len(lines))} lines" if len(lines) > 1 else ""
    return f"{way}{count}:\n{fit(first, width * 9 // 10 - 4).rstrip()}"


# ── capture ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def capture_flow(screen: MainScreen) -> None:
    """The capture dialog, filled in for exactly the flow under the cursor."""
    row = screen.table.current
    if row is None:
        screen.say("there is no flow here to capture")
        return
    screen.session.flow_capture(row.ident, lambda found: screen.post(_offer_capture, screen, found))


def _offer_capture(screen: MainScreen, wanted: FlowCapture | None) -> None:
    if wanted is None:
        screen.say("this flow has left the table")
        return

    def offer(found: list[DeviceChoice]) -> None:
        from nettop.ui.screens.capture import CaptureScreen

        screen.app.push_screen(CaptureScreen(screen, found, wanted))

    screen.session.devices(lambda found: screen.post(offer, list(found)))


# ── the same thing elsewhere ────────────────────────────────────────────────────────────────────────────────────────


def go_to(to: str, what: str = "") -> Callable[[MainScreen], None]:
    """A command: from the row under the cursor to the same thing in view `to` (or to its "master" there)."""

    def go(screen: MainScreen) -> None:
        row = screen.table.current
        if row is None:
            screen.say("there is nothing under the cursor")
            return
        screen.session.related(
            screen.table.view,
            row.ident,
            what or to,
            lambda ident, text: screen.post(_arrive, screen, to, ident, text, _NONE[what or to]),
        )

    return go


_NONE = {
    "flows": "its flow is not in the table (any more)",
    "events": "no events of it are known",
    "master": "no flow in the table has expected this one",
    "packets": "its packets cannot be told from others",
}


def _arrive(screen: MainScreen, to: str, ident: int | None, text: str, none: str) -> None:
    if to not in screen.session.views:
        return
    if ident is None and (to == "flows" or not text):
        screen.say(none)
        return
    screen.show(to)
    screen.view.group_by(None)
    try:
        wanted = None if to == "flows" else parse(text, screen.view.filter_kind)
    except NettopError as error:
        screen.say(str(error), error=True)
        return
    screen.table.set_filter(wanted)
    if to == "events":
        screen.table.set_follow(True)
    elif ident is not None:
        screen.table.seek(ident)
    screen.write_bars()
