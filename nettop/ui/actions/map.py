"""Commands of the map: enter a namespace, open a list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from nettop.model.map.details import MapDetail
from nettop.model.table import Detail
from nettop.ui.panes.map import MapView
from nettop.ui.screens.pending import open_with_answer, switch_namespace

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen


def map_view(screen: MainScreen) -> MapView:
    """Return the map on the screen, for its commands."""
    assert isinstance(screen.view, MapView)
    return screen.view


def list_(what: str) -> Callable[[MainScreen], None]:
    """Return the command that opens a list of the row under the cursor."""
    return lambda screen: map_view(screen).open_list(what)


def with_detail(screen: MainScreen, then: Callable[[MapDetail], Awaitable[None] | None]) -> Awaitable[None] | None:
    """Call `then` with what is under the cursor of the map. Report a row that is gone."""
    table = map_view(screen).active
    row = table.current
    if row is None:
        screen.say("there is nothing under the cursor")
        return None

    def on_detail(found: Detail | None) -> Awaitable[None] | None:
        if isinstance(found, MapDetail):
            return then(found)
        screen.say("choose a device or a namespace" if found else "it is gone")
        return None

    return open_with_answer(screen, partial(screen.session.detail, table.view, row.ident), on_detail)


def enter(screen: MainScreen) -> Awaitable[None] | None:
    """Watch the namespace under the cursor, or that of the device there: the whole app goes there."""
    return with_detail(screen, partial(_enter, screen))


def _enter(screen: MainScreen, found: MapDetail) -> None:
    name = found.label or "the host"
    if found.here:
        map_view(screen).open_detail()
    elif found.refusal:
        screen.say(f"{name} cannot be entered: {found.refusal}", error=True)
    else:
        switch = partial(screen.session.switch_namespace, found.label)
        switch_namespace(screen, switch, screen.done(f"watching {name}"))
