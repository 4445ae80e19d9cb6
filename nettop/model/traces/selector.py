"""The packets that a rule may match, by those of its words that hold where packets are marked: before any NAT."""

from __future__ import annotations

from ipaddress import ip_network

from nettop.model.ruleset.picture import NFT, Picture, RuleView
from nettop.model.ruleset.rule_tree import tree_of
from nettop.model.ruleset.rule_words import tokens_of

_PROTOCOLS = frozenset(("tcp", "udp", "sctp", "icmp"))
_SOURCE, _DESTINATION, _PROTOCOL = "src net", "dst net", "proto"
_XTABLES = {("-s",): _SOURCE, ("-d",): _DESTINATION, ("-p",): _PROTOCOL}
_NFT = {
    **{(family, "saddr"): _SOURCE for family in ("ip", "ip6")},
    **{(family, "daddr"): _DESTINATION for family in ("ip", "ip6")},
    ("meta", "l4proto"): _PROTOCOL,
    ("ip", "protocol"): _PROTOCOL,
}
_REWRITES = ("saddr set ", "daddr set ", "-j SNPT", "-j DNPT")  # addresses, without a chain of type nat
_OF_OTHERS = frozenset(("!", "original", "reply", "vxlan", "geneve", "gre", "gretap"))  # before the words


def selector(picture: Picture, rule: RuleView) -> str:
    """Return a filter that all packets of a rule match when they are marked; "": none is known.

    Where a chain of type nat may rewrite them later, destinations are left out, and sources behind that of
    postrouting.
    """
    nat = any(chain.type == "nat" for chain in picture.chains)
    safe = {_SOURCE, _PROTOCOL} if nat else {_SOURCE, _DESTINATION, _PROTOCOL}
    rewritten = any(word in (one.text or "") for one in picture.rules for word in _REWRITES)
    if rewritten or (nat and _is_late(picture, rule.chain)):
        safe = {_PROTOCOL}
    return " and ".join(f"{kind} {value}" for kind, value in _plain(rule) if kind in safe)


def _is_late(picture: Picture, chain: int) -> bool:
    """Return whether packets come to a chain from postrouting or a chain of type nat."""
    late = [i for i, one in enumerate(picture.chains) if one.hook and (one.hook == "postrouting" or one.type == "nat")]
    return any(row.chain == chain for base in late for row in tree_of(picture, base))


def _plain(rule: RuleView) -> list[tuple[str, str]]:
    """Return the addresses and protocols that the words name without sets, ranges or negation."""
    tokens, kinds = tokens_of(rule), _NFT if rule.backend == NFT else _XTABLES
    found = []
    for names, kind in kinds.items():
        size = len(names)
        for at in range(len(tokens) - size):
            here = tuple(tokens[at : at + size]) == names and not (at and tokens[at - 1] in _OF_OTHERS)
            if here and _is_value(kind, tokens[at + size]):
                found.append((kind, tokens[at + size]))
    return found


def _is_value(kind: str, text: str) -> bool:
    if kind == _PROTOCOL:
        return text in _PROTOCOLS
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
