"""Trace records of iptables-legacy as steps of journeys. They have no id: a journey is found by the packet's bytes.

What no rule changes identifies a packet: IP id, length, protocol, and the sequence numbers of TCP and ICMP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nettop.decode.nflog import LegacyRecord
from nettop.decode.nftables.trace import TraceRecord
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP
from nettop.model.ruleset.hooks import LEGACY_TABLES
from nettop.model.ruleset.merge import ChainView, RuleView
from nettop.model.traces.journey import Journey

_INVARIANT = {IPPROTO_TCP: slice(4, 8), IPPROTO_ICMP: slice(6, 8), IPPROTO_ICMPV6: slice(6, 8)}
_BEFORE_NS, _AFTER_NS = 100_000_000, 2_000_000_000
_REFUSING = frozenset(("drop", "reject", "tarpit"))

# A chain of iptables-legacy, and its rule of this number; None: not known (yet), or there is none.
FindLegacy = Callable[[str, str, str, int], tuple[ChainView, RuleView | None] | None]


def packet_key(network: bytes, transport: bytes) -> tuple[object, ...]:
    """Return what identifies a packet on its way through one host."""
    if len(network) >= 20 and network[0] >> 4 == 4:
        proto, rest = network[9], (network[2:6],)  # total length, id
    elif len(network) >= 40 and network[0] >> 4 == 6:
        proto, rest = network[6], (network[1:6],)  # flow label, payload length
    else:
        return ()
    return proto, *rest, transport[_INVARIANT.get(proto, slice(0))]


def packet_of(record: LegacyRecord, packets: Iterable[Journey]) -> Journey | None:
    """Return the packet that a record is of: of several the latest, since the records come in order."""
    key = packet_key(record.network, record.transport)
    found = [
        packet
        for packet in packets
        if packet.key == key
        and record.hook in packet.hooks
        and packet.ts_ns - _BEFORE_NS <= record.ts_ns <= packet.last_ns + _AFTER_NS
    ]
    return max(found, key=lambda packet: packet.ts_ns, default=None)


@dataclass(frozen=True, slots=True)
class LegacyStep:
    """The step that a record is: None where the packet only comes to the end of a user chain."""

    record: TraceRecord
    chain: ChainView | None
    rule: RuleView | None
    refuses: bool  # the packet ends here
    priority: int


def step_of(record: LegacyRecord, find: FindLegacy) -> LegacyStep | None:
    """Return a record in the words of the rules; None: the end of a user chain."""
    found = find(record.family, record.table, record.chain, record.number)
    rule = found[1] if found else None
    priority = LEGACY_TABLES.get(record.table, {}).get(record.hook.upper(), 0)
    if rule is None and record.type == "return":
        return None
    if found and rule is not None:  # the kernel also calls a rule without matches a return or a policy
        verdict, target = _verdict(rule)
        return LegacyStep(_traced(record, "rule", verdict, target), found[0], rule, verdict in _REFUSING, priority)
    policy = (found[0].policy or "").lower() if found and record.type == "policy" else ""
    chain = found[0] if found else None
    return LegacyStep(_traced(record, record.type, policy, ""), chain, None, policy in _REFUSING, priority)


def _traced(record: LegacyRecord, kind: str, verdict: str, target: str) -> TraceRecord:
    names = record.ts_ns, 0, record.family, record.table, record.chain, None, kind, verdict, target
    return TraceRecord(*names, network=record.network, transport=record.transport, number=record.number)


def _verdict(rule: RuleView) -> tuple[str, str]:
    if rule.verdict in ("jump", "goto"):
        return rule.verdict, rule.targets[0]
    verdict = rule.verdict.lower()
    return ("drop" if verdict in _REFUSING else verdict or "continue"), ""
