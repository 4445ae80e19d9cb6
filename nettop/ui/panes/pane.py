"""The body of a view: what the main screen asks of it, and the row of the table of views that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from textual.containers import Vertical
from textual.message import Message

from nettop.model.table import Line
from nettop.session.interface import Session
from nettop.session.status import Status
from nettop.ui.widgets.self_drawn import Covered
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.table import Table


class Host(Protocol):
    """What a pane needs of its screen."""

    session: Session
    post: Post

    @property
    def live(self) -> bool:
        """True while a namespace is watched, not a file."""
        ...

    def leave(self) -> None:
        """Remember what is shown now, before the pane itself goes to another place (into a group): [ leads back."""
        ...


class Pane(Vertical, Covered):
    """The body of a view. This one shows nothing: a subclass says what it can do, and the screen asks no more of it."""

    DEFAULT_CSS = "Pane { height: 1fr; width: 1fr; }"

    class Changed(Message):
        """What is filtered or grouped by, or whether a detail is open, has changed."""

    def __init__(self, definition: ViewDef, host: Host) -> None:
        super().__init__(id=f"view-{definition.name}")
        self.definition, self.host = definition, host
        self.session, self.post = host.session, host.post

    @property
    def kind(self) -> str:
        """Its name for the table of commands: the view's, or that of what is in front."""
        return self.definition.name

    @property
    def active(self) -> Table | None:
        """The table that commands are about, where there is one."""
        return None

    @property
    def is_open(self) -> bool:
        """True while the detail of a row is open."""
        return False

    @property
    def reading(self) -> bool:
        """True while a detail is open in which Enter does nothing: Esc closes it."""
        return self.is_open

    @property
    def filters(self) -> Line:
        """What is grouped and filtered by, for the right end of the tabs."""
        return ()

    @property
    def standing(self) -> Any:
        """What is shown, to come back to."""
        return None

    def return_to(self, place: Any) -> None:
        """Show again what was shown there."""

    def tick(self, status: Status, paused: bool) -> None:
        """Show what the session says of itself here; unless paused, ask for what is on the screen."""

    def start_over(self) -> None:
        """Forget what was shown: another namespace is watched."""

    def focus_something(self) -> None:
        """Put the focus where the person was."""
        self.screen.set_focus(self)

    def open_row(self) -> None:
        """Enter."""

    def back(self) -> None:
        """Esc: one step out."""

    def next_pane(self, step: int) -> None:
        """Tab and Shift-Tab: the next of its parts."""

    def copied(self) -> str:
        """Return what `y` copies."""
        return ""


@dataclass(frozen=True, slots=True)
class ViewDef:
    """One view. `body` makes its pane; what follows is read by a table view."""

    name: str  # of the session's table
    key: str
    about: str  # its name, a colon, and a few words: for the help and the palette
    body: type[Pane]
    filter_kind: str = ""  # for model.filter.parse; "" where there is no filter
    can_follow: bool = False
    child: str = ""  # a second table below: what belongs to the row under the cursor
    child_filter_kind: str = ""
    groups: str = ""  # a table of groups that can take its place
    offers: bool = False  # accounting is offered where its rows have no bytes
    band: bool = False  # a timeline stands above it
    of_all: bool = False  # it shows every namespace that is watched, not only the first
    captures: bool = False  # the capture in force is shown above it
    advice: tuple[Line, ...] = ()  # what an empty table says when its model says nothing
    replay_advice: tuple[Line, ...] = ()  # the same of a file

    @property
    def title(self) -> str:
        """Its key and its name, as the tabs have them."""
        return f"{self.key} {self.about.split(':')[0]}"
