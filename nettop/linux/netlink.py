"""Netlink messages and attributes: their numbers and the walk over them (linux/netlink.h, RFC 3549)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from struct import Struct
from typing import Literal

NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 0, 4, 12  # protocols
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK = 1, 10  # socket options

NLMSGHDR = Struct("=IHHII")  # length (header included, padding not), type, flags, sequence, port id
NLMSG_HDRLEN = NLMSGHDR.size
NLMSG_ERROR, NLMSG_DONE = 2, 3
ERRNO = Struct("=i").unpack_from  # after the header of an NLMSG_ERROR: negative; 0: success
NLMSG_MIN_TYPE = 16  # below: control messages
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x2, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_CREATE, NLM_F_APPEND = 0x400, 0x800  # in a NEW message

NLATTR = Struct("=HH")  # length (header included, padding not), type
NLA_HDRLEN = NLATTR.size
NLA_F_NESTED, NLA_F_NET_BYTEORDER = 0x8000, 0x4000
NLA_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

# Error codes, shared by all readers of netlink messages.
ERR_SHORT_DATAGRAM, ERR_MESSAGE_LENGTH, ERR_MESSAGE_CUT = 1, 2, 3
ERR_ATTRIBUTE_LENGTH, ERR_ATTRIBUTE_CUT, ERR_VALUE_SHORT, ERR_FAMILY, ERR_TOO_LONG, ERR_MALFORMED = 4, 5, 6, 7, 8, 9
ERROR_TEXT = {
    ERR_SHORT_DATAGRAM: "datagram shorter than a netlink header",
    ERR_MESSAGE_LENGTH: "message length below a netlink header",
    ERR_MESSAGE_CUT: "message longer than its datagram",
    ERR_ATTRIBUTE_LENGTH: "attribute length below an attribute header",
    ERR_ATTRIBUTE_CUT: "attribute longer than what holds it",
    ERR_VALUE_SHORT: "attribute too short for its value",
    ERR_FAMILY: "IPv4 and IPv6 addresses in one message",
    ERR_MALFORMED: "message whose attributes are malformed",
    ERR_TOO_LONG: "message or attribute list longer than the kernel makes them",
}

Buffer = bytes | bytearray | memoryview
Span = tuple[int, int]  # of a payload: its first byte, one past its last
_MESSAGE = Struct("=IH").unpack_from
_ATTRIBUTE = NLATTR.unpack_from


class MalformedError(ValueError):
    """Malformed bytes: `offset` into the buffer, `code` of ERROR_TEXT."""

    def __init__(self, offset: int, code: int) -> None:
        super().__init__(ERROR_TEXT[code])
        self.offset = offset
        self.code = code


def messages(buf: Buffer, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first byte, one past the last) of each message in buf[start:end]. Raises MalformedError."""
    end = len(buf) if end is None else end
    while end - start > 3:  # up to three bytes of padding may follow
        length, kind = _MESSAGE(buf, start) if end - start >= NLMSG_HDRLEN else (NLMSG_HDRLEN, 0)
        if length < NLMSG_HDRLEN:
            raise MalformedError(start, ERR_MESSAGE_LENGTH)
        if length > end - start:
            raise MalformedError(start, ERR_MESSAGE_CUT)
        yield kind, start, start + length
        start += length + 3 & ~3


def attributes(buf: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first byte, one past the last) of each attribute's payload. Raises MalformedError."""
    while end - start >= NLA_HDRLEN:
        length, kind = _ATTRIBUTE(buf, start)
        if length < NLA_HDRLEN:
            raise MalformedError(start, ERR_ATTRIBUTE_LENGTH)
        if length > end - start:
            raise MalformedError(start, ERR_ATTRIBUTE_CUT)
        yield kind & NLA_TYPE_MASK, start + NLA_HDRLEN, start + length
        start += length + 3 & ~3
    if start < end:
        raise MalformedError(start, ERR_ATTRIBUTE_CUT)


class Attributes:
    """The attributes of buf[start:end] by type; of a repeated one the last, as in the kernel's nla_parse."""

    __slots__ = ("_spans", "_start", "buf")

    def __init__(self, buf: Buffer, start: int, end: int) -> None:
        """Walk the attributes. Raises MalformedError if a length is wrong."""
        self.buf = buf
        self._start = start
        self._spans: dict[int, Span] = {}
        while end - start >= NLA_HDRLEN:  # as attributes() does, in half of its time: a rule has 20 of these
            length, kind = _ATTRIBUTE(buf, start)
            if not NLA_HDRLEN <= length <= end - start:
                raise MalformedError(start, ERR_ATTRIBUTE_LENGTH if length < NLA_HDRLEN else ERR_ATTRIBUTE_CUT)
            self._spans[kind & NLA_TYPE_MASK] = start + NLA_HDRLEN, start + length
            start += length + 3 & ~3
        if start < end:
            raise MalformedError(start, ERR_ATTRIBUTE_CUT)

    def __contains__(self, kind: int) -> bool:
        return kind in self._spans

    def __len__(self) -> int:
        return len(self._spans)

    def require(self, *kinds: int) -> None:
        """Raise MalformedError unless all these attributes are present."""
        if not self._spans.keys() >= set(kinds):
            raise MalformedError(self._start, ERR_VALUE_SHORT)

    def span(self, kind: int) -> Span:
        """Return the span of a payload in the buffer; an empty one if it is absent."""
        return self._spans.get(kind, (self._start, self._start))

    def raw(self, kind: int) -> bytes:
        """Return the payload, b"" if it is absent."""
        first, last = self.span(kind)
        return bytes(self.buf[first:last])

    def nested(self, kind: int) -> Attributes:
        """Return the nested attributes; an empty instance if it is absent. Raises MalformedError."""
        return Attributes(self.buf, *self.span(kind))

    def number(self, kind: int, min_size: int = 1, max_size: int = 8, *, signed: bool = False) -> int | None:
        """Return a big-endian number of `min_size` to `max_size` bytes, None if it is absent. Raises MalformedError."""
        return self._number(kind, min_size, max_size, "big", signed)

    def host(self, kind: int, *, signed: bool = False) -> int | None:
        """Return a 32-bit number in host order, None if it is absent. Raises MalformedError."""
        return self._number(kind, 4, 4, sys.byteorder, signed)

    def text(self, kind: int) -> str:
        """Return a NUL-terminated string, "" if it is absent; bytes that are not UTF-8 as `\\xNN`."""
        return string(self.raw(kind))

    def _number(
        self, kind: int, min_size: int, max_size: int, order: Literal["little", "big"], signed: bool
    ) -> int | None:
        if kind not in self._spans:
            return None
        first, last = self._spans[kind]
        if not min_size <= last - first <= max_size:
            raise MalformedError(first, ERR_VALUE_SHORT)
        return int.from_bytes(self.buf[first:last], order, signed=signed)


def string(raw: bytes) -> str:
    """Return the text before the first NUL; bytes that are not UTF-8 as `\\xNN`."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
