"""Elements of nf_tables' sets, in bulk: most of a set have one layout, so one is walked and the others compared.

linux/netfilter/nf_tables.h: NFT_MSG_NEWSETELEM, enum nft_set_elem_attributes. A set of 100,000 elements is 6 MB a dump.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.decode.netlink import offsets, unaligned
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import ERR_ATTRIBUTE_CUT, ERR_TOO_LONG, NLA_HDRLEN, MalformedError, attributes

_LENGTH = Struct("=H")
NEVER = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # in `expires_ms`: without expiration
_BYTES = NDArray[np.uint8]

_MAX_LAYOUTS_OF_LENGTH = 8  # cached of each length
_MAX_LAYOUTS = 512  # cached of all lengths
_CACHED_LENGTH = 1024  # bytes of an element: comments have up to 256, each expression about 50
_MAX_NEW_LAYOUTS = 256  # of one length in one message: the kernel's messages have a few


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of one set in the order of the dump; arrays of one length."""

    keys: NDArray[np.uint8]  # (n, length of a key); zeros for a catch-all element
    ends: NDArray[np.uint8]  # last member of a concatenated range, else equal to the key
    flags: NDArray[np.uint32]  # NFT_SET_ELEM_*
    counted: NDArray[np.bool_]  # whether the element has a counter
    packets: NDArray[np.uint64]
    octets: NDArray[np.uint64]  # bytes
    expires_ms: NDArray[np.uint64]  # from the time of the dump, or NEVER
    # These are (n, length of the longest), padded with zeros; or without rows: not kept.
    data: _BYTES = field(default_factory=lambda: np.zeros((0, 0), np.uint8))  # of a map: attributes, or object's name
    user_data: _BYTES = field(default_factory=lambda: np.zeros((0, 0), np.uint8))  # TLVs, see objects.user_comment
    timeout: _BYTES = field(default_factory=lambda: np.zeros((0, 0), np.uint8))  # its own, big-endian ms

    def __len__(self) -> int:
        return len(self.flags)

    @classmethod
    def join(cls, parts: list[Elements]) -> Elements:
        """Return the parts of one set, all with keys of one length, as one."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(_concatenated([getattr(part, name) for part in parts]) for name in cls.__slots__))

    @classmethod
    def whole(cls, parts: list[Elements]) -> Elements | None:
        """Return all elements of a dump. Catch-all keys are padded; keys of another length are dropped."""
        length = max((part.keys.shape[1] for part in parts), default=0)
        catchalls = [part for part in parts if not part.keys.shape[1]]
        zeros = [np.zeros((len(part), length), np.uint8) for part in catchalls]
        padded = [replace(part, keys=keys, ends=keys) for part, keys in zip(catchalls, zeros, strict=True)]
        whole = [part for part in parts if part.keys.shape[1] == length and length] + padded
        return cls.join(whole) if whole else None

    def without_values(self) -> Elements:
        """Return the elements without data, user data and timeouts, which take much memory."""
        return Elements(*(getattr(self, name) for name in self.__slots__[: -len(_VALUES)]))

    def rows(self, chosen: slice | NDArray[np.int64]) -> Elements:
        """Return these elements."""
        columns = (getattr(self, name) for name in self.__slots__)
        return Elements(*(column[chosen] if len(column) else column for column in columns))


def _concatenated(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    width = max(array.shape[-1] for array in arrays)
    two = arrays[0].ndim == 2
    return np.concatenate([np.pad(one, ((0, 0), (0, width - one.shape[1]))) for one in arrays] if two else arrays)


@dataclass(slots=True)
class _ElementLayout:
    """The offsets of values in elements of this layout, from the first byte after the header."""

    fixed: list[tuple[int, int]] = field(default_factory=list)  # spans equal in all of them, until `compared` is known
    key: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)
    flags: int = 0
    packets_at: int = -1
    octets_at: int = -1
    expires_at: int = -1
    values: dict[str, tuple[int, int]] = field(default_factory=dict)  # spans of fields of Elements: see _VALUES
    compared: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # of `bytes`
    bytes: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


_VALUES = {
    "data": (nft.NFTA_SET_ELEM_DATA, nft.NFTA_SET_ELEM_OBJREF),
    "user_data": (nft.NFTA_SET_ELEM_USERDATA,),
    "timeout": (nft.NFTA_SET_ELEM_TIMEOUT,),
}
_VALUE_OF = {kind: name for name, kinds in _VALUES.items() for kind in kinds}


class ElementReader:
    """A reader of the elements of messages, with a cache of their layouts."""

    def __init__(self) -> None:
        self._layouts: dict[int, list[_ElementLayout]] = {}  # by the element's length
        self._cached = 0

    def read(self, data: bytes, start: int, end: int) -> list[Elements]:
        """Return the elements in data[start:end], the payload of NFTA_SET_ELEM_LIST_ELEMENTS.

        Each part has keys of one length, in the order of the dump. Raises MalformedError for any wrong length.
        """
        at, size = _offsets(data, start, end)
        if not len(at):
            return []
        found = _ElementColumns(len(at))
        view = np.frombuffer(data, np.uint8)
        for length in np.unique(size).tolist():
            self._read_length(data, view, at, np.flatnonzero(size == length), length, found)
        return found.parts()

    def _read_length(
        self, data: bytes, view: NDArray[np.uint8], at: NDArray[np.int64], rows: NDArray[np.int64], length: int,
        found: _ElementColumns,
    ) -> None:  # fmt: skip
        cells = view[at[rows][:, None] + np.arange(length)]
        for layout in self._layouts.get(length, ()) if len(rows) > 1 else ():
            rows, cells = found.read(layout, rows, cells)
            if not len(rows):
                return
        for _ in range(_MAX_NEW_LAYOUTS):
            first = int(at[rows[0]])
            try:
                layout = _layout(data[first : first + length])
            except MalformedError as error:
                raise MalformedError(first + error.offset, error.code) from None
            several = len(rows) > 1
            rows, cells = found.read(layout, rows, cells)
            if several:
                self._cache(length, layout)
            if not len(rows):
                return
        raise MalformedError(int(at[rows[0]]), ERR_TOO_LONG)

    def _cache(self, length: int, layout: _ElementLayout) -> None:
        """Add the layout to the cache, unless it is full or the layout larger than the kernel's."""
        if length > _CACHED_LENGTH or self._cached >= _MAX_LAYOUTS:
            return
        known = self._layouts.setdefault(length, [])
        if len(known) < _MAX_LAYOUTS_OF_LENGTH:
            known.append(layout)
            self._cached += 1


