"""What stands at the end of a flow's line: its rate, and the process that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.model import flow_derive as derive
from nettop.text import units
from nettop.text.sanitize import clean

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose some rows are: for each a code, the codes' words, and the process id, -1 where no process is known."""

    codes: Array
    words: Sequence[str]
    pids: Array

    def part(self, rows: slice) -> Owners:
        """Those of some of the rows."""
        return Owners(self.codes[rows], self.words, self.pids[rows])


Columns = tuple[list[Any], list[str], list[Any]]  # the values of text.flow.JOINED_VALUES, a list each
Ends = Callable[[derive.Data, Owners | None], Columns | None]  # None: nothing is known of any row


def json_ends(data: derive.Data, owners: Owners | None) -> Columns | None:
    """The values in JSON: bytes a second of both directions together, the process's name, its id."""
    rates = _rates(data)
    if owners is None and np.isnan(rates).all():
        return None
    speeds = ["null" if rate != rate else round(rate) for rate in rates.tolist()]
    if owners is None:
        nulls = ["null"] * len(speeds)
        return speeds, nulls, nulls
    words = [dumps(word) for word in owners.words]
    pids = owners.pids.tolist()
    names = [words[code] if pid >= 0 else "null" for code, pid in zip(owners.codes.tolist(), pids, strict=True)]
    return speeds, names, ["null" if pid < 0 else pid for pid in pids]


def text_ends(rate: bool) -> Ends:
    """The values in words, ` rate 146k/s` and ` process nginx[812]`, nothing where they are not known."""

    def ends(data: derive.Data, owners: Owners | None) -> Columns | None:
        if not rate and owners is None:
            return None
        rates = _rates(data) if rate else np.full(len(data["have"]), np.nan)
        speeds = ["" if rate != rate else f" rate {units.rate(rate)}" for rate in rates.tolist()]
        nothing = [""] * len(speeds)
        return speeds, nothing if owners is None else _names(owners), nothing

    return ends


def _names(owners: Owners) -> list[str]:
    words, pairs = [clean(word) for word in owners.words], zip(owners.codes.tolist(), owners.pids.tolist(), strict=True)
    return [f" process {words[code]}[{pid}]" if pid >= 0 else "" for code, pid in pairs]


def _rates(data: derive.Data) -> Array:
    return derive.rate(data) if "rate_up" in data else np.full(len(data["have"]), np.nan)
