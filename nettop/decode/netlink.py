"""Splits netlink datagrams into messages and messages into attributes (RFC 3549, linux/netlink.h, net/netlink/attr.h).

Two shapes are split in bulk: one message a datagram (events) and runs of equally long messages (a dump). What is left
is walked message by message. Bad lengths become error rows: the rest of that datagram is unreadable, the next is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch
from nettop.columns import DecodeErrors

Buffer = bytes | bytearray | memoryview

NLMSG_HDRLEN = 16  # linux/netlink.h: u32 len, u16 type, u16 flags, u32 seq, u32 pid
NLMSG_DONE = 3
NLMSG_MIN_TYPE = 16  # below: control messages
NLM_F_MULTI = 0x2
NLM_F_DUMP_INTR = 0x10
NLM_F_CREATE = 0x400  # on a NEW
NLA_HDRLEN = 4  # u16 len, u16 type
NLA_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

# Codes of DecodeErrors, shared by every decoder of netlink messages.
ERR_SHORT_DATAGRAM = 1
ERR_MESSAGE_LENGTH = 2
ERR_MESSAGE_CUT = 3
ERR_ATTRIBUTE_LENGTH = 4
ERR_ATTRIBUTE_CUT = 5
ERR_VALUE_SHORT = 6
ERR_FAMILY = 7
ERR_TOO_LONG = 8
ERROR_TEXT = {
    ERR_SHORT_DATAGRAM: "datagram shorter than a netlink header",
    ERR_MESSAGE_LENGTH: "message length below a netlink header",
    ERR_MESSAGE_CUT: "message longer than its datagram",
    ERR_ATTRIBUTE_LENGTH: "attribute length below an attribute header",
    ERR_ATTRIBUTE_CUT: "attribute longer than what holds it",
    ERR_VALUE_SHORT: "attribute too short for its value",
    ERR_FAMILY: "IPv4 and IPv6 addresses in one message",
    ERR_TOO_LONG: "message or attribute list longer than the kernel makes them",
}

_RUN = 1024  # messages looked at in one step of equal length
_STEPS = 64  # messages walked one by one before equal length is tried again
_LENGTH = Struct("=I").unpack_from
_ATTRIBUTE = Struct("=HH").unpack_from


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of a batch in order, arrays of one length. Control messages (kind < NLMSG_MIN_TYPE) too."""

    offset: NDArray[np.int64]  # of the netlink header, into batch.buf
    length: NDArray[np.uint32]  # nlmsg_len: header included, padding not
    kind: NDArray[np.uint16]  # nlmsg_type
    flags: NDArray[np.uint16]
    record: NDArray[np.uint32]  # index of the datagram in the batch
    errors: DecodeErrors

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def interrupted(self) -> bool:
        """NLM_F_DUMP_INTR on any of them: the dump must be made again."""
        return bool((self.flags & NLM_F_DUMP_INTR).any())


class BadAttribute(ValueError):
    """An attribute list that cannot be read on: `offset` into the buffer, `code` of ERROR_TEXT."""

    def __init__(self, offset: int, code: int) -> None:
        super().__init__(ERROR_TEXT[code])
        self.offset = offset
        self.code = code


class ErrorRows:
    """Collects the rows of a DecodeErrors."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int]] = []

    def add(self, record: int, offset: int, code: int) -> None:
        """One more: index of the record, byte offset into the batch's buffer, code."""
        self.rows.append((record, offset, code))

    def merged(self, *others: DecodeErrors) -> DecodeErrors:
        """These rows and the others', sorted by record and offset."""
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
    """The messages of every datagram of the batch. Never raises on bad bytes."""
    begin = batch.off.astype(np.int64)
    end = np.minimum(begin + batch.caplen, len(batch.buf))
    errors = ErrorRows()
    alone = _one_message_each(batch.buf, begin, end)
    if alone.all():
        return _messages(batch.buf, begin, np.arange(len(begin), dtype=np.uint32), errors)
    offsets = [begin[alone]]
    records = [np.flatnonzero(alone)]
    for record in np.flatnonzero(~alone).tolist():
        found = _datagram(batch.buf, record, int(begin[record]), int(end[record]), errors)
        offsets.append(found)
        records.append(np.full(len(found), record))
    offset, which = np.concatenate(offsets), np.concatenate(records).astype(np.uint32)
    if alone.any():
        order = np.argsort(which, kind="stable")
        offset, which = offset[order], which[order]
    return _messages(batch.buf, offset, which, errors)


def attributes(buf: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, begin of the payload, end of the payload) of each attribute in buf[start:end]. Raises BadAttribute."""
    while end - start >= NLA_HDRLEN:
        length, kind = _ATTRIBUTE(buf, start)
        if length < NLA_HDRLEN:
            raise BadAttribute(start, ERR_ATTRIBUTE_LENGTH)
        if length > end - start:
            raise BadAttribute(start, ERR_ATTRIBUTE_CUT)
        yield kind & NLA_TYPE_MASK, start + NLA_HDRLEN, start + length
        start += length + 3 & ~3
    if start < end:
        raise BadAttribute(start, ERR_ATTRIBUTE_CUT)


def unaligned(buf: Buffer, dtype: Any, shift: int = 0) -> NDArray[Any]:
    """A view whose element i is the value of this dtype at byte i + shift of buf, for each i where it fits."""
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
    """Offsets of the messages in buf[start:end]."""
    found: list[NDArray[np.int64]] = []
    if end - start < NLMSG_HDRLEN:
        errors.add(record, start, ERR_SHORT_DATAGRAM)
        return np.empty(0, np.int64)
    while end - start >= NLMSG_HDRLEN:
        run, start = _equal_run(buf, start, end)
        if len(run) < _STEPS:
            steps, start, code = _steps(buf, start, end)
            found += [run, np.array(steps, np.int64)]
            if code:
                errors.add(record, start, code)
                return np.concatenate(found)
        else:
            found.append(run)
    if end - start > 3:  # up to three bytes of padding may follow
        errors.add(record, start, ERR_MESSAGE_CUT)
    return np.concatenate(found)


def _equal_run(buf: Buffer, start: int, end: int) -> tuple[NDArray[np.int64], int]:
    """The messages from start on that are as long as the first, and where the next one begins."""
    length: int = _LENGTH(buf, start)[0]
    if not NLMSG_HDRLEN <= length <= end - start:
        return np.empty(0, np.int64), start
    stride = length + 3 & ~3
    count = min(_RUN, (end - start - length) // stride + 1)
    lengths = np.ndarray((count,), np.uint32, buf, start, (stride,))
    same = lengths == length
    if not same.all():
        count = int(same.argmin())
    return start + stride * np.arange(count, dtype=np.int64), start + stride * count


def _steps(buf: Buffer, start: int, end: int) -> tuple[list[int], int, int]:
    """Up to _STEPS messages one by one: their offsets, where it stopped, and an error code or 0."""
    found: list[int] = []
    while end - start >= NLMSG_HDRLEN and len(found) < _STEPS:
        length = _LENGTH(buf, start)[0]
        if length < NLMSG_HDRLEN:
            return found, start, ERR_MESSAGE_LENGTH
        if length > end - start:
            return found, start, ERR_MESSAGE_CUT
        found.append(start)
        start += length + 3 & ~3
    return found, start, 0
