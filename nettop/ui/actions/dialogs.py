"""Commands that open a dialog or the prompt, and act on the answer. The dialogs are imported when they open."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nettop.errors import NettopError, UsageError
from nettop.model.filter.expression import parse
from nettop.model.filter.vocabulary import FIELDS, OPERATORS, RULESET
from nettop.model.findings import Finding
from nettop.model.flows.capture import FlowCapture
from nettop.model.ruleset.changes.change import Change
from nettop.model.ruleset.changes.log import Commit
from nettop.model.ruleset.find import Hit
from nettop.model.table import SortKey
from nettop.session.exports import save_path
from nettop.session.packet_way import FORM
from nettop.session.status import DeviceChoice, NetnsChoice, shown_netns
from nettop.text.sanitize import clean
from nettop.text.units import clock, plural
from nettop.ui.actions.choosing import choose
from nettop.ui.commands import keys_text, offered
from nettop.ui.palette import themed_app
from nettop.ui.panes.chains import ChainsView, shown_matrix
from nettop.ui.panes.table_view import TableView
from nettop.ui.screens.pending import WatchContext, has_ended, open_with_answer, switch_namespace
from nettop.ui.widgets.choices import Choice
from nettop.ui.widgets.prompt_request import PromptRequest, discard

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen


_EXAMPLES = {
    "chain": "table filter and rate > 0",
    "rule": "verdict drop or packets == 0",
    "counter": "drop or group tcp and rate > 0",
    "device": "10.9.0.4 · veth0 · kind macvlan and rate > 1M",
    "traced packet": "verdict drop · chain blocked · host 10.0.0.1 and port 443",
}  # by kind of filter


def filter_or_find(screen: MainScreen) -> Awaitable[None]:
    """Ask for the display filter of the table in front (`/`); for rules also for a text to find."""
    if not isinstance(screen.view, ChainsView):
        return filter_(screen)
    view, kind = screen.view, screen.table.filter_kind
    filter_text = "" if screen.table.filter is None else screen.table.filter.text

    def check(text: str) -> None:
        if is_filter(text):
            parse(text, kind)

    def apply(text: str) -> None:
        is_text = bool(text) and not is_filter(text)
        view.find(text if is_text else "")
        screen.table.set_filter(None if is_text else parse(text, kind))
        screen.write_bars()

    screen.session.find_rules("", discard)  # makes the index while the text is typed
    advice = f"a text, 10.0.0.5, port 443, eth0 · {kind}s with: {_EXAMPLES[kind]}"
    return screen.open_prompt(PromptRequest("find", " / ", view.found or filter_text, check, advice, apply, kind))


def packet_way(screen: MainScreen) -> Awaitable[None]:
    """Ask for a packet, and light the hooks that it passes by the kernel's answer for its route."""
    matrix = shown_matrix(screen)

    def accept(text: str) -> None:
        light = lambda way: screen.post(matrix.light_way, way)  # noqa: E731
        screen.session.packet_way(text, screen.done(""), light)

    return screen.open_prompt(PromptRequest("way", " way of ", "", discard, FORM, accept))


def rule_changes(screen: MainScreen) -> Awaitable[None]:
    """Show what changed in the rules, the latest first; Enter finds the rule."""

    def on_commits(commits: Sequence[Commit]) -> Awaitable[None] | None:
        changes = [(commit, change) for commit in reversed(commits) for change in commit.changes]
        if not changes:
            screen.say("no rule has changed since nettop started to watch")
            return None
        choices = [Choice(str(at), _changed(*one), clean(one[0].by or "by ?")) for at, one in enumerate(changes)]
        find = lambda answer: screen.view_as(ChainsView).find(changes[int(answer[0])][1].found)  # noqa: E731
        return choose(screen, "Changes of chains, rules and elements of sets", choices, find, search=True)

    return open_with_answer(screen, screen.session.rule_changes, on_commits)


def _changed(commit: Commit, change: Change) -> str:
    """Return `12:04:30 + inet fw lan 3  tcp dport 80 drop`."""
    return clean(f"{clock(commit.ts_ns)} {change.sign} {change.where}  {change.text}")


def findings(screen: MainScreen) -> Awaitable[None]:
    """Open the list of what is probably wrong in the ruleset; Enter goes there."""

    def on_found(found: Sequence[tuple[Finding, Hit | None]]) -> Awaitable[None] | None:
        if not found:
            screen.say("no findings in this ruleset")
            return None
        choices = [Choice(str(at), finding.summary, detail=finding.evidence) for at, (finding, _) in enumerate(found)]
        on_chosen = lambda answer: _show_finding(screen, *found[int(answer[0])])  # noqa: E731
        return choose(screen, "Findings", choices, on_chosen, search=True)

    return open_with_answer(screen, screen.session.findings, on_found)


