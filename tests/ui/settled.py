"""An app whose screen has settled: all keys handled, all requests answered, everything laid out and painted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from textual._compositor import CompositorUpdate
from textual.screen import Screen
from textual.widget import Widget

from nettop.session.replay import ReplaySession
from nettop.session.status import Status
from nettop.ui.app import NettopApp
from nettop.ui.panes.detail import DetailPane
from nettop.ui.screens.main import MainScreen
from nettop.ui.widgets.table import Table
from tests.ui.screen_text import DEADLINE


class CountedApp(NettopApp):
    """Counts how often it draws."""

    updates = 0

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        self.updates += isinstance(renderable, CompositorUpdate)
        super()._display(screen, renderable)


class StillReplay(ReplaySession):
    """The recording, read to its end; the header does not change."""

    _still: Status | None = None

    def status(self) -> Status:
        self._still = self._still or replace(super().status(), cpu_percent=1.2)
        return self._still


def tables(app: NettopApp) -> list[Table]:
    return [table for screen in app.screen_stack for table in screen.query(Table)]


def waits(app: NettopApp) -> bool:
    """Whether anything is still to be handled, answered, laid out or painted."""
    widgets = [app.screen, *app.screen.walk_children(Widget)]
    details = (pane for screen in app.screen_stack for pane in screen.query(DetailPane))
    return (
        not all(pump._message_queue.empty() and not pump._next_callbacks for pump in (app, *widgets))
        or any(widget._layout_required or widget._repaint_required for widget in widgets)
        or bool(app.screen._dirty_widgets or app.screen._callbacks)
        or any(table._requests._pending_since is not None for table in tables(app))
        or any(pane._requested is not None for pane in details)
    )


async def settled(app: CountedApp) -> None:
    """Return when nothing waits and nothing is drawn for a while: what is being removed leaves no other trace."""
    quiet = drawn = 0
    for _ in range(DEADLINE):
        quiet = 0 if waits(app) or app.updates != drawn else quiet + 1
        drawn = app.updates
        if quiet == 3:
            return
        await asyncio.sleep(0.008)
    raise AssertionError("the screen never settles")


async def settled_and_updated(app: CountedApp) -> None:
    """Have bars and rows updated once more, without the time between two updates, and settle."""
    await settled(app)
    main = app.screen_stack[1]
    assert isinstance(main, MainScreen)
    main.tick()
    for table in tables(app):
        table.ask()
    await settled(app)
