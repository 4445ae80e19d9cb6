"""The columns of a table as a filter reads them, by the names of the filter language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of every row: address halves (hi None: no IPv6 row), port, and a mask of rows with a port."""

    hi: Array | None
    lo: Array
    port: Array | None = None
    has_port: Mask | None = None  # None: rows whose proto is TCP, UDP, UDPLITE, SCTP or DCCP


@dataclass(frozen=True, slots=True)
class Loaded:
    """A number for every row, from the bytes of its packet: uint32."""

    value: Array
    there: Mask  # rows that have the layer or protocol
    captured: Mask  # rows whose bytes at that place were captured


class Fields(Protocol):
    """The columns that a filter is evaluated over: a window of flows, events or packets. All arrays have length n."""

    n: int

    def number(self, name: str) -> Array | None:
        """Return a numeric column; None if no row has it.

        family proto zone mark status id timeout (s) bytes packets (both directions) rate (bytes a second, both
        directions) age (s) len (on the wire) pid; for packets also ethertype vlan inner_vlan direction (PACKET_*: 4
        outgoing).
        """

    def present(self, name: str) -> Mask | None:
        """Return a mask of the rows with a value in this column (of `number` or `words`); None: all rows."""

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return the endpoints of a side: "src", "dst", "any", and for flows and events "osrc", "odst", "rsrc", "rdst".

        On flows and events "src" and "dst" are the original tuple's, "any" is all four. Empty if rows have none.
        """

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return a column of codes and the words of the codes; None if no row has it.

        state netns process chain verdict device helper event label; for chains and rules also family table hook
        backend; for traced packets also rule table hook. words[code] is the text as the screen shows it; no filter
        matches "". A row may have several words, separated by NUL.
        """


@runtime_checkable
class ByteFields(Protocol):
    """Fields of packets whose bytes can be read."""

    def load(self, layer: str, offset: Array, size: int) -> Loaded:
        """Return the big-endian number of 1, 2 or 4 bytes at `offset` (int64, one a row) from the start of a layer.

        Layers: "link" (the frame), "mac" (the frame if it is Ethernet's), "llc", "network", "transport".
        """


@dataclass(slots=True)
class ListedFields:
    """The columns of a few rows that are Python values, only computed when they are used."""

    n: int
    _numbers: Callable[[str], Sequence[float | None] | None]  # by name of a column; None: there is no such column
    _texts: Callable[[str], Sequence[str] | None]
    _endpoints: Callable[[str], Sequence[Endpoint]] = lambda side: ()

    def number(self, name: str) -> Array | None:
        """Return a column of numbers, 0 where there is none."""
        numbers = self._numbers(name)
        return None if numbers is None else np.array([number or 0 for number in numbers])

    def present(self, name: str) -> Mask | None:
        """Return a mask of the rows with this number."""
        numbers = self._numbers(name)
        return None if numbers is None else np.array([number is not None for number in numbers], np.bool_)

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return the endpoints of a side."""
        return self._endpoints(side)

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return the codes and the words of a column of texts."""
        texts = self._texts(name)
        if texts is None:
            return None
        words = sorted(set(texts))
        codes = {word: code for code, word in enumerate(words)}
        return np.array([codes[text] for text in texts], np.int64), words
