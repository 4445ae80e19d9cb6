"""The namespace that each nsid stands for. Nothing is changed: a namespace without an id gets none (RTM_NEWNSID)."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from struct import Struct

from nettop.broker.attributes import attribute
from nettop.broker.reads import DUMP, REQUEST, answers, message
from nettop.linux import netlink as nl
from nettop.linux import rtnetlink as rtnl

MAX_QUESTIONS = 100_000  # of one census: about a second
UNKNOWN = 0  # in place of the inode
_HUBS = 8
_U32 = Struct("=I")

Ask = Callable[[int, int], int]  # the id of the second namespace in the first, by their inodes; negative: none


def resolve(ids: Mapping[int, list[int]], ask: Ask, limit: int = MAX_QUESTIONS) -> dict[int, dict[int, int]]:
    """Return the inode of each id by the inode of the namespace that knows the id; UNKNOWN: of none of them.

    Those with many ids come first. The first candidates of a namespace are those that know it, then those that many
    others know: around a hub each other namespace costs one question, also while the hub has no ids itself.
    """
    found: dict[int, dict[int, int]] = {inode: dict.fromkeys(known, UNKNOWN) for inode, known in ids.items()}
    knows_me: dict[int, list[int]] = defaultdict(list)
    hubs: Counter[int] = Counter()
    order = sorted(ids, key=lambda inode: -len(ids[inode]))
    for inode in order:
        remaining = set(ids[inode])
        known = (candidate for candidate, _ in hubs.most_common(_HUBS))
        for candidate in dict.fromkeys((*knows_me[inode], *known, *order)):
            if not remaining or limit <= 0:
                break
            limit -= 1
            nsid = ask(inode, candidate)
            if nsid in remaining:
                remaining.discard(nsid)
                found[inode][nsid] = candidate
                knows_me[candidate].append(inode)
                hubs[candidate] += 1
    return found


class NsidSocket:
    """A socket in the namespace that the caller has entered."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, nl.NETLINK_ROUTE)
        self._sock.settimeout(2.0)

    def ids(self) -> list[int]:
        """Return the ids of other namespaces here. OSError: this kernel lists none."""
        return [nsid for nsid in self._ask(b"", DUMP) if nsid >= 0]

    def id_of(self, fd: int) -> int:
        """Return the id of the namespace of this descriptor; negative: it has none here."""
        return next(self._ask(attribute(rtnl.NETNSA_FD, _U32.pack(fd)), REQUEST), -1)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _ask(self, attributes: bytes, flags: int) -> Iterator[int]:
        request = message(rtnl.RTM_GETNSID, flags, 1, bytes(rtnl.RTGENMSG_LEN) + attributes)
        for kind, datagram, first, last in answers(self._sock, request):
            if kind == rtnl.RTM_NEWNSID:
                found = nl.Attributes(datagram, first + nl.NLMSG_HDRLEN + rtnl.RTGENMSG_LEN, last)
                nsid = found.host(rtnl.NETNSA_NSID, signed=True)
                yield -1 if nsid is None else nsid
