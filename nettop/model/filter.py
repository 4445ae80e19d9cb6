"""The display-filter language: pcap-filter's common core plus nettop's own fields, evaluated over columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of every row: address halves (hi None: no IPv6 row), port, and where the port is present."""

    hi: Array | None
    lo: Array
    port: Array | None = None
    has_port: Mask | None = None  # None: wherever proto is TCP, UDP, UDPLITE, SCTP or DCCP


class Fields(Protocol):
    """The columns that a filter is evaluated over: a window of flows, events or packets."""

    kind: str  # "flow", "event", "packet": what can be asked
    n: int

    def number(self, name: str) -> Array | None:
        """A numeric column: family proto zone mark status id timeout bytes packets rate age len. None: no row has it."""
        ...

    def present(self, name: str) -> Mask | None:
        """Where that column has a value; None: everywhere."""
        ...

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """The ends a side means: "src", "dst", "any", and for flows "osrc", "odst", "rsrc", "rdst"."""
        ...

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """A column of codes with their words: state netns process chain verdict device helper event label. None: none."""
        ...


class Filter:
    """A parsed expression."""

    text: str

    def mask(self, fields: Fields) -> Mask:
        """True for the rows that match."""
        raise NotImplementedError


def parse(text: str, kind: str) -> Filter | None:
    """The filter that text describes for rows of this kind; None for an empty text. FilterError with a position."""
    raise NotImplementedError
