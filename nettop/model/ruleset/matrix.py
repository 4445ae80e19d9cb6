"""The matrix of base chains: hooks are columns, priorities are rows, the way of one kind of packet at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from nettop.decode.nftables.listing import Flowtable
from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset.hooks import hook_rank
from nettop.model.ruleset.order import is_dormant, runs_at
from nettop.model.ruleset.picture import IPTABLES_NFT, LEGACY, ChainView
from nettop.model.ruleset.words import NF_IP_PRI_LAST, number_text
from nettop.model.table import Line, Segment

LETTERS = {IPTABLES_NFT: "I", LEGACY: "L"}  # nft: N
_IP_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
# The families whose chains see a packet, by its path, and the hooks that each packet of the path can pass.
PATHS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "IPv4": (("netdev", "inet", "ip"), _IP_HOOKS),
    "IPv6": (("netdev", "inet", "ip6"), _IP_HOOKS),
    "IPv4 and IPv6": (("netdev", "inet"), _IP_HOOKS),
    "bridge": (("bridge",), _IP_HOOKS),
    "arp": (("arp",), ("input", "output")),
    "netdev": (("netdev",), ("ingress", "egress")),
}
_Function = tuple[str, int, tuple[str, ...]]  # of the kernel: name, priority (NF_IP_PRI_*, the same in IPv6), hooks
_CONNTRACK: tuple[_Function, ...] = (
    ("defragment", -400, ("prerouting", "output")),
    ("conntrack", -200, ("prerouting", "output")),
    ("helper, confirm", NF_IP_PRI_LAST, ("input", "postrouting")),  # one function, nf_confirm, since Linux 6.3
)
_NAT: tuple[_Function, ...] = (("NAT ¹", -100, ("prerouting", "output")), ("NAT ¹", 100, ("input", "postrouting")))
_KERNEL_NAMES = {-400: "defrag", -200: "conntrack", -100: "dstnat", 100: "srcnat"}
_TRACE = "trace of nettop"  # its chains mark packets, and are no rules of the host
# The hooks of a packet's journey.
JOURNEYS: dict[str, tuple[str, ...]] = {
    "to this host": ("ingress", "prerouting", "input"),
    "from this host": ("output", "postrouting", "egress"),
    "through it": ("ingress", "prerouting", "forward", "postrouting", "egress"),
    "over loopback": ("output", "postrouting", "prerouting", "input"),
    "ends in routing": ("ingress", "prerouting"),
    "bridged": ("ingress", "prerouting", "forward", "postrouting", "egress"),
    "bridged, past IP": ("ingress", "egress"),  # bridge-nf-call-iptables is off
}


def journey_through(hooks: Iterable[str]) -> str:
    """Return the journey of a packet that was seen in these hooks; "": they are of more than one."""
    seen = {*hooks}
    found = [name for name, passed in JOURNEYS.items() if seen <= {*passed} and not seen <= {"ingress", "prerouting"}]
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Place:
    """One cell: a base chain, or a function of the kernel (then ident is None)."""

    ident: int | None
    row: int  # index in Matrix.priorities
    column: int  # index in Matrix.hooks
    name: Segment
    short: str = ""  # a name that is not as long, where there is one
    policy: Segment = ("", "")
    facts: Line = ()  # the most important first: "14r", "39k/s", "d 318/s"


@dataclass(frozen=True, slots=True)
class Matrix:
    """The places of one path, row by row and in a row hook by hook; those of one cell in their order."""

    path: str = ""
    paths: tuple[str, ...] = ()  # those that have chains
    hooks: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    drops: tuple[Segment, ...] = ()  # packets dropped a second, by hook: "d ≥3/s"
    dnat: bool = False  # a chain may rewrite the destination before routing

    @property
    def idents(self) -> list[int]:
        """The chains, in order."""
        return [place.ident for place in self.places if place.ident is not None]


EMPTY = Matrix()


def paths_of(chains: Iterable[ChainView]) -> tuple[str, ...]:
    """Return the paths that have base chains."""
    families = {chain.family for chain in chains if chain.hook is not None}
    ip, ip6, inet = (family in families for family in ("ip", "ip6", "inet"))
    found = ["IPv4"] * (ip or (inet and ip6)) + ["IPv6"] * (ip6 or (inet and ip)) or ["IPv4 and IPv6"] * inet
    found += [family for family in ("bridge", "arp") if family in families]
    return tuple(found or ["netdev"] * ("netdev" in families))


def path_with(chain: ChainView | None, path: str) -> str:
    """Return this path if the chain is on it, or the first one that it is on. Without a chain return the path."""
    if chain is None or chain.family in PATHS.get(path, ((),))[0]:
        return path
    return next(name for name, (families, _) in PATHS.items() if chain.family in families)


def lay_out(
    chains: list[tuple[int, ChainView]],
    path: str,
    tracked: Collection[str] | None,
    fill: Callable[[int, Place], Place],
    drops: Callable[[list[int]], Segment],
    flowtables: Iterable[Flowtable] = (),
) -> Matrix:
    """Return the matrix of a path, of chains (index, chain) in their order.

    `path` is replaced by the first one if it has no chains. `tracked`: families that use conntrack; None: without
    the kernel's functions. `fill` completes the place of a chain, `drops` sums the packets dropped a second by chains;
    both get indices. Flowtables are shown with the kernel's functions.
    """
    traces = [chain for _, chain in chains if chain.table.startswith(TRACE_PREFIX)]
    chains = [(index, chain) for index, chain in chains if chain not in traces]
    paths = paths_of(chain for _, chain in chains)
    if not paths:
        return EMPTY
    path = path if path in paths else paths[0]
    families, always = PATHS[path]
    own = [(index, chain) for index, chain in chains if chain.family in families and chain.hook is not None]
    used = {chain.hook for _, chain in own}
    hooks = tuple(sorted({*always, *(hook for hook in used if hook)}, key=hook_rank))
    kernel: list[_Function] = []
    if tracked is not None:
        kernel += _kernel(own, {*families} & {*tracked} != set()) if path.startswith("IP") else ()
        offloaded = [one for one in flowtables if one.family in families]
        kernel += [(f"flowtable {one.name}", one.priority, (one.hook,)) for one in offloaded]
        hooks = tuple(sorted({*hooks, *(one.hook for one in offloaded)}, key=hook_rank))
        kernel += {(_TRACE, runs_at(c) or 0, (c.hook,)) for c in traces if c.family in families and c.hook in hooks}
    rows = sorted({*(runs_at(chain) or 0 for _, chain in own), *(priority for _, priority, _ in kernel)})
    places = [*_kernel_places(kernel, rows, hooks)]
    for index, chain in own:
        row, column = rows.index(runs_at(chain) or 0), hooks.index(chain.hook or "")
        places.append(fill(index, Place(chain.ident, row, column, *_names(chain))))
    places.sort(key=lambda place: (place.row, place.column))
    by_hook = tuple(drops([index for index, chain in own if chain.hook == hook]) for hook in hooks)
    dnat = any(chain.type == "nat" and chain.hook in ("prerouting", "output") and chain.count for _, chain in own)
    return Matrix(path, paths, hooks, tuple(_label(row, own) for row in rows), tuple(places), by_hook, dnat)


def _kernel_places(kernel: list[_Function], rows: list[int], hooks: Sequence[str]) -> Iterator[Place]:
    for name, priority, at in kernel:
        for hook in at:
            yield Place(None, rows.index(priority), hooks.index(hook), (f"· {name}", "dim"), f"· {name.split()[-1]}")


def _names(chain: ChainView) -> tuple[Segment, str]:
    """Return `I filter/FORWARD`, and `I filter`: that is enough in the column of its hook; or `N mychain`."""
    letter = LETTERS.get(chain.backend, "N")
    short = chain.table if chain.name.lower() == chain.hook else chain.name
    return (f"{letter} {chain.table}/{chain.name}", "accent"), f"{letter} {short}"


def _kernel(chains: list[tuple[int, ChainView]], tracked: bool) -> list[_Function]:
    """Return the kernel's functions on an IP path: conntrack's if a rule uses it, NAT's if there is a nat chain."""
    nat = any(chain.type == "nat" and not is_dormant(chain) for _, chain in chains)
    return [*(_CONNTRACK if tracked else ()), *(_NAT if nat else ())]


def _label(priority: int, chains: list[tuple[int, ChainView]]) -> str:
    """Return `-300 raw`, `max`, `min` or `42`."""
    names = [c.priority_name for _, c in chains if runs_at(c) == priority == c.priority and c.priority_name]
    name = names[0].replace(" ", "") if names else _KERNEL_NAMES.get(priority, "")
    return f"{number_text(priority):>4} {name}".rstrip()
