"""The columns of chains and rules that a display filter is evaluated over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nettop.batch import Array
from nettop.model.filter.expression import Endpoint, Mask
from nettop.model.table import ViewSpec


@dataclass(slots=True)
class RulesetFields:
    """Columns of chains or rules, for the display filter."""

    kind: str  # "chain" or "rule"
    n: int
    numbers: dict[str, tuple[Array, Mask | None]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def number(self, name: str) -> Array | None:
        """packets bytes rate handle priority."""
        return self.numbers[name][0] if name in self.numbers else None

    def present(self, name: str) -> Mask | None:
        """Where that number is known."""
        return self.numbers[name][1] if name in self.numbers else None

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Rules have no endpoints."""
        return ()

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """chain verdict device family table hook backend netns label, as codes and their words."""
        texts = self.texts.get(name)
        if texts is None:
            return None
        words = sorted(set(texts))
        codes = {word: code for code, word in enumerate(words)}
        return np.array([codes[text] for text in texts], dtype=np.int64), words


def known(values: Sequence[float | None]) -> tuple[Array, Mask]:
    """A number of RulesetFields, from values that may be absent."""
    return np.array([value or 0 for value in values]), np.array([value is not None for value in values], np.bool_)


def filtered(order: Sequence[int], spec: ViewSpec, fields: Callable[[], RulesetFields]) -> list[int]:
    """The rows (indices) that the filter lets through, in order."""
    if spec.filter is None or not len(order):
        return list(order)
    mask = spec.filter.mask(fields())
    return [index for index in order if mask[index]]
