"""The columns of counters for the display filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nettop.batch import Array
from nettop.model.counters.series import Series
from nettop.model.filter.expression import Endpoint, Mask


class CounterFields:
    """The columns of some counters."""

    kind = "counter"

    def __init__(self, rows: Sequence[Series]) -> None:
        self.n = len(rows)
        self._rows = rows

    def _numbers(self, name: str) -> list[float | None] | None:
        if name == "bytes":
            return [None if series.octets is None else series.octets.value for series in self._rows]
        return [getattr(series, name) for series in self._rows] if name in ("value", "rate") else None

    def number(self, name: str) -> Array | None:
        """Return value, rate (a second) or bytes; None for another name."""
        numbers = self._numbers(name)
        return None if numbers is None else np.array([number or 0 for number in numbers])

    def present(self, name: str) -> Mask | None:
        """Return a mask of the counters with this number; None: all."""
        numbers = self._numbers(name)
        return None if numbers is None else np.array([number is not None for number in numbers], np.bool_)

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return no endpoint: counters have none."""
        return ()

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return codes and words of name, group or netns; None for another name."""
        if name not in ("name", "group", "netns"):
            return None
        texts = [str(getattr(series.key, name)) for series in self._rows]
        words = sorted(set(texts))
        codes = {word: code for code, word in enumerate(words)}
        return np.array([codes[text] for text in texts], np.int64), words
