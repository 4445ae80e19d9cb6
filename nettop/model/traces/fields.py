"""The columns of traced packets for the display filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nettop.linux.socket import AF_INET6
from nettop.model.filter.fields import Endpoint, ListedFields
from nettop.model.filter.vocabulary import word_filter
from nettop.model.traces.ends import verdict_of
from nettop.model.traces.headers import PacketHead
from nettop.model.traces.journey import Journey, Step

_LOW = (1 << 64) - 1


def rule_filter(family: str, table: str, chain: str, rule: str) -> str:
    """Return the filter for the packets that met a rule: `handle 17`, of iptables-legacy `rule 3`, or `policy`."""
    return word_filter("rule", f"{family} {table} {chain} {rule}")


def _rule(step: Step) -> str:
    record = step.record
    name = f"rule {step.number}" if record.handle is None else f"handle {record.handle}"
    return f"{record.family} {record.table} {record.chain} {'policy' if record.type == 'policy' else name}"


_WORDS: dict[str, Callable[[Journey], Iterable[str | None]]] = {
    "chain": lambda journey: (step.record.chain for step in journey.steps),
    "table": lambda journey: (step.record.table for step in journey.steps),
    "rule": lambda journey: map(_rule, journey.steps),
    "hook": lambda journey: journey.hooks,
    "verdict": lambda journey: () if (end := journey.shown_end) is None else (verdict_of(end),),
    "device": lambda journey: (journey.iif, journey.oif),
}


def journey_fields(journeys: Sequence[Journey]) -> ListedFields:
    """Return the fields of some journeys. `src`, `dst`: as they were marked; `any`: also as last seen."""

    def numbers(name: str) -> list[int | None] | None:
        return [getattr(one.head, name) for one in journeys] if name in ("family", "proto") else None

    def texts(name: str) -> list[str] | None:
        read = _WORDS.get(name)
        return None if read is None else ["\0".join(dict.fromkeys(filter(None, read(one)))) for one in journeys]

    def endpoints(side: str) -> list[Endpoint]:
        sides = {"src": ("src",), "dst": ("dst",), "any": ("src", "dst")}.get(side, ())
        heads = [[one.head for one in journeys]]
        if side == "any":
            heads.append([one.last for one in journeys])
        return [_endpoint(part, end) for part in heads for end in sides]

    return ListedFields(len(journeys), numbers, texts, endpoints)


def _endpoint(heads: Sequence[PacketHead], end: str) -> Endpoint:
    numbers = [head.src_number if end == "src" else head.dst_number for head in heads]
    ports = [head.sport if end == "src" else head.dport for head in heads]
    six = any(head.family == AF_INET6 for head in heads)
    return Endpoint(
        np.array([number >> 64 for number in numbers], np.uint64) if six else None,
        np.array([number & _LOW for number in numbers], np.uint64),
        np.array([port or 0 for port in ports]),
        np.array([port is not None for port in ports], np.bool_),
    )
