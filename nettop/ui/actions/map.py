"""Commands of the map: enter a namespace, open a list, ask for a route; and the way to it from other views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nettop.model.findings import Finding
from nettop.model.map.detail import MapDetail
from nettop.model.map_findings.findings import where
from nettop.model.table import Detail
from nettop.model.topology.device_words import label_text
from nettop.model.topology.route_query import FORM, parse
from nettop.text.sanitize import clean
from nettop.ui.actions.choosing import choose
from nettop.ui.actions.dialogs import capture
from nettop.ui.panes.map import MapView
from nettop.ui.screens.pending import WatchContext, open_with_answer, switch_namespace
from nettop.ui.widgets.choices import Choice
from nettop.ui.widgets.prompt_request import PromptRequest, discard

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen


def list_(what: str) -> Callable[[MainScreen], None]:
    """Return the command that opens a list of the row under the cursor."""
    return lambda screen: screen.view_as(MapView).open_list(what)


def with_detail(screen: MainScreen, then: Callable[[MapDetail], Awaitable[None] | None]) -> Awaitable[None] | None:
    """Call `then` with what is under the cursor of the map. Report a row that is gone."""
    table = screen.view_as(MapView).pointing
    row = table.current
    if row is None:
        screen.say("there is nothing under the cursor")
        return None

    def on_detail(found: Detail | None) -> Awaitable[None] | None:
        if isinstance(found, MapDetail):
            return then(found)
        screen.say("it is gone")
        return None

    return open_with_answer(screen, partial(screen.session.detail, table.view, row.ident), on_detail)


def enter(screen: MainScreen) -> Awaitable[None] | None:
    """Watch the namespace under the cursor, or that of the device there: the whole app goes there."""
    return with_detail(screen, partial(_enter, screen))


def _enter(screen: MainScreen, found: MapDetail) -> None:
    name = found.label or "the host"
    if found.here and screen.session.status().mode != "GONE":
        screen.view_as(MapView).open_detail()
    elif found.closed:
        screen.say(f"{name}: {found.closed}", error=True)
    else:
        switch = partial(screen.session.switch_namespace, found.label)
        switch_namespace(screen, switch, screen.done(f"watching {name}"))


def packets(screen: MainScreen) -> Awaitable[None] | None:
    """Ask for a capture on the device under the cursor; in a namespace that is not shown, say how to go there."""

    def on_found(found: MapDetail) -> Awaitable[None] | None:
        if not found.device:
            screen.say("choose a device of this namespace to capture on")
            return None
        name = label_text(found.label)
        device = found.device if found.here else f"{found.device} @ {name}"
        return capture(
            screen, device=device, otherwise=f"captures are of watched namespaces: Enter on {name} goes there"
        )

    return with_detail(screen, on_found)


def route(screen: MainScreen) -> Awaitable[None] | None:
    """Ask which packet, and show its way through the routing of the namespace under the cursor."""
    return with_detail(screen, partial(_ask_route, screen))


def _ask_route(screen: MainScreen, found: MapDetail) -> Awaitable[None] | None:
    name = label_text(found.label)
    if found.closed:
        screen.say(f"{name}: {found.closed}", error=True)
        return None

    def on_answer(context: WatchContext, answer: Detail | str) -> None:
        if isinstance(answer, str):
            screen.say(answer, error=True)
        elif context.unchanged and isinstance(screen.view, MapView):
            screen.view.show_answer(answer)

    def accept(text: str) -> None:
        if text:
            deliver = partial(screen.post, on_answer, WatchContext(screen))
            screen.session.ask_route(found.label, text, deliver)

    advice = f"asked of the kernel in {name} · {FORM}"
    check = lambda text: discard(parse(text) if text.strip() else None)  # noqa: E731
    return screen.open_prompt(PromptRequest("route", " route to ", "", check, advice, accept))


def findings(screen: MainScreen) -> Awaitable[None]:
    """Open the list of what is probably wrong, each with its evidence; Enter goes to the device."""

    def on_found(found: Sequence[tuple[Finding, int | None]]) -> Awaitable[None] | None:
        if not found:
            screen.say("no findings on this host")
            return None
        choices = [
            Choice(str(at), clean(f"{where(one)}: {one.summary}"), detail=one.evidence)
            for at, (one, _) in enumerate(found)
        ]

        def on_chosen(answer: list[str]) -> None:
            ident = found[int(answer[0])][1]
            if ident is not None:
                screen.record_position()
                screen.view_as(MapView).show_row(ident)

        return choose(screen, "Findings", choices, on_chosen, search=True)

    return open_with_answer(screen, screen.session.map_findings, on_found)


def device_of(screen: MainScreen) -> None:
    """Show the device of the row under the cursor in the map: of a flow, a packet, a rule or a chain."""
    table = screen.view.active
    row = None if table is None else table.current
    if table is None or row is None:
        screen.say("there is nothing under the cursor")
        return

    def on_device(ident: int | None, name: str) -> None:
        if ident is None:
            screen.say("its device is not known")
            return
        with screen.jump("map"):
            screen.view_as(MapView).show_row(ident)

    screen.session.related(table.view, row.ident, "map", partial(screen.post, on_device))
