"""The kernel's trace records joined to the journeys of packets.

A record has no number of its packet: its id is that of the next packet, too, once this one is gone. So a journey begins
where our table marks a packet, and ends at a final verdict, at the end of the last hook, when its id begins again, or
when no record came for a while.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from nettop.batch import DumpMark, Gap
from nettop.decode.drops import DropRecords
from nettop.decode.nflog import LegacyDecoded, LegacyRecord
from nettop.decode.nftables.trace import TraceDecoded, TraceRecord
from nettop.kinds import TRACE_EGRESS, TRACE_ENDS, TRACE_HOOKS, TRACE_INGRESS, TRACE_MARK, TRACE_MARKING, TRACE_PREFIX
from nettop.model.ruleset.counters import TracedHits
from nettop.model.ruleset.picture import ChainView, RuleView
from nettop.model.traces import links
from nettop.model.traces.drops import AFTER_NS, PendingDrops
from nettop.model.traces.elements import FindBranches
from nettop.model.traces.fragments import is_reassembled, others_of, whole_head
from nettop.model.traces.headers import packet_head
from nettop.model.traces.journey import Journey, JourneyEnd, Step
from nettop.model.traces.legacy import FindChain, FindLegacy, LegacyAt, LegacyRecords, packet_key, step_of
from nettop.model.traces.names import DeviceNames
from nettop.model.traces.order import base_chains
from nettop.model.traces.words import FindRule, StepWords

KEEP = 5000  # journeys
_RECENT = 2000  # journeys that the records of iptables-legacy may be of
SILENT_NS = 1_000_000_000  # without a record for so long a packet is gone
_LATE_NS = 500_000_000  # records arrive within this time
_CHECK_NS = 100_000_000  # how often records are looked for that did not come
# The records of iptables-legacy arrive on another socket: within this time of each other, the first of a packet within
# the second time (a busy machine may read that socket late).
_LEGACY_NS, _FIRST_LEGACY_NS = 150_000_000, 1_000_000_000
_CHANGES_NS = 150_000_000  # after a packet, the events of changes before it have been read
_MAX_HEADS = 10_000
_FINAL = frozenset(("drop", "stolen"))  # a queue may give a packet back

Keep = Callable[[Journey], bool]

ProveOrder = Callable[[Sequence[ChainView], int], None]  # base chains of a hook, as a packet met them, at this time


class Journeys:
    """The model of the stream "nft-trace". `device` gives a device's name by the namespace's code and its index."""

    def __init__(
        self,
        find_rule: FindRule,
        device: Callable[[int, int], str | None],
        find_legacy: FindLegacy = lambda *_: None,
        find_chain: FindChain = lambda *_: None,
        prove_order: ProveOrder = lambda *_: None,
        hits: TracedHits | None = None,
        find_branches: FindBranches = lambda _: (),
        has_legacy: Callable[[], bool] = lambda: True,
        is_bridge: Callable[[int, int], bool] = lambda *_: False,
        legacy_at: LegacyAt = lambda *_: True,
        is_stale: Callable[[RuleView], bool] = lambda _: False,
        keep: int = KEEP,
    ) -> None:
        self.version = 0
        self.table = ""  # only packets that this table marks; "": that any table of a nettop marks
        self.over = False  # the trace has ended, in the app
        self.only: Keep | None = None  # other journeys are counted when they end, and not kept
        self.others = 0
        self.kept: dict[int, Journey] = {}  # by number; with `only` in the order in which they end
        self.found = 0  # journeys kept that have ended, since `begin`
        self.evicted = 0  # journeys that made room for newer ones
        self._wanted = 0  # journeys to keep; 0: all
        self._begun = 0
        self.ended: deque[Journey] = deque(maxlen=keep)  # in the order of their numbers
        self._find_legacy, self._find_chain = find_legacy, find_chain
        self._names = DeviceNames(device)
        self._has_legacy = has_legacy  # whether iptables-legacy has tables
        self._words = StepWords(find_rule, find_chain, find_branches, has_legacy, is_stale)
        self._is_bridge = is_bridge  # whether the device of a namespace's code and this index is one
        self._legacy, self._legacy_at = LegacyRecords(_RECENT, legacy_at), legacy_at
        self._now_ns = 0
        self._limit, self._prove_order, self._hits = keep, prove_order, hits or TracedHits()
        self._open, self._departed = links.OpenPackets(), links.LatestPackets()  # the second: out of a device
        self._heads: dict[tuple[int, int], TraceRecord] = {}  # with the headers of a packet that is marked next
        self.count = 0  # of all journeys
        self._checked_ns = 0  # the time of records up to which all silent ones were ended
        self._answers, self._recent = links.Answers(), links.RecentPackets(_RECENT)
        self.drops = PendingDrops(keep)

    def apply(self, item: TraceDecoded | LegacyDecoded | DropRecords | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Add records. A loss makes the journeys of the namespace that are on their way incomplete."""
        self.version += 1
        if isinstance(item, TraceDecoded):
            for record in item.records:
                self._expire(record.ts_ns)
                self._add(record, netns)
        elif isinstance(item, LegacyDecoded):
            self._legacy.add(item.records)
        elif isinstance(item, DropRecords):
            self.drops.apply(item, self._open.values())
        elif isinstance(item, Gap):
            for journey in self._open.values():
                journey.whole = journey.whole and journey.netns != netns
        self._join_legacy()

    def wants_legacy(self) -> bool:
        """Return whether the rules of iptables-legacy must be read again: packets met some."""
        return any(True for _ in self._legacy.unread())

    def _join_legacy(self) -> None:
        for journey, record in self._legacy.joined(self._now_ns):
            self._add_legacy(journey, record)
            journey.reworded = journey.reworded or self._legacy_at(record.family, record.ts_ns) is False

    def _add_legacy(self, journey: Journey, record: LegacyRecord) -> None:
        found = step_of(record, self._find_legacy)
        if found is None or (journey.is_long() and not found.ends):
            return
        head = packet_head(record.network, record.transport, journey.behind)
        callers = journey.enter_legacy(record.hook, record.table, record.chain)
        step = Step(found.record, record.hook, callers, head, journey.device, journey.oif)
        step.found = (found.chain, found.rule) if found.chain and found.rule else None
        step.legacy, step.chain, step.joined = found.priority, found.chain, True
        step.at = journey.legacy_at(record.hook, found.priority)
        journey.steps.append(step)
        if found.ends and record.hook == journey.hook:
            journey.ended_by = step
            if journey.verdict == "lost" and journey.end is not None:
                journey.end = JourneyEnd(step.record.verdict, step)
        if journey.end is not None:
            self._words.order(journey)
            self._consider(journey)

    def begin(self, table: str, only: Keep | None, wanted: int = 0) -> None:
        """Keep the journeys of packets that `table` marks from now on, if they pass `only`, up to `wanted` (0: all)."""
        self.table, self.only, self._wanted = table, only, wanted
        self.found = self.others = self._begun = 0
        self._hits.clear()
        self.version += 1

    def note_over(self, over: bool) -> None:
        """Note whether the trace has ended."""
        self.version += over != self.over
        self.over = over

    def settle(self, now_ns: int) -> None:
        """End the journeys without a record for SILENT_NS, once all records of that time have arrived."""
        self._now_ns = max(self._now_ns, now_ns)
        self.version += self._names.rename(lambda: (*self.kept.values(), *self.ended, *self._open.values()))
        self._end_silent(now_ns - _LATE_NS)
        self._join_legacy()
        if len(self._heads) > _MAX_HEADS:
            self._heads.clear()

    def cut(self) -> None:
        """Note that no more records come: of packets on their way some are missing."""
        for journey in self._open.values():
            journey.whole = journey.whole and self._now_ns - journey.last_ns > SILENT_NS

    def _expire(self, ts_ns: int) -> None:
        """End the silent ones by the time of the records, so that a replay ends them in the same order."""
        if ts_ns - self._checked_ns >= _CHECK_NS:
            self._checked_ns = ts_ns
            self._end_silent(ts_ns)

    def _end_silent(self, now_ns: int) -> None:
        for key, journey in list(self._open.items()):
            if now_ns - journey.last_ns > SILENT_NS:
                self._finish(key, JourneyEnd("lost"))
                self.version += 1

    def is_complete(self, journey: Journey) -> bool:
        """Return whether nothing is added to a journey any more: a rule dropped it, or its drop cannot come."""
        is_first = self._has_legacy() and all(step.legacy is None for step in journey.steps)
        wait_ns = _FIRST_LEGACY_NS if is_first else _LEGACY_NS * bool(self._legacy.last_ns)
        wait_ns = max(wait_ns, AFTER_NS * bool(journey.end and journey.end.oif))  # for hooks of egress
        if self._now_ns < journey.last_ns + wait_ns or journey in self._legacy.unread():
            return False
        return journey.verdict in _FINAL or self.drops.knows(journey)

    def open(self) -> Iterable[Journey]:
        """Return the journeys that have not ended."""
        return self._open.values()

    def worded(self, journey: Journey) -> bool:
        """Return whether all rules of a journey have words, and its devices names, after looking for those without."""
        known = self._words.are_known(journey) and self._names.are_known(journey)
        return known and self._now_ns >= journey.last_ns + _CHANGES_NS

    def _add(self, record: TraceRecord, netns: int) -> None:
        key = (netns, record.id)
        self._now_ns = max(self._now_ns, record.ts_ns)
        if record.table.startswith(TRACE_PREFIX):
            self._own(record, key)
            return
        journey = self._open.get(key)
        if journey is None:
            if (journey := self._departed.get(key)) is None:
                return
            chain = self._find_chain(record.family, record.table, record.chain, False)
            if not links.at_egress(journey, record, chain):
                return
        self._see(journey, record)
        callers = journey.enter(record.chain)
        if record.type == "rule" and record.handle is None:
            return  # the end of a chain
        found = self._words.find(record)
        step = Step(record, journey.hook, callers, journey.last, journey.device, journey.oif, found)
        step.at, step.joined = len(journey.hooks) - 1, journey.joined
        journey.jump(step)
        if not journey.is_long() or record.verdict in _FINAL:
            journey.steps.append(step)
        if record.verdict in _FINAL and key in self._open:
            self._finish(key, JourneyEnd(record.verdict, step))
        elif journey.hook == TRACE_EGRESS:
            self._pass_egress(journey, step)

    def _own(self, record: TraceRecord, key: tuple[int, int]) -> None:
        """Apply a record of a tracing table: where the packet is, but nothing that was done to it."""
        journey = self._open.get(key)
        if journey is not None and journey.table != record.table:
            return  # another nettop traces it, too
        if record.chain == TRACE_MARK and record.handle is not None:
            if journey is not None and journey.family == record.family and journey.marked_by != record.handle:
                journey.note_protocol(record.handle)
                return
            head = self._heads.pop(key, record)
            first = record if record.network else head
            if journey is not None and not links.is_marked_again(journey, first):
                self._finish(key, JourneyEnd("lost"))
            if self.table in ("", record.table) and self._second_half(first, key) is None:
                self._begin(first, key)
            if (journey := self._open.get(key)) is not None:
                journey.marked_by = record.handle
        elif record.handle is not None and (record.chain in TRACE_MARKING or record.family == "netdev"):
            self._heads[key] = record  # another table has marked it, so this is the first record of the chain
        elif journey := journey or self._second_half(record, key) or self._copied(record, key):
            self._see(journey, record)
            journey.family = record.family
            if record.chain in TRACE_ENDS and record.type == "policy":
                leaves = TRACE_ENDS[record.chain] == "postrouting"
                self._finish(key, JourneyEnd("accept", oif=journey.oif if leaves else None))
            elif record.chain in TRACE_HOOKS and record.type == "rule":
                journey.arrive(record.chain, record.family)

    def _full(self) -> bool:
        return 0 < self._wanted <= (self._begun if self.only is None else self.found)

    def _begin(self, record: TraceRecord, key: tuple[int, int]) -> None:
        headers = record.network, record.transport
        head = packet_head(*headers)
        hook = TRACE_INGRESS if record.family == "netdev" else "output" if record.iif is None else "prerouting"
        names = self._names.name(key[0], record.iif), self._names.name(key[0], record.oif)
        self._departed.pop(key, None)  # the id is that of another packet
        journey = Journey(self.count + 1, key[0], record.table, record.ts_ns, hook, head, head, *names)
        journey.arrive(hook, record.family)
        journey.last_ns, journey.mark, journey.headers = record.ts_ns, record.mark, headers
        journey.key, journey.device = packet_key(*headers), journey.iif
        earlier = self._recent.leg_before(journey)
        if earlier is not None and earlier in self.ended:
            self._reopen(earlier)
        else:
            earlier = self._open.take_if(key[0], journey.key, lambda one: links.passes(one, journey))
        if key in self._open:  # the same id is another packet's
            self._finish(key, JourneyEnd("lost"))
        if earlier is None and self._full():
            return
        self._legacy.expect(earlier or journey, *headers)
        if earlier is not None:
            self._continue(earlier, journey, key)
            return
        self._open.put(key, journey)
        self._count(journey)

    def _count(self, journey: Journey) -> None:
        """Count a journey that begins, and keep it unless it has to pass `only` first."""
        self.count += 1
        self._begun += 1
        if self.only is None:
            self._keep(journey)

    def _second_half(self, record: TraceRecord, key: tuple[int, int]) -> Journey | None:
        """Return the journey that continues: under the id `key`, which a bridge gave it after prerouting at its port,
        or in postrouting of IP after that of the bridge.
        """
        left = self._departed.get(key)
        if left is not None and links.passes_ip(left, record) and left in self.ended:
            self._reopen(left)
            self._open.put(key, left)
            return left
        if record.iif is None or key in self._open or not self._is_bridge(key[0], record.iif):
            return None
        bridge, same = self._names.name(key[0], record.iif), packet_key(record.network, record.transport)
        journey = self._open.take_if(key[0], same, lambda one: links.is_halved(one, record, bridge))
        if journey is not None:
            journey.joined, journey.last_ns = True, record.ts_ns
            self._open[key] = journey  # not the latest: no third part follows
        return journey

    def _copied(self, record: TraceRecord, key: tuple[int, int]) -> Journey | None:
        """Begin the journey of a copy: of a packet on its way that goes out of several devices, as broadcasts do."""
        if record.chain not in TRACE_HOOKS or record.type != "rule" or not record.network:
            return None
        origin = self._open.latest(key[0], packet_key(record.network, record.transport))
        if origin is None or not links.is_copy(origin, record, self._names.name(key[0], record.iif)) or self._full():
            return None
        journey = origin.copied(self.count + 1, record.ts_ns)
        self._open[key] = journey  # `origin` stays the latest: more copies may follow
        self._count(journey)
        return journey

    def _reopen(self, journey: Journey) -> None:
        journey.end = None
        self.found -= journey.number in self.kept and journey.table == self.table
        if self.only is not None and self.kept.pop(journey.number, None) is None:
            self.others -= 1
        self._recent.remove(journey)
        if journey in self.ended:
            self.ended.remove(journey)
        self.drops.reopen(journey)

    def _continue(self, journey: Journey, leg: Journey, key: tuple[int, int]) -> None:
        """Continue a packet that came by another device."""
        journey.device, journey.oif, journey.joined = leg.device, leg.oif, True
        journey.last_ns = leg.ts_ns
        journey.arrive(leg.hook, leg.family)
        journey.begin_walk()
        self._open.put(key, journey)

    def _consider(self, journey: Journey) -> None:
        """Keep one of the others if it passes now: records of iptables-legacy come late."""
        if self.only is not None and journey.number not in self.kept and self.only(journey):
            self.others -= 1
            self.found += journey.table == self.table
            self._keep(journey)

    def _keep(self, journey: Journey) -> None:
        self.kept[journey.number] = journey
        if len(self.kept) > self._limit:
            del self.kept[next(iter(self.kept))]
            self.evicted += 1

    def _see(self, journey: Journey, record: TraceRecord) -> None:
        """Note what a record says of its packet. The first one of a base chain has the headers and devices."""
        journey.last_ns = record.ts_ns
        if record.ct_id is not None and journey.ct_id is None:
            journey.ct_id = record.ct_id
            journey.answers = asked = self._answers.answered_by(journey)
            if asked is not None and asked.answer is None:
                asked.answer = journey
        journey.ct_state = journey.ct_state or record.ct_state
        if record.network:
            journey.begin_walk()
            journey.last = packet_head(record.network, record.transport, journey.behind)
            if is_reassembled(journey):
                self._reassemble(journey, record)
        journey.oif = self._names.name(journey.netns, record.oif) or journey.oif

    def _reassemble(self, journey: Journey, record: TraceRecord) -> None:
        """Continue the journey of a packet that the kernel has reassembled, and end those of its other fragments."""
        others = others_of(journey, self._open.values())
        journey.head = whole_head(journey, others)
        for key in [key for key, one in self._open.items() if one in others]:
            self._open[key].part_of = journey
            self._finish(key, JourneyEnd("stolen"))
        self._legacy.expect(journey, record.network, record.transport)
        journey.joined = journey.joined or bool(others)

    def _finish(self, key: tuple[int, int], end: JourneyEnd) -> None:
        journey = self._open.take(key)
        journey.end = journey.last_step_end() or end if end.verdict == "lost" else end
        if end.oif is not None:
            self._departed.put(key, journey)
        self._words.order(journey)
        for chains in base_chains(journey):
            self._prove_order(chains, journey.ts_ns)
        self._hits.add({step.ident for step in journey.steps} - {0})
        if len(self.ended) == self.ended.maxlen:
            self.ended.popleft()
        insort(self.ended, journey, key=lambda one: one.number)
        self._recent.add(journey)
        self.drops.end(journey)
        if self.only is not None:
            self.others += 1
            self._consider(journey)
        else:
            self.found += journey.number in self.kept and journey.table == self.table

    def _pass_egress(self, journey: Journey, step: Step) -> None:
        """Note a step of a packet in an egress hook, which may drop it."""
        self._hits.add({step.ident} - {0})
        if step.record.verdict in _FINAL:
            journey.end = JourneyEnd(step.record.verdict, step)
        self._words.order(journey)
        self._consider(journey)
