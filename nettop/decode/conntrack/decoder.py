"""Conntrack messages of dumps and events as columns: in bulk if the layout is known, else by a walk.

Expectations are in the same streams and are read in the same way, into separate columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nettop import columns as c
from nettop.batch import Batch
from nettop.columns import Columns, Decoded, Strings
from nettop.decode.conntrack.expectations import EXPECTATION
from nettop.decode.conntrack.layout import FLOW, MessageLayout, MessageSchema, layout_of
from nettop.decode.conntrack.rows import MessageBlock, MessageColumns
from nettop.decode.netlink import ErrorRows, Messages, rows_of, split, unaligned
from nettop.linux import conntrack as nfct
from nettop.linux.netlink import NLM_F_CREATE, NLM_F_MULTI, MalformedError
from nettop.linux.nfnetlink import NFNL_SUBSYS_CTNETLINK, NFNL_SUBSYS_CTNETLINK_EXP

_NEW = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_NEW
_DELETE = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_DELETE
_EXPECT_NEW = NFNL_SUBSYS_CTNETLINK_EXP << 8 | nfct.IPCTNL_MSG_EXP_NEW
_EXPECT_DELETE = NFNL_SUBSYS_CTNETLINK_EXP << 8 | nfct.IPCTNL_MSG_EXP_DELETE

MAX_LAYOUTS = 256
_MIN_FITS = 6  # a new layout that fits fewer messages than this is a miss: the search was not worth its cost
_MAX_MISSES = 8  # of one length in one batch; then the rest of that length is walked
_PORTID = 12  # offset of nlmsg_pid
_CACHED_LENGTH = 4096  # longer messages are walked: their layouts would make the cache large


class ConntrackDecoder:
    """Decodes the batches of a stream. Keeps a bounded number of layouts, and adds strings to `strings`."""

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self._layouts = _LayoutCache(FLOW)
        self._expect_layouts = _LayoutCache(EXPECTATION)

    def __call__(self, batch: Batch) -> Decoded:
        """Return the columns of FLOW_DTYPES, one row for each conntrack message. Never raises: see `errors`.

        `event family proto have ts_ns`, the four `*_lo` and the four ports are always present, any other column only if
        a row has it. Our own requests, control messages and other subsystems have no rows. The `ts_ns` of a row is the
        time of the record unless HAVE_EVENT_TS is set. Expectations are in `expect`, with EXPECT_DTYPES as well.
        """
        messages = split(batch)
        rows = rows_of(batch, messages, (_NEW, _DELETE))
        cols, record, errors = self._read(batch, messages, rows, self._layouts)
        if len(rows) == len(messages):
            return Decoded(cols, record, errors.merged(messages.errors))
        rows = rows_of(batch, messages, (_EXPECT_NEW, _EXPECT_DELETE))
        expect, expect_record, more = self._read(batch, messages, rows, self._expect_layouts)
        if len(expect):
            expect["event"][expect["event"] != c.EVENT_DUMP] += c.EVENT_EXPECT
        lost = errors.merged(more.merged(), messages.errors)
        return Decoded(cols, record, lost, expect, expect_record)

    def _read(
        self, batch: Batch, messages: Messages, selected: NDArray[np.intp], layouts: _LayoutCache
    ) -> tuple[Columns, NDArray[np.uint32], ErrorRows]:
        reader = _BatchReader(batch, messages, selected, self._strings)
        for length, rows in _by_length(messages.length[selected]):
            reader.read(layouts, length, rows)
        if layouts.kind is FLOW and len(selected):
            reader.read_causes(messages.flags[selected])
        return reader.decoded()


class _LayoutCache:
    """The known layouts by message length. When the cache is full, the least recently used one is removed."""

    def __init__(self, kind: MessageSchema) -> None:
        self.kind = kind
        self._by_length: dict[int, list[MessageLayout]] = {}
        self._count = 0
        self._clock = 0

    def __len__(self) -> int:
        return self._count

    def of(self, length: int) -> list[MessageLayout]:
        """Return the layouts of this length, the most recently used first."""
        return sorted(self._by_length.get(length, ()), key=lambda layout: -layout.used)

    def touch(self, layout: MessageLayout) -> None:
        """Mark the layout as the most recently used."""
        self._clock += 1
        layout.used = self._clock

    def add(self, layout: MessageLayout) -> None:
        """Add a new layout, unless its messages are longer than _CACHED_LENGTH."""
        if layout.length > _CACHED_LENGTH:
            return
        if self._count >= MAX_LAYOUTS:
            self._remove_oldest()
        self.touch(layout)
        self._by_length.setdefault(layout.length, []).append(layout)
        self._count += 1

    def _remove_oldest(self) -> None:
        oldest = min((layout for group in self._by_length.values() for layout in group), key=lambda one: one.used)
        group = self._by_length[oldest.length]
        group.remove(oldest)
        if not group:
            del self._by_length[oldest.length]
        self._count -= 1


class _BatchReader:
    """The rows and errors of one batch, filled in length by length."""

    def __init__(self, batch: Batch, messages: Messages, selected: NDArray[np.intp], strings: Strings) -> None:
        self._batch = batch
        self._offsets = messages.offset[selected]
        self._lengths = messages.length[selected]
        self._records = messages.record[selected]
        self._errors = ErrorRows()
        self._bad: list[int] = []
        self._rows = MessageColumns(len(selected), strings)
        event = _events(messages.kind[selected], messages.flags[selected])
        self._rows.set("event", event)
        self._rows.set("ts_ns", batch.ts_ns[self._records].astype(np.int64))

    def read(self, layouts: _LayoutCache, length: int, rows: NDArray[np.intp]) -> None:
        """Read the messages of one length."""
        rest = MessageBlock.gather(self._batch.buf, self._offsets[rows], rows, length)
        for layout in layouts.of(length):
            before = len(rest)
            rest = self._read_fitting(layout, rest)
            if len(rest) < before:
                layouts.touch(layout)
            if not len(rest):
                return
        self._read_one_by_one(self._learn(layouts, rest), layouts.kind)

    def read_causes(self, flags: NDArray[np.uint16]) -> None:
        """Read the netlink port ids of the programs that caused these events; answers to a dump have the reader's."""
        sent_by = unaligned(self._batch.buf, np.uint32, _PORTID)[self._offsets]
        portid = np.where(flags & NLM_F_MULTI, np.uint32(0), sent_by)
        if portid.any():
            self._rows.set("portid", portid)

    def _learn(self, layouts: _LayoutCache, rest: MessageBlock) -> MessageBlock:
        """Read messages by new layouts until _MAX_MISSES were hardly used. Return the messages not read."""
        misses = 0
        while len(rest) and misses < _MAX_MISSES:
            layout = self._walk(rest, 0, layouts.kind)
            if layout is None:
                rest = MessageBlock(rest.rows[1:], rest.data[1:])
                continue
            before = len(rest)
            rest = self._read_fitting(layout, rest)
            misses += before - len(rest) < _MIN_FITS
            layouts.add(layout)
        return rest

    def _read_one_by_one(self, block: MessageBlock, kind: MessageSchema) -> None:
        for i, row in enumerate(block.rows.tolist()):
            layout = self._walk(block, i, kind)
            if layout is not None:
                self._rows.read_one(layout, row, block.data[i].tobytes())

    def decoded(self) -> tuple[Columns, NDArray[np.uint32], ErrorRows]:
        """Return the undamaged rows, their records, and the errors."""
        cols, records = self._rows.columns(), self._records
        if self._bad:
            good = np.ones(len(cols), np.bool_)
            good[self._bad] = False
            cols, records = cols.take(good), records[good]
        return cols, records, self._errors

    def _read_fitting(self, layout: MessageLayout, block: MessageBlock) -> MessageBlock:
        """Read the messages that fit the layout. Return the others."""
        fits = block.fits(layout)
        if not fits.any():
            return block
        self._rows.read(layout, block.take(fits))
        return MessageBlock(block.rows[:0], block.data[:0]) if fits.all() else block.take(~fits)

    def _walk(self, block: MessageBlock, i: int, kind: MessageSchema) -> MessageLayout | None:
        """Return the layout of message i of the block; if it is damaged, add an error row and return None."""
        row = int(block.rows[i])
        try:
            return layout_of(self._batch.buf, int(self._offsets[row]), int(self._lengths[row]), kind)
        except MalformedError as error:
            self._errors.add(int(self._records[row]), error.offset, error.code)
            self._bad.append(row)
            return None


def _events(kind: NDArray[np.uint16], flags: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return EVENT_* of each message: ctnetlink sets CREATE and EXCL on a NEW event, and MULTI on answers to a dump."""
    event = np.where(flags & NLM_F_CREATE, c.EVENT_NEW, c.EVENT_UPDATE)
    event[flags & NLM_F_MULTI != 0] = c.EVENT_DUMP
    event[kind & 0xFF == nfct.IPCTNL_MSG_CT_DELETE] = c.EVENT_DESTROY  # IPCTNL_MSG_EXP_DELETE as well
    return event.astype(np.uint8)


def _by_length(length: NDArray[np.uint32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield (message length, rows of that length in ascending order)."""
    if (length == length[:1]).all():
        if len(length):
            yield int(length[0]), np.arange(len(length))
        return
    order = np.argsort(length, kind="stable")
    edges = np.flatnonzero(np.diff(length[order], prepend=0)).tolist()
    for start, end in zip(edges, [*edges[1:], len(order)], strict=True):
        yield int(length[order[start]]), order[start:end]
