"""The columns of chains and rules for the display filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nettop.batch import Array
from nettop.model.filter.expression import Endpoint, Mask
from nettop.model.table import ViewSpec


@dataclass(slots=True)
class RulesetFields:
    """The columns of the chains or of the rules of a table."""

    kind: str  # "chain" or "rule"
    n: int
    numbers: dict[str, tuple[Array, Mask | None]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def number(self, name: str) -> Array | None:
        """Return a number column: packets bytes rate handle priority; None if it is not there."""
        return self.numbers[name][0] if name in self.numbers else None

    def present(self, name: str) -> Mask | None:
        """Return a mask of the rows with this number; None: all rows."""
        return self.numbers[name][1] if name in self.numbers else None

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return no endpoint: chains and rules have none."""
        return ()

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return codes and words of chain verdict device family table hook backend netns or label; None: not there."""
        texts = self.texts.get(name)
        if texts is None:
            return None
        words = sorted(set(texts))
        codes = {word: code for code, word in enumerate(words)}
        return np.array([codes[text] for text in texts], dtype=np.int64), words


def known(values: Sequence[float | None]) -> tuple[Array, Mask]:
    """Return a number column and its mask, from values that may be None."""
    return np.array([value or 0 for value in values]), np.array([value is not None for value in values], np.bool_)


def filtered(order: Sequence[int], spec: ViewSpec, fields: Callable[[], RulesetFields]) -> list[int]:
    """Return the rows (indices) that the filter matches, in order."""
    if spec.filter is None or not len(order):
        return list(order)
    mask = spec.filter.mask(fields())
    return [index for index in order if mask[index]]
