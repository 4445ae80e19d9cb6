"""What each command of the table does. Kept apart from the table itself, which knows of no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nettop.ui.actions import dialogs
from nettop.ui.actions import flows as flow_actions
from nettop.ui.actions import live as live_actions
from nettop.ui.screens.capture import stop_capture

if TYPE_CHECKING:
    from nettop.ui.screens.main import Action

# An awaitable result is waited for: what it opens can take the next key then. Views are shown by the screen itself.
DOES: dict[str, Action] = {
    "open": lambda screen: screen.view.open_row(),
    "back": lambda screen: screen.back(),
    "next_pane": lambda screen: screen.view.next_pane(1),
    "previous_pane": lambda screen: screen.view.next_pane(-1),
    "filter": dialogs.filter_,
    "sort": dialogs.sort,
    "group": dialogs.group,
    "columns": dialogs.columns,
    "follow": flow_actions.follow,
    "flow_of": flow_actions.go_to("flows"),
    "master_of": flow_actions.go_to("flows", "master"),
    "events_of": flow_actions.go_to("events"),
    "packets_of": flow_actions.go_to("packets"),
    "delete": flow_actions.delete,
    "copy": flow_actions.copy,
    "capture_flow": flow_actions.capture_flow,
    "capture": dialogs.capture,
    "export": dialogs.export,
    "reset": live_actions.reset,
    "pause": lambda screen: screen.pause(),
    "earlier": lambda screen: screen.walk(-1),
    "later": lambda screen: screen.walk(1),
    "names": live_actions.names,
    "accounting": live_actions.accounting,
    "measure": live_actions.measure,
    "only": live_actions.only,
    "record": dialogs.record,
    "namespace": dialogs.namespace,
    "holders": dialogs.holders,
    "stop_capture": stop_capture,
    "theme": dialogs.theme,
    "palette": dialogs.palette,
    "help": dialogs.help_,
    "quit": dialogs.quit_,
}
