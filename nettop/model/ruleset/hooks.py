"""Hooks in the order of traversal, priorities by name and family, and the fixed tables of iptables.

Sources: linux/netfilter_ipv4.h (NF_IP_PRI_*), linux/netfilter_bridge.h (NF_BR_PRI_*), nft(8) "priority", iptables(8).
"""

from __future__ import annotations

from nettop.linux.nf_tables import HOOK_ORDER

FAMILY_ORDER = ("netdev", "bridge", "arp", "inet", "ip", "ip6")

_INET_PRIORITIES = {-300: "raw", -150: "mangle", -100: "dstnat", 0: "filter", 50: "security", 100: "srcnat"}
_BRIDGE_PRIORITIES = {-300: "dstnat", -200: "filter", 100: "out", 300: "srcnat"}
_FILTER_ONLY = {0: "filter"}
PRIORITY_NAMES: dict[str, dict[int, str]] = {
    "inet": _INET_PRIORITIES,
    "ip": _INET_PRIORITIES,
    "ip6": _INET_PRIORITIES,
    "bridge": _BRIDGE_PRIORITIES,
    "arp": _FILTER_ONLY,
    "netdev": _FILTER_ONLY,
}
# nft accepts these names only at these hooks; at others there is only the number.
_NAME_HOOKS = {
    ("inet", "dstnat"): ("prerouting", "output"),
    ("inet", "srcnat"): ("postrouting", "input"),
    ("bridge", "dstnat"): ("prerouting",),
    ("bridge", "out"): ("output",),
    ("bridge", "srcnat"): ("postrouting",),
}
_MAX_OFFSET = 10  # nft writes `filter + 10`, but `11`

# The tables of iptables-legacy: priority of each builtin chain (net/ipv4/netfilter/iptable_*.c).
LEGACY_TABLES: dict[str, dict[str, int]] = {
    "raw": {"PREROUTING": -300, "OUTPUT": -300},
    "mangle": {"PREROUTING": -150, "INPUT": -150, "FORWARD": -150, "OUTPUT": -150, "POSTROUTING": -150},
    "nat": {"PREROUTING": -100, "INPUT": 100, "OUTPUT": -100, "POSTROUTING": 100},
    "filter": {"INPUT": 0, "FORWARD": 0, "OUTPUT": 0},
    "security": {"INPUT": 50, "FORWARD": 50, "OUTPUT": 50},
}
# The tables and base chains created by iptables-nft, ip6tables-nft, arptables-nft and ebtables-nft, by family.
_XTABLES = {table: frozenset(chains) for table, chains in LEGACY_TABLES.items()}
IPTABLES_NFT_TABLES: dict[str, dict[str, frozenset[str]]] = {
    "ip": _XTABLES,
    "ip6": _XTABLES,
    "arp": {"filter": frozenset({"INPUT", "OUTPUT"})},
    "bridge": {
        "filter": frozenset({"INPUT", "FORWARD", "OUTPUT"}),
        "nat": frozenset({"PREROUTING", "OUTPUT", "POSTROUTING"}),
        "broute": frozenset({"BROUTING"}),
    },
}


def priority_name(family: str, hook: str | None, priority: int | None) -> str | None:
    """Return `filter`, `mangle + 5`, as nft writes it for that family and hook; None if no name is near."""
    if priority is None or hook is None:
        return None
    for standard, name in PRIORITY_NAMES.get(family, {}).items():
        offset = priority - standard
        if abs(offset) <= _MAX_OFFSET:
            kind = "bridge" if family == "bridge" else "inet"
            if hook not in _NAME_HOOKS.get((kind, name), (hook,)):
                return None
            return name if offset == 0 else f"{name} {'+' if offset > 0 else '-'} {abs(offset)}"
    return None


def legacy_type(table: str, chain: str) -> str:
    """Return the chain type that nft would give a legacy chain: mangle/OUTPUT is of type route."""
    if table == "nat":
        return "nat"
    return "route" if (table, chain) == ("mangle", "OUTPUT") else "filter"


def hook_rank(hook: str | None) -> int:
    """Return the position of a hook in the traversal; chains without a hook are last."""
    return HOOK_ORDER.index(hook) if hook in HOOK_ORDER else len(HOOK_ORDER)


def family_rank(family: str) -> int:
    """Return the position of a family in a fixed order, for chains that are otherwise equal."""
    return FAMILY_ORDER.index(family) if family in FAMILY_ORDER else len(FAMILY_ORDER)
