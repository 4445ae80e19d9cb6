"""What the prompt is asked with: its label, what it begins with, what will do, and who gets the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to type an answer to."""

    purpose: str  # answers of one purpose share a history
    label: str
    value: str
    check: Callable[[str], None]  # raises NettopError (FilterError with a position) when the text will not do
    advice: str  # stands below until something is typed wrong
    taken: Callable[[str], None]  # gets the answer
    kind: str = ""  # of the filter that is typed; "" is no filter, and nothing is completed


def void(_: object) -> None:
    """For a check of which only the exception counts."""
