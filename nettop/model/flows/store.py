"""The memory of the flow table: one array per column, rows that are reused, identities that are not.

A row needs 162 bytes, 32 more after the first IPv6 flow, 8 more after two dumps too close for a rate, 37 more after the
first flow with a master, and its slot in the index. Columns double when full.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import FLOW_DTYPES, FLOW_HI, Columns
from nettop.model.flows.index import FlowIndex, Hashes, KeyHash
from nettop.model.ordering import Rows

# The eight bytes of a key other than the addresses: compared and hashed as one uint64, read as columns.
_PACKED = np.dtype(
    [("osport", np.uint16), ("odport", np.uint16), ("zone", np.uint16), ("proto", np.uint8), ("family", np.uint8)]
)
PACKED_KEY = tuple(_PACKED.names or ())
KEY_COLUMNS = (*PACKED_KEY, "osrc_lo", "odst_lo", "osrc_hi", "odst_hi")  # the key of a flow within its namespace
_NOT_STORED = {"event", "stop_ns", "ts_ns", *PACKED_KEY, *FLOW_HI}
_OWN: dict[str, type[np.generic]] = {
    "flags": np.uint8,
    "netns": np.uint16,
    "generation": np.uint32,
    "hash": np.uint64,
    "first_ns": np.int64,  # when it was first seen
    "count_ns": np.int64,  # when its counters were last read for a rate
    "rate_up": np.float32,  # bytes per second, original direction; NaN: not known
    "rate_down": np.float32,
}
HI_DTYPES = {name: FLOW_DTYPES[name] for name in FLOW_HI}
_FIRST_CAPACITY = 1 << 10

# Bits of `flags`.
LIVE = 1  # a flow of the table
DEAD = 2  # destroyed while a dump is open: remembered so that the dump does not revive it
BORN = 4  # its NEW event was seen: first_ns is its birth
FRESH = 8  # created by an event since the open dump began
TOUCHED = 16  # had an event since the open dump began: event-borne values are newer than the dump's row
SEEN = 32  # in the open dump
RECYCLED = 64  # its key had several lifetimes since the open dump began
REPORTED = 128  # had an event in this lifetime
SINCE_BEGIN = FRESH | TOUCHED | SEEN | RECYCLED


class FlowStore:
    """Columns by row. `top` rows have been used so far; their `flags` say which of them are flows now."""

    def __init__(self, key_hash: KeyHash | None = None) -> None:
        self.hash_of = key_hash or KeyHash()
        self.index = FlowIndex()
        self.top = 0
        self.capacity = _FIRST_CAPACITY
        self.still_dumps: dict[int, int] = {}  # in a row, with no change and no event since, by namespace
        self._packed = np.zeros(self.capacity, _PACKED)
        dtypes = {name: kind for name, kind in FLOW_DTYPES.items() if name not in _NOT_STORED} | _OWN
        self.data: dict[str, Array] = {name: np.zeros(self.capacity, kind) for name, kind in dtypes.items()}
        self._free = np.empty(0, np.int32)
        self._free_count = 0
        self._name_key_columns()

    def __getitem__(self, name: str) -> Array:
        return self.data[name]

    def live(self) -> Array:
        """Return a mask of the rows below `top` that are flows now."""
        return np.asarray(self.data["flags"][: self.top] & (LIVE | DEAD) == LIVE)

    def are_live(self, rows: Rows) -> Array:
        """Return a mask of these rows: True for flows that exist now."""
        return np.asarray(self.data["flags"][rows] & (LIVE | DEAD) == LIVE)

    def idents(self, rows: Rows) -> NDArray[np.int64]:
        """Return the identities of rows, which are never reused: generation << 32 | row."""
        return self.data["generation"][rows].astype(np.int64) << 32 | rows

    def rows(self, idents: NDArray[np.int64]) -> Rows:
        """Return the rows of these identities; they may belong to other flows now."""
        return idents & 0xFFFFFFFF

    def row_of(self, ident: int) -> int | None:
        """Return the row with this identity; None when that flow is gone."""
        row = ident & 0xFFFFFFFF
        if row >= self.top or int(self.data["generation"][row]) != ident >> 32:
            return None
        return row if self.data["flags"][row] & (LIVE | DEAD) == LIVE else None

    def keys(self, netns: int, cols: Columns) -> FlowKeys:
        """Return the keys of decoded rows, hashed."""
        packed = np.zeros(len(cols), _PACKED)
        for name in PACKED_KEY:
            column = cols.get(name)
            if column is not None:
                packed[name] = column
        src, dst = cols["osrc_lo"], cols["odst_lo"]
        hi = (cols["osrc_hi"], cols["odst_hi"]) if "osrc_hi" in cols else None
        key = packed.view(np.uint64)
        return FlowKeys(netns, key, src, dst, hi, self.hash_of(netns, key, src, dst, hi))

    def find(self, keys: FlowKeys) -> Rows:
        """Return the row of each key, -1 where there is none; flows that were destroyed during a dump are found too."""
        return self.index.find(keys.hashes, self.data["hash"], lambda rows, queries: self._same(keys, rows, queries))

    def add(self, keys: FlowKeys) -> Rows:
        """Add rows for these keys, which are not in the table, and return them; flags are 0, only the key is set."""
        n = len(keys.hashes)
        rows = self._allocate(n)
        self.data["hash"][rows] = keys.hashes
        self._packed.view(np.uint64)[rows] = keys.packed
        self.data["osrc_lo"][rows], self.data["odst_lo"][rows] = keys.src, keys.dst
        if keys.hi is not None:
            self.add_columns(HI_DTYPES)
        if "osrc_hi" in self.data:
            self.data["osrc_hi"][rows], self.data["odst_hi"][rows] = keys.hi or (0, 0)
            self.data["rsrc_hi"][rows] = self.data["rdst_hi"][rows] = 0
        self.data["netns"][rows] = keys.netns
        flags = self.data["flags"][: self.top]
        self.index.reserve(n, self.data["hash"], lambda: (flags & (LIVE | DEAD)).nonzero()[0])
        self.index.insert(keys.hashes, rows)
        self.restart(rows)
        return rows

    def restart(self, rows: Rows) -> None:
        """Begin another lifetime of the same keys: with a new generation, and only the key set."""
        self.data["generation"][rows] += 1
        for name in ("have", "flags", "opackets", "obytes", "rpackets", "rbytes", "count_ns"):
            self.data[name][rows] = 0
        for name in ("rate_up", "rate_down"):
            self.data[name][rows] = np.nan

    def release(self, rows: Rows) -> None:
        """Remove these rows (each given once); they will be reused with another identity."""
        if not len(rows):
            return
        self.index.remove(self.data["hash"][rows], rows)
        self.data["flags"][rows] = 0
        end = self._free_count + len(rows)
        if end > len(self._free):
            self._free = grown(self._free, max(1024, 2 * end))
        self._free[self._free_count : end] = rows
        self._free_count = end

    def add_columns(self, dtypes: Mapping[str, type[np.generic]]) -> None:
        """Add columns that are absent until some flow has a value for them."""
        self.data |= {name: np.zeros(self.capacity, dtypes[name]) for name in dtypes if name not in self.data}

    def _same(self, keys: FlowKeys, rows: Rows, queries: Rows) -> Array:
        packed = self._packed.view(np.uint64)
        same = packed.take(rows) == keys.packed.take(queries)
        same &= self.data["osrc_lo"].take(rows) == keys.src.take(queries)
        same &= self.data["odst_lo"].take(rows) == keys.dst.take(queries)
        same &= self.data["netns"].take(rows) == keys.netns
        if "osrc_hi" in self.data:
            for name, column in zip(("osrc_hi", "odst_hi"), keys.hi or (None, None), strict=True):
                same &= self.data[name].take(rows) == (0 if column is None else column.take(queries))
        return np.asarray(same)

    def _allocate(self, n: int) -> Rows:
        reused = min(n, self._free_count)
        self._free_count -= reused
        rows = np.empty(n, np.intp)
        rows[:reused] = self._free[self._free_count : self._free_count + reused]
        fresh = n - reused
        while self.top + fresh > self.capacity:
            self._grow()
        rows[reused:] = np.arange(self.top, self.top + fresh)
        self.top += fresh
        return rows

    def _grow(self) -> None:
        """Enlarge the columns to twice the rows. Memory beyond `top` is not touched, so it costs nothing until used."""
        self.capacity *= 2
        for name in [name for name in self.data if name not in PACKED_KEY]:
            self.data[name] = grown(self.data[name], self.capacity)
        self._packed = grown(self._packed, self.capacity)
        self._name_key_columns()

    def _name_key_columns(self) -> None:
        for name in PACKED_KEY:
            self.data[name] = self._packed[name]


class FlowKeys:
    """The keys of some rows in one namespace, with their hashes."""

    __slots__ = ("dst", "hashes", "hi", "netns", "packed", "src")

    def __init__(
        self, netns: int, packed: Array, src: Array, dst: Array, hi: tuple[Array, Array] | None, hashes: Hashes
    ) -> None:
        self.netns, self.packed, self.src, self.dst, self.hi, self.hashes = netns, packed, src, dst, hi, hashes

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: Array) -> FlowKeys:
        """Return the keys at these rows (an index array or a mask)."""
        hi = None if self.hi is None else (self.hi[0][rows], self.hi[1][rows])
        return FlowKeys(self.netns, self.packed[rows], self.src[rows], self.dst[rows], hi, self.hashes[rows])

    def equal(self, a: Array, b: Array) -> Array:
        """Return a mask: where the keys at indices `a` equal those at indices `b`."""
        columns = [self.packed, self.src, self.dst, *(self.hi or ())]
        same = columns[0][a] == columns[0][b]
        for column in columns[1:]:
            same &= column[a] == column[b]
        return np.asarray(same)


def grown(column: Array, capacity: int) -> Array:
    """Return a copy of the column with this capacity, zeros at its end."""
    bigger = np.zeros(capacity, column.dtype)
    bigger[: len(column)] = column
    return bigger