class _ElementColumns:
    """The columns read so far of `count` elements."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._keys: dict[int, NDArray[np.uint8]] = {}  # by length: of shape (keys and ends, count, length)
        self._key_length = np.zeros(count, np.int64)
        self._flags = np.zeros(count, np.uint32)
        self._counted = np.zeros(count, np.bool_)
        self._packets = np.zeros(count, np.uint64)
        self._octets = np.zeros(count, np.uint64)
        self._expires = np.full(count, NEVER)
        self._values: dict[str, list[tuple[NDArray[np.int64], _BYTES]]] = {name: [] for name in _VALUES}

    def read(
        self, layout: _ElementLayout, rows: NDArray[np.int64], cells: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Read the rows that have this layout. Return the others, with their cells."""
        alike = (cells[:, layout.compared] == layout.bytes).all(axis=1)
        matching = cells[alike]
        if len(matching):
            self._fill(layout, rows[alike], matching)
        return rows[~alike], cells[~alike]

    def _fill(self, layout: _ElementLayout, rows: NDArray[np.int64], cells: NDArray[np.uint8]) -> None:
        first, last = layout.key
        length = last - first
        keys, ends = self._keys.setdefault(length, np.zeros((2, self._count, length), np.uint8))
        keys[rows] = cells[:, first:last]
        ends[rows] = cells[:, slice(*layout.end)] if layout.end[1] - layout.end[0] == length else keys[rows]
        self._key_length[rows] = length
        self._flags[rows] = layout.flags
        if layout.packets_at >= 0 and layout.octets_at >= 0:
            self._counted[rows] = True
            self._packets[rows] = _wide(cells, layout.packets_at)
            self._octets[rows] = _wide(cells, layout.octets_at)
        if layout.expires_at >= 0:
            self._expires[rows] = _wide(cells, layout.expires_at)
        for name, span in layout.values.items():
            self._values[name].append((rows, cells[:, slice(*span)]))

    def parts(self) -> list[Elements]:
        """Return the columns, one part for each length of key."""
        return [self._part(length) for length in self._keys]

    def _part(self, length: int) -> Elements:
        keys, ends = self._keys[length]
        rows = np.flatnonzero(self._key_length == length) if len(self._keys) > 1 else slice(None)
        return Elements(
            keys[rows],
            ends[rows],
            self._flags[rows],
            self._counted[rows],
            self._packets[rows],
            self._octets[rows],
            self._expires[rows],
            *(self._value(found)[rows] for found in self._values.values()),
        )

    def _value(self, found: list[tuple[NDArray[np.int64], _BYTES]]) -> _BYTES:
        whole = np.zeros((self._count, max((cells.shape[1] for _, cells in found), default=0)), np.uint8)
        for rows, cells in found:
            whole[rows, : cells.shape[1]] = cells
        return whole


