"""The way a person came: where they stood before each jump, to walk back and forth. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

Place = TypeVar("Place")
LONGEST = 100  # places kept


class Trail(Generic[Place]):
    """Like a browser's: a new jump forgets what lay ahead."""

    def __init__(self) -> None:
        self._behind: list[Place] = []
        self._ahead: list[Place] = []

    def leave(self, place: Place) -> None:
        """A jump begins from here."""
        self._behind = [*self._behind, place][-LONGEST:]
        self._ahead.clear()

    def back(self, now: Place) -> Place | None:
        """Return where the last jump began; None at the beginning."""
        if not self._behind:
            return None
        self._ahead.append(now)
        return self._behind.pop()

    def forward(self, now: Place) -> Place | None:
        """Return where the last way back began; None at the end."""
        if not self._ahead:
            return None
        self._behind.append(now)
        return self._ahead.pop()
