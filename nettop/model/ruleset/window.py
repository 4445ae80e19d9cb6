"""What both tables of the ruleset share: the window of a ViewSpec over ordered rows, and what a filter may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nettop.batch import Array
from nettop.model.filter.expression import Endpoint, Mask
from nettop.model.table import Line, Row, Snapshot, SortKey, ViewSpec

Cell = tuple[str, str]  # text, role


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


def ordered(order: list[int], sort: tuple[SortKey, ...], value: Callable[[str, int], Any]) -> list[int]:
    """Sorted by the keys, the first the strongest; rows whose value is None last, whichever way."""
    for key in reversed(sort):
        have = [index for index in order if value(key.key, index) is not None]
        lack = [index for index in order if value(key.key, index) is None]
        by_value: Callable[[int], Any] = _by(value, key.key)
        order = sorted(have, key=by_value, reverse=key.descending) + lack
    return order


def _by(value: Callable[[str, int], Any], key: str) -> Callable[[int], Any]:
    return lambda index: value(key, index)


class Frozen:
    """The order last shown, kept while the cursor is away from the top."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._idents: list[int] = []

    def keep(self, spec: ViewSpec, order: list[int], ident: Callable[[int], int]) -> list[int]:
        """The order to show: the last one where the spec asks for it; rows that are new since then come last."""
        key = (spec.sort, spec.scope, spec.filter.text if spec.filter else "")
        if spec.frozen and key == self._key:
            rank = {one: at for at, one in enumerate(self._idents)}
            order = sorted(order, key=lambda index: rank.get(ident(index), len(rank)))
        self._key, self._idents = key, [ident(index) for index in order]
        return order


def window(
    spec: ViewSpec,
    order: list[int],
    total: int,
    ident: Callable[[int], int],
    cells: Callable[[int], dict[str, Cell]],
    totals: Line,
    notes: tuple[Line, ...],
    now_ns: int,
    version: int,
) -> Snapshot:
    """Only the rows in the window are formatted."""
    last = max(0, len(order) - spec.height)
    first = last if spec.follow else max(0, min(spec.first, last))
    rows = tuple(_row(ident(index), cells(index), spec.columns) for index in order[first : first + spec.height])
    anchor = None
    if spec.anchor is not None:
        anchor = next((at for at, index in enumerate(order) if ident(index) == spec.anchor), None)
    return Snapshot(spec, first, rows, len(order), total, anchor, totals, notes, now_ns, version)


def _row(ident: int, cells: dict[str, Cell], columns: tuple[str, ...]) -> Row:
    chosen = [cells.get(key, ("", "")) for key in columns]
    return Row(ident, tuple(text for text, _ in chosen), tuple(role for _, role in chosen))
