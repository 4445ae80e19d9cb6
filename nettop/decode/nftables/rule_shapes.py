"""Rules that are built alike: of each shape only the first is decoded in full.

Most rules of a ruleset differ from another one only in their chain, handle, comment, jump, and what they compare. The
bytes of a decoded rule are kept with these set to zero: a rule that is equal apart from them has the same findings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from nettop.decode.nftables.objects import user_comment
from nettop.decode.nftables.rules import EXAMINED, NftRule, RuleOffsets, decode_rule, expressions_of
from nettop.decode.nftables.xtables import TABLES
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, Span, string
from nettop.linux.nfnetlink import NFGEN_LENGTH

_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_MAX_LENGTH = 4096  # bytes of a message: longer ones are rare
_MAX_ALIKE = 4  # shapes of one length that are tried
_MAX_SHAPES = 2_000
_REST = tuple(one.name for one in fields(NftRule))[9:]  # after `raw`
_OWN = (nft.NFTA_RULE_CHAIN, nft.NFTA_RULE_HANDLE, nft.NFTA_RULE_POSITION, nft.NFTA_RULE_USERDATA)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The bytes of a rule that others of its shape have too, as a number, and where to find what differs.

    Spans and offsets count from the message's first byte.
    """

    mask: int
    fixed: int
    rule: NftRule
    rest: tuple[Any, ...]  # the fields of `rule` after the ones that may differ
    chain: Span
    handle: Span
    user_data: Span
    comment: Span | None  # of an xt match
    targets: tuple[Span, ...]
    sets: tuple[Span, ...]
    offsets: RuleOffsets
    expressions: Span

    def decode(self, data: bytes, at: int) -> tuple[NftRule, RuleOffsets]:
        """Return the rule of this shape whose message begins at `at`, and its offsets."""
        comment = user_comment(_slice(data, at, self.user_data))
        if comment is None and self.comment is not None:
            comment = string(_slice(data, at, self.comment))
        rule = NftRule(
            self.rule.family,
            self.rule.table,
            string(_slice(data, at, self.chain)),
            int.from_bytes(_slice(data, at, self.handle), "big"),
            comment,
            self.rule.verdicts,
            tuple([string(_slice(data, at, span)) for span in self.targets]),
            tuple([string(_slice(data, at, span)) for span in self.sets]),
            _slice(data, at, self.expressions),
            *self.rest,
        )
        return rule, self.offsets.moved(at)


def _moved(spans: Iterable[Span], by: int) -> tuple[Span, ...]:
    return tuple((first + by, last + by) for first, last in spans)


def _slice(data: bytes, at: int, span: Span) -> bytes:
    return data[at + span[0] : at + span[1]]


class RuleShapes:
    """A decoder of rule messages that remembers the shapes of earlier ones."""

    def __init__(self) -> None:
        self._by_length: defaultdict[int, list[_Shape]] = defaultdict(list)
        self._count = 0

    def decode(self, data: bytes, at: int, end: int, family: str) -> tuple[NftRule, RuleOffsets]:
        """Return the rule of the message data[at:end], and its offsets in `data`. Raises as decode_rule."""
        alike = self._by_length[end - at]
        number = int.from_bytes(data[at + NLMSG_HDRLEN : end], "little")
        for shape in alike:
            if number & shape.mask == shape.fixed:
                return shape.decode(data, at)
        message = Attributes(data, at + _BODY, end)
        rule, offsets = decode_rule(message, family)
        if len(alike) < _MAX_ALIKE and end - at <= _MAX_LENGTH and self._count < _MAX_SHAPES:
            alike.append(_shape(message, at, end, rule, offsets))
            self._count += 1
        return rule, offsets


def _shape(message: Attributes, at: int, end: int, rule: NftRule, offsets: RuleOffsets) -> _Shape:
    found = _Names()
    examined = rule.table in TABLES and not rule.extensions  # all of it: see NftRule.printable
    for kind, one in expressions_of(message):
        found.add(kind, one, examined)
    own = [message.span(kind) for kind in _OWN]
    values = [(first, first + 8) for pair in offsets.counters for first in pair] + offsets.volatile
    names = [*found.targets, *found.sets, *([found.comment] if found.comment else [])]
    mask = bytearray(b"\xff") * (end - at - NLMSG_HDRLEN)
    for first, last in (*own, *values, *names, *found.values, (at + NLMSG_HDRLEN + 2, at + _BODY)):  # nfgenmsg: res_id
        mask[first - at - NLMSG_HDRLEN : last - at - NLMSG_HDRLEN] = bytes(last - first)
    number = int.from_bytes(mask, "little")
    chain, handle, _, user_data = _moved(own, -at)
    return _Shape(
        mask=number,
        fixed=number & int.from_bytes(message.buf[at + NLMSG_HDRLEN : end], "little"),
        rule=rule,
        rest=tuple(getattr(rule, name) for name in _REST),
        chain=chain,
        handle=handle,
        user_data=user_data,
        comment=_moved([found.comment], -at)[0] if found.comment else None,
        targets=_moved(found.targets, -at),
        sets=_moved(found.sets, -at),
        offsets=offsets.moved(-at),
        expressions=_moved([message.span(nft.NFTA_RULE_EXPRESSIONS)], -at)[0],
    )


class _Names:
    """Where the names and values are that may differ: absolute spans."""

    def __init__(self) -> None:
        self.targets: list[Span] = []
        self.sets: list[Span] = []
        self.comment: Span | None = None
        self.values: list[Span] = []

    def add(self, kind: bytes, one: Attributes, examined: bool) -> None:
        """Add those of an expression. `examined`: the findings depend on its values."""
        if kind not in EXAMINED or nft.NFTA_EXPR_DATA not in one:
            self.values += [] if examined else [one.span(nft.NFTA_EXPR_DATA)]
            return
        inner = one.nested(nft.NFTA_EXPR_DATA)
        if kind == b"immediate":
            verdict = inner.nested(nft.NFTA_IMMEDIATE_DATA).nested(nft.NFTA_DATA_VERDICT)
            self.targets += [verdict.span(nft.NFTA_VERDICT_CHAIN)] if nft.NFTA_VERDICT_CHAIN in verdict else []
        elif kind in (b"lookup", b"dynset"):
            self.sets.append(inner.span(nft.NFTA_LOOKUP_SET))
        elif kind == b"objref" and nft.NFTA_OBJREF_IMM_NAME not in inner and nft.NFTA_OBJREF_SET_NAME in inner:
            self.sets.append(inner.span(nft.NFTA_OBJREF_SET_NAME))
        elif kind == b"match" and inner.text(nft.NFTA_MATCH_NAME) == "comment":
            self.comment = self.comment or inner.span(nft.NFTA_MATCH_INFO)
        elif kind in (b"match", b"target"):
            self.values.append(inner.span(nft.NFTA_MATCH_INFO))
