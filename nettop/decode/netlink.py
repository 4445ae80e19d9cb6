"""Split batches of netlink datagrams into messages (RFC 3549, linux/netlink.h).

Two layouts are split in bulk: one message in each datagram (events), and runs of messages of equal length (dumps). All
others are walked message by message. A bad length becomes an error row, and the rest of that datagram is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.linux import netlink as nl
from nettop.linux.netlink import NLMSG_HDRLEN, Buffer, MalformedError

_LENGTH = Struct("=I")
_RUN = 1024  # messages compared in one step for equal length
_SHORT = 4096  # bytes in which they are walked at once: a few of them
_STEPS = 64  # messages walked one by one before the next search for a run


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of a batch in order, as arrays of one length, with control messages (kind < NLMSG_MIN_TYPE)."""

    offset: NDArray[np.int64]  # of the netlink header, into batch.buf
    length: NDArray[np.uint32]  # nlmsg_len: header included, padding not
    kind: NDArray[np.uint16]  # nlmsg_type
    flags: NDArray[np.uint16]
    record: NDArray[np.uint32]  # index of the datagram in the batch
    errors: DecodeErrors

    def __len__(self) -> int:
        return len(self.offset)


class ErrorRows:
    """A collector of the rows of DecodeErrors."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int]] = []

    def add(self, record: int, offset: int, code: int) -> None:
        """Add a row: index of the record, byte offset into the batch's buffer, code of ERROR_TEXT."""
        self.rows.append((record, offset, code))

    def merged(self, *others: DecodeErrors) -> DecodeErrors:
        """Return these rows and the others', sorted by record and offset."""
        if not self.rows and not any(len(other) for other in others):
            return DecodeErrors.none()
        own = np.array(self.rows, np.int64).reshape(-1, 3).T
        record, offset, code = (
            np.concatenate([mine, *(getattr(other, name) for other in others)])
            for mine, name in zip(own, ("record", "offset", "code"), strict=True)
        )
        order = np.lexsort((offset, record))
        return DecodeErrors(
            record[order].astype(np.uint32), offset[order].astype(np.uint32), code[order].astype(np.uint8)
        )


def split(batch: Batch) -> Messages:
    """Return the messages of every datagram of the batch. Never raises on bad bytes."""
    begin = batch.off.astype(np.int64)
    end = np.minimum(begin + batch.caplen, len(batch.buf))
    errors = ErrorRows()
    alone = _one_message_each(batch.buf, begin, end)
    if alone.all():
        return _messages(batch.buf, begin, np.arange(len(begin), dtype=np.uint32), errors)
    places = [begin[alone]]
    records = [np.flatnonzero(alone)]
    for record in np.flatnonzero(~alone).tolist():
        found = _datagram(batch.buf, record, int(begin[record]), int(end[record]), errors)
        places.append(found)
        records.append(np.full(len(found), record))
    offset, which = np.concatenate(places), np.concatenate(records).astype(np.uint32)
    if alone.any():
        order = np.argsort(which, kind="stable")
        offset, which = offset[order], which[order]
    return _messages(batch.buf, offset, which, errors)


def read_each(
    batch: Batch, kinds: tuple[int, ...], read: Callable[[int, int, int, int], None], min_length: int = NLMSG_HDRLEN
) -> DecodeErrors:
    """Call read(type, record, first byte, one past the last) for the kernel's messages of these types.

    Messages shorter than `min_length` are skipped. Returns the errors of the batch, with the MalformedErrors of `read`.
    """
    found, errors = split(batch), ErrorRows()
    rows = rows_of(batch, found, kinds)
    columns = (column[rows].tolist() for column in (found.kind, found.record, found.offset, found.length))
    for kind, record, start, length in zip(*columns, strict=True):
        if length < min_length:
            continue
        try:
            read(kind, record, start, start + length)
        except MalformedError as error:
            errors.add(record, error.offset, error.code)
    return errors.merged(found.errors)


