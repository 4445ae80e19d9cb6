"""Finds for one end of many flows the socket that it belongs to: few sockets, many flows.

A connected socket with exactly the flow's ends is certain. One that only listens, or has no other end, on the flow's
address and port (or on every address) is likely: the process that is told of later may be another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.flows.endpoints import End
from nettop.model.flows.index import FlowIndex, KeyHash
from nettop.model.processes.sockets import Socket, SocketTable

NOBODY, LIKELY, CERTAIN = 0, 1, 2
NO_SOCKET = -1
_ICMP, _ICMPV6 = 1, 58
_INET = 2


class SocketJoin:
    """Made once for each text."""

    def __init__(self, table: SocketTable, key_hash: KeyHash | None = None) -> None:
        self.table = table
        self._sharing: dict[int, list[Socket]] = {}  # what was asked for: what the screen shows, again and again
        self._others: dict[int, int] = {}
        self._hash = key_hash or KeyHash()
        self.family, self.proto = table.column("family", np.uint8), table.column("proto", np.uint8)
        self.lport, self.rport = table.column("lport", np.uint16), table.column("rport", np.uint16)
        self.local, self.remote = table.halves("local"), table.halves("remote")
        connected = np.array([socket.connected for socket in table.sockets], np.bool_)
        owned = np.array([socket.pid is not None for socket in table.sockets], np.bool_)
        self._connected = _Exact(self, connected & owned, with_peer=True)
        anywhere = (self.local[0] | self.local[1]) == 0
        self._bound = _Exact(self, ~connected & owned & ~anywhere, with_peer=False)
        self._wild = _Wildcards(self, ~connected & owned & anywhere)

    def find(self, family: Array, proto: Array, end: End, reach: Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """For each row the socket's place in the table (NO_SOCKET), and how sure that is.

        `reach`: where a socket without an address of its own may be meant: the end is here, or may be.
        """
        found = np.full(len(family), NO_SOCKET, np.int32)
        sure = np.zeros(len(family), np.uint8)
        self._connected.find(family, proto, end, found)
        sure[found >= 0] = CERTAIN
        self._bound.find(family, proto, end, found)
        self._wild.find(family, proto, end.port, reach, found)
        sure[(found >= 0) & (sure == NOBODY)] = LIKELY
        return found, sure

    def sharing(self, place: int) -> list[Socket]:
        """The sockets that could be meant where this one was found: several may listen on one port. The first is it."""
        if place not in self._sharing:
            self._sharing[place] = self._alike(place)
        return self._sharing[place]

    def others(self, place: int) -> int:
        """How many processes beside the one named may be meant."""
        if place not in self._others:
            one = self.table.sockets[place]
            pids = {other.pid for other in self.sharing(place)} - {one.pid}
            self._others[place] = max(0, one.sharers - 1) + len(pids)
        return self._others[place]

    def _alike(self, place: int) -> list[Socket]:
        one = self.table.sockets[place]
        if one.connected:
            return [one]
        same = (self.lport == one.lport) & (self.proto == one.proto) & (self.rport == 0)
        places = np.flatnonzero(same & (self.family == one.family)).tolist()
        others = [self.table.sockets[other] for other in places if other != place]
        alike = [o for o in others if o.local == one.local and not o.connected and o.pid is not None]
        return [one, *alike]

    def keys(self, places: Array, with_peer: bool) -> tuple[Array, Array, Array, tuple[Array, Array]]:
        """What _Exact hashes and compares: packed key, addresses, their high halves."""
        zero = np.zeros(len(places), np.uint64)
        packed = _packed(self.family[places], self.proto[places], self.lport[places])
        if not with_peer:
            return packed, self.local[1][places], zero, (self.local[0][places], zero)
        packed |= self.rport[places].astype(np.uint64) << np.uint64(16)
        return packed, self.local[1][places], self.remote[1][places], (self.local[0][places], self.remote[0][places])

    def hashes(self, packed: Array, own: Array, peer: Array, hi: tuple[Array, Array] | None) -> Array:
        """Seeded hashes of keys."""
        return self._hash(0, packed, own, peer, hi)


class _Exact:
    """Sockets found by their addresses and ports; of several alike the first one."""

    def __init__(self, join: SocketJoin, chosen: Array, with_peer: bool) -> None:
        places = np.flatnonzero(chosen)
        self._join, self._with_peer = join, with_peer
        packed, own, peer, hi = join.keys(places, with_peer)
        hashes = join.hashes(packed, own, peer, hi)
        _, first = np.unique(hashes, return_index=True)
        self._places = places[first].astype(np.int32)
        self._keys = packed[first], own[first], peer[first], hi[0][first], hi[1][first]
        self._row_hash = hashes[first]
        self._index = FlowIndex()
        self._index.reserve(len(first), self._row_hash, lambda: np.empty(0, np.intp))
        self._index.insert(self._row_hash, np.arange(len(first)))
        self._ports = np.zeros(65_536, np.bool_)  # most flows are told apart by their port alone
        self._ports[join.lport[places]] = True

    def find(self, family: Array, proto: Array, end: End, found: Array) -> None:
        """Put the places of the sockets into `found`, where there is none yet."""
        todo = (self._ports[end.port] & (found < 0)).nonzero()[0] if len(self._places) else self._places
        if not len(todo):
            return
        some = end if len(todo) == len(found) else end.take(todo)
        packed = _packed(family[todo], proto[todo], some.port)
        peer = some.peer_lo if self._with_peer else np.zeros(len(todo), np.uint64)
        zero = np.zeros(len(todo), np.uint64)
        own_hi = zero if some.hi is None else some.hi
        peer_hi = some.peer_hi if self._with_peer and some.peer_hi is not None else zero
        if self._with_peer:
            packed |= some.peer_port.astype(np.uint64) << np.uint64(16)
        hi = None if some.hi is None else (own_hi, peer_hi)
        asked = (packed, some.lo, peer, own_hi, peer_hi)

        def same(rows: Array, queries: Array) -> Array:
            equal = self._keys[0].take(rows) == packed.take(queries)
            for mine, theirs in zip(self._keys[1:], asked[1:], strict=True):
                equal &= mine.take(rows) == theirs.take(queries)
            return np.asarray(equal)

        rows = self._index.find(self._join.hashes(packed, some.lo, peer, hi), self._row_hash, same)
        hits = rows >= 0
        found[todo[hits]] = self._places[rows[hits]]


class _Wildcards:
    """Sockets on every address, by family, protocol and port. Those of IPv6 take IPv4, too, where no other does."""

    def __init__(self, join: SocketJoin, chosen: Array) -> None:
        taken: dict[tuple[int, int], dict[int, int]] = {}  # (family, protocol) → port → place, of several the first
        places = np.flatnonzero(chosen)
        by_family = sorted(places.tolist(), key=lambda place: int(join.family[place]))
        for place in by_family:
            family, proto, port = int(join.family[place]), int(join.proto[place]), int(join.lport[place])
            for served in (family, _INET) if family != _INET and proto != _ICMPV6 else (family,):
                taken.setdefault((served, proto), {}).setdefault(port, place)
        self._tables = {key: _Ports(found, key[1]) for key, found in taken.items()}

    def find(self, family: Array, proto: Array, port: Array, reach: Array, found: Array) -> None:
        """Put the places of the sockets into `found`, where there is none yet."""
        for (wanted, number), table in self._tables.items():
            here = ((proto == number) & (family == wanted) & (found < 0) & reach).nonzero()[0]
            if len(here):
                found[here] = table.find(port[here])


class _Ports:
    """The sockets of one family and protocol by port. Not an array of every port: a host may have sockets of each of
    256 protocols, and a recording any number of hosts."""

    def __init__(self, found: dict[int, int], proto: int) -> None:
        self._ports = np.array(sorted(found), np.uint16)
        self._places = np.array([found[port] for port in self._ports.tolist()], np.int32)
        self._rest = found.get(0, NO_SOCKET) if proto in (_ICMP, _ICMPV6) else NO_SOCKET  # a raw socket gets all

    def find(self, port: Array) -> NDArray[np.int32]:
        """The place for each port."""
        at = np.minimum(np.searchsorted(self._ports, port), len(self._ports) - 1)
        return np.where(self._ports[at] == port, self._places[at], np.int32(self._rest))


def _packed(family: Array, proto: Array, port: Array) -> Array:
    packed: Array = port.astype(np.uint64)
    packed |= proto.astype(np.uint64) << np.uint64(32)
    packed |= family.astype(np.uint64) << np.uint64(40)
    return packed
