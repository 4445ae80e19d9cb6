"""A small table for the tests of the filter language: plain rows, and the same rows as columns."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nettop.model.filter.expression import Array, Endpoint, Mask

LOW = (1 << 64) - 1
ENDS = {
    "flow": {"src": ["o0"], "dst": ["o1"], "osrc": ["o0"], "odst": ["o1"], "rsrc": ["r0"], "rdst": ["r1"]},
    "packet": {"src": ["o0"], "dst": ["o1"]},
}
ENDS["event"] = ENDS["flow"]
WITH_PORTS = (6, 17, 33, 132, 136)


@dataclass
class Row:
    """One flow, event or packet. An end is (address text, port); a number or word that is missing is absent."""

    ends: dict[str, tuple[str, int]]
    proto: int = 6
    numbers: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    @property
    def family(self) -> int:
        return 10 if ":" in self.ends["o0"][0] else 2


class TableOfRows:
    """The rows as Fields."""

    def __init__(self, kind: str, rows: Sequence[Row]) -> None:
        self.kind = kind
        self.n = len(rows)
        self._rows = rows

    def number(self, name: str) -> Array | None:
        if name == "proto":
            return np.array([row.proto for row in self._rows], np.uint8)
        if name == "family":
            return np.array([row.family for row in self._rows], np.uint8)
        values = [row.numbers.get(name) for row in self._rows]
        if all(value is None for value in values):
            return None
        dtype: Any = np.float64 if name in ("rate", "age") else np.uint64
        return np.array([0 if value is None else value for value in values], dtype)

    def present(self, name: str) -> Mask | None:
        if name in ("proto", "family"):
            return None
        return np.array([name in row.numbers or name in row.words for row in self._rows], np.bool_)

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        names = ENDS[self.kind]
        wanted = sorted({name for held in names.values() for name in held}) if side == "any" else names[side]
        return [self._end(name) for name in wanted]

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        known = sorted({row.words.get(name, "") for row in self._rows})
        codes = [known.index(row.words.get(name, "")) for row in self._rows]
        return (np.array(codes, np.uint16), known) if any(known) else None

    def _end(self, name: str) -> Endpoint:
        addresses = [int(ipaddress.ip_address(row.ends[name][0])) for row in self._rows]
        six = any(row.family == 10 for row in self._rows)
        return Endpoint(
            hi=np.array([address >> 64 for address in addresses], np.uint64) if six else None,
            lo=np.array([address & LOW for address in addresses], np.uint64),
            port=np.array([row.ends[name][1] for row in self._rows], np.uint16),
        )


def flow(osrc: str, odst: str, rsrc: str | None = None, rdst: str | None = None, proto: int = 6, **more: Any) -> Row:
    """A flow from `address:port` texts; numbers and words by name. Without a reply it is not NATed."""
    ends = {"o0": osrc, "o1": odst, "r0": rsrc or odst, "r1": rdst or osrc}
    parsed = {name: _end(text) for name, text in ends.items()}
    numbers = {name: value for name, value in more.items() if not isinstance(value, str)}
    return Row(parsed, proto, numbers, {name: value for name, value in more.items() if isinstance(value, str)})


def packet(src: str, dst: str, proto: int = 6, **more: Any) -> Row:
    """A packet, as flow() makes a flow."""
    made = flow(src, dst, proto=proto, **more)
    return Row({"o0": made.ends["o0"], "o1": made.ends["o1"]}, proto, made.numbers, made.words)


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)
