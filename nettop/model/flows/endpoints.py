"""The two endpoints of flows as this host sees them: the initiator before any NAT, the responder after all NAT.

A local program that begins a flow has the socket osrc → odst: NAT comes after it. One that answers has the socket
rsrc → rdst: packets reach it after all NAT (DNAT and REDIRECT in prerouting, SNAT in input).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nettop.batch import Array
from nettop.columns import FLOW_DTYPES, FLOW_HI, HAVE_REPLY
from nettop.model.flows.cells import RowView
from nettop.model.flows.derive import Data, column

_COLUMNS = (
    *("have", "family", "proto", "netns", "osrc_lo", "odst_lo", "rsrc_lo", "rdst_lo"),
    *("osport", "odport", "rsport", "rdport"),
)
_DTYPES = FLOW_DTYPES | {"netns": np.uint16}


@dataclass(frozen=True, slots=True)
class EndpointColumns:
    """One endpoint of each flow: its address and port, and those of its peer as it sees them. `hi` None: all IPv4."""

    hi: Array | None
    lo: Array
    port: Array
    peer_hi: Array | None
    peer_lo: Array
    peer_port: Array

    def take(self, rows: Array | slice) -> EndpointColumns:
        """Return some of the rows."""
        hi = None if self.hi is None else self.hi[rows]
        peer_hi = None if self.peer_hi is None else self.peer_hi[rows]
        return EndpointColumns(hi, self.lo[rows], self.port[rows], peer_hi, self.peer_lo[rows], self.peer_port[rows])


def _select_hi(unknown: Array, mirror: Array | None, own: Array | None) -> Array | None:
    """Return the high halves, `mirror` where the reply is unknown; both exist, or neither."""
    return None if own is None or mirror is None else np.where(unknown, mirror, own)


def initiator(data: Data) -> EndpointColumns:
    """Return the endpoint that began the flow, from the original tuple."""
    return _endpoint(data, "osrc", "osport", "odst", "odport")


def responder(data: Data) -> EndpointColumns:
    """Return the endpoint that answers, from the reply tuple; where that is not known, from the original one."""
    end = _endpoint(data, "rsrc", "rsport", "rdst", "rdport")
    unknown = data["have"] & np.uint32(HAVE_REPLY) == 0
    if not unknown.any():
        return end
    mirror = _endpoint(data, "odst", "odport", "osrc", "osport")
    return EndpointColumns(
        _select_hi(unknown, mirror.hi, end.hi),
        np.where(unknown, mirror.lo, end.lo),
        np.where(unknown, mirror.port, end.port),
        _select_hi(unknown, mirror.peer_hi, end.peer_hi),
        np.where(unknown, mirror.peer_lo, end.peer_lo),
        np.where(unknown, mirror.peer_port, end.peer_port),
    )


def by_netns(data: Data) -> Iterator[tuple[int, Array | slice]]:
    """Yield each namespace's code and its rows; all rows as a slice, which copies nothing."""
    netns = data["netns"]
    present = np.flatnonzero(np.bincount(netns)).tolist() if len(netns) else []
    for code in present:
        yield code, slice(None) if len(present) == 1 else (netns == code).nonzero()[0]


def some(data: Data, rows: Array | slice) -> Data:
    """Return the columns of these rows that endpoints are made of."""
    if isinstance(rows, slice):
        return data
    return {name: data[name][rows] for name in (*_COLUMNS, *FLOW_HI) if name in data}


def row_columns(rows: Sequence[RowView]) -> dict[str, Array]:
    """Return the columns of a few rows that are Python values."""
    six = any(row.value("osrc_hi") or row.value("odst_hi") or row.value("rsrc_hi") for row in rows)
    names = (*_COLUMNS, *(FLOW_HI if six else ()))
    return {name: np.array([row.value(name) for row in rows], _DTYPES[name]) for name in names}


def _endpoint(data: Data, own: str, port: str, peer: str, peer_port: str) -> EndpointColumns:
    return EndpointColumns(
        data.get(f"{own}_hi"),
        column(data, f"{own}_lo"),
        column(data, port),
        data.get(f"{peer}_hi"),
        column(data, f"{peer}_lo"),
        column(data, peer_port),
    )
