"""Chains and rules in words for people: roles of verdicts, names of places, what a counter that is missing means."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.decode.nftables.listing import stateless
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.merge import LEGACY, NFT, ChainView, RuleView
from nettop.model.table import Line
from nettop.text.units import ABSENT, duration, grouped, percent

FIRST_PACKET = "first packet of a flow only"
_ROLES = {"accept": "good", "drop": "bad", "reject": "bad"}
_NAT = {"snat", "dnat", "masquerade", "redirect", "netmap"}
_TOOLS = {"ip": "iptables", "ip6": "ip6tables", "arp": "arptables", "bridge": "ebtables"}


def verdict_role(verdict: str) -> str:
    """The role of what a rule or policy does."""
    word = verdict.lower()
    return "nat" if word in _NAT else _ROLES.get(word, "")


def place(chain: ChainView) -> str:
    """`inet fw forward`."""
    return f"{chain.family} {chain.table} {chain.name}"


def hook_text(chain: ChainView) -> str:
    """The hook; of a user chain that no rule's words lead to, whether a map's elements may."""
    return chain.hook or ("(by a map)" if chain.references else "(no jump)")


def priority_text(chain: ChainView, tied: bool) -> str:
    """`0 filter`, `105 srcnat+5`, with ` ?` where another chain stands at the same priority."""
    if chain.priority is None:
        return ABSENT
    name = " " + chain.priority_name.replace(" ", "") if chain.priority_name else ""
    return f"{chain.priority}{name}{' ?' if tied else ''}"


def type_text(chain: ChainView) -> str:
    """`filter`, `nat ¹` (¹: sees only a flow's first packet), with the table's dormant flag."""
    if chain.type is None:
        return "user" if "dormant" not in chain.flags else "user, dormant"
    kind = "nat ¹" if chain.type == "nat" else chain.type
    return f"{kind}, dormant" if "dormant" in chain.flags else kind


def rule_text(rule: RuleView) -> str:
    """Return the rule on one line, without counters' values."""
    if rule.text is None:
        return "(its text is not known yet)"
    return stateless(rule.text)


def tool_words(chain: ChainView, rule: RuleView) -> str:
    """The command that shows or would delete nothing: how the owning tool names this rule."""
    if chain.backend == NFT:
        return f"nft -a list chain {chain.family} {chain.table} {chain.name}    # handle {rule.handle}"
    tool = _TOOLS.get(chain.family, "iptables") + ("-legacy" if chain.backend == LEGACY else "")
    return f"{tool} -t {chain.table} -S {chain.name} {rule.number}"


def note(counts: Counts, cell: int, counted: bool, now_ns: int) -> str:
    """`never in 41m02` for a counter that did not move while watched, `no counter` for a rule without one."""
    if not counted:
        return "no counter"
    watched = (now_ns - int(counts.since_ns[cell])) // 1_000_000_000
    if counts.hit_ns[cell] or watched < 1:
        return ""
    return f"never in {duration(watched)}"


def many(count: int, noun: str) -> str:
    """`1 rule`, `1,204 rules`."""
    return f"{grouped(count)} {noun}" if count == 1 else f"{grouped(count)} {noun}s"


def detail_lines(pairs: Sequence[tuple[str, str]]) -> list[Line]:
    """A detail's facts; what is not there needs no line."""
    return [((f"  {key:<9} ", "key"), (value, "")) for key, value in pairs if value]


def share_text(part: float) -> str:
    """`98.7%`, `65%`, empty where it is not known."""
    return "" if part != part else percent(part)
