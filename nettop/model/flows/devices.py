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


_SORTED_FROM = 1 << 20  # pairs of devices: beyond, a table of all costs more than sorting


class FlowDevices:
    """The devices that a flow comes in and leaves by, inferred from the routes of its namespace."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    def devices(self, row: RowView) -> tuple[str, str] | None:
        """Names of the devices towards the end that began the flow and towards the one that answers; None: not known.

        "local" for this host, "–" without a route. By the main table: policy rules are not looked at.
        """
        lookup = self._routing.lookup(row.value("netns"))
        if lookup is None:
            return None
        data = row_columns([row])
        near, far = (int(places[0]) for places in _places(lookup, data))
        return (LOOPBACK, LOOPBACK) if near == far == LOCAL else (lookup.places[near], lookup.places[far])

    def device(self, rows: Sequence[RowView]) -> list[Cell]:
        """A cell for each row: `lan0→wan0`."""
        if not rows:
            return []
        codes, words = self.device_codes(row_columns(rows))
        return [(words[code], "accent") if words[code] else ABSENT for code in codes.tolist()]

    def device_codes(self, data: Data) -> tuple[Array, list[str]]:
        """For each row a code, and the word of each code (`lan0→wan0`); "" is the word of what is not known."""
        codes, words = np.zeros(len(data["have"]), np.int32), [""]
        for netns, rows in by_netns(data):
            lookup = self._routing.lookup(netns)
            if lookup is None:
                continue
            near, far = _places(lookup, some(data, rows))
            count = len(lookup.places)
            used, dense = _dense(near.astype(np.int64) * count + far, count * count)
            codes[rows] = dense + np.int32(len(words))
            words += [_word(lookup, *divmod(pair, count)) for pair in used.tolist()]
        return codes, words

    def device_lines(self, row: RowView) -> list[Line]:
        """For the detail of a flow: its devices, and how they are known."""
        found = self.devices(row)
        if found is None and self._routing.too_many(row.value("netns")):
            why = f"more than {units.grouped(MAX_ROUTES)} routes: devices are not inferred"
            return [(("devices  ", "key"), (why, "dim"))]
        if found is None or set(found) == {units.ABSENT}:
            return [(("devices  ", "key"), ABSENT)]
        text = found[0] if found[0] == found[1] == LOOPBACK else f"{found[0]} → {found[1]}"
        why = "  inferred from the main routing table; policy rules and other tables are not looked at"
        return [(("devices  ", "key"), (text, "accent"), (why, "dim"))]


def _places(lookup: RouteLookup, data: Data) -> tuple[Array, Array]:
    """Codes of where the flows' ends are, towards the one that began and towards the one that answers."""
    near, far = initiator(data), responder(data)
    return lookup.find(data["family"], near.hi, near.lo), lookup.find(data["family"], far.hi, far.lo)


def _dense(codes: Array, count: int) -> tuple[Array, Array]:
    """The codes that occur, ascending, and for each row which of them is its. All are below count."""
    if count > _SORTED_FROM:
        return np.unique(codes, return_inverse=True)
    used = np.flatnonzero(np.bincount(codes, minlength=1))
    place = np.zeros(count, np.int32)
    place[used] = np.arange(len(used))
    return used, place[codes]


def _word(lookup: RouteLookup, near: int, far: int) -> str:
    if near == far == LOCAL:
        return LOOPBACK
    if near == far == UNKNOWN:
        return ""
    return f"{lookup.places[near]}→{lookup.places[far]}"
