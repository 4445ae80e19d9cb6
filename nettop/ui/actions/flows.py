"""Commands on a flow: delete, follow, copy and capture it, and go to it in another view."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nettop.errors import NettopError
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.capture import FlowCapture
from nettop.model.table import CopyDetail, Detail, GroupDetail, Row
from nettop.session.status import shown_netns
from nettop.text.sanitize import clean
from nettop.text.units import grouped, plural
from nettop.ui.actions.choosing import choose, confirm
from nettop.ui.actions.dialogs import capture
from nettop.ui.panes.table_view import TableView
from nettop.ui.screens.pending import WatchContext, has_ended, open_with_answer
from nettop.ui.widgets.choices import Choice

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

COPIED = ("flows", "events", "traces")  # views whose rows have several forms
_WITH_COPIES = ("rules", "map", "drawing", "lists")  # views whose details have texts to copy
_NOTICE_S = 15.0  # seconds that the notice of a copy stays: time to select the text by mouse
_MAX_LINES = 6  # of the copied text in that notice
_FORMS = (("text", "Text", "y"), ("json", "JSON", "J"), ("conntrack", "The conntrack command that shows it", "c"))


def delete(screen: MainScreen) -> Awaitable[None] | None:
    """Ask which flows to delete: this one, all that match the filter, or those of the group. Count them first."""
    row = screen.table.current
    if row is None:
        screen.say("there is no flow here to delete")
        return None
    if not screen.status.others and has_ended(screen):
        return None
    if screen.view.kind == "groups":
        return open_with_answer(
            screen,
            partial(screen.session.detail, screen.table.view, row.ident),
            lambda found: _count(screen, row, "", found.filter if isinstance(found, GroupDetail) else ""),
        )
    return _with_netns(screen, row, lambda netns: _delete_in(screen, row, netns))


def _with_netns(screen: MainScreen, row: Row, then: Callable[[str], Awaitable[None] | None]) -> Awaitable[None] | None:
    """Call `then` with the label of a flow's namespace as `shown_netns` has it. Report a flow that is gone."""
    shown = shown_netns(screen.status)
    if not screen.status.others:
        return then(shown)

    def on_json(text: str) -> Awaitable[None] | None:
        if text:
            return then(clean(json.loads(text).get("netns") or "host"))
        screen.say("this flow has left the table")
        return None

    return open_with_answer(screen, partial(screen.session.copy_as, "flows", row.ident, "json"), on_json)


def _delete_in(screen: MainScreen, row: Row, netns: str) -> Awaitable[None] | None:
    if netns == shown_netns(screen.status) and has_ended(screen):
        return None
    if screen.table.filter is not None:
        return _count(screen, row, netns, screen.table.filter.text)
    return _confirm_delete(screen, row, netns, None, 0)


def _count(screen: MainScreen, row: Row, netns: str, text: str) -> Awaitable[None] | None:
    if not text:
        screen.say("this group has no flows any more, or the filter is too long to be narrowed to it")
        return None
    flow_filter = parse(text, "flow")
    open_dialog = partial(_confirm_delete, screen, row, netns, flow_filter)
    return open_with_answer(screen, partial(screen.session.count_flows, flow_filter), open_dialog)


def _tables_text(screen: MainScreen, netns: str, matching: bool) -> str:
    """Return a sentence that names the conntrack tables from which flows are deleted."""
    if not screen.status.others:
        return f"From the table of {screen.status.netns or 'the host'}."
    if screen.view.kind == "groups":
        return "From the tables of every namespace shown."
    return f"This flow is of {netns}" + ("; those that match are of every namespace shown." if matching else ".")


def _confirm_delete(
    screen: MainScreen, row: Row, netns: str, flow_filter: Filter | None, count: int
) -> Awaitable[None]:
    choices = [] if screen.view.kind == "groups" else [Choice("one", "Delete this flow")]
    if flow_filter is not None:
        matching = f"{plural(count, 'flow')} that match{'es' if count == 1 else ''} / {flow_filter.text}"
        choices.append(Choice("all", f"Delete the {matching}"))
    again = "If the connection is still alive it is tracked again as new; its NAT mapping may change."
    tables = f"{_tables_text(screen, netns, flow_filter is not None)} {again}"

    def on_confirmed(answer: str) -> None:
        report = partial(screen.post, screen.say)
        if answer == "one":
            screen.session.delete_flow(row.ident, screen.done(""), report)
        else:
            screen.session.delete_matching(flow_filter, screen.done(""), report)

    cells = "  ".join(cell.strip() for cell in row.cells if cell.strip())
    return confirm(screen, "Delete", f"{cells}\n{tables}", choices, on_confirmed)


def follow(screen: MainScreen) -> None:
    """Follow the newest row, or the flow under the cursor; or stop following."""
    table = screen.table
    if table.can_follow:
        table.set_follow(not table.viewport.follow)
    elif table.current is None:
        screen.say("there is no flow here to follow")
    else:
        table.track(not table.viewport.tracking)


