"""Texts of an empty table for which its model has none."""

from __future__ import annotations

from nettop.model.table import Line


def advice_line(*parts: str) -> Line:
    """Return one line; every second of its parts is a key: text, key, text, key and so on."""
    return tuple((part, "dim" if i % 2 == 0 else "key") for i, part in enumerate(parts))


ENDED_ADVICE = {  # of a mode in which no more data can come
    "GONE": (
        (("Nothing here, and nothing will come: the namespace is gone.", "heading"),),
        advice_line("", "@", " watches another namespace."),
    ),
    "ENDED": (
        (("Nothing here, and nothing will come: nettop's broker has ended.", "heading"),),
        advice_line("Start nettop again: ", "q", " leaves."),
    ),
}
