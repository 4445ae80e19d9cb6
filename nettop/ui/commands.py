"""A command: its keys, its words, its function and where it applies. The table of them is in actions/registry.py."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from textual.binding import Binding, BindingType

Action = Callable[[Any], object]  # takes the main screen; an awaitable result is awaited before the next key


@dataclass(frozen=True, slots=True)
class Key:
    """Keys with a name and words for them."""

    name: str
    keys: tuple[str, ...]  # Textual's key names; the first is the one that is shown
    title: str  # in the help and the palette


@dataclass(frozen=True, slots=True)
class Command(Key):
    """One thing a person can do. `views` () means everywhere; "groups" are flows that are grouped."""

    does: Action
    hint: str = ""  # in the line of keys at the bottom; "" is not shown there
    views: tuple[str, ...] = ()
    group: str = "General"
    palette: bool = True
    live: bool = False  # needs a live namespace: a file has none
    changes: bool = False  # changes the host: refused, with the reason, under --read-only
    needs: str = ""  # a table that the session must have
    hinted_in: tuple[str, ...] = ()  # views whose line of keys has the hint; () is each


# The cursor's keys, bound by the table itself and by every text pane.
MOVES: tuple[Key, ...] = (
    Key("down", ("j", "down"), "Down"),
    Key("up", ("k", "up"), "Up"),
    Key("page_down", ("pagedown", "ctrl+f"), "Page down"),
    Key("page_up", ("pageup", "ctrl+b"), "Page up"),
    Key("top", ("g", "home"), "First"),
    Key("bottom", ("G", "end"), "Last"),
    Key("left", ("h", "left"), "Left: columns that do not fit"),
    Key("right", ("l", "right"), "Right: columns that do not fit"),
)


def bindings(keys: Iterable[Key], action: str) -> list[BindingType]:
    """Bind keys to this action with their names.

    Priority: they are then handled in the order they were typed, by the app, before the next one is given to whatever
    has the focus. Else the text after a fast `/` would still go to the table.
    """
    return [
        Binding(",".join(key.keys), f"{action}('{key.name}')", key.title, show=False, priority=True)
        for key in keys
        if key.keys
    ]


_SHOWN = {
    "slash": "/", "colon": ":", "at": "@", "question_mark": "?", "space": "Space", "enter": "Enter", "escape": "Esc",
    "tab": "Tab", "shift+tab": "Shift-Tab", "ctrl+p": "Ctrl-P", "ctrl+c": "Ctrl-C",
    "pagedown": "PgDn", "pageup": "PgUp", "ctrl+f": "Ctrl-F", "ctrl+b": "Ctrl-B",
    "home": "Home", "end": "End", "down": "↓", "up": "↑", "left": "←",
    "right": "→", "left_square_bracket": "[", "right_square_bracket": "]",
}  # fmt: skip


def key_text(key: str) -> str:
    """Return a key as a person reads it: `/`, `Ctrl-P`, `PgDn`."""
    return _SHOWN.get(key, key)


def keys_text(command: Key) -> str:
    """Return every key of a command, `j ↓`."""
    return " ".join(key_text(key) for key in command.keys)


@dataclass(frozen=True, slots=True)
class Where:
    """The view on the screen ("groups" for grouped flows), and what there is."""

    view: str
    tables: Collection[str]  # that the session has
    live: bool = True  # a namespace is watched, not a file
    read_only: bool = False
    reading: bool = False  # a detail is open


def applies(command: Command, where: Where) -> bool:
    """Return True when a command means something there."""
    return (
        (not command.views or where.view in command.views)
        and (where.live or not command.live)
        and (not command.needs or command.needs in where.tables)
    )


def offered(command: Command, where: Where) -> bool:
    """Return True when its key is shown there: it does something, and may."""
    return applies(command, where) and not (command.changes and where.read_only)


def hinted(command: Command, where: Where) -> bool:
    """Return True when the line of keys at the bottom names it: what closes a detail only where one is open."""
    needless = command.name == ("open" if where.reading else "back")
    here = not command.hinted_in or where.view in command.hinted_in
    return bool(command.hint) and here and not needless and offered(command, where)