def _show_finding(screen: MainScreen, finding: Finding, hit: Hit | None) -> None:
    """Show the rule or the chain of a finding."""
    if hit is not None and isinstance(screen.view, ChainsView):
        screen.view.show_rule(hit)
    else:
        screen.say(" · ".join((finding.summary, *finding.evidence)))


def is_filter(text: str) -> bool:
    """Return whether a text typed in Chains is a filter, not a text to find: a field with a value, or a comparison."""
    first, *rest = text.replace("(", " ").replace("!", " ").split() or [""]
    fields = {word for word, field in FIELDS.items() if field.kinds & RULESET} | {"not"}
    return bool(rest) and (first in fields or bool({*rest} & OPERATORS))


def filter_(screen: MainScreen) -> Awaitable[None]:
    """Ask for the display filter of the table in front (`/`)."""
    kind, current = screen.table.filter_kind, screen.table.filter
    example = _EXAMPLES.get(kind, "host 10.0.0.1 and port 443")
    advice = f"{example} · Enter shows what matches · empty shows all"
    now, check = "" if current is None else current.text, lambda text: discard(parse(text, kind))

    def apply(text: str) -> None:
        before = "" if screen.table.filter is None else screen.table.filter.text
        try:
            display_filter = parse(text, screen.table.filter_kind)
        except NettopError as error:  # the table in front is another one: another namespace is watched by now
            screen.say(str(error), error=True)
            return
        if text != before:
            screen.record_position()
        screen.table.set_filter(display_filter)
        screen.write_bars()

    return screen.open_prompt(PromptRequest("filter", " / ", now, check, advice, apply, kind))


def sort(screen: MainScreen) -> Awaitable[None] | None:
    """Open the dialog that sorts the table by one or two columns; report a table that has one order only."""
    if not screen.table.sortable:
        screen.say("these rows are always in order of arrival")
        return None
    from nettop.ui.screens.sort import SortScreen

    return screen.app.push_screen(SortScreen(screen.table))


def group(screen: MainScreen) -> Awaitable[None]:
    """Ask by which key flows are grouped, if at all."""
    from nettop.model.flow_groups.table import GROUPS

    grouping = screen.view_as(TableView).grouping
    now = "" if grouping is None or grouping.by is None else grouping.by
    choices = [Choice(key, title.lower(), "now" if key == now else "") for key, title in GROUPS.items()]
    choices.append(Choice("", "not grouped", "" if now else "now"))
    on_chosen = lambda answer: _group_by(screen, answer[0] or None)  # noqa: E731
    return choose(screen, "Group flows by", choices, on_chosen, start=now or next(iter(GROUPS)))


def _group_by(screen: MainScreen, by: str | None) -> None:
    screen.record_position()
    screen.view_as(TableView).group_by(by)
    screen.write_bars()


def holders(screen: MainScreen) -> None:
    """Show flows by source, those with the most flows first: they fill the conntrack table."""
    screen.show("flows")
    _group_by(screen, "source")
    screen.table.set_sort((SortKey("flows"),))
    screen.write_bars()


def columns(screen: MainScreen) -> Awaitable[None]:
    """Ask for the columns to show and their order."""
    table = screen.table
    known = {column.key: column for column in table.info.columns}
    order = [key for key in table.chosen if key in known] + [key for key in known if key not in table.chosen]
    choices = [Choice(key, known[key].title.strip() or key, key) for key in order]
    on_chosen = lambda answer: table.set_columns(tuple(answer))  # noqa: E731
    return choose(screen, "Columns", choices, on_chosen, several=True, ticked=table.chosen)


def palette(screen: MainScreen) -> Awaitable[None]:
    """Open the list of this view's commands, to search by title and run one."""
    usable = [c for c in screen.commands if c.palette and offered(c, screen.command_context)]
    choices = [Choice(c.name, c.title, keys_text(c)) for c in usable]
    on_chosen = lambda answer: screen.call_later(screen.action_command, answer[0])  # noqa: E731
    return choose(screen, "Commands", choices, on_chosen, search=True)


def theme(screen: MainScreen) -> Awaitable[None]:
    """Ask for a theme and apply it."""
    app = themed_app(screen)
    choices = [Choice(n, n, "now" if n == app.palette.theme.name else "") for n in sorted(app.themes)]
    on_chosen = lambda answer: app.apply_theme(app.themes[answer[0]])  # noqa: E731
    return choose(screen, "Themes", choices, on_chosen, start=app.palette.theme.name)


def namespace(screen: MainScreen) -> Awaitable[None]:
    """Ask for a namespace to show, of the list or typed (a path, pid:N), and for others whose flows are shown too."""

    def on_chosen(answer: list[str]) -> None:
        watched = ", ".join(spec or "the host" for spec in answer)
        switch = partial(screen.session.watch_namespaces, answer)
        switch_namespace(screen, switch, screen.done(f"watching {watched}"))

    def on_namespaces(found: Sequence[NetnsChoice] | str) -> Awaitable[None] | None:
        if isinstance(found, str):
            screen.say(found, error=True)
            return None
        choices = [Choice(n.spec, n.label or "host", n.note) for n in found]
        ticked = [n.spec for n in found if n.watched]
        title = "Watch a namespace; those selected add their flows and events"
        return choose(screen, title, choices, on_chosen, search=True, free=True, several=True, ticked=ticked)

    return open_with_answer(screen, screen.session.namespaces, on_namespaces)


