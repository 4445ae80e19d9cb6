"""Texts of chains and rules: roles of verdicts, names, and notes on counters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from shlex import quote

from nettop.decode.nftables.listing import stateless
from nettop.decode.nftables.objects import NftTable
from nettop.linux.nf_tables import NFT_KEYWORDS
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.order import is_dormant, runs_at
from nettop.model.ruleset.picture import LEGACY, NFT, ChainView, RuleView
from nettop.model.table import Line, detail_line
from nettop.text.units import ABSENT, duration, grouped, percent

FIRST_PACKET = "first packet of a flow only"
OFFLOADED = "packets of the flows in it skip all later hooks"
NO_RULES = "no nftables, iptables or iptables-legacy rules in this namespace"
NF_IP_PRI_LAST = 0x7FFFFFFF  # INT_MAX, linux/netfilter_ipv4.h; NF_IP_PRI_FIRST is INT_MIN
_NAME = re.compile(r"[A-Za-z_.][\w/.-]*", re.ASCII)
_ROLES = {"accept": "good", "drop": "bad", "reject": "bad"}
_NAT = {"snat", "dnat", "masquerade", "redirect", "netmap"}
_TOOLS = {"ip": "iptables", "ip6": "ip6tables", "arp": "arptables", "bridge": "ebtables"}


def verdict_role(verdict: str) -> str:
    """Return the role of a verdict or policy."""
    word = verdict.lower()
    return "nat" if word in _NAT else _ROLES.get(word, "")


def chain_path(chain: ChainView) -> str:
    """Return `inet fw forward`."""
    return f"{chain.family} {chain.table} {chain.name}"


def hook_text(chain: ChainView, jumped: bool) -> str:
    """Return the hook; of a user chain below no other, what leads there: a map, chains that it jumps to, or nothing."""
    return chain.hook or ("(in a circle)" if jumped else "(by a map)" if chain.references else "(no jump)")


def number_text(priority: int) -> str:
    """Return the number of a priority; `min` and `max` for the first and last that there are."""
    if abs(priority) >= NF_IP_PRI_LAST:
        return "max" if priority > 0 else "min"
    return str(priority)


def priority_text(chain: ChainView, mark: str) -> str:
    """Return `0 filter`, `105 srcnat+5`, `min`, `-50 at -100`, `0 dormant`; with the mark of a tie `0 filter ?`."""
    if chain.priority is None:
        return ABSENT
    name = " " + chain.priority_name.replace(" ", "") if chain.priority_name else ""
    if is_dormant(chain):
        return f"{number_text(chain.priority)} dormant"
    place = runs_at(chain)
    moved = "" if place is None or place == chain.priority else f" at {number_text(place)}"
    return f"{number_text(chain.priority)}{moved or name}{f' {mark}' if mark else ''}"


def table_path(table: NftTable) -> str:
    """Return `inet fw`, with `(dormant)` if it is."""
    return f"{table.family} {table.name}" + (" (dormant)" if "dormant" in table.flags else "")


def type_text(chain: ChainView) -> str:
    """Return `filter`, `user`, `nat ¹` (¹: sees only the first packet of a flow)."""
    return "nat ¹" if chain.type == "nat" else chain.type or "user"


def rule_text(rule: RuleView) -> str:
    """Return the rule on one line, without counters' values."""
    if rule.text is not None:
        return stateless(rule.text)
    extensions = ", ".join(rule.raw.extensions) if rule.raw else ""
    return f"(no words: its tool did not print it; xtables {extensions})" if extensions else "(no words yet)"


def is_name(name: str) -> bool:
    """Return whether nft reads a name of a table, chain, set or object as one."""
    return _NAME.fullmatch(name) is not None and name not in NFT_KEYWORDS


def listed_part(chain: ChainView) -> str:
    """Return the smallest part of the ruleset with the chain that nft can list: `chain inet fw in`."""
    if not is_name(chain.table):
        return f"ruleset {chain.family}"
    whole = not is_name(chain.name) or is_implicit(chain)
    return f"table {chain.family} {chain.table}" if whole else f"chain {chain.family} {chain.table} {chain.name}"


def is_implicit(chain: ChainView) -> bool:
    """Return whether the chain is that of a `jump { … }`: only this rule can be changed, not those in it."""
    return "binding" in chain.flags


def tool_name(chain: ChainView, rule: RuleView) -> str:
    """Return the iptables command that owns a rule: `ip6tables-nft`, `iptables-legacy`."""
    return _TOOLS.get(chain.family, "iptables") + ("-legacy" if rule.backend == LEGACY else "-nft")


def tool_command(chain: ChainView, rule: RuleView) -> str:
    """Return the command of the owning tool that shows this rule."""
    if rule.backend == NFT:
        return f"nft -a list {listed_part(chain)}    # handle {rule.handle}"
    tool = tool_name(chain, rule)
    if chain.family == "bridge":
        return f"{tool} -t {chain.table} -L {quote(chain.name)} --Ln    # {rule.number}"
    return f"{tool} -t {chain.table} -S {quote(chain.name)} {rule.number}"


def named_counter(rule: RuleView) -> str:
    """Return `in counter web` of a rule that counts in an object, which other rules may share; "" of others."""
    objects = rule.raw.objects if rule.raw else ()
    return next((f"in counter {name}" for kind, name in objects if kind == "counter"), "")


def counter_note(counts: Counts, cell: int, traced: int, now_ns: int, named: str = "") -> str:
    """Return `never hit` for a counter at zero, `no hits in 41m02` for one that did not move while it was watched.

    Of a rule without one the packets of the latest trace that met it, its named counter, or the key that traces them.
    """
    if not counts.have[cell]:
        return f"traced {grouped(traced)}" if traced else named or "no counter: t traces"
    if not counts.packets[cell]:
        return "never hit"
    watched = (now_ns - int(counts.since_ns[cell])) // 1_000_000_000
    if counts.hit_ns[cell] or watched < 1:
        return ""
    return f"no hits in {duration(watched)}"


def detail_lines(pairs: Sequence[tuple[str, str]]) -> list[Line]:
    """Return the lines of a detail; pairs with an empty value are left out."""
    return [detail_line(key, value) for key, value in pairs if value]


def share_text(share: float) -> str:
    """Return `98.7%`, `65%`, or "" if it is unknown."""
    return "" if share != share else percent(share)
