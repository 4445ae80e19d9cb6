"""What can be done with a flow: delete it, copy it, capture it, go to the same thing elsewhere. Imports lazily."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from nettop.errors import NettopError
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.capture import FlowCapture
from nettop.model.table import GroupDetail, Row
from nettop.session.status import shown_netns
from nettop.text.sanitize import clean
from nettop.text.units import grouped
from nettop.ui.actions.choosing import choose, confirm
from nettop.ui.actions.dialogs import capture, table_view
from nettop.ui.screens.pending import Stand, opening, over
from nettop.ui.widgets.choices import Choice

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

COPIED = ("flows", "events")  # views whose rows have several forms
_READABLE = 15.0  # seconds: time to select what was copied
_SHOWN = 6  # lines of it at most
_FORMS = (("text", "Text", "y"), ("json", "JSON", "J"), ("conntrack", "The conntrack command that shows it", "c"))


def _words(row: Row) -> str:
    """The row's cells in one line, as far as there are any."""
    return "  ".join(cell.strip() for cell in row.cells if cell.strip())


def _flows(count: int) -> str:
    return "1 flow" if count == 1 else f"{grouped(count)} flows"


# ── delete ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def delete(screen: MainScreen) -> Awaitable[None] | None:
    """Ask which to delete: this flow or all that match; in groups, those of the group. Counted before it is asked."""
    row = screen.table.current
    if row is None:
        screen.say("there is no flow here to delete")
        return None
    if not screen.status.beside and over(screen):
        return None
    if screen.view.kind == "groups":
        return opening(
            screen,
            lambda deliver: screen.session.detail(screen.table.view, row.ident, deliver),
            lambda found: _count(screen, row, "", found.filter if isinstance(found, GroupDetail) else ""),
        )
    return _in_its_netns(screen, row, lambda netns: _delete_in(screen, row, netns))


def _in_its_netns(
    screen: MainScreen, row: Row, then: Callable[[str], Awaitable[None] | None]
) -> Awaitable[None] | None:
    """Go on with the label of the namespace that a flow is of, "" for the host's; says so when the flow is gone."""
    shown = shown_netns(screen.status)
    if not screen.status.beside:
        return then(shown)

    def told(text: str) -> Awaitable[None] | None:
        if text:
            return then(clean(json.loads(text).get("netns") or "host"))
        screen.say("this flow has left the table")
        return None

    return opening(screen, lambda deliver: screen.session.copy_as("flows", row.ident, "json", deliver), told)


def _delete_in(screen: MainScreen, row: Row, netns: str) -> Awaitable[None] | None:
    if netns == shown_netns(screen.status) and over(screen):
        return None
    if screen.table.filter is not None:
        return _count(screen, row, netns, screen.table.filter.text)
    return _ask(screen, row, netns, None, 0)


def _count(screen: MainScreen, row: Row, netns: str, text: str) -> Awaitable[None] | None:
    if not text:
        screen.say("this group has no flows any more, or the filter is too long to be narrowed to it")
        return None
    wanted = parse(text, "flow")
    return opening(
        screen,
        lambda deliver: screen.session.count_flows(wanted, deliver),
        lambda count: _ask(screen, row, netns, wanted, count),
    )


def _whose(screen: MainScreen, netns: str, matching: bool) -> str:
    """From which tables flows go."""
    if not screen.status.beside:
        return f"From the table of {screen.status.netns or 'the host'}."
    if screen.view.kind == "groups":
        return "From the tables of every namespace shown."
    return f"This flow is of {netns}" + ("; those that match are of every namespace shown." if matching else ".")


def _ask(screen: MainScreen, row: Row, netns: str, wanted: Filter | None, count: int) -> Awaitable[None]:
    found = [] if screen.view.kind == "groups" else [Choice("one", "Delete this flow")]
    if wanted is not None:
        found.append(
            Choice("all", f"Delete the {_flows(count)} that match{'es' if count == 1 else ''} / {wanted.text}")
        )
    where = f"{_whose(screen, netns, wanted is not None)} A connection that goes on is tracked anew."

    def confirmed(answer: str) -> None:
        told = lambda words: screen.post(screen.say, words)  # noqa: E731
        if answer == "one":
            screen.session.delete_flow(row.ident, screen.done(""), told)
        else:
            screen.session.delete_matching(wanted, screen.done(""), told)

    return confirm(screen, "Delete", f"{_words(row)}\n{where}", found, confirmed)


