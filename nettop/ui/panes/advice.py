"""What an empty table says, where its model says nothing."""

from __future__ import annotations

from nettop.model.table import Line


def says(*parts: str) -> Line:
    """Return a line of text and keys by turns: plain, key, plain, key, …"""
    return tuple((part, "dim" if i % 2 == 0 else "key") for i, part in enumerate(parts))


CHILD_ADVICE: tuple[Line, ...] = ((("No rules in this chain: its policy decides.", "dim"),),)

_ENDED = {
    "GONE": (
        (("Nothing here, and nothing will come: the namespace is gone.", "heading"),),
        says("", "@", " watches another namespace."),
    ),
    "ENDED": (
        (("Nothing here, and nothing will come: nettop's broker has ended.", "heading"),),
        says("Start nettop again: ", "q", " leaves."),
    ),
}


def ended_advice(mode: str) -> tuple[Line, ...]:
    """Return what an empty table says where nothing more can come; () where it can."""
    return _ENDED.get(mode, ())
