"""The damage of a file, as the commands that read it report it."""

from __future__ import annotations

from nettop.batch import End, Item
from nettop.console import say
from nettop.errors import EXIT_DAMAGED, EXIT_OK


def damage(path: str, item: Item) -> int:
    """Report a damaged end of a file on stderr. Return EXIT_DAMAGED for it and EXIT_OK for any other item."""
    if isinstance(item, End) and item.stream is None and item.error:
        say(damage_text(path, item))
        return EXIT_DAMAGED
    return EXIT_OK


def damage_text(path: str, end: End) -> str:
    """Return the damage that a file's End reports."""
    rest = "the rest was read" if end.read_on else "the data before it was read"
    return f"{path!r} is damaged at byte {end.offset}: {end.error}; {rest}"
