"""The history of jumps between views, for going back and forward. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LONGEST = 100  # places kept


@dataclass(frozen=True, slots=True)
class JumpPlace:
    """A view and its state, to return to; and if a jump led there, the place it came from and the depth it led to."""

    view: str
    state: Any
    origin: JumpPlace | None
    depth: int


class JumpHistory:
    """Places behind and ahead, as in a browser: a new jump clears those ahead."""

    def __init__(self) -> None:
        self._behind: list[JumpPlace] = []
        self._ahead: list[JumpPlace] = []

    def add(self, place: JumpPlace) -> None:
        """Add the place from which a jump starts."""
        self._behind = [*self._behind, place][-LONGEST:]
        self._ahead.clear()

    def go(self, step: int, now: JumpPlace) -> JumpPlace | None:
        """Return the place before the last jump (-1), or the one gone back from (1); None if there is none.

        The opposite step leads to `now` again.
        """
        source, opposite = (self._behind, self._ahead) if step < 0 else (self._ahead, self._behind)
        if not source:
            return None
        opposite.append(now)
        return source.pop()
