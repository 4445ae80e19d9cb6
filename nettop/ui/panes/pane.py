"""The body of a view: its interface to the main screen, its saved state, and the definition that it is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from textual.containers import Vertical
from textual.message import Message

from nettop.model.table import Line
from nettop.session.base import Session
from nettop.session.status import Status
from nettop.ui.panes.grouping import GroupingState
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.table import Table
from nettop.ui.widgets.viewport import TableState


class PaneHost(Protocol):
    """The interface of a screen to its panes."""

    session: Session
    post: Post

    @property
    def live(self) -> bool:
        """True while a namespace is watched, not a file."""
        ...

    def record_position(self) -> None:
        """Remember what is shown now, for [, before the pane shows something else (a group)."""
        ...


class Pane(Vertical, Covered):
    """The body of a view. This one shows nothing and does nothing; subclasses override what they can do."""

    DEFAULT_CSS = "Pane { height: 1fr; width: 1fr; }"

    class Changed(Message):
        """Posted when the filter or the grouping has changed, or a detail was opened or closed."""

    def __init__(self, definition: ViewDef, host: PaneHost) -> None:
        super().__init__(id=f"view-{definition.name}")
        self.definition, self.host = definition, host
        self.session, self.post = host.session, host.post

    @property
    def kind(self) -> str:
        """Name by which commands know it: the view's, or that of the table in front."""
        return self.definition.name

    @property
    def active(self) -> Table | None:
        """The table that commands act on; None: there is none."""
        return None

    @property
    def is_open(self) -> bool:
        """True while the detail of a row is open."""
        return False

    @property
    def reading(self) -> bool:
        """True while a detail is open in which Enter does nothing."""
        return self.is_open

    @property
    def depth(self) -> int:
        """The number of steps that `back` can go out."""
        return 0

    @property
    def filters(self) -> Line:
        """Grouping and filters, for the right end of the tabs."""
        return ()

    @property
    def state(self) -> Any:
        """State of the view for `restore`."""
        return None

    def restore(self, state: Any) -> None:
        """Show again what was shown in this state."""

    def tick(self, status: Status, paused: bool) -> None:
        """Show the session's status here; unless paused, request what is on the screen."""

    def start_over(self) -> None:
        """Forget what was shown: another namespace is watched."""

    def focus_something(self) -> None:
        """Give the keyboard focus to the part in front."""
        self.screen.set_focus(self)

    def open_row(self) -> None:
        """Do what Enter does on a row."""

    def back(self) -> None:
        """Go one step out, as Esc does."""

    def next_pane(self, step: int) -> None:
        """Focus the next part (Tab: step 1), or the one before (Shift-Tab: -1)."""

    def copy_text(self) -> str:
        """Return the text that `y` copies."""
        return ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """The state of a view that is a table at one time, to return to it."""

    tables: tuple[TableState, ...]
    child_in_front: bool
    grouping: GroupingState | None
    opened: int | None = None  # the row whose detail is open
    in_detail: bool = False  # keys go to the detail
    front: str = ""  # of several tables in the same place, the view of the one that is shown


@dataclass(frozen=True, slots=True)
class ViewDef:
    """One view. `body` makes its pane; the fields below it are for a TableView."""

    name: str  # of the session's table
    key: str
    about: str  # "Name: description", for the help and the palette
    body: type[Pane]
    filter_kind: str = ""  # for model.filter.expression.parse; "": it cannot be filtered
    can_follow: bool = False
    child: str = ""  # a second table below: rows that belong to the row under the cursor
    child_filter_kind: str = ""
    groups: str = ""  # a table of groups that can replace it
    offers_accounting: bool = False  # when its rows have no bytes
    timeline: bool = False  # shown above it
    all_namespaces: bool = False  # it shows every watched namespace, not only the first
    facts: Callable[[Status, int], Sequence[Line]] | None = None  # lines above it for the status and the screen's width
    advice: tuple[Line, ...] = ()  # text of an empty table for which its model has none
    replay_advice: tuple[Line, ...] = ()  # the same for a file

    @property
    def title(self) -> str:
        """Its key and its name, as in the tabs."""
        return f"{self.key} {self.about.split(':')[0]}"
