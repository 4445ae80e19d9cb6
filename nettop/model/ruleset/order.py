"""The order in which base chains see a packet: paths, hooks, priorities; and ties, whose order a trace may prove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from nettop.model.ruleset.hooks import family_rank, hook_rank
from nettop.model.ruleset.picture import ChainView, Picture

UNKNOWN, PROVEN = "?", "✓"  # marks of ties
NETDEV, BRIDGE, IP = "netdev", "bridge", "ip"
_PATHS = (NETDEV, BRIDGE, "arp", IP)  # a packet passes only the hooks of its own; of ip: the families ip, ip6, inet
# All nat chains of a hook run in one hook function of this priority, not at their own (NF_IP_PRI_NAT_DST, …_SRC).
_NAT_PRIORITIES = {"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}
_SEES = {"inet": ("inet", "ip", "ip6"), "ip": ("inet", "ip"), "ip6": ("inet", "ip6")}
_Place = tuple[str, str, int]


def path_of(chain: ChainView) -> str:
    """Return the path that the hook of a base chain is on: netdev, bridge, arp, or ip."""
    if chain.family == NETDEV or chain.hook in ("ingress", "egress"):
        return NETDEV
    return chain.family if chain.family in _PATHS else IP


def is_dormant(chain: ChainView) -> bool:
    """Return whether the chain is of a dormant table: none of its hooks is registered."""
    return "dormant" in chain.flags


def runs_at(chain: ChainView) -> int | None:
    """Return the priority at which a base chain runs; that of a nat chain is not its own."""
    return _NAT_PRIORITIES.get(chain.hook or "", chain.priority) if chain.type == "nat" else chain.priority


def traversal(picture: Picture) -> list[int]:
    """Return all chains: base chains path by path in their order, then those of dormant tables and without a hook."""
    before = Counter(later for _, later in picture.proven)
    keys = [_rank(chain, before[chain.ident]) for chain in picture.chains]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _rank(chain: ChainView, before: int) -> tuple[int, ...]:
    """Return the place of a chain, before which so many of its ties were seen to run."""
    family = family_rank(chain.family)
    if chain.hook is None or is_dormant(chain):
        return 2 if chain.hook is None else 1, hook_rank(chain.hook), 0, 0, 0, 0, family
    path = len(_PATHS) if chain.hook == "egress" else _PATHS.index(path_of(chain))
    return 0, path, hook_rank(chain.hook), runs_at(chain) or 0, chain.priority or 0, before, family


def ties(picture: Picture) -> dict[int, str]:
    """Return the mark of each chain that runs at the place of another that sees the same packets.

    UNKNOWN, or PROVEN if a trace has shown its order among all of them.
    """
    marks: dict[int, str] = {}
    for one, other in _tied(picture):
        idents = picture.chains[one].ident, picture.chains[other].ident
        known = idents in picture.proven or idents[::-1] in picture.proven
        marks[one] = PROVEN if known and marks.get(one) != UNKNOWN else UNKNOWN
    return marks


def prove(picture: Picture, chains: Sequence[ChainView]) -> bool:
    """Note that a packet met these base chains of one hook in this order. Return whether a tie was among them."""
    pairs = [pair for pair in combinations(chains, 2) if _may_prove(picture, *pair)]
    known = {chain.ident for chain in picture.chains} if pairs else set()
    found = [(one.ident, other.ident) for one, other in pairs if {one.ident, other.ident} <= known]
    picture.proven -= {pair[::-1] for pair in found}
    picture.proven |= {*found}
    return bool(found)


def _may_prove(picture: Picture, before: ChainView, after: ChainView) -> bool:
    """Return whether two chains are tied, and this order of them was not the one seen last."""
    if before.hook != after.hook or runs_at(before) != runs_at(after):
        return False
    return (before.ident, after.ident) not in picture.proven and _are_tied(before, after)


def _tied(picture: Picture) -> Iterator[tuple[int, int]]:
    """Yield the pairs of tied chains, each in both directions."""
    chains = picture.chains
    groups: dict[_Place, list[int]] = {}
    for index, chain in enumerate(chains):
        priority = runs_at(chain)
        if chain.hook is not None and priority is not None and not is_dormant(chain):
            groups.setdefault((path_of(chain), chain.hook, priority), []).append(index)
    for group in groups.values():
        yield from ((i, j) for i in group for j in group if i != j and _are_tied(chains[i], chains[j]))


def _are_tied(a: ChainView, b: ChainView) -> bool:
    if a.devices and b.devices and not set(a.devices) & set(b.devices):
        return False
    if a.type == b.type == "nat" and a.priority != b.priority:
        return False  # in their hook function their own priorities order them
    return sees_same(a, b)


def sees_same(one: ChainView, other: ChainView) -> bool:
    """Return whether some packet passes both chains, if their path and hook are the same."""
    return path_of(one) == NETDEV or other.family in _SEES.get(one.family, (one.family,))
