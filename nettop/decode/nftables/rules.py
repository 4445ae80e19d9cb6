"""Rules of nf_tables: one message to a rule, its verdicts and jumps, and where in the bytes its counters stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nettop.decode.nftables.attributes import (
    NF_VERDICTS,
    NFT_OBJECTS,
    NFT_VERDICTS,
    MalformedError,
    Span,
    each,
    maybe,
    name,
    number,
    signed,
    spans,
    text,
    user_comment,
)


@dataclass(frozen=True, slots=True)
class NftRule:
    """NFT_MSG_NEWRULE, without what changes while it stands (its counters' values)."""

    family: str
    table: str
    chain: str
    handle: int
    comment: str | None
    verdicts: tuple[str, ...] = ()  # accept, drop, jump, goto, return, reject, snat, masquerade, …, in order
    targets: tuple[str, ...] = ()  # chains it jumps or goes to directly (not those of a verdict map)
    sets: tuple[str, ...] = ()  # sets and maps it looks up; anonymous ones are named __setN, __mapN
    objects: tuple[tuple[str, str], ...] = ()  # named objects it refers to: (type, name)
    extensions: tuple[str, ...] = ()  # xt matches and targets
    counters: int = 0  # counter expressions in it


@dataclass(slots=True)
class Places:
    """Where in the datagram things stand that change while a rule stands: byte offsets of 64-bit values."""

    counters: list[tuple[int, int]] = field(default_factory=list)  # (bytes, packets) of each counter expression
    volatile: list[tuple[int, int]] = field(default_factory=list)  # (first, last) of other values that move


@dataclass(slots=True)
class _Findings:
    verdicts: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    objects: list[tuple[str, str]] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)


def _counter(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    inner = spans(data, *span)
    octets, packets = inner.get(1), inner.get(2)  # NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS
    if octets is None or packets is None or octets[1] - octets[0] != 8 or packets[1] - packets[0] != 8:
        raise MalformedError(span[0])
    places.counters.append((octets[0], packets[0]))


def _immediate(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    inner = spans(data, *span)
    value = spans(data, *inner[2]) if 2 in inner else {}  # NFTA_IMMEDIATE_DATA
    if 2 not in value:  # NFTA_DATA_VERDICT
        return
    verdict = spans(data, *value[2])
    if 1 not in verdict:  # NFTA_VERDICT_CODE
        raise MalformedError(value[2][0])
    code = signed(data, verdict[1])
    found.verdicts.append(NFT_VERDICTS[code] if code in NFT_VERDICTS else NF_VERDICTS.get(code & 0xFF, str(code)))
    if 2 in verdict:  # NFTA_VERDICT_CHAIN
        found.targets.append(text(data, verdict[2]))


def _lookup(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    found.sets.append(name(data, spans(data, *span), 1))  # NFTA_LOOKUP_SET, NFTA_DYNSET_SET_NAME


def _extension(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    found.extensions.append(name(data, spans(data, *span), 1))  # NFTA_MATCH_NAME, NFTA_TARGET_NAME


def _objref(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    inner = spans(data, *span)
    if 2 in inner:  # NFTA_OBJREF_IMM_NAME
        kind = maybe(data, inner, 1) or 0  # NFTA_OBJREF_IMM_TYPE
        found.objects.append((NFT_OBJECTS.get(kind, str(kind)), text(data, inner[2])))
    elif 4 in inner:  # NFTA_OBJREF_SET_NAME
        found.sets.append(text(data, inner[4]))


def _nat(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    kind = maybe(data, spans(data, *span), 1)  # NFTA_NAT_TYPE: NFT_NAT_SNAT 0, NFT_NAT_DNAT 1
    found.verdicts.append("dnat" if kind == 1 else "snat")


def _quota(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    places.volatile.extend((first, last) for kind, first, last in each(data, *span) if kind == 4)  # NFTA_QUOTA_CONSUMED


def _last(data: bytes, span: Span, found: _Findings, places: Places) -> None:
    places.volatile.extend((first, last) for _, first, last in each(data, *span))  # NFTA_LAST_SET, NFTA_LAST_MSECS


_EXPRESSIONS: dict[bytes, Callable[[bytes, Span, _Findings, Places], None]] = {
    b"counter": _counter,
    b"immediate": _immediate,
    b"lookup": _lookup,
    b"dynset": _lookup,
    b"match": _extension,
    b"target": _extension,
    b"objref": _objref,
    b"nat": _nat,
    b"quota": _quota,
    b"last": _last,
}
_VERDICT_EXPRESSIONS = {
    b"masq": "masquerade",
    b"redir": "redirect",
    b"reject": "reject",
    b"queue": "queue",
    b"tproxy": "tproxy",
    b"fwd": "fwd",
    b"synproxy": "synproxy",
}


def _expressions(data: bytes, span: Span, places: Places) -> _Findings:
    """Walk NFTA_RULE_EXPRESSIONS: a list of NFTA_LIST_ELEM, each NFTA_EXPR_NAME 1 and NFTA_EXPR_DATA 2."""
    found = _Findings()
    for _, first, last in each(data, *span):
        kind, inner = b"", None
        for attribute, start, end in each(data, first, last):
            if attribute == 1:
                kind = data[start:end].rstrip(b"\0")
            elif attribute == 2:
                inner = (start, end)
        if kind in _VERDICT_EXPRESSIONS:
            found.verdicts.append(_VERDICT_EXPRESSIONS[kind])
        elif kind in _EXPRESSIONS and inner is not None:
            _EXPRESSIONS[kind](data, inner, found, places)
    return found


def decode_rule(data: bytes, start: int, end: int, family: str) -> tuple[NftRule, Places]:
    """One rule and its Places; MalformedError where a length lies or table, chain or handle is missing."""
    spot = spans(data, start, end)
    if 1 not in spot or 2 not in spot or 3 not in spot:  # NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE
        raise MalformedError(start)
    places = Places()
    found = _expressions(data, spot[4], places) if 4 in spot else _Findings()  # NFTA_RULE_EXPRESSIONS
    rule = NftRule(
        family=family,
        table=text(data, spot[1]),
        chain=text(data, spot[2]),
        handle=number(data, spot[3]),
        comment=user_comment(data, spot.get(7)),  # NFTA_RULE_USERDATA
        verdicts=tuple(found.verdicts),
        targets=tuple(found.targets),
        sets=tuple(found.sets),
        objects=tuple(found.objects),
        extensions=tuple(found.extensions),
        counters=len(places.counters),
    )
    return rule, places
