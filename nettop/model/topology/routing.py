"""Links, addresses and routes of each namespace, and what they say of a flow: the devices it comes in and leaves by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from nettop.batch import DumpMark, Gap
from nettop.decode.rtnetlink import Address, Link, Route, RouteRows
from nettop.model.topology.lookup import RouteLookup

_Any = TypeVar("_Any", Link, Address, Route)

MAX_ROUTES = 100_000  # of a namespace (and links, and addresses): beyond it devices are not inferred
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

    def too_many(self, netns: int) -> bool:
        """Return whether a namespace has more routes or links than are looked up."""
        return max(len(self.routes(netns)), len(self.links(netns))) > MAX_ROUTES

    def lookup(self, netns: int) -> RouteLookup | None:
        """Where addresses are, seen from this namespace; None while that is not known."""
        known = self._of.get(netns)
        if known is None or not {"links", "routes"} <= known.complete:
            return None
        if self.too_many(netns):
            return None
        if known.lookup is None:
            known.lookup = RouteLookup(known.routes, known.links)
        return known.lookup


def _gather(known: _Namespace, rows: RouteRows) -> None:
    """What a dump under way told of; of more than can be used only that there are more."""
    if known.told is not None:
        _append(known.told.links, rows.links)
        _append(known.told.addresses, rows.addresses)
        _append(known.told.routes, rows.routes)


def _append(known: list[_Any], more: list[_Any]) -> None:
    if len(known) <= MAX_ROUTES:
        known += more[: MAX_ROUTES + 1 - len(known)]