# ── follow ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def follow(screen: MainScreen) -> None:
    """Stay at the newest row, or with the flow under the cursor; or stop doing so."""
    table = screen.table
    if table.can_follow:
        table.set_follow(not table.viewport.follow)
    elif table.current is None:
        screen.say("there is no flow here to follow")
    else:
        table.track(not table.viewport.tracking)


# ── copy ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def copy(screen: MainScreen) -> Awaitable[None] | None:
    """To the clipboard, by the terminal's OSC 52; a flow or an event in the form that is chosen."""
    table = screen.view.active
    row = None if table is None else table.current
    if table is None or table.view not in COPIED or row is None:
        _to_clipboard(screen, screen.view.copied())
        return None
    found = [Choice(form, label, key) for form, label, key in _FORMS]
    if screen.view.is_open:
        found.append(Choice("detail", "The whole detail", "d"))

    def chosen(answer: list[str]) -> None:
        if answer == ["detail"]:
            _to_clipboard(screen, screen.view.copied())
        else:
            screen.session.copy_as(
                table.view, row.ident, answer[0], lambda text: screen.post(_to_clipboard, screen, text)
            )

    keys = {choice.note: choice.ident for choice in found}
    return choose(screen, "Copy as", found, chosen, stand=Stand(screen), keys=keys)


def _to_clipboard(screen: MainScreen, text: str) -> None:
    """Line by line without control characters."""
    lines = [clean(line) for line in text.split("\n")]
    if text.strip():
        screen.app.copy_to_clipboard("\n".join(lines))
        screen.app.notify(_copied_words(lines, screen.app.size.width), timeout=_READABLE, markup=False)
    else:
        row = None if screen.view.active is None else screen.view.active.current
        screen.say("nothing to copy here" if row is None else "it is gone: nothing to copy")


def _copied_words(lines: Sequence[str], width: int) -> str:
    """That it was copied, and (for a terminal that takes no OSC 52) the first line, to be selected by mouse.

    It is wrapped to at most _SHOWN lines: a conntrack command is whole.
    """
    way = "copied, if this terminal allows it (OSC 52"
    way += "; tmux: set-clipboard on)" if os.environ.get("TMUX") else ")"
    first = next(line for line in lines if line.strip())
    count = f", the first of {grouped(len(lines))} lines" if len(lines) > 1 else ""
    room = max(10, width * 9 // 10 - 4)
    shown = textwrap.wrap(first, room, max_lines=_SHOWN, placeholder="…", break_on_hyphens=False)
    return "\n".join((f"{way}{count}:", *shown))


# ── capture ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def capture_flow(screen: MainScreen) -> Awaitable[None] | None:
    """The capture dialog, filled in for exactly the flow under the cursor."""
    row = screen.table.current
    if row is None:
        screen.say("there is no flow here to capture")
        return None
    return None if over(screen) else _in_its_netns(screen, row, lambda netns: _capture_in(screen, row, netns))


def _capture_in(screen: MainScreen, row: Row, netns: str) -> Awaitable[None] | None:
    shown = shown_netns(screen.status)
    if netns != shown:
        screen.say(f"captures are of {shown}: @ chooses {netns}")
        return None
    return opening(
        screen,
        lambda deliver: screen.session.flow_capture(row.ident, deliver),
        lambda wanted: _offer_capture(screen, wanted),
    )


def _offer_capture(screen: MainScreen, wanted: FlowCapture | None) -> Awaitable[None] | None:
    if wanted is None:
        screen.say("this flow has left the table")
        return None
    return capture(screen, wanted)


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
    table_view(screen).group_by(None)
    try:
        wanted = None if to == "flows" else parse(text, screen.table.filter_kind)
    except NettopError as error:
        screen.say(str(error), error=True)
        return
    screen.table.set_filter(wanted)
    if to == "events":
        screen.table.set_follow(True)
    elif ident is not None:
        screen.table.seek(ident)
    screen.write_bars()