def copy(screen: MainScreen) -> Awaitable[None] | None:
    """Copy to the clipboard by the terminal's OSC 52; of a flow, an event or a rule ask for the form."""
    table = screen.view.active
    row = None if table is None else table.current
    view = screen.view
    answers = isinstance(view, TableView) and view.is_open and view.detail.answers
    if table is not None and table.view in _WITH_COPIES and row is not None and not answers:
        ask = partial(screen.session.detail, table.view, row.ident)
        return open_with_answer(screen, ask, partial(_copy_text, screen))
    if table is None or table.view not in COPIED or row is None:
        _to_clipboard(screen, screen.view.copy_text())
        return None
    forms = _FORMS[:2] if table.view == "traces" else _FORMS
    choices = [Choice(form, label, key) for form, label, key in forms]
    if screen.view.is_open:
        choices.append(Choice("detail", "The whole detail", "d"))

    def on_chosen(answer: list[str]) -> None:
        if answer == ["detail"]:
            _to_clipboard(screen, screen.view.copy_text())
        else:
            screen.session.copy_as(table.view, row.ident, answer[0], partial(screen.post, _to_clipboard, screen))

    keys = {choice.note: choice.ident for choice in choices}
    return choose(screen, "Copy as", choices, on_chosen, context=WatchContext(screen), keys=keys)


def _copy_text(screen: MainScreen, found: Detail | None) -> Awaitable[None] | None:
    if not isinstance(found, CopyDetail):
        _to_clipboard(screen, screen.view.copy_text())
        return None
    choices = [Choice(str(at), title, str(at + 1)) for at, (title, _) in enumerate(found.copies)]
    on_chosen = lambda answer: _to_clipboard(screen, found.copies[int(answer[0])][1])  # noqa: E731
    return choose(screen, "Copy", choices, on_chosen, keys={choice.note: choice.ident for choice in choices})


def _to_clipboard(screen: MainScreen, text: str) -> None:
    """Copy a text without its control characters (line feeds are kept), and say so."""
    lines = [clean(line) for line in text.split("\n")]
    if text.strip():
        screen.app.copy_to_clipboard("\n".join(lines))
        screen.app.notify(_copied_notice(lines, screen.app.size.width), timeout=_NOTICE_S, markup=False)
    else:
        row = None if screen.view.active is None else screen.view.active.current
        screen.say("nothing to copy here" if row is None else "the flow has ended: nothing copied")


def _copied_notice(lines: Sequence[str], width: int) -> str:
    """Return a notice of a copy, with its first line to select by mouse where the terminal does not do OSC 52.

    The line is wrapped to at most _MAX_LINES lines, enough for a whole conntrack command.
    """
    notice = "copied, if this terminal allows it (OSC 52"
    notice += "; tmux: set-clipboard on)" if os.environ.get("TMUX") else ")"
    first = next(line for line in lines if line.strip())
    count = f", the first of {grouped(len(lines))} lines" if len(lines) > 1 else ""
    room = max(10, width * 9 // 10 - 4)
    shown = textwrap.wrap(first, room, max_lines=_MAX_LINES, placeholder="…", break_on_hyphens=False)
    return "\n".join((f"{notice}{count}:", *shown))


def capture_flow(screen: MainScreen) -> Awaitable[None] | None:
    """Open the capture dialog, filled in for exactly the flow under the cursor."""
    row = screen.table.current
    if row is None:
        screen.say("there is no flow here to capture")
        return None
    if has_ended(screen):
        return None
    ask = partial(screen.session.flow_capture, row.ident)
    return in_shown_netns(
        screen, row, "captures", lambda: open_with_answer(screen, ask, partial(_offer_capture, screen))
    )


def in_shown_netns(
    screen: MainScreen, row: Row, what: str, then: Callable[[], Awaitable[None] | None]
) -> Awaitable[None] | None:
    """Call `then` for a flow of the shown namespace; of another one report that `what` are of the shown one."""

    def in_netns(netns: str) -> Awaitable[None] | None:
        shown = shown_netns(screen.status)
        if netns == shown:
            return then()
        screen.say(f"{what} are of {shown}: @ chooses {netns}")
        return None

    return _with_netns(screen, row, in_netns)


def _offer_capture(screen: MainScreen, flow: FlowCapture | None) -> Awaitable[None] | None:
    if flow is None:
        screen.say("this flow has left the table")
        return None
    return capture(screen, flow)


def go_to(view: str, relation: str = "") -> Callable[[MainScreen], None]:
    """Return a command that shows, in `view`, the rows related to the row under the cursor.

    `relation`: "" for the same flow, "master" for the flow that expected it.
    """

    def go(screen: MainScreen) -> None:
        row = screen.table.current
        if row is None:
            screen.say("there is nothing under the cursor")
            return
        to = relation or view
        deliver = partial(screen.post, _show_related, screen, view, _NOT_FOUND[to])
        screen.session.related(screen.table.view, row.ident, to, deliver)

    return go


_NOT_FOUND = {
    "flows": "its flow is not in the table",
    "events": "no events of it are known",
    "master": "no flow in the table has expected this one",
    "packets": "its packets cannot be distinguished from others",
}


def _show_related(screen: MainScreen, view: str, not_found: str, ident: int | None, text: str) -> None:
    """Show the row `ident`, or the rows that the filter `text` selects, or report that there are none."""
    if view not in screen.session.views:
        return
    if ident is None and (view == "flows" or not text):
        screen.say(not_found)
        return
    with screen.jump(view):
        screen.view_as(TableView).group_by(None)
        try:
            display_filter = None if view == "flows" else parse(text, screen.table.filter_kind)
        except NettopError as error:
            screen.say(str(error), error=True)
            return
        screen.table.set_filter(display_filter)
        if view == "events":
            screen.table.set_follow(True)
        elif ident is not None:
            screen.table.seek(ident)
