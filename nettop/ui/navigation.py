"""The history of jumps between views, for going back and forward. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Position = TypeVar("Position")
LONGEST = 100  # positions kept


@dataclass(frozen=True, slots=True)
class Place:
    """A view and its state, to return to; and if a jump led there, the place it came from and the depth it led to."""

    view: str
    state: Any
    origin: Place | None
    depth: int


class JumpHistory(Generic[Position]):
    """Positions behind and ahead, as in a browser: a new jump clears those ahead."""

    def __init__(self) -> None:
        self._behind: list[Position] = []
        self._ahead: list[Position] = []

    def add(self, position: Position) -> None:
        """Add the position from which a jump starts."""
        self._behind = [*self._behind, position][-LONGEST:]
        self._ahead.clear()

    def back(self, now: Position) -> Position | None:
        """Return the position before the last jump; None if there is none. `now` can be reached by forward()."""
        if not self._behind:
            return None
        self._ahead.append(now)
        return self._behind.pop()

    def forward(self, now: Position) -> Position | None:
        """Return the position from which back() was called; None if there is none."""
        if not self._ahead:
            return None
        self._behind.append(now)
        return self._ahead.pop()
