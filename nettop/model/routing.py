"""Links, addresses and routes of each namespace, and what they say of a flow: the devices it comes in and leaves by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nettop.batch import DumpMark, Gap
from nettop.decode.rtnetlink import Address, Link, Route, RouteRows
from nettop.model.flow_cells import ABSENT, Cell, RowView
from nettop.model.flow_derive import Data
from nettop.model.flow_ends import by_netns, initiator, responder, row_columns, some
from nettop.model.route_lookup import LOCAL, UNKNOWN, RouteLookup
from nettop.model.view import Line
from nettop.text import units

Array = NDArray[Any]
_Any = TypeVar("_Any", Link, Address, Route)

MAX_ROUTES = 100_000  # of a namespace (and links, and addresses): beyond it devices are not inferred
LOOPBACK = "lo"
_SORTED_FROM = 1 << 20  # pairs of devices: beyond, a table of all costs more than sorting
_PARTS = ("links", "addresses", "routes")  # DumpMark.what


@dataclass(slots=True)
class _Namespace:
    links: dict[int, Link] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    complete: set[str] = field(default_factory=set)  # parts that were told of in full at least once
    told: RouteRows | None = None  # of the dump under way
    lookup: RouteLookup | None = None


class Routing:
    """Takes what decode.rtnetlink makes of the stream "routes". A dump replaces what was known when it is complete."""

    def __init__(self) -> None:
        self.version = 0
        self._of: dict[int, _Namespace] = {}

    def apply(self, item: RouteRows | DumpMark | Gap, netns: int, now_ns: int) -> None:
        """Rows of a dump, or its marks."""
        known = self._of.setdefault(netns, _Namespace())
        if isinstance(item, RouteRows):
            _gather(known, item)
        elif isinstance(item, DumpMark) and item.what in _PARTS:
            told, known.told = known.told, RouteRows() if item.begin else None
            if not item.begin and item.complete and told is not None:
                self._replace(known, item.what, told)

    def _replace(self, known: _Namespace, what: str, told: RouteRows) -> None:
        before = known.links, known.addresses, known.routes
        if what == "links":
            known.links = {link.ifindex: link for link in told.links}
        elif what == "addresses":
            known.addresses = tuple(told.addresses)
        else:
            known.routes = tuple(told.routes)
        if what not in known.complete or before != (known.links, known.addresses, known.routes):
            known.complete.add(what)
            known.lookup = None
            self.version += 1

    # -- as they are -----------------------------------------------------------------------------------------------

    def links(self, netns: int) -> Mapping[int, Link]:
        """The devices of a namespace, by ifindex."""
        return self._of[netns].links if netns in self._of else {}

    def addresses(self, netns: int) -> tuple[Address, ...]:
        """The addresses of its devices."""
        return self._of[netns].addresses if netns in self._of else ()

    def routes(self, netns: int) -> tuple[Route, ...]:
        """The routes of all its tables."""
        return self._of[netns].routes if netns in self._of else ()

    def lookup(self, netns: int) -> RouteLookup | None:
        """Where addresses are, seen from this namespace; None while that is not known."""
        known = self._of.get(netns)
        if known is None or not {"links", "routes"} <= known.complete:
            return None
        if max(len(known.routes), len(known.links)) > MAX_ROUTES:
            return None
        if known.lookup is None:
            known.lookup = RouteLookup(known.routes, known.links)
        return known.lookup

    # -- of flows --------------------------------------------------------------------------------------------------

    def devices(self, row: RowView) -> tuple[str, str] | None:
        """Names of the devices towards the end that began the flow and towards the one that answers; None: not known.

        "local" for this host, "–" without a route. By the main table: policy rules are not looked at.
        """
        lookup = self.lookup(row.value("netns"))
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
            lookup = self.lookup(netns)
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
        found, known = self.devices(row), self._of.get(row.value("netns"))
        if found is None and known is not None and len(known.routes) > MAX_ROUTES:
            why = f"more than {units.grouped(MAX_ROUTES)} routes: devices are not inferred"
            return [(("devices  ", "key"), (why, "dim"))]
        if found is None or set(found) == {units.ABSENT}:
            return [(("devices  ", "key"), ABSENT)]
        text = found[0] if found[0] == found[1] == LOOPBACK else f"{found[0]} → {found[1]}"
        why = "  inferred from the main routing table; policy rules and other tables are not looked at"
        return [(("devices  ", "key"), (text, "accent"), (why, "dim"))]


def _gather(known: _Namespace, rows: RouteRows) -> None:
    """What a dump under way told of; of more than can be used only that there are more."""
    if known.told is not None:
        _append(known.told.links, rows.links)
        _append(known.told.addresses, rows.addresses)
        _append(known.told.routes, rows.routes)


def _append(known: list[_Any], more: list[_Any]) -> None:
    if len(known) <= MAX_ROUTES:
        known += more[: MAX_ROUTES + 1 - len(known)]


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
