"""Elements of nf_tables' sets, in bulk: most of a set are laid out alike, so one is walked and the rest checked.

linux/netfilter/nf_tables.h: NFT_MSG_NEWSETELEM, enum nft_set_elem_attributes. A set of 100,000 is 6 MB a dump.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from nettop.decode.netlink import offsets, unaligned
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import ERR_ATTRIBUTE_CUT, ERR_TOO_LONG, NLA_HDRLEN, MalformedError, attributes

_LENGTH = Struct("=H")
NEVER = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # in `expires_ms`: it does not

_LAYOUTS = 8  # remembered of each length
_MOST_REMEMBERED = 512  # layouts of all lengths
_LONGEST_REMEMBERED = 1024  # bytes of an element: comments take 256, each expression some 50
_MOST_LAYOUTS = 256  # of one length in one message: the kernel makes a handful


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of one set in the order of the dump; arrays of one length."""

    keys: NDArray[np.uint8]  # (n, length of a key); a catch-all's is zeros
    ends: NDArray[np.uint8]  # last member of a concatenated range, else the key again
    flags: NDArray[np.uint32]  # NFT_SET_ELEM_*
    counted: NDArray[np.bool_]  # whether it has a counter
    packets: NDArray[np.uint64]
    octets: NDArray[np.uint64]  # bytes
    expires_ms: NDArray[np.uint64]  # from the time of the dump; NEVER

    def __len__(self) -> int:
        return len(self.flags)

    @classmethod
    def join(cls, parts: list[Elements]) -> Elements:
        """Parts of one set, all with keys of one length."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


@dataclass(slots=True)
class _Layout:
    """The places of values in elements of this layout: offsets from the first byte after the header."""

    fixed: list[tuple[int, int]] = field(default_factory=list)  # spans that are equal in every such element
    key: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)
    flags: int = 0
    packets_at: int = -1
    octets_at: int = -1
    expires_at: int = -1
    places: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    bytes: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


class ElementReader:
    """Reads the elements of messages; it remembers the layouts it met."""

    def __init__(self) -> None:
        self._layouts: dict[int, list[_Layout]] = {}  # by the element's length
        self._remembered = 0

    def read(self, data: bytes, start: int, end: int) -> list[Elements]:
        """The elements in data[start:end], the payload of NFTA_SET_ELEM_LIST_ELEMENTS, in parts with keys of one
        length; a part's order is the dump's. MalformedError where a length lies: then none of them."""
        at, size = _offsets(data, start, end)
        if not len(at):
            return []
        found = _Columns(len(at))
        view = np.frombuffer(data, np.uint8)
        for length in np.unique(size).tolist():
            self._equally_long(data, view, at, np.flatnonzero(size == length), length, found)
        return found.parts()

    def _equally_long(
        self, data: bytes, view: NDArray[np.uint8], at: NDArray[np.int64], rows: NDArray[np.int64], length: int,
        found: _Columns,
    ) -> None:  # fmt: skip
        cells = view[at[rows][:, None] + np.arange(length)]
        for layout in self._layouts.get(length, ()) if len(rows) > 1 else ():
            rows, cells = found.take(layout, rows, cells)
            if not len(rows):
                return
        for _ in range(_MOST_LAYOUTS):
            first = int(at[rows[0]])
            layout = _layout(data, first, first + length)
            several = len(rows) > 1
            rows, cells = found.take(layout, rows, cells)
            if several:
                self._remember(length, layout)
            if not len(rows):
                return
        raise MalformedError(int(at[rows[0]]), ERR_TOO_LONG)

    def _remember(self, length: int, layout: _Layout) -> None:
        """Keep the layout, unless it is larger than the kernel's are."""
        if length > _LONGEST_REMEMBERED or self._remembered >= _MOST_REMEMBERED:
            return
        known = self._layouts.setdefault(length, [])
        if len(known) < _LAYOUTS:
            known.append(layout)
            self._remembered += 1


