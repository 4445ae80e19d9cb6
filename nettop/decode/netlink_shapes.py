"""Netlink messages that are built alike: those that are equal apart from some values are decoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, TypeVar

from nettop.linux.netlink import NLMSG_HDRLEN, Span

_MAX_LENGTH = 4096  # bytes of a message: longer ones are rare
_MAX_MASKS = 4  # of one length that are tried
_MAX_SHAPES = 2_000

T = TypeVar("T")


class Shapes(Generic[T]):
    """Values by the bytes of messages with what may differ set to zero. Headers (struct nlmsghdr) are not compared."""

    def __init__(self) -> None:
        self._by_length: defaultdict[int, dict[int, dict[int, T]]] = defaultdict(dict)  # by mask, and masked bytes
        self._count = 0

    def find(self, data: bytes, at: int, end: int) -> T | None:
        """Return the value of the shape of the message data[at:end]; None: it is not known."""
        masks = self._by_length.get(end - at)
        if masks is None:
            return None
        number = int.from_bytes(data[at + NLMSG_HDRLEN : end], "little")
        for mask, values in masks.items():
            found = values.get(number & mask)
            if found is not None:
                return found
        return None

    def add(self, data: bytes, at: int, end: int, varying: Iterable[Span], value: T) -> None:
        """Keep the value of a message; `varying` are the spans in `data` that may differ.

        So may the padding after them, which the kernel leaves as it was in trace records.
        """
        body = at + NLMSG_HDRLEN
        bits = bytearray(b"\xff") * (end - body)
        for first, last in varying:
            padded = min(last + (at - last) % 4, end)
            bits[first - body : padded - body] = bytes(padded - first)
        mask, masks = int.from_bytes(bits, "little"), self._by_length[end - at]
        if end - at > _MAX_LENGTH or self._count >= _MAX_SHAPES or (mask not in masks and len(masks) >= _MAX_MASKS):
            return
        masks.setdefault(mask, {})[mask & int.from_bytes(data[at + NLMSG_HDRLEN : end], "little")] = value
        self._count += 1