def rows_of(batch: Batch, messages: Messages, kinds: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the rows of messages of these types, without our own requests."""
    mask = messages.kind == kinds[0]
    for kind in kinds[1:]:
        mask |= messages.kind == kind
    if isinstance(batch.meta, NetlinkMeta):
        mask &= ~batch.meta.outgoing[messages.record]
    return np.flatnonzero(mask)


def unaligned(buf: Buffer, dtype: Any, shift: int = 0) -> NDArray[Any]:
    """Return a view of buf: element i is the value of this dtype at byte i + shift, for all i at which one fits."""
    kind = np.dtype(dtype)
    return np.ndarray((max(0, len(buf) - shift - kind.itemsize + 1),), kind, buf, shift, (1,))


def _one_message_each(buf: Buffer, begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bool_]:
    room = end - begin
    alone = room >= NLMSG_HDRLEN
    length = unaligned(buf, np.uint32)[np.where(alone, begin, 0)] if alone.any() else np.zeros(len(room), np.uint32)
    return alone & (length >= NLMSG_HDRLEN) & (length <= room) & ((length.astype(np.int64) + 3 & ~3) >= room)


def _messages(buf: Buffer, offset: NDArray[np.int64], record: NDArray[np.uint32], errors: ErrorRows) -> Messages:
    if not len(offset):
        short = np.empty(0, np.uint16)
        return Messages(offset, np.empty(0, np.uint32), short, short, record, errors.merged())
    length = unaligned(buf, np.uint32)[offset]
    kind = unaligned(buf, np.uint16, 4)[offset]
    flags = unaligned(buf, np.uint16, 6)[offset]
    return Messages(offset, length, kind, flags, record, errors.merged())


def _datagram(buf: Buffer, record: int, start: int, end: int, errors: ErrorRows) -> NDArray[np.int64]:
    """Return the offsets of the messages in buf[start:end]."""
    if end - start < NLMSG_HDRLEN:
        errors.add(record, start, nl.ERR_SHORT_DATAGRAM)
        return np.empty(0, np.int64)
    found, stop = offsets(buf, start, end, _LENGTH, NLMSG_HDRLEN)
    if end - stop > 3:  # up to three bytes of padding may follow
        length = _LENGTH.unpack_from(buf, stop)[0] if end - stop >= NLMSG_HDRLEN else end
        errors.add(record, stop, nl.ERR_MESSAGE_LENGTH if length < NLMSG_HDRLEN else nl.ERR_MESSAGE_CUT)
    return found


def offsets(buf: Buffer, start: int, end: int, lengths: Struct, header: int) -> tuple[NDArray[np.int64], int]:
    """Return the offsets of the messages or attributes in buf[start:end], and the offset at which no whole one follows.

    Each begins with its length, which includes the header of `header` bytes, and is padded to four bytes.
    """
    if end - start < _SHORT:
        few, stop = _steps(buf, start, end, lengths, header)
        if len(few) < _STEPS:
            return np.array(few, np.int64), stop
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    while end - start >= header and header <= lengths.unpack_from(buf, start)[0] <= end - start:
        run, start = _equal_run(buf, start, end, lengths)
        found.append(run)
        if len(run) < _STEPS:
            steps, start = _steps(buf, start, end, lengths, header)
            found.append(np.array(steps, np.int64))
    return np.concatenate(found), start


def _equal_run(buf: Buffer, start: int, end: int, lengths: Struct) -> tuple[NDArray[np.int64], int]:
    """Return the offsets of the first and those directly after it of equal length, and the offset of the next one."""
    length: int = lengths.unpack_from(buf, start)[0]
    stride = length + 3 & ~3
    count = min(_RUN, (end - start - length) // stride + 1)
    same = np.ndarray((count,), np.dtype(lengths.format), buf, start, (stride,)) == length
    if not same.all():
        count = int(same.argmin())
    return start + stride * np.arange(count, dtype=np.int64), start + stride * count


def _steps(buf: Buffer, start: int, end: int, lengths: Struct, header: int) -> tuple[list[int], int]:
    """Walk up to _STEPS of them one by one. Return their offsets, and the offset at which the walk stopped."""
    found: list[int] = []
    read = lengths.unpack_from
    while end - start >= header and len(found) < _STEPS:
        length = read(buf, start)[0]
        if not header <= length <= end - start:
            break
        found.append(start)
        start += length + 3 & ~3
    return found, start
