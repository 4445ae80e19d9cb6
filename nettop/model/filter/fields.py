"""What a table offers to a filter: its columns, by the names that the filter language uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of every row: address halves (hi None: no IPv6 row), port, and where the port is present."""

    hi: Array | None
    lo: Array
    port: Array | None = None
    has_port: Mask | None = None  # None: wherever proto is TCP, UDP, UDPLITE, SCTP or DCCP


class Fields(Protocol):
    """The columns that a filter is evaluated over: a window of flows, events or packets. All arrays have length n."""

    kind: str  # "flow", "event", "packet", "trace", "chain", "rule": what can be asked
    n: int

    def number(self, name: str) -> Array | None:
        """A numeric column; None: no row has it.

        family proto zone mark status id timeout (s) bytes packets (both directions) rate (bytes a second, both
        directions) age (s) len (on the wire) pid; for packets also ethertype vlan direction (PACKET_*: 4 outgoing).
        """
        ...

    def present(self, name: str) -> Mask | None:
        """Where that column (of number or of words) has a value; None: everywhere."""
        ...

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """The ends a side means: "src", "dst", "any", and for flows and events "osrc", "odst", "rsrc", "rdst".

        On flows and events "src" and "dst" are the original tuple's, "any" is all four. None of a side: an empty list.
        """
        ...

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """A column of codes with their words, None: none. state netns process chain verdict device helper event label;
        for chains and rules also family table hook backend.

        words[code] is the text as the screen shows it; "" matches nothing that a person can type.
        """
        ...