def packet_lists(screen: MainScreen) -> Awaitable[None]:
    """Ask for the capture whose packets are shown."""

    def on_lists(found: Sequence[tuple[int, str, int]]) -> Awaitable[None]:
        choices = [Choice(str(number), clean(name), plural(count, "packet")) for number, name, count in found]
        return choose(screen, "Captures", choices, lambda answer: screen.session.show_packets(int(answer[0])))

    return open_with_answer(screen, screen.session.packet_lists, on_lists)


def capture(
    screen: MainScreen, flow: FlowCapture | None = None, device: str = "", otherwise: str = ""
) -> Awaitable[None] | None:
    """Ask for the devices and the filter of a capture; `flow` fills both in. None when the namespace is gone.

    `device` is ticked; where it cannot be captured `otherwise` is said.
    """
    if has_ended(screen):
        return None

    def on_devices(found: Sequence[DeviceChoice] | str) -> Awaitable[None] | None:
        if isinstance(found, str):
            screen.say(found, error=True)
            return None
        from nettop.ui.screens.capture import CaptureScreen

        offered = [replace(one, usual=one.name == device) for one in found] if device else found
        if device and not any(one.usual for one in offered):
            screen.say(otherwise)
            return None
        return WatchContext(screen).push(CaptureScreen(screen, offered, flow), lambda answer: None)

    return open_with_answer(screen, screen.session.devices, on_devices)


def _file_name(screen: MainScreen, ending: str = ".pcapng") -> str:
    """Return a name for a new file: `nettop-gw-a-120431.pcapng`."""
    label = "".join(c if c.isalnum() else "-" for c in shown_netns(screen.status) or "host")
    stamp = time.strftime("%H%M%S", time.localtime(screen.status.clock_ns // 1_000_000_000))
    return f"nettop-{label}-{stamp}{ending}"


def _check_new(path: str) -> None:
    """Raise UsageError when no new file of this name can be made. The session checks again when it opens the file."""
    path = save_path(path)
    if not path:
        raise UsageError("a file name is needed")
    if os.path.lexists(path):
        raise UsageError("exists already, and nothing is overwritten", "choose another name")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"no folder {folder}", "choose another name")


def record(screen: MainScreen) -> Awaitable[None] | None:
    """Ask for a file to record to, or end the running recording."""
    if screen.status.recording:
        screen.session.stop_recording(screen.done("recording ended"))
        return None
    advice = "every stream goes into one pcapng · Enter starts"

    def start(path: str) -> None:
        screen.session.start_recording(path, screen.done(f"recording to {path}"))

    return screen.open_prompt(PromptRequest("record", " record to ", _file_name(screen), _check_new, advice, start))


def export(screen: MainScreen) -> Awaitable[None]:
    """Ask for a file to write the packets shown to, of traces their steps."""
    display_filter, session = screen.table.filter, screen.session
    traces = screen.table.view == "traces"
    packets = f"the packets that match {display_filter.text}" if display_filter is not None else "every packet shown"
    advice = f"{packets}{', as JSON Lines or in -traces.txt' if traces else ''} · Enter writes"

    def write(path: str) -> None:
        write_to = session.export_traces if traces else session.export
        write_to(path, display_filter, screen.done(""), partial(screen.post, screen.say))

    name = _file_name(screen, "-traces.jsonl" if traces else "-packets.pcapng")
    return screen.open_prompt(PromptRequest("export", " write to ", name, _check_new, advice, write))


def help_(screen: MainScreen) -> Awaitable[None]:
    """Open the help: every key."""
    from nettop.ui.screens.help import HelpScreen

    return screen.app.push_screen(HelpScreen(screen.commands, screen.command_context))


def suspend(screen: MainScreen) -> None:
    """Stop nettop; the shell's fg continues it."""
    screen.app.action_suspend_process()


def quit_(screen: MainScreen) -> Awaitable[None] | None:
    """Leave nettop; while recording or tracing ask first."""
    running = "recording" if screen.status.recording else "tracing" if screen.status.tracing else ""
    if not running:
        screen.app.exit(0)
        return None
    choices = [Choice("stay", f"Keep {running}", "Esc"), Choice("quit", f"Stop {running} and quit")]
    on_chosen = lambda answer: screen.app.exit(0) if answer == ["quit"] else None  # noqa: E731
    return choose(screen, f"A {'recording' if running == 'recording' else 'trace'} is running", choices, on_chosen)
