"""The socket at one endpoint of each of many flows: few sockets, many flows.

A connected socket with exactly the flow's endpoints is certain. A socket that listens or has no peer, on the flow's
address and port (or on every address), is likely: another process may have answered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6
from nettop.linux.socket import AF_INET
from nettop.model.flows.endpoints import EndpointColumns
from nettop.model.flows.index import FlowIndex, KeyHash
from nettop.model.processes.sockets import Socket, SocketTable

NO_MATCH, LIKELY, CERTAIN = 0, 1, 2
NO_SOCKET = -1


class SocketJoin:
    """An index of one socket table, built once for each text snapshot."""

    def __init__(self, table: SocketTable, key_hash: KeyHash | None = None) -> None:
        self.table = table
        self._candidates: dict[int, list[Socket]] = {}  # cache for the rows on the screen
        self._others: dict[int, int] = {}
        self.hash_of = key_hash or KeyHash()
        self.family, self.proto = table.column("family", np.uint8), table.column("proto", np.uint8)
        self.lport, self.rport = table.column("lport", np.uint16), table.column("rport", np.uint16)
        self.local, self.remote = table.halves("local"), table.halves("remote")
        connected = np.array([socket.connected for socket in table.sockets], np.bool_)
        owned = np.array([socket.pid is not None for socket in table.sockets], np.bool_)
        self._connected = _ExactSockets(self, connected & owned, with_peer=True)
        anywhere = (self.local[0] | self.local[1]) == 0
        self._bound = _ExactSockets(self, ~connected & owned & ~anywhere, with_peer=False)
        self._wild = _WildcardSockets(self, ~connected & owned & anywhere)

    def find(
        self, family: Array, proto: Array, end: EndpointColumns, local: Array
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Return for each row the index of its socket in the table or NO_SOCKET, and its certainty.

        `local`: rows whose endpoint is, or may be, an address of this host. A wildcard socket matches only these.
        """
        found = np.full(len(family), NO_SOCKET, np.int32)
        certainty = np.zeros(len(family), np.uint8)
        self._connected.find(family, proto, end, found)
        certainty[found >= 0] = CERTAIN
        self._bound.find(family, proto, end, found)
        self._wild.find(family, proto, end.port, local, found)
        certainty[(found >= 0) & (certainty == NO_MATCH)] = LIKELY
        return found, certainty

    def candidates(self, index: int) -> list[Socket]:
        """Return the sockets that match as well as this one, itself first: several may listen on one port."""
        if index not in self._candidates:
            self._candidates[index] = self._equal_sockets(index)
        return self._candidates[index]

    def others(self, index: int) -> int:
        """Return how many other processes match as well."""
        if index not in self._others:
            one = self.table.sockets[index]
            pids = {other.pid for other in self.candidates(index)} - {one.pid}
            self._others[index] = max(0, one.sharers - 1) + len(pids)
        return self._others[index]

    def _equal_sockets(self, index: int) -> list[Socket]:
        one = self.table.sockets[index]
        if one.connected:
            return [one]
        same = (self.lport == one.lport) & (self.proto == one.proto) & (self.rport == 0)
        indexes = np.flatnonzero(same & (self.family == one.family)).tolist()
        others = [self.table.sockets[other] for other in indexes if other != index]
        equal = [o for o in others if o.local == one.local and not o.connected and o.pid is not None]
        return [one, *equal]

    def keys(self, indexes: Array, with_peer: bool) -> tuple[Array, Array, Array, tuple[Array, Array]]:
        """Return the keys that _ExactSockets hashes and compares: packed numbers, addresses, and their high halves."""
        zero = np.zeros(len(indexes), np.uint64)
        packed = _packed(self.family[indexes], self.proto[indexes], self.lport[indexes])
        if not with_peer:
            return packed, self.local[1][indexes], zero, (self.local[0][indexes], zero)
        packed |= self.rport[indexes].astype(np.uint64) << np.uint64(16)
        return (
            packed,
            self.local[1][indexes],
            self.remote[1][indexes],
            (self.local[0][indexes], self.remote[0][indexes]),
        )


