"""Trace records of iptables-legacy as steps of journeys. They have no id: a journey is found by the packet's bytes.

What no rule changes identifies a packet: IP id, length, protocol, and the sequence numbers of TCP and ICMP.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nettop.decode.nflog import LegacyRecord
from nettop.decode.nftables.trace import TraceRecord
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP
from nettop.linux.socket import AF_INET6
from nettop.model.ruleset.hooks import LEGACY_TABLES
from nettop.model.ruleset.picture import ChainView, RuleView
from nettop.model.traces.journey import IP_FAMILIES, Journey

_INVARIANT = {IPPROTO_TCP: slice(4, 8), IPPROTO_ICMP: slice(6, 8), IPPROTO_ICMPV6: slice(6, 8)}
_BEFORE_NS, _AFTER_NS = 100_000_000, 2_000_000_000
_KEEP_NS = 1_000_000_000  # records of no packet wait so long, by the time of records
_WAITING, _WAITING_EACH = 2000, 100  # and of so many packets, so many of each
_SAME = 20  # the latest packets with the same bytes and source
_REFUSING = frozenset(("drop", "reject", "tarpit"))
_UNREAD_NS = 1_500_000_000  # records wait so long for the rules to be read after them
# Targets that take the packet away, in the words of nf_tables.
_TAKING = {"nfqueue": "queue", "synproxy": "stolen"}
_ENDS = _REFUSING | {*_TAKING.values()}

_Key = tuple[object, ...]

# The chain of this family, table and name, of iptables-legacy or of nf_tables; None: not known (yet).
FindChain = Callable[[str, str, str, bool], ChainView | None]
# A chain of iptables-legacy, and its rule of this number; None: not known (yet), or there is none.
FindLegacy = Callable[[str, str, str, int], tuple[ChainView, RuleView | None] | None]
# Whether the rules known of a family are those of this time; None: they were not read since.
LegacyAt = Callable[[str, int], bool | None]


def packet_key(network: bytes, transport: bytes) -> tuple[object, ...]:
    """Return what identifies a packet on its way through one host."""
    if len(network) >= 20 and network[0] >> 4 == 4:
        proto, rest = network[9], (network[2:8],)  # total length, id, fragment
    elif len(network) >= 40 and network[0] >> 4 == 6:
        proto, rest = network[6], (network[1:6],)  # flow label, payload length
    elif not network and len(transport) >= 20 and transport[0] >> 4 == 6:  # an IPv6 fragment but the first
        return transport[6], transport[1:6]
    else:
        return ()
    return proto, *rest, transport[_INVARIANT.get(proto, slice(0))]


class LegacyRecords:
    """The records of iptables-legacy without a packet so far, and the latest packets, up to `limit`.

    Both are found by the packet's bytes and its source: NAT changes that after the last chain of iptables-legacy.
    No event tells that its rules have changed: records wait until those were read again.
    """

    def __init__(self, limit: int, rules_at: LegacyAt) -> None:
        self._rules_at = rules_at
        self._unread: deque[tuple[Journey, LegacyRecord]] = deque()
        self.last_ns = 0  # the time of the last record; 0: none came
        self._read: list[tuple[_Key, LegacyRecord]] = []
        self._waiting: dict[_Key, deque[LegacyRecord]] = {}
        self._ready: set[_Key] = set()  # keys of those whose packet is known by now
        self._packets: deque[tuple[_Key, Journey]] = deque()
        self._by_key: defaultdict[_Key, deque[Journey]] = defaultdict(lambda: deque(maxlen=_SAME))
        self._limit = limit

    def expect(self, packet: Journey, network: bytes, transport: bytes) -> None:
        """Add a packet that is marked, with its headers."""
        key = _key(network, transport)
        if key in self._waiting:
            self._ready.add(key)
        self._packets.append((key, packet))
        self._by_key[key].append(packet)
        if len(self._packets) > self._limit:
            oldest, packet = self._packets.popleft()
            if self._by_key[oldest][0] is packet:
                self._by_key[oldest].popleft()
            if not self._by_key[oldest]:
                del self._by_key[oldest]

    def add(self, records: Iterable[LegacyRecord]) -> None:
        """Add records that were read; joined() yields them."""
        self._read += ((_key(record.network, record.transport), record) for record in records)
        self.last_ns = self._read[-1][1].ts_ns if self._read else self.last_ns

    def joined(self, now_ns: int) -> Iterator[tuple[Journey, LegacyRecord]]:
        """Yield the records whose packet and rules are known. One without a packet waits for that."""
        again = [(key, record) for key in self._ready for record in self._waiting.pop(key, ())]
        read, self._read = [*again, *self._read], []
        self._ready.clear()
        for key, record in read:
            packet = _packet_of(record, self._by_key.get(key, ()))
            if packet is not None:
                self._unread.append((packet, record))
            elif record.ts_ns > self.last_ns - _KEEP_NS:
                self._wait(key, record)
        while self._unread and not self._is_early(self._unread[0][1], now_ns):
            yield self._unread.popleft()

    def unread(self) -> Iterator[Journey]:
        """Yield the packets with records that wait for their rules."""
        return (packet for packet, _ in self._unread)

    def _is_early(self, record: LegacyRecord, now_ns: int) -> bool:
        return self._rules_at(record.family, record.ts_ns) is None and now_ns - record.ts_ns < _UNREAD_NS

    def _wait(self, key: _Key, record: LegacyRecord) -> None:
        self._waiting.setdefault(key, deque(maxlen=_WAITING_EACH)).append(record)
        if key in self._by_key:  # of a hook that the packet may come to
            self._ready.add(key)
        if len(self._waiting) > _WAITING:
            del self._waiting[next(iter(self._waiting))]


def _key(network: bytes, transport: bytes) -> _Key:
    first = network or transport
    source = first[12:16] if first[:1] < b"\x60" else first[8:20]
    return *packet_key(network, transport), source, transport[:2]


def _packet_of(record: LegacyRecord, packets: Iterable[Journey]) -> Journey | None:
    """Return the packet that a record belongs to: of several the latest, since the records come in order."""
    found = [
        packet
        for packet in packets
        if record.hook in packet.hooks and packet.ts_ns - _BEFORE_NS <= record.ts_ns <= packet.last_ns + _AFTER_NS
    ]
    return max(found, key=lambda packet: packet.ts_ns, default=None)


@dataclass(frozen=True, slots=True)
class LegacyStep:
    """One record as a step of a packet."""

    record: TraceRecord
    chain: ChainView | None
    rule: RuleView | None
    ends: bool  # the packet ends here, or goes to a queue
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
        return LegacyStep(_traced(record, "rule", verdict, target), found[0], rule, verdict in _ENDS, priority)
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
    return ("drop" if verdict in _REFUSING else _TAKING.get(verdict, verdict) or "continue"), ""


def hooks_unseen(journey: Journey, find_chain: FindChain) -> Iterator[str]:
    """Yield the hooks with tables of iptables-legacy that a packet went through without a step of theirs."""
    seen = {(step.hook, step.record.table) for step in journey.steps if step.legacy is not None}
    family = "ip6" if journey.head.family == AF_INET6 else "ip"
    hooks = [hook for hook, of in zip(journey.hooks, journey.families, strict=True) if of in IP_FAMILIES]
    if (journey.end is None or journey.end.step is not None) and journey.family in IP_FAMILIES:
        hooks = hooks[:-1]  # not all of the last one
    for hook in dict.fromkeys(hooks):
        tables = (name for name, chains in LEGACY_TABLES.items() if hook.upper() in chains and name != "nat")
        if any((hook, table) not in seen and find_chain(family, table, hook.upper(), True) for table in tables):
            yield hook
