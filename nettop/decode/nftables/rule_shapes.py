"""Rules that are built alike: of each shape only the first is decoded in full.

Most rules of a ruleset differ from another one only in their chain, handle, comment, jump, and what they compare. The
bytes of a decoded rule are kept with these set to zero: a rule that is equal apart from them has the same findings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from nettop.decode.netlink_shapes import Shapes
from nettop.decode.nftables.objects import user_comment
from nettop.decode.nftables.rules import EXAMINED, NftRule, RuleOffsets, decode_rule, expressions_of
from nettop.decode.nftables.xtables import TABLES
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, Span, string
from nettop.linux.nfnetlink import NFGEN_LENGTH

_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_REST = tuple(one.name for one in fields(NftRule))[9:]  # after `raw`
_OWN = (nft.NFTA_RULE_CHAIN, nft.NFTA_RULE_HANDLE, nft.NFTA_RULE_POSITION, nft.NFTA_RULE_USERDATA)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A rule, and where others of its shape have what differs: slices and offsets from the message's first byte."""

    rule: NftRule
    rest: tuple[Any, ...]  # the fields of `rule` after the ones that may differ
    length: int  # of the message
    chain: slice
    handle: slice
    user_data: slice
    comment: slice | None  # of an xt match
    targets: tuple[slice, ...]
    sets: tuple[slice, ...]
    offsets: RuleOffsets
    expressions: slice

    def decode(self, data: bytes, at: int) -> tuple[NftRule, RuleOffsets]:
        """Return the rule of this shape whose message begins at `at`, and its offsets."""
        message = data[at : at + self.length]
        comment = user_comment(message[self.user_data])
        if comment is None and self.comment is not None:
            comment = string(message[self.comment])
        rule = NftRule(
            self.rule.family,
            self.rule.table,
            _name(message[self.chain]),
            int.from_bytes(message[self.handle], "big"),
            comment,
            self.rule.verdicts,
            tuple([_name(message[part]) for part in self.targets]) if self.targets else (),
            tuple([_name(message[part]) for part in self.sets]) if self.sets else (),
            message[self.expressions],
            *self.rest,
        )
        return rule, self.offsets.moved(at)


_name = lru_cache(1024)(string)  # the same again and again


def _parts(spans: Iterable[Span], at: int) -> tuple[slice, ...]:
    return tuple(slice(first - at, last - at) for first, last in spans)


class RuleShapes:
    """A decoder of rule messages that remembers the shapes of earlier ones."""

    def __init__(self) -> None:
        self._shapes: Shapes[_Shape] = Shapes()

    def decode(self, data: bytes, at: int, end: int, family: str) -> tuple[NftRule, RuleOffsets]:
        """Return the rule of the message data[at:end], and its offsets in `data`. Raises as decode_rule."""
        if shape := self._shapes.find(data, at, end):
            return shape.decode(data, at)
        message = Attributes(data, at + _BODY, end)
        rule, offsets = decode_rule(message, family)
        found = _varying(message, rule)
        own = [message.span(kind) for kind in _OWN]
        values = [(first, first + 8) for pair in offsets.counters for first in pair] + offsets.volatile
        names = [*found.targets, *found.sets, *([found.comment] if found.comment else [])]
        generation = (at + NLMSG_HDRLEN + 2, at + _BODY)  # nfgenmsg: res_id
        shape = _shape(found, [*own, message.span(nft.NFTA_RULE_EXPRESSIONS)], rule, offsets, (at, end))
        self._shapes.add(data, at, end, (*own, *values, *names, *found.values, generation), shape)
        return rule, offsets


def _varying(message: Attributes, rule: NftRule) -> _Names:
    found = _Names()
    examined = rule.table in TABLES and not rule.extensions  # all of it: see NftRule.printable
    for kind, one in expressions_of(message):
        found.add(kind, one, examined)
    return found


def _shape(found: _Names, own: list[Span], rule: NftRule, offsets: RuleOffsets, message: Span) -> _Shape:
    at, end = message
    chain, handle, _, user_data, expressions = _parts(own, at)
    return _Shape(
        rule=rule,
        rest=tuple(getattr(rule, name) for name in _REST),
        length=end - at,
        chain=chain,
        handle=handle,
        user_data=user_data,
        comment=_parts([found.comment], at)[0] if found.comment else None,
        targets=_parts(found.targets, at),
        sets=_parts(found.sets, at),
        offsets=offsets.moved(-at),
        expressions=expressions,
    )


class _Names:
    """The absolute spans of names and values that may differ."""

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
