"""The three packet blocks of pcapng (enhanced, simple, obsolete), many at once, as columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nettop.linux.packet import DIRECTION_UNKNOWN
from nettop.recording import blocks, bulk
from nettop.recording.enhanced import direction_of, status_of
from nettop.recording.interfaces import nanoseconds
from nettop.recording.records import Interfaces, RecordColumns

Ints = NDArray[np.int64]

_MAX_OPTIONS = 64  # of one packet; later ones are ignored
_SHORTEST = {blocks.EPB: 32, blocks.PB: 32, blocks.SPB: 16}


def decode(
    kind: int, chunk: bytes, pos: Ints, length: Ints, order: str, interfaces: Interfaces
) -> tuple[RecordColumns, str | None]:
    """Return the records of whole blocks of one kind, up to the first damaged one, and the fault of that one."""
    short = np.flatnonzero(length < _SHORTEST[kind])
    intact, fault = (int(short[0]), "a packet block is too short") if len(short) else (len(pos), None)
    columns = _simple if kind == blocks.SPB else _full
    rows, options = columns(kind, chunk, pos[:intact], length[:intact], order, interfaces)
    space = length[:intact] - _SHORTEST[kind]
    invalid = (rows.caplen > space) | (rows.interface >= len(interfaces))
    if invalid.any():
        intact = int(np.argmax(invalid))
        unknown = rows.interface[intact] >= len(interfaces)
        fault = "a packet's interface is not described" if unknown else f"a packet claims {rows.caplen[intact]} bytes"
        rows = _prefix(rows, intact)
    _set_times(rows, interfaces)
    if options is not None:
        _read_options(rows, chunk, options[:intact], pos[:intact] + length[:intact] - 4, order)
    return rows, fault


def _full(
    kind: int, chunk: bytes, pos: Ints, length: Ints, order: str, interfaces: Interfaces
) -> tuple[RecordColumns, Ints | None]:
    head = bulk.gather(chunk, pos, 7, order)
    interface, lost = head[:, 2].astype(np.int64), None
    if kind == blocks.PB:  # interface and drop count are 16 bits each, in the section's byte order
        first, second = (interface >> 16, interface & 0xFFFF) if order == ">" else (interface & 0xFFFF, interface >> 16)
        interface, lost = first, np.where(second == 0xFFFF, 0, second).astype(np.uint64)
    ticks = head[:, 3].astype(np.uint64) << np.uint64(32) | head[:, 4]
    off, caplen = pos + 28, head[:, 5].astype(np.int64)
    rows = RecordColumns(interface, off, caplen, head[:, 6].astype(np.uint32), ticks.view(np.int64), lost=lost)
    return rows, off + (caplen + 3 & ~3)


def _simple(
    kind: int, chunk: bytes, pos: Ints, length: Ints, order: str, interfaces: Interfaces
) -> tuple[RecordColumns, Ints | None]:
    """Read simple packets: without time, on the first interface; the snaplen limits their capture length."""
    wirelen = bulk.gather(chunk, pos, 3, order)[:, 2].astype(np.uint32)
    snaplen = interfaces[0].stream.snaplen if len(interfaces) else 0
    caplen = np.minimum(wirelen, snaplen or 0xFFFFFFFF).astype(np.int64)
    caplen = np.minimum(caplen, length - 16)
    zero = np.zeros(len(pos), np.int64)
    return RecordColumns(zero, pos + 12, caplen, wirelen, zero.copy()), None


def _prefix(rows: RecordColumns, n: int) -> RecordColumns:
    lost = None if rows.lost is None else rows.lost[:n]
    return RecordColumns(rows.interface[:n], rows.off[:n], rows.caplen[:n], rows.wirelen[:n], rows.ts_ns[:n], lost=lost)


def _set_times(rows: RecordColumns, interfaces: Interfaces) -> None:
    """Convert each record's time from its interface's ticks to nanoseconds."""
    ticks = np.ascontiguousarray(rows.ts_ns).view(np.uint64)
    rows.ts_ns = np.empty(len(ticks), np.int64)
    for index in np.unique(rows.interface).tolist():
        interface = interfaces[index]
        mask = rows.interface == index
        rows.ts_ns[mask] = nanoseconds(ticks[mask], interface.resolution, interface.offset_s)


def _read_options(rows: RecordColumns, chunk: bytes, at: Ints, end: Ints, order: str) -> None:
    """Walk the options of all records in step: flags and drop counts in bulk, comments one by one."""
    open_rows = np.flatnonzero(at + 4 <= end)
    if not len(open_rows):
        return
    flags, lost = np.zeros(len(rows), np.uint32), np.zeros(len(rows), np.uint64)
    at = at.copy()
    for _ in range(_MAX_OPTIONS):
        code, size = _option_heads(chunk, at[open_rows], order)
        inside = (code != blocks.OPT_END) & (at[open_rows] + 4 + size <= end[open_rows])
        open_rows, code, size = open_rows[inside], code[inside], size[inside]
        if not len(open_rows):
            break
        value = at[open_rows] + 4
        match = (code == blocks.EPB_FLAGS) & (size == 4)
        flags[open_rows[match]] = bulk.gather(chunk, value[match], 1, order)[:, 0]
        match = (code == blocks.EPB_DROPCOUNT) & (size == 8)
        lost[open_rows[match]] = _uint64(bulk.gather(chunk, value[match], 2, order), order)
        for i in np.flatnonzero(code == blocks.OPT_COMMENT).tolist():
            text = chunk[int(value[i]) : int(value[i] + size[i])]
            rows.comment.setdefault(int(open_rows[i]), text.decode("utf-8", "replace"))
        at[open_rows] = value + (size + 3 & ~3)
        open_rows = open_rows[at[open_rows] + 4 <= end[open_rows]]
    direction = direction_of(flags)
    rows.direction = None if np.all(direction == DIRECTION_UNKNOWN) else direction
    rows.tp_status = status_of(flags)
    rows.lost = lost if lost.any() else rows.lost


def _option_heads(chunk: bytes, at: Ints, order: str) -> tuple[Ints, Ints]:
    both = bulk.gather(chunk, at, 1, order)[:, 0].astype(np.int64)
    low, high = both & 0xFFFF, both >> 16
    return (high, low) if order == ">" else (low, high)


def _uint64(words: NDArray[np.uint32], order: str) -> NDArray[np.uint64]:
    high, low = (words[:, 0], words[:, 1]) if order == ">" else (words[:, 1], words[:, 0])
    value: NDArray[np.uint64] = high.astype(np.uint64) << np.uint64(32) | low
    return value