class _Columns:
    """The columns read so far of `count` elements."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._keys: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._key_length = np.zeros(count, np.int64)
        self._flags = np.zeros(count, np.uint32)
        self._counted = np.zeros(count, np.bool_)
        self._packets = np.zeros(count, np.uint64)
        self._octets = np.zeros(count, np.uint64)
        self._expires = np.full(count, NEVER)

    def take(
        self, layout: _Layout, rows: NDArray[np.int64], cells: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Read those of the rows that are laid out so; the others, with their cells."""
        alike = (cells[:, layout.places] == layout.bytes).all(axis=1)
        chosen = cells[alike]
        if len(chosen):
            self._fill(layout, rows[alike], chosen)
        return rows[~alike], cells[~alike]

    def _fill(self, layout: _Layout, rows: NDArray[np.int64], cells: NDArray[np.uint8]) -> None:
        first, last = layout.key
        length = last - first
        keys, ends = self._keys.setdefault(length, _pair(self._count, length))
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

    def parts(self) -> list[Elements]:
        """The columns, one part for each length of key."""
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
        )


def _pair(count: int, length: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.zeros((count, length), np.uint8), np.zeros((count, length), np.uint8)


def _wide(cells: NDArray[np.uint8], at: int) -> NDArray[np.uint64]:
    """The big-endian 64-bit numbers in those columns."""
    return np.ascontiguousarray(cells[:, at : at + 8]).view(">u8")[:, 0].astype(np.uint64)


def _offsets(data: bytes, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the payload of each element begins, and how long it is."""
    at, stop = offsets(data, start, end, _LENGTH, NLA_HDRLEN)
    if stop + NLA_HDRLEN <= end:
        raise MalformedError(stop, ERR_ATTRIBUTE_CUT)
    return at + NLA_HDRLEN, unaligned(data, np.uint16)[at].astype(np.int64) - NLA_HDRLEN


def _layout(data: bytes, start: int, end: int) -> _Layout:
    """Walk one element."""
    layout = _Layout()
    for kind, first, last in attributes(data, start, end):
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
        elif kind == nft.NFTA_SET_ELEM_EXPRESSIONS:
            for _, inner, stop in attributes(data, first, last):
                layout.fixed.append((inner - 4, inner))
                _expression(data, layout, inner, stop)
    return _settled(data, layout, start)


def _settled(data: bytes, layout: _Layout, start: int) -> _Layout:
    """With offsets from the element's first byte, and the bytes to compare."""
    spans = [range(first, last) for first, last in layout.fixed]
    places = np.array([place for span in spans for place in span], np.int64)
    layout.bytes = np.frombuffer(data, np.uint8)[places]
    layout.places = places - start
    layout.fixed = []
    layout.key = (layout.key[0] - start, layout.key[1] - start) if layout.key[1] else (0, 0)
    layout.end = (layout.end[0] - start, layout.end[1] - start) if layout.end[1] else (0, 0)
    for name in ("packets_at", "octets_at", "expires_at"):
        if getattr(layout, name) >= 0:
            setattr(layout, name, getattr(layout, name) - start)
    return layout


def _key(data: bytes, layout: _Layout, kind: int, first: int, last: int) -> None:
    for inner, begin, stop in attributes(data, first, last):
        layout.fixed.append((begin - 4, begin))
        if inner == nft.NFTA_DATA_VALUE and stop - begin > nft.NFT_DATA_VALUE_MAXLEN:
            raise MalformedError(begin, ERR_TOO_LONG)
        if inner == nft.NFTA_DATA_VALUE and kind == nft.NFTA_SET_ELEM_KEY:
            layout.key = (begin, stop)
        elif inner == nft.NFTA_DATA_VALUE:
            layout.end = (begin, stop)


def _expression(data: bytes, layout: _Layout, first: int, last: int) -> None:
    """NFTA_EXPR_NAME, NFTA_EXPR_DATA: a counter's numbers; of others only that they are there."""
    name = b""
    for kind, begin, stop in attributes(data, first, last):
        layout.fixed.append((begin - 4, begin))
        if kind == nft.NFTA_EXPR_NAME:
            layout.fixed.append((begin, stop))
            name = data[begin:stop]
        elif kind == nft.NFTA_EXPR_DATA and name == b"counter\0":
            _counter(data, layout, begin, stop)


def _counter(data: bytes, layout: _Layout, first: int, last: int) -> None:
    for kind, begin, stop in attributes(data, first, last):
        layout.fixed.append((begin - 4, begin))
        if kind == nft.NFTA_COUNTER_BYTES and stop - begin == 8:
            layout.octets_at = begin
        elif kind == nft.NFTA_COUNTER_PACKETS and stop - begin == 8:
            layout.packets_at = begin
