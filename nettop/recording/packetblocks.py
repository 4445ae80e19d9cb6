"""The three packet blocks of pcapng (enhanced, simple, obsolete), many at once, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.kinds import NO_TIME
from nettop.linux.packet import DIRECTION_UNKNOWN
from nettop.recording import blocks, bulk
from nettop.recording.enhanced import direction_of, status_of
from nettop.recording.records import Interface, Ints, RecordColumns, nanoseconds

PACKETS = np.array([blocks.EPB, blocks.PB, blocks.SPB])

_MAX_OPTIONS = 64  # of one packet; later ones are ignored
_HEAD = 28  # bytes before the data, except in a simple packet block
_SIMPLE = 12


@dataclass(slots=True)
class Blocks:
    """Blocks in file order, as columns. The interfaces of row i are first[i] to first[i] + known[i] - 1."""

    chunk: bytes
    pos: Ints
    big: NDArray[np.bool_]  # its section is big-endian
    kind: Ints
    length: Ints
    number: Ints  # of the record that it is, or that follows
    first: Ints
    known: Ints
    whole: int  # blocks that are complete and not damaged
    damage: str = ""  # of the next one; "": there is none, or it continues beyond the chunk

    def cut(self, index: int, damage: str) -> None:
        """End the blocks at a damaged one."""
        self.whole, self.damage = index, damage

    def __len__(self) -> int:
        return len(self.pos)

    def packets(self, interfaces: Sequence[Interface]) -> tuple[RecordColumns, str | None, int | None]:
        """Return the records up to the first damaged one, its fault, and the first row whose options overrun."""
        simple, head, lost = self._heads()
        local, caplen, wirelen = head[:, 2].astype(np.int64), head[:, 5].astype(np.int64), head[:, 6].copy()
        snaplen = np.array([one.stream.snaplen or 0xFFFFFFFF for one in interfaces] or [0], np.int64)
        if simple.any():
            own = head[simple]
            limit = snaplen[np.minimum(self.first[simple], len(snaplen) - 1)]
            space = self.length[simple] - _SIMPLE - 4
            local[simple], wirelen[simple] = 0, own[:, 2]
            caplen[simple] = np.minimum(np.minimum(own[:, 2], limit), space)
        start = np.where(simple, _SIMPLE, _HEAD)
        invalid = (self.length < start + 4) | (caplen > self.length - start - 4) | (local >= self.known)
        intact, fault = len(self), None
        if invalid.any():
            intact = int(np.argmax(invalid))
            fault = f"a packet claims {caplen[intact]} bytes"
            if self.length[intact] < start[intact] + 4:
                fault = "a packet block is too short"
            elif local[intact] >= self.known[intact]:
                fault = "a packet's interface is not described"
        rows = RecordColumns(
            (self.first + local)[:intact],
            (self.pos + start)[:intact],
            caplen[:intact],
            wirelen[:intact],
            _times(head[:intact], (self.first + local)[:intact], simple[:intact], interfaces),
            self.number[:intact].astype(np.uint64),
            lost=None if lost is None else lost[:intact],
            block=self.length[:intact].astype(np.uint32),
        )
        at = rows.off + (rows.caplen + 3 & ~3)
        at[simple[:intact]] = 1 << 62  # these have no options
        end = (self.pos + self.length)[:intact] - 4
        overrun = np.flatnonzero(_read_options(rows, self.chunk, at, end, self.big[:intact]))
        if rows.block is not None:
            rows.block[overrun] |= blocks.OVERRUN
        return rows, fault, int(overrun[0]) if len(overrun) else None

    def _heads(self) -> tuple[NDArray[np.bool_], NDArray[np.uint32], NDArray[np.uint64] | None]:
        """Return which blocks are simple, the first seven words of each, and the losses that obsolete ones report."""
        simple = self.kind == blocks.SPB
        short = self.length < 32
        head = np.zeros((len(self), 7), np.uint32)
        head[~short] = bulk.gather_mixed(self.chunk, self.pos[~short], 7, self.big[~short])
        if short.any():
            head[short, :3] = bulk.gather_mixed(self.chunk, self.pos[short], 3, self.big[short])
        obsolete = self.kind == blocks.PB
        if not obsolete.any():
            return simple, head, None
        # interface and drop count are 16 bits each, in the section's byte order
        word = head[:, 2].copy()
        high, low = word >> 16, word & 0xFFFF
        interface, drops = np.where(self.big, high, low), np.where(self.big, low, high)
        head[:, 2] = np.where(obsolete, interface, word)
        return simple, head, np.where(obsolete & (drops != 0xFFFF), drops, 0).astype(np.uint64)


def _times(
    head: NDArray[np.uint32], interface: Ints, simple: NDArray[np.bool_], interfaces: Sequence[Interface]
) -> Ints:
    """Return each record's time in nanoseconds, from the ticks of its interface; NO_TIME of a simple packet."""
    ticks = head[:, 3].astype(np.uint64) << np.uint64(32) | head[:, 4]
    units = [(one.resolution, one.offset_s) for one in interfaces]
    distinct = list(dict.fromkeys(units))
    which = np.array([distinct.index(unit) for unit in units] if len(distinct) > 1 else [0] * len(units), np.int64)
    ts_ns = np.empty(len(ticks), np.int64)
    for number, (resolution, offset_s) in enumerate(distinct):
        mask = which[interface] == number
        ts_ns[mask] = nanoseconds(ticks[mask], resolution, offset_s)
    ts_ns[simple] = NO_TIME
    return ts_ns