def _wide(cells: NDArray[np.uint8], at: int) -> NDArray[np.uint64]:
    """Return the big-endian 64-bit numbers in the eight columns from `at` on."""
    return np.ascontiguousarray(cells[:, at : at + 8]).view(">u8")[:, 0].astype(np.uint64)


def _offsets(data: bytes, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the offset and the length of the payload of each element. Raises MalformedError."""
    at, stop = offsets(data, start, end, _LENGTH, NLA_HDRLEN)
    if stop + NLA_HDRLEN <= end:
        raise MalformedError(stop, ERR_ATTRIBUTE_CUT)
    return at + NLA_HDRLEN, unaligned(data, np.uint16)[at].astype(np.int64) - NLA_HDRLEN


def _layout(data: bytes) -> _ElementLayout:
    """Return the layout of an element. Raises MalformedError."""
    layout = _ElementLayout()
    for kind, first, last in attributes(data, 0, len(data)):
        layout.fixed.append((first - 4, first))
        if kind in (nft.NFTA_SET_ELEM_KEY, nft.NFTA_SET_ELEM_KEY_END):
            _key(data, layout, kind, first, last)
        elif kind == nft.NFTA_SET_ELEM_FLAGS:
            layout.fixed.append((first, last))
            layout.flags = int.from_bytes(data[first:last], "big") & 0xFFFF_FFFF
        elif kind == nft.NFTA_SET_ELEM_EXPIRATION and last - first == 8:
            layout.expires_at = first
        elif kind == nft.NFTA_SET_ELEM_EXPR:
            _expression(data, layout, first, last)
        elif kind in _VALUE_OF:
            layout.values[_VALUE_OF[kind]] = first, last
        elif kind == nft.NFTA_SET_ELEM_EXPRESSIONS:
            for _, inner, stop in attributes(data, first, last):
                layout.fixed.append((inner - 4, inner))
                _expression(data, layout, inner, stop)
    spans = (range(first, last) for first, last in layout.fixed)
    layout.compared, layout.fixed = np.array([offset for span in spans for offset in span], np.int64), []
    layout.bytes = np.frombuffer(data, np.uint8)[layout.compared]
    return layout


def _key(data: bytes, layout: _ElementLayout, kind: int, first: int, last: int) -> None:
    for inner, begin, stop in attributes(data, first, last):
        layout.fixed.append((begin - 4, begin))
        if inner == nft.NFTA_DATA_VALUE and stop - begin > nft.NFT_DATA_VALUE_MAXLEN:
            raise MalformedError(begin, ERR_TOO_LONG)
        if inner == nft.NFTA_DATA_VALUE and kind == nft.NFTA_SET_ELEM_KEY:
            layout.key = (begin, stop)
        elif inner == nft.NFTA_DATA_VALUE:
            layout.end = (begin, stop)


def _expression(data: bytes, layout: _ElementLayout, first: int, last: int) -> None:
    """Walk NFTA_EXPR_NAME and NFTA_EXPR_DATA: only the numbers of counters are read."""
    name = b""
    for kind, begin, stop in attributes(data, first, last):
        layout.fixed.append((begin - 4, begin))
        if kind == nft.NFTA_EXPR_NAME:
            layout.fixed.append((begin, stop))
            name = data[begin:stop]
        elif kind == nft.NFTA_EXPR_DATA and name == b"counter\0":
            _counter(data, layout, begin, stop)


def _counter(data: bytes, layout: _ElementLayout, first: int, last: int) -> None:
    for kind, begin, stop in attributes(data, first, last):
        layout.fixed.append((begin - 4, begin))
        if kind == nft.NFTA_COUNTER_BYTES and stop - begin == 8:
            layout.octets_at = begin
        elif kind == nft.NFTA_COUNTER_PACKETS and stop - begin == 8:
            layout.packets_at = begin
