"""Links, addresses and routes of each namespace, kept from dumps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nettop.batch import DumpMark, Gap
from nettop.decode.rtnetlink import Address, Link, Route, RouteRows
from nettop.model.topology.lookup import RouteLookup

MAX_ROUTES = 100_000  # of a namespace (and links, and addresses): beyond it devices are not inferred
_PARTS = ("links", "addresses", "routes")  # DumpMark.what


@dataclass(slots=True)
class _Namespace:
    links: dict[int, Link] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    complete: set[str] = field(default_factory=set)  # parts of which a complete dump was read
    pending: RouteRows | None = None  # rows of the dump in progress
    lookup: RouteLookup | None = None


class Routing:
    """The model of the stream "routes". A complete dump replaces the links, addresses or routes of its namespace."""

    def __init__(self) -> None:
        self.version = 0
        self._of: dict[int, _Namespace] = {}

    def apply(self, item: RouteRows | DumpMark | Gap, netns: int, now_ns: int) -> None:
        """Add rows of a dump, or begin and end one."""
        known = self._of.setdefault(netns, _Namespace())
        if isinstance(item, RouteRows):
            _gather(known, item)
        elif isinstance(item, DumpMark) and item.what in _PARTS:
            rows, known.pending = known.pending, RouteRows() if item.begin else None
            if not item.begin and item.complete and rows is not None:
                self._replace(known, item.what, rows)

    def _replace(self, known: _Namespace, what: str, rows: RouteRows) -> None:
        found = {link.ifindex: link for link in rows.links} if what == "links" else tuple(getattr(rows, what))
        if what not in known.complete or getattr(known, what) != found:
            setattr(known, what, found)
            known.complete.add(what)
            known.lookup = None
            self.version += 1

    def links(self, netns: int) -> Mapping[int, Link]:
        """Return the devices of a namespace by ifindex."""
        return self._of[netns].links if netns in self._of else {}

    def device(self, netns: int, ifindex: int) -> str | None:
        """Return the name of a device; None if it is not known (yet)."""
        link = self.links(netns).get(ifindex)
        return None if link is None else link.name

    def is_bridge(self, netns: int, ifindex: int) -> bool:
        """Return whether a device is known to be a bridge."""
        link = self.links(netns).get(ifindex)
        return link is not None and link.kind == "bridge"

    def addresses(self, netns: int) -> tuple[Address, ...]:
        """Return the addresses of its devices."""
        return self._of[netns].addresses if netns in self._of else ()

    def routes(self, netns: int) -> tuple[Route, ...]:
        """Return the routes of all its tables."""
        return self._of[netns].routes if netns in self._of else ()

    def too_many(self, netns: int) -> bool:
        """Return whether a namespace has more routes or links than are looked up."""
        return max(len(self.routes(netns)), len(self.links(netns))) > MAX_ROUTES

    def lookup(self, netns: int) -> RouteLookup | None:
        """Return the route lookup of a namespace; None while links or routes are unknown, or too many."""
        known = self._of.get(netns)
        if known is None or not {"links", "routes"} <= known.complete or self.too_many(netns):
            return None
        if known.lookup is None:
            known.lookup = RouteLookup(known.routes, known.links)
        return known.lookup


def _gather(known: _Namespace, rows: RouteRows) -> None:
    """Add rows to the dump in progress, at most one more than MAX_ROUTES."""
    for part in _PARTS if known.pending is not None else ():
        kept = getattr(known.pending, part)
        kept += getattr(rows, part)[: max(0, MAX_ROUTES + 1 - len(kept))]
