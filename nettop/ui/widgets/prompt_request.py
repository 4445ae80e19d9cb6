"""A request to the prompt: its label, initial text, validation, and the callback for the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """One request for a text."""

    purpose: str  # requests of one purpose share a history
    label: str
    value: str
    check: Callable[[str], None]  # raises NettopError (FilterError with a position) if the text is not valid
    advice: str  # shown below the text while it is valid
    accept: Callable[[str], object]  # called with the answer
    kind: str = ""  # of filter, for completion; "": the text is no filter


def discard(*_: object) -> None:
    """Discard a result: for a check that only raises."""