def _walk_options(
    chunk: bytes, at: Ints, end: Ints, big: NDArray[np.bool_]
) -> Iterator[tuple[Ints, Ints, Ints, Ints, NDArray[np.bool_]]]:
    """Walk the option lists between `at` and `end`, all in step. Yield rows, codes, offsets of values, their sizes.

    The mask marks options that reach past the end of their list; these end it.
    """
    rows, at = np.flatnonzero(at + 4 <= end), at.copy()
    for _ in range(_MAX_OPTIONS):
        if not len(rows):
            return
        code, size = _option_heads(chunk, at[rows], big[rows])
        going = code != blocks.OPT_END
        rows, code, size = rows[going], code[going], size[going]
        inside = at[rows] + 4 + size <= end[rows]
        yield rows, code, at[rows] + 4, size, ~inside
        rows, size = rows[inside], size[inside]
        at[rows] += 4 + (size + 3 & ~3)
        rows = rows[at[rows] + 4 <= end[rows]]


def _read_options(rows: RecordColumns, chunk: bytes, at: Ints, end: Ints, big: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Read flags and drop counts in bulk, comments one by one. Return which rows have an option that overruns."""
    flags, lost = np.zeros(len(rows), np.uint32), np.zeros(len(rows), np.uint64)
    overrun = np.zeros(len(rows), np.bool_)
    for row, code, value, size, outside in _walk_options(chunk, at, end, big):
        if outside.any():
            overrun[row[outside]] = True
            row, code, value, size = row[~outside], code[~outside], value[~outside], size[~outside]
        match = (code == blocks.EPB_FLAGS) & (size == 4)
        flags[row[match]] = bulk.gather_mixed(chunk, value[match], 1, big[row[match]])[:, 0]
        match = (code == blocks.EPB_DROPCOUNT) & (size == 8)
        halves = bulk.gather_mixed(chunk, value[match], 2, big[row[match]]).astype(np.uint64)
        high = big[row[match]].astype(np.intp) ^ 1  # the column of the high half
        either = np.arange(len(halves))
        lost[row[match]] = halves[either, high] << np.uint64(32) | halves[either, high ^ 1]
        for i in np.flatnonzero(code == blocks.OPT_COMMENT).tolist():
            text = chunk[int(value[i]) : int(value[i] + size[i])].decode("utf-8", "replace")
            known = rows.comment.get(int(row[i]))
            rows.comment[int(row[i])] = text if known is None else f"{known}\n{text}"
    direction = direction_of(flags)
    rows.direction = None if np.all(direction == DIRECTION_UNKNOWN) else direction
    rows.tp_status = status_of(flags)
    rows.lost = lost if lost.any() else rows.lost
    return overrun


def _option_heads(chunk: bytes, at: Ints, big: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    both = bulk.gather_mixed(chunk, at, 1, big)[:, 0].astype(np.int64)
    low, high = both & 0xFFFF, both >> 16
    return np.where(big, high, low), np.where(big, low, high)