class _ExactSockets:
    """Sockets by addresses and ports; of equal ones the first."""

    def __init__(self, join: SocketJoin, chosen: Array, with_peer: bool) -> None:
        indexes = np.flatnonzero(chosen)
        self._join, self._with_peer = join, with_peer
        packed, own, peer, hi = join.keys(indexes, with_peer)
        hashes = join.hash_of(0, packed, own, peer, hi)
        _, first = np.unique(hashes, return_index=True)
        self._indexes = indexes[first].astype(np.int32)
        self._keys = packed[first], own[first], peer[first], hi[0][first], hi[1][first]
        self._row_hash = hashes[first]
        self._index = FlowIndex()
        self._index.reserve(len(first), self._row_hash, lambda: np.empty(0, np.intp))
        self._index.insert(self._row_hash, np.arange(len(first)))
        self._ports = np.zeros(65_536, np.bool_)  # most flows are excluded by their port alone
        self._ports[join.lport[indexes]] = True

    def find(self, family: Array, proto: Array, end: EndpointColumns, found: Array) -> None:
        """Store the index of the matching socket in each row of `found` that has none yet."""
        todo = (self._ports[end.port] & (found < 0)).nonzero()[0] if len(self._indexes) else self._indexes
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
        query = (packed, some.lo, peer, own_hi, peer_hi)

        def same(rows: Array, queries: Array) -> Array:
            equal = self._keys[0].take(rows) == packed.take(queries)
            for mine, theirs in zip(self._keys[1:], query[1:], strict=True):
                equal &= mine.take(rows) == theirs.take(queries)
            return np.asarray(equal)

        rows = self._index.find(self._join.hash_of(0, packed, some.lo, peer, hi), self._row_hash, same)
        hits = rows >= 0
        found[todo[hits]] = self._indexes[rows[hits]]


class _WildcardSockets:
    """Sockets on every address, by family, protocol and port. An IPv6 one also serves IPv4 where no IPv4 one does."""

    def __init__(self, join: SocketJoin, chosen: Array) -> None:
        first: dict[tuple[int, int], dict[int, int]] = {}  # (family, protocol) → port → index of the first
        indexes = np.flatnonzero(chosen)
        by_family = sorted(indexes.tolist(), key=lambda index: int(join.family[index]))
        for index in by_family:
            family, proto, port = int(join.family[index]), int(join.proto[index]), int(join.lport[index])
            for served in (family, AF_INET) if family != AF_INET and proto != IPPROTO_ICMPV6 else (family,):
                first.setdefault((served, proto), {}).setdefault(port, index)
        self._tables = {key: _SocketsByPort(found, key[1]) for key, found in first.items()}

    def find(self, family: Array, proto: Array, port: Array, local: Array, found: Array) -> None:
        """Store the index of the matching socket in each row of `found` that has none yet."""
        for (wanted, number), table in self._tables.items():
            here = ((proto == number) & (family == wanted) & (found < 0) & local).nonzero()[0]
            if len(here):
                found[here] = table.find(port[here])


class _SocketsByPort:
    """The sockets of one family and protocol by port.

    Sorted, not an array of every port: a host may have sockets of 256 protocols, a recording of any number of hosts.
    """

    def __init__(self, found: dict[int, int], proto: int) -> None:
        self._ports = np.array(sorted(found), np.uint16)
        self._indexes = np.array([found[port] for port in self._ports.tolist()], np.int32)
        self._rest = (
            found.get(0, NO_SOCKET) if proto in (IPPROTO_ICMP, IPPROTO_ICMPV6) else NO_SOCKET
        )  # a raw socket receives all

    def find(self, port: Array) -> NDArray[np.int32]:
        """Return the socket index of each port."""
        at = np.minimum(np.searchsorted(self._ports, port), len(self._ports) - 1)
        return np.where(self._ports[at] == port, self._indexes[at], np.int32(self._rest))


def _packed(family: Array, proto: Array, port: Array) -> Array:
    packed: Array = port.astype(np.uint64)
    packed |= proto.astype(np.uint64) << np.uint64(32)
    packed |= family.astype(np.uint64) << np.uint64(40)
    return packed
