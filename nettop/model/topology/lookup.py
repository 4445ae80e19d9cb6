"""Route lookup for many addresses at once: local, behind a device, or unreachable, by the local and main tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.decode.rtnetlink import Link, Route
from nettop.linux import rtnetlink as rt
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.topology.prefixes import PrefixTable

UNKNOWN, LOCAL, GROUP = 0, 1, 2  # the first codes: no route, an address of this host, broadcast or multicast
_FIXED = ("–", "local", "group", "blackhole", "unreachable", "prohibit")
_KINDS = {
    rt.RTN_LOCAL: LOCAL, rt.RTN_ANYCAST: LOCAL, rt.RTN_BROADCAST: GROUP, rt.RTN_MULTICAST: GROUP,
    rt.RTN_BLACKHOLE: 3, rt.RTN_UNREACHABLE: 4, rt.RTN_PROHIBIT: 5,
}  # fmt: skip
_ORDER = (rt.RT_TABLE_LOCAL, rt.RT_TABLE_MAIN, rt.RT_TABLE_DEFAULT)  # in the order of the three default policy rules
_MULTICAST = {AF_INET: (0xE000_0000, 4), AF_INET6: (0xFF << 120, 8)}
_MAX_NAMES = 3  # devices named where routes of equal metric leave by several

_Find = Callable[[int, Array | None, Array], NDArray[np.int32]]


class RouteLookup:
    """A lookup table built once from the routes of a namespace. Policy rules and other tables are ignored."""

    def __init__(self, routes: Sequence[Route], links: Mapping[int, Link]) -> None:
        self.places: list[str] = [*_FIXED]  # the label of each code
        self._codes: dict[str, int] = {word: code for code, word in enumerate(_FIXED)}
        self._links = links
        self._tables = {
            family: [PrefixTable(self._prefixes(routes, family, table), width) for table in _ORDER]
            for family, width in ((AF_INET, 32), (AF_INET6, 128))
        }

    def find(self, family: Array, hi: Array | None, lo: Array) -> NDArray[np.int32]:
        """Return for each address the index into `places` of where it is."""
        return _by_family(self._of, family, hi, lo)

    def here(self, family: Array, hi: Array | None, lo: Array) -> NDArray[np.uint8]:
        """Return LOCAL, GROUP or UNKNOWN (elsewhere) for each address, by the local table alone, which is small."""
        found = _by_family(lambda of, *halves: self._tables[of][0].find(*halves), family, hi, lo)
        return np.where((found == LOCAL) | (found == GROUP), found, UNKNOWN).astype(np.uint8)

    def _of(self, family: int, hi: Array | None, lo: Array) -> NDArray[np.int32]:
        found = np.full(len(lo), -1, np.int32)
        todo = np.arange(len(lo))
        for table in self._tables[family]:
            if not table.empty and len(todo):
                rest = table.find(None if hi is None else hi[todo], lo[todo])
                found[todo] = rest
                todo = todo[rest < 0]
        found[found < 0] = UNKNOWN
        return found

    def _prefixes(self, routes: Sequence[Route], family: int, table: int) -> list[tuple[int, int, int]]:
        """Return the routes of a table as prefixes with codes; of equal prefixes all routes with the best metric."""
        best: dict[tuple[int, int], tuple[int, list[Route]]] = {}
        for route in routes:
            usable = route.family == family and route.table == table and not route.tos and not route.source_length
            if not usable or route.kind == rt.RTN_THROW:
                continue
            key = route.destination, route.length
            metric, same = best.get(key, (route.metric, []))
            if route.metric < metric:
                metric, same = route.metric, []
            if route.metric == metric:
                same.append(route)
            best[key] = metric, same
        found = [(*key, self._code(same)) for key, (_, same) in best.items()]
        if table == rt.RT_TABLE_LOCAL:
            found.append((*_MULTICAST[family], GROUP))
        return [prefix for prefix in found if prefix[2] >= 0]

    def _code(self, routes: Sequence[Route]) -> int:
        kind = _KINDS.get(routes[0].kind)
        if kind is not None:
            return kind
        hops = [hop.ifindex for route in routes for hop in route.hops if not hop.dead]
        names = [self._links[hop].name if hop in self._links else f"#{hop}" for hop in dict.fromkeys(hops)]
        if not names:
            return -1
        word = "|".join(names[:_MAX_NAMES]) + ("|…" if len(names) > _MAX_NAMES else "")
        code = self._codes.setdefault(word, len(self.places))
        if code == len(self.places):
            self.places.append(word)
        return code


def _by_family(find: _Find, family: Array, hi: Array | None, lo: Array) -> NDArray[np.int32]:
    six = family != AF_INET
    if not six.any():
        return find(AF_INET, None, lo)
    found = np.empty(len(lo), np.int32)
    found[~six] = find(AF_INET, None, lo[~six])
    found[six] = find(AF_INET6, None if hi is None else hi[six], lo[six])
    return found
