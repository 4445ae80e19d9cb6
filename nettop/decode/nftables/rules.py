"""Rules of nf_tables, each decoded from one message: its verdicts and jumps, and the offsets of its counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import attrgetter

from nettop.decode.nftables.objects import user_comment
from nettop.decode.nftables.xtables import TABLES, Expression, is_printable
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import ERR_VALUE_SHORT, Attributes, MalformedError, attributes
from nettop.linux.nfnetlink import NF_VERDICTS


@dataclass(frozen=True, slots=True)
class NftRule:
    """A rule (NFT_MSG_NEWRULE) without the values that change, such as those of its counters."""

    family: str
    table: str
    chain: str
    handle: int
    comment: str | None
    verdicts: tuple[str, ...] = ()  # accept, drop, jump, goto, return, reject, snat, masquerade, …, in order
    targets: tuple[str, ...] = ()  # chains that it jumps or goes to directly, not by a verdict map
    sets: tuple[str, ...] = ()  # sets and maps that it uses; anonymous ones are named __setN, __mapN
    raw: bytes = field(default=b"", compare=False, repr=False)  # its expressions, with values of when it was decoded
    objects: tuple[tuple[str, str], ...] = ()  # named objects that it uses: (type, name)
    extensions: tuple[str, ...] = ()  # xt matches and targets
    printable: bool = (
        False  # without any: its expressions are those that iptables-nft, arptables-nft or ebtables-nft makes
    )
    log_prefixes: tuple[str, ...] = ()
    counters: int = 0  # counter expressions in it
    unconditional: bool = False  # no expression keeps a packet from its last verdict
    counts_matches: bool = True  # nothing after the last counter can keep a packet from the verdict


_chain_of = attrgetter("family", "table", "chain")


class Rules(tuple[NftRule, ...]):
    """The rules of one datagram, in dump order, and what their reader needs of all of them, found once."""

    @cached_property
    def chains(self) -> list[tuple[tuple[str, str, str], int]]:
        """The chains (family, table, name), each with the number of its rules that follow one another."""
        return [(chain, len(list(rules))) for chain, rules in groupby(map(_chain_of, self))]

    @cached_property
    def multiline(self) -> frozenset[str]:
        """The comments and log prefixes with a newline in them."""
        strings = {string for rule in self for string in (rule.comment, *rule.log_prefixes)}
        return frozenset(string for string in strings if string and "\n" in string)


@dataclass(slots=True)
class RuleOffsets:
    """The byte offsets in the datagram of 64-bit values that change while the rule exists."""

    counters: list[tuple[int, int]] = field(default_factory=list)  # (bytes, packets) of each counter expression
    volatile: list[tuple[int, int]] = field(default_factory=list)  # (first byte, one past the last) of other values

    def moved(self, by: int) -> RuleOffsets:
        """Return the offsets of the same rule `by` bytes further on."""
        return RuleOffsets(
            [(octets + by, packets + by) for octets, packets in self.counters],
            [(first + by, last + by) for first, last in self.volatile] if self.volatile else [],
        )


@dataclass(slots=True)
class _Findings:
    verdicts: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    objects: list[tuple[str, str]] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)
    log_prefixes: list[str] = field(default_factory=list)
    comment: list[str] = field(default_factory=list)  # of the xt matches of this name
    offsets: RuleOffsets = field(default_factory=RuleOffsets)


def _counter(inner: Attributes, found: _Findings) -> None:
    octets, packets = inner.span(nft.NFTA_COUNTER_BYTES), inner.span(nft.NFTA_COUNTER_PACKETS)
    if octets[1] - octets[0] != 8 or packets[1] - packets[0] != 8:
        raise MalformedError(min(octets[0], packets[0]), ERR_VALUE_SHORT)
    found.offsets.counters.append((octets[0], packets[0]))


def _immediate(inner: Attributes, found: _Findings) -> None:
    value = inner.nested(nft.NFTA_IMMEDIATE_DATA)
    if nft.NFTA_DATA_VERDICT not in value:
        return
    verdict = value.nested(nft.NFTA_DATA_VERDICT)
    verdict.require(nft.NFTA_VERDICT_CODE)
    code = verdict.number(nft.NFTA_VERDICT_CODE, signed=True) or 0
    names = nft.NFT_VERDICTS
    found.verdicts.append(names[code] if code in names else NF_VERDICTS.get(code & 0xFF, str(code)))
    if nft.NFTA_VERDICT_CHAIN in verdict:
        found.targets.append(verdict.text(nft.NFTA_VERDICT_CHAIN))


def _lookup(inner: Attributes, found: _Findings) -> None:
    found.sets.append(inner.text(nft.NFTA_LOOKUP_SET))
    if inner.number(nft.NFTA_LOOKUP_DREG) == nft.NFT_REG_VERDICT:
        found.verdicts.append("vmap")


def _dynset(inner: Attributes, found: _Findings) -> None:
    found.sets.append(inner.text(nft.NFTA_DYNSET_SET_NAME))


def _match(inner: Attributes, found: _Findings) -> None:
    found.extensions.append(inner.text(nft.NFTA_MATCH_NAME))
    if found.extensions[-1] == "comment":
        found.comment.append(inner.text(nft.NFTA_MATCH_INFO))  # linux/netfilter/xt_comment.h: only the text


def _target(inner: Attributes, found: _Findings) -> None:
    found.extensions.append(inner.text(nft.NFTA_TARGET_NAME))
    found.verdicts.append(found.extensions[-1])


def _objref(inner: Attributes, found: _Findings) -> None:
    if nft.NFTA_OBJREF_IMM_NAME in inner:
        kind = inner.number(nft.NFTA_OBJREF_IMM_TYPE) or 0
        found.objects.append((nft.NFT_OBJECTS.get(kind, str(kind)), inner.text(nft.NFTA_OBJREF_IMM_NAME)))
    elif nft.NFTA_OBJREF_SET_NAME in inner:
        found.sets.append(inner.text(nft.NFTA_OBJREF_SET_NAME))


def _nat(inner: Attributes, found: _Findings) -> None:
    found.verdicts.append("dnat" if inner.number(nft.NFTA_NAT_TYPE) == nft.NFT_NAT_DNAT else "snat")


def _quota(inner: Attributes, found: _Findings) -> None:
    found.offsets.volatile.append(inner.span(nft.NFTA_QUOTA_CONSUMED))


def _log(inner: Attributes, found: _Findings) -> None:
    if nft.NFTA_LOG_PREFIX in inner:
        found.log_prefixes.append(inner.text(nft.NFTA_LOG_PREFIX))


def _last(inner: Attributes, found: _Findings) -> None:
    found.offsets.volatile += [inner.span(nft.NFTA_LAST_SET), inner.span(nft.NFTA_LAST_MSECS)]


_EXPRESSIONS: dict[bytes, Callable[[Attributes, _Findings], None]] = {
    b"counter": _counter, b"immediate": _immediate, b"lookup": _lookup, b"dynset": _dynset, b"match": _match,
    b"target": _target, b"objref": _objref, b"nat": _nat, b"quota": _quota, b"last": _last, b"log": _log,
}  # fmt: skip
EXAMINED = frozenset(_EXPRESSIONS)  # the names of the expressions whose content the findings depend on
_VERDICT_EXPRESSIONS = {
    b"masq": "masquerade", b"redir": "redirect", b"reject": "reject", b"queue": "queue", b"tproxy": "tproxy",
    b"fwd": "fwd", b"synproxy": "synproxy",
}  # fmt: skip


_UNCONDITIONAL = {b"immediate", b"target", b"nat", b"log", b"notrack", b"dup", *_VERDICT_EXPRESSIONS}


_ALWAYS = {b"immediate", b"target", b"nat", b"log", b"notrack", b"masq", b"redir", b"reject", b"counter", b"last"}

# In inet, NAT to an address leaves packets of the other family; a target of ebtables may end in CONTINUE.
_CONDITIONS = {"inet": frozenset({b"nat"}), "bridge": frozenset({b"target"})}


def expressions_of(rule: Attributes) -> list[Expression]:
    """Return the name of each expression, and its attributes: NFTA_RULE_EXPRESSIONS is a list of NFTA_LIST_ELEM."""
    found = []
    for _, first, last in attributes(rule.buf, *rule.span(nft.NFTA_RULE_EXPRESSIONS)):
        one = Attributes(rule.buf, first, last)
        found.append((one.raw(nft.NFTA_EXPR_NAME).rstrip(b"\0"), one))
    return found


def _findings(expressions: list[Expression]) -> _Findings:
    found = _Findings()
    for kind, one in expressions:
        if kind in _VERDICT_EXPRESSIONS:
            found.verdicts.append(_VERDICT_EXPRESSIONS[kind])
        elif kind in _EXPRESSIONS and nft.NFTA_EXPR_DATA in one:
            _EXPRESSIONS[kind](one.nested(nft.NFTA_EXPR_DATA), found)
    return found


def _counts_matches(family: str, expressions: list[Expression]) -> bool:
    """Return whether all that follows the last counter runs for each packet that it counted."""
    kinds = [kind for kind, _ in expressions]
    last = len(kinds) - kinds[::-1].index(b"counter") if b"counter" in kinds else len(kinds)
    return (_UNCONDITIONAL - _CONDITIONS.get(family, frozenset())).issuperset(kinds[last:])


def decode_rule(message: Attributes, family: str) -> tuple[NftRule, RuleOffsets]:
    """Return the rule of a message and its offsets. Raises MalformedError if table, chain or handle is missing."""
    message.require(nft.NFTA_RULE_TABLE, nft.NFTA_RULE_CHAIN, nft.NFTA_RULE_HANDLE)
    expressions = expressions_of(message)
    found = _findings(expressions)
    user_data = message.raw(nft.NFTA_RULE_USERDATA)
    comment = user_comment(user_data)
    table, always = message.text(nft.NFTA_RULE_TABLE), _ALWAYS - _CONDITIONS.get(family, frozenset())
    rule = NftRule(
        family=family,
        table=table,
        chain=message.text(nft.NFTA_RULE_CHAIN),
        handle=message.number(nft.NFTA_RULE_HANDLE) or 0,
        comment=comment if comment is not None else " ".join(found.comment) or None,
        verdicts=tuple(found.verdicts),
        targets=tuple(found.targets),
        sets=tuple(found.sets),
        objects=tuple(found.objects),
        extensions=tuple(found.extensions),
        log_prefixes=tuple(found.log_prefixes),
        printable=table in TABLES and not found.extensions and is_printable(family, expressions, user_data),
        counters=len(found.offsets.counters),
        unconditional=bool(found.verdicts) and always.issuperset(kind for kind, _ in expressions),
        counts_matches=_counts_matches(family, expressions),
        raw=message.raw(nft.NFTA_RULE_EXPRESSIONS),
    )
    return rule, found.offsets
