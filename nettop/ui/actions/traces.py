"""Commands on traces: start and stop one, and go from rows to traced packets and from these to rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nettop.errors import NettopError
from nettop.model.filter.expression import parse
from nettop.model.ruleset.find import Hit
from nettop.model.table import Detail, GroupDetail, JourneyDetail, RulePlace
from nettop.model.traces.match import matches
from nettop.session.status import TraceRequest, shown_netns
from nettop.session.trace_actions import MetRule
from nettop.text.sanitize import clean
from nettop.text.units import plural
from nettop.ui.actions.choosing import choose
from nettop.ui.actions.flows import in_shown_netns
from nettop.ui.panes.chains import ChainsView
from nettop.ui.panes.table_view import TableView
from nettop.ui.screens.pending import WatchContext, has_ended, open_with_answer
from nettop.ui.widgets.choices import Choice
from nettop.ui.widgets.prompt_request import PromptRequest

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

_RULES = ("matrix", "chains", "rules")
_FLOWS = ("flows", "events", "packets", "groups")
_RATE_OF_RULE = 1000  # packets a second: few of them may come to the rule
_NOT_TRACED = "this row has no packets that can be traced"


def trace(screen: MainScreen) -> Awaitable[None] | None:
    """Open the dialog to trace the packets of the row under the cursor; where that is none of them, ask for packets."""
    if has_ended(screen):
        return None
    return _of_row(screen, partial(_offer_or_ask, screen)) or _ask(screen, TraceRequest())


def _offer_or_ask(screen: MainScreen, request: TraceRequest) -> Awaitable[None]:
    """Open the dialog; for packets that a trace cannot find (of a group, say) the prompt, which shows why."""
    try:
        _check(request.expression)
    except NettopError:
        return _ask(screen, request)
    return _offer(screen, request)


def _check(expression: str) -> None:
    """Raise NettopError for packets that a trace cannot find."""
    matches(parse(expression, "trace"))


def _of_row(screen: MainScreen, then: Callable[[TraceRequest], Awaitable[None] | None]) -> Awaitable[None] | None:
    """Call `then` with a request for the packets of the row under the cursor. None: it is a row of another kind."""
    row, view = screen.table.current, screen.table.view
    if row is None or view not in (*_RULES, *_FLOWS):
        return None

    def of_rule(only: str, also: str, expression: str, error: str) -> Awaitable[None] | None:
        if only:
            return then(TraceRequest(expression, only=only, also=also, per_second=_RATE_OF_RULE))
        screen.say(error or "the rule is gone")
        return None

    def of_group(found: Detail | None) -> Awaitable[None] | None:
        return of_flow(None, found.filter if isinstance(found, GroupDetail) else "")

    def of_flow(_: int | None, expression: str) -> Awaitable[None] | None:
        if expression:
            return then(TraceRequest(expression))
        screen.say(_NOT_TRACED)
        return None

    if view in _RULES:
        return open_with_answer(screen, partial(screen.session.rule_filter, view, row.ident), of_rule)
    if view == "groups":
        return open_with_answer(screen, partial(screen.session.detail, view, row.ident), of_group)
    ask = partial(screen.session.related, view, row.ident, "traces")
    if view == "flows":
        return in_shown_netns(screen, row, "traces", lambda: open_with_answer(screen, ask, of_flow))
    return open_with_answer(screen, ask, of_flow)


def _offer(screen: MainScreen, request: TraceRequest) -> Awaitable[None]:
    from nettop.ui.screens.trace import TraceScreen

    def on_answer(answer: TraceRequest | None) -> None:
        if answer is not None:
            screen.session.start_trace(answer, screen.done("", lambda: _show(screen)))

    edit = partial(screen.call_later, _ask, screen)
    return WatchContext(screen).push(TraceScreen(request, shown_netns(screen.status), edit), on_answer)


def _ask(screen: MainScreen, request: TraceRequest) -> Awaitable[None]:
    """Ask for the packets to trace."""
    advice = "host 10.0.3.7 and tcp port 443 · Enter: limits, then start · empty: every packet"
    accept = lambda text: _offer(screen, replace(request, expression=text))  # noqa: E731
    return screen.open_prompt(PromptRequest("trace", " trace ", request.expression, _check, advice, accept, "trace"))


def _show(screen: MainScreen, text: str = "") -> None:
    """Show the traced packets that match, the newest last."""
    with screen.jump("traces"):
        screen.table.set_filter(parse(text, screen.table.filter_kind))
        screen.table.set_follow(True)


def stop(screen: MainScreen) -> None:
    """End the running trace."""
    if screen.session.status().tracing is None:
        screen.say("nothing is traced")
    else:
        screen.session.stop_trace(screen.done("the trace has ended, its packets are kept"))


def traced(screen: MainScreen) -> Awaitable[None] | None:
    """Show the traced packets of the row under the cursor."""

    def show(request: TraceRequest) -> None:
        try:
            _show(screen, request.expression or request.only)
        except NettopError as error:
            screen.say(str(error), error=True)

    return _of_row(screen, show)


def rule(screen: MainScreen) -> Awaitable[None] | None:
    """Go to the rule of the step under the cursor, in Chains; from the list to the rule that ended the packet.

    From a flow or a packet choose among the rules that traced packets of it met.
    """
    if screen.table.view != "traces":
        return _of_row(screen, partial(_choose_rule, screen))
    row, detail = screen.table.current, screen.view_as(TableView).detail
    if row is None:
        screen.say("there is no packet here")
        return None
    if screen.view.is_open and isinstance(detail.drawn, JourneyDetail):
        of_step = detail.drawn.places[detail.body.cursor] if screen.focused is detail.body else detail.drawn.decisive
        return _go_to_rule(screen, of_step, detail.drawn)

    def on_detail(found: Detail | None) -> Awaitable[None] | None:
        packet = found if isinstance(found, JourneyDetail) else None
        return _go_to_rule(screen, None if packet is None else packet.decisive, packet)

    return open_with_answer(screen, partial(screen.session.detail, "traces", row.ident), on_detail)


def _choose_rule(screen: MainScreen, request: TraceRequest) -> Awaitable[None]:
    def on_rules(found: Sequence[MetRule]) -> Awaitable[None] | None:
        if not found:
            screen.say("no packet of it was traced: t traces the next ones, and R shows the rules that they met")
            return None
        choices = [Choice(str(at), clean(one.text), plural(one.packets, "packet")) for at, one in enumerate(found)]
        go = lambda answer: screen.call_later(_go_to_rule, screen, found[int(answer[0])].place)  # noqa: E731
        return choose(screen, "Rules that its traced packets met", choices, go, search=True)

    return open_with_answer(screen, partial(screen.session.rules_met, request.expression), on_rules)


def _go_to_rule(
    screen: MainScreen, place: RulePlace | None, packet: JourneyDetail | None = None
) -> Awaitable[None] | None:
    """Open a rule in Chains, and light the hooks that the packet passed."""
    if place is None:
        screen.say("there is no rule on this line" if screen.view.is_open else "no rule ended this packet")
        return None

    def on_position(found: Hit | None) -> None:
        if found is None:
            screen.say("this rule is gone")
            return
        with screen.jump("chains"):
            view = screen.view_as(ChainsView)
            if view.matrix is not None and packet is not None:
                view.matrix.light(packet.journey, f"packet #{packet.ident}")
            view.show_rule(found)

    return open_with_answer(screen, partial(screen.session.rule_position, place), on_position)
