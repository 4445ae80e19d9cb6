"""A command: its keys, titles, function and the views it works in. All commands are in actions/registry.py."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from textual.binding import Binding, BindingType

Action = Callable[[Any], object]  # called with the main screen; an awaitable result is awaited before the next key


Condition = Callable[["CommandContext"], bool]


@dataclass(frozen=True, slots=True)
class Key:
    """Keys with a name and a title."""

    name: str
    keys: tuple[str, ...]  # Textual's key names; the first one is shown
    title: str  # in the help and the palette


@dataclass(frozen=True, slots=True)
class Command(Key):
    """One command. It works in `views`, () being all of them; "groups" is the view of grouped flows."""

    run: Action
    hint: str = ""  # for the line of keys at the bottom; "": not shown there
    views: tuple[str, ...] = ()
    group: str = "General"
    palette: bool = True
    live: bool = False  # needs a live namespace, not a recording
    changes: bool = False  # changes the host: refused with --read-only
    needs: str = ""  # a table that the session must have
    hinted_in: tuple[str, ...] = ()  # views that show the hint; (): all of `views`
    when: Condition | None = None  # the hint is shown only then: it would do nothing otherwise


# The keys that move the cursor, bound by tables and by panes that scroll.
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
    """Return bindings of the keys to this action, with their names as its parameter.

    They have priority, so the app runs each in the order typed before the focused widget gets the next key. Otherwise
    text typed fast after `/` would still go to the table.
    """
    return [
        Binding(",".join(key.keys), f"{action}('{key.name}')", key.title, show=False, priority=True)
        for key in keys
        if key.keys
    ]


_SHOWN = {
    "exclamation_mark": "!", "equals_sign": "=", "ctrl+u": "Ctrl-U", "ctrl+w": "Ctrl-W",
    "slash": "/", "colon": ":", "at": "@", "question_mark": "?", "space": "Space", "enter": "Enter", "escape": "Esc",
    "tab": "Tab", "shift+tab": "Shift-Tab", "ctrl+p": "Ctrl-P", "ctrl+c": "Ctrl-C", "ctrl+z": "Ctrl-Z",
    "pagedown": "PgDn", "pageup": "PgUp", "ctrl+f": "Ctrl-F", "ctrl+b": "Ctrl-B",
    "home": "Home", "end": "End", "down": "↓", "up": "↑", "left": "←",
    "right": "→", "left_square_bracket": "[", "right_square_bracket": "]",
}  # fmt: skip


def key_text(key: str) -> str:
    """Return the displayed name of a key: `/`, `Ctrl-P`, `PgDn`."""
    return _SHOWN.get(key, key)


def keys_text(command: Key) -> str:
    """Return the displayed names of all keys of a command: `j ↓`."""
    return " ".join(key_text(key) for key in command.keys)


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The view on the screen ("groups" for grouped flows), and the state that decides which commands work."""

    view: str
    tables: Collection[str]  # that the session has
    live: bool = True  # a namespace is watched, not a file
    read_only: bool = False
    reading: bool = False  # a detail is open that Esc closes and in which Enter does nothing
    leads_back: bool = False  # Esc does something: close a detail, leave a group, clear a filter, go back from a jump
    row: bool = True  # there is a row under the cursor
    resettable: bool = False  # it is a counter that can be reset
    sortable: bool = True  # there is a column to sort by
    tracing: bool = False  # a trace runs
    listed: bool = True  # the table is on the screen: no detail covers it
    can_arrive: bool = True  # more can arrive: the namespace exists, the file is not read to its end


def applies(command: Command, context: CommandContext) -> bool:
    """Return whether a command exists in this context."""
    return (
        (not command.views or context.view in command.views)
        and (context.live or not command.live)
        and (not command.needs or command.needs in context.tables)
    )


def offered(command: Command, context: CommandContext) -> bool:
    """Return whether a command works in this context and is permitted: then its key is shown."""
    return applies(command, context) and not (command.changes and context.read_only)


def hinted(command: Command, context: CommandContext) -> bool:
    """Return whether the line of keys shows a command: it would do something now."""
    here = not command.hinted_in or context.view in command.hinted_in
    works = command.when is None or command.when(context)
    return bool(command.hint) and here and works and offered(command, context)


def textual_key(shown: str) -> str | None:
    """Return Textual's name of a displayed key: `slash` for `/`; None for text that is no key."""
    if len(shown) == 1 and (shown.isascii() and shown.isalnum()):
        return shown
    return next((name for name, text in _SHOWN.items() if text == shown), None)
