"""The columns of traced packets for the display filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nettop.batch import Array
from nettop.linux.socket import AF_INET6
from nettop.model.filter.fields import Endpoint, Mask
from nettop.model.filter.vocabulary import TRACED, word_filter
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


class JourneyFields:
    """Fields of some journeys. `src` and `dst` are those of the packet as it was marked, `any` also as last seen."""

    def __init__(self, journeys: Sequence[Journey]) -> None:
        self.kind, self.n, self.journeys = TRACED, len(journeys), journeys

    def number(self, name: str) -> Array | None:
        """Return family or proto; 0 where it is not known."""
        if name not in ("family", "proto"):
            return None
        return np.array([getattr(journey.head, name) or 0 for journey in self.journeys])

    def present(self, name: str) -> Mask | None:
        """Return the journeys with a known protocol."""
        return np.array([journey.head.proto is not None for journey in self.journeys]) if name == "proto" else None

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return the endpoints of a side."""
        sides = {"src": ("src",), "dst": ("dst",), "any": ("src", "dst")}.get(side, ())
        heads = [[journey.head for journey in self.journeys]]
        if side == "any":
            heads.append([journey.last for journey in self.journeys])
        return [_endpoint(part, end) for part in heads for end in sides]

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return the codes and texts of the chains, tables, rules and hooks that they met, their ends and devices."""
        if name not in _WORDS:
            return None
        texts = ["\0".join(dict.fromkeys(filter(None, _WORDS[name](journey)))) for journey in self.journeys]
        words = list(dict.fromkeys(texts))
        codes = {word: code for code, word in enumerate(words)}
        return np.array([codes[text] for text in texts], np.int64), words


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
