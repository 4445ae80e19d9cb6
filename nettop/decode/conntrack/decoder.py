"""Conntrack messages of dumps and events into columns: in bulk where the layout is known, by a walk where it is not.

Expectations come in the same streams and are read the same way, into columns of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nettop import columns as c
from nettop.batch import Batch
from nettop.columns import Columns, Decoded, Strings
from nettop.decode.conntrack.expectations import EXPECTATION
from nettop.decode.conntrack.layout import FLOW, Kind, Layout, layout_of
from nettop.decode.conntrack.rows import Block, FlowRows
from nettop.decode.netlink import ErrorRows, Messages, split, wanted
from nettop.linux import conntrack as nfct
from nettop.linux.netlink import NLM_F_CREATE, NLM_F_MULTI, MalformedError
from nettop.linux.nfnetlink import NFNL_SUBSYS_CTNETLINK, NFNL_SUBSYS_CTNETLINK_EXP

_NEW = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_NEW
_DELETE = NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_DELETE
_EXPECT_NEW = NFNL_SUBSYS_CTNETLINK_EXP << 8 | nfct.IPCTNL_MSG_EXP_NEW
_EXPECT_DELETE = NFNL_SUBSYS_CTNETLINK_EXP << 8 | nfct.IPCTNL_MSG_EXP_DELETE

MAX_LAYOUTS = 256
_WORTH = 6  # a new layout that fits fewer messages than this has hardly paid for the search
_MISSES = 8  # such layouts of one length in one batch, before the rest of that length is walked
_CACHED_LENGTH = 4096  # longer messages are walked: their layouts would make the cache large


class ConntrackDecoder:
    """Decodes the batches of a stream. Keeps the layouts it has met, a bounded number; strings go into `strings`."""

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self._layouts = _Layouts(FLOW)
        self._expect_layouts = _Layouts(EXPECTATION)

    def __call__(self, batch: Batch) -> Decoded:
        """Columns after FLOW_DTYPES, one row a conntrack message; what does not decode is in `errors`. Never raises.

        `event family proto have ts_ns`, the four `*_lo` and the four ports are always there, any other column only when
        a row has it. Our own requests, control messages and other subsystems give no row. A row's `ts_ns` is the time
        of the record unless HAVE_EVENT_TS is set. Expectations are in `expect`, after EXPECT_DTYPES too.
        """
        messages = split(batch)
        rows = wanted(batch, messages, (_NEW, _DELETE))
        cols, record, errors = self._read(batch, messages, rows, self._layouts)
        if len(rows) == len(messages):
            return Decoded(batch.stream, batch.seq, cols, record, errors.merged(messages.errors))
        rows = wanted(batch, messages, (_EXPECT_NEW, _EXPECT_DELETE))
        expect, expect_record, more = self._read(batch, messages, rows, self._expect_layouts)
        if len(expect):
            expect["event"][expect["event"] != c.EVENT_DUMP] += c.EVENT_EXPECT
        lost = errors.merged(more.merged(), messages.errors)
        return Decoded(batch.stream, batch.seq, cols, record, lost, expect, expect_record)

    def _read(
        self, batch: Batch, messages: Messages, wanted: NDArray[np.intp], layouts: _Layouts
    ) -> tuple[Columns, NDArray[np.uint32], ErrorRows]:
        job = _Job(batch, messages, wanted, self._strings)
        for length, rows in _by_length(messages.length[wanted]):
            job.read(layouts, length, rows)
        return job.decoded()


class _Layouts:
    """The layouts met so far, by message length; the one that has not fitted for longest makes room."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._by_length: dict[int, list[Layout]] = {}
        self._count = 0
        self._clock = 0

    def __len__(self) -> int:
        return self._count

    def of(self, length: int) -> list[Layout]:
        """The layouts of this length, the last used first."""
        return sorted(self._by_length.get(length, ()), key=lambda layout: -layout.used)

    def touch(self, layout: Layout) -> None:
        """It has just fitted."""
        self._clock += 1
        layout.used = self._clock

    def add(self, layout: Layout) -> None:
        """Keep a layout met for the first time."""
        if layout.length > _CACHED_LENGTH:
            return
        if self._count >= MAX_LAYOUTS:
            self._forget_one()
        self.touch(layout)
        self._by_length.setdefault(layout.length, []).append(layout)
        self._count += 1

    def _forget_one(self) -> None:
        oldest = min((layout for group in self._by_length.values() for layout in group), key=lambda one: one.used)
        group = self._by_length[oldest.length]
        group.remove(oldest)
        if not group:
            del self._by_length[oldest.length]
        self._count -= 1


