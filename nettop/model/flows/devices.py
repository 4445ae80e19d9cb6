"""The devices that a flow comes in and leaves by, inferred from the routes of its namespace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nettop.batch import Array
from nettop.model.flows.cells import ABSENT, RowView
from nettop.model.flows.derive import Data
from nettop.model.flows.endpoints import by_netns, initiator, responder, row_columns, some
from nettop.model.table import Cell, Line
from nettop.model.topology.lookup import LOCAL, UNKNOWN, RouteLookup
from nettop.model.topology.routing import MAX_ROUTES, Routing
from nettop.text import units

LOOPBACK = "lo"
_SORTED_FROM = 1 << 20  # pairs of devices: from here on sorting costs less than a table of all pairs


class FlowDevices:
    """The devices that a flow comes in and leaves by, inferred from the routes of its namespace."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    def devices(self, row: RowView) -> tuple[str, str] | None:
        """Return the names of the devices towards the initiator and towards the responder; None if not known.

        "local" for this host, "–" without a route. From the main table; policy rules are ignored.
        """
        lookup = self._routing.lookup(row.value("netns"))
        if lookup is None:
            return None
        data = row_columns([row])
        first, second = (int(places[0]) for places in _route_codes(lookup, data))
        return (LOOPBACK, LOOPBACK) if first == second == LOCAL else (lookup.places[first], lookup.places[second])

    def device(self, rows: Sequence[RowView]) -> list[Cell]:
        """Return a cell for each row: `lan0→wan0`."""
        if not rows:
            return []
        codes, texts = self.device_codes(row_columns(rows))
        return [(texts[code], "accent") if texts[code] else ABSENT for code in codes.tolist()]

    def device_codes(self, data: Data) -> tuple[Array, list[str]]:
        """Return a code for each row, and the text of each code: `lan0→wan0`, "" where not known."""
        codes, texts = np.zeros(len(data["have"]), np.int32), [""]
        for netns, rows in by_netns(data):
            lookup = self._routing.lookup(netns)
            if lookup is None:
                continue
            first, second = _route_codes(lookup, some(data, rows))
            count = len(lookup.places)
            used, dense = _dense(first.astype(np.int64) * count + second, count * count)
            codes[rows] = dense + np.int32(len(texts))
            texts += [_text(lookup, *divmod(pair, count)) for pair in used.tolist()]
        return codes, texts

    def device_lines(self, row: RowView) -> list[Line]:
        """Return the lines for the detail of a flow: its devices, and how they are known."""
        found = self.devices(row)
        if found is None and self._routing.too_many(row.value("netns")):
            note = f"more than {units.grouped(MAX_ROUTES)} routes: devices are not inferred"
            return [(("devices  ", "key"), (note, "dim"))]
        if found is None or set(found) == {units.ABSENT}:
            return [(("devices  ", "key"), ABSENT)]
        text = found[0] if found[0] == found[1] == LOOPBACK else f"{found[0]} → {found[1]}"
        note = "  inferred from the main routing table; policy rules and other tables are not looked at"
        return [(("devices  ", "key"), (text, "accent"), (note, "dim"))]


def _route_codes(lookup: RouteLookup, data: Data) -> tuple[Array, Array]:
    """Return the route codes of the addresses of initiators and responders."""
    begun, answered = initiator(data), responder(data)
    return lookup.find(data["family"], begun.hi, begun.lo), lookup.find(data["family"], answered.hi, answered.lo)


def _dense(codes: Array, count: int) -> tuple[Array, Array]:
    """Return the codes that occur, ascending, and for each row the index of its code. All are below `count`."""
    if count > _SORTED_FROM:
        return np.unique(codes, return_inverse=True)
    used = np.flatnonzero(np.bincount(codes, minlength=1))
    index = np.zeros(count, np.int32)
    index[used] = np.arange(len(used))
    return used, index[codes]


def _text(lookup: RouteLookup, first: int, second: int) -> str:
    if first == second == LOCAL:
        return LOOPBACK
    if first == second == UNKNOWN:
        return ""
    return f"{lookup.places[first]}→{lookup.places[second]}"