class _Job:
    """One batch in the making."""

    def __init__(self, batch: Batch, messages: Messages, wanted: NDArray[np.intp], strings: Strings) -> None:
        self._batch = batch
        self._offsets = messages.offset[wanted]
        self._lengths = messages.length[wanted]
        self._records = messages.record[wanted]
        self._errors = ErrorRows()
        self._bad: list[int] = []
        self._rows = FlowRows(len(wanted), strings)
        self._rows.set("event", _events(messages.kind[wanted], messages.flags[wanted]))
        self._rows.set("ts_ns", batch.ts_ns[self._records].astype(np.int64))

    def read(self, layouts: _Layouts, length: int, rows: NDArray[np.intp]) -> None:
        """The messages of one length."""
        left = Block.gather(self._batch.buf, self._offsets[rows], rows, length)
        for layout in layouts.of(length):
            before = len(left)
            left = self._read_fitting(layout, left)
            if len(left) < before:
                layouts.touch(layout)
            if not len(left):
                return
        self._read_one_by_one(self._learn(layouts, left), layouts.kind)

    def _learn(self, layouts: _Layouts, left: Block) -> Block:
        """Read by layouts met for the first time; returns what is left when that has not paid for a while."""
        misses = 0
        while len(left) and misses < _MISSES:
            layout = self._walk(left, 0, layouts.kind)
            if layout is None:
                left = Block(left.rows[1:], left.data[1:])
                continue
            before = len(left)
            left = self._read_fitting(layout, left)
            misses += before - len(left) < _WORTH
            layouts.add(layout)
        return left

    def _read_one_by_one(self, block: Block, kind: Kind) -> None:
        for i, row in enumerate(block.rows.tolist()):
            layout = self._walk(block, i, kind)
            if layout is not None:
                self._rows.read_one(layout, row, block.data[i].tobytes())

    def decoded(self) -> tuple[Columns, NDArray[np.uint32], ErrorRows]:
        """The rows that are whole with their records, and the errors."""
        cols, records = self._rows.columns(), self._records
        if self._bad:
            good = np.ones(len(cols), np.bool_)
            good[self._bad] = False
            cols, records = cols.take(good), records[good]
        return cols, records, self._errors

    def _read_fitting(self, layout: Layout, block: Block) -> Block:
        """Read the messages that fit; returns the others."""
        fits = block.fits(layout)
        if not fits.any():
            return block
        self._rows.read(layout, block.take(fits))
        return Block(block.rows[:0], block.data[:0]) if fits.all() else block.take(~fits)

    def _walk(self, block: Block, i: int, kind: Kind) -> Layout | None:
        """The layout of message i of the block; None: it is damaged, and an error row says so."""
        row = int(block.rows[i])
        try:
            return layout_of(self._batch.buf, int(self._offsets[row]), int(self._lengths[row]), kind)
        except MalformedError as error:
            self._errors.add(int(self._records[row]), error.offset, error.code)
            self._bad.append(row)
            return None


def _events(kind: NDArray[np.uint16], flags: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """EVENT_* of each message: ctnetlink sets CREATE and EXCL on a NEW event, and MULTI on the answers to a dump."""
    event = np.where(flags & NLM_F_CREATE, c.EVENT_NEW, c.EVENT_UPDATE)
    event[flags & NLM_F_MULTI != 0] = c.EVENT_DUMP
    event[kind & 0xFF == nfct.IPCTNL_MSG_CT_DELETE] = c.EVENT_DESTROY  # IPCTNL_MSG_EXP_DELETE as well
    return event.astype(np.uint8)


def _by_length(length: NDArray[np.uint32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(message length, rows of that length in ascending order)."""
    if (length == length[:1]).all():
        if len(length):
            yield int(length[0]), np.arange(len(length))
        return
    order = np.argsort(length, kind="stable")
    edges = np.flatnonzero(np.diff(length[order], prepend=0)).tolist()
    for start, end in zip(edges, [*edges[1:], len(order)], strict=True):
        yield int(length[order[start]]), order[start:end]
