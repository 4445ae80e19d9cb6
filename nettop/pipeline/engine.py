"""The models of one run: each item goes through the decoder of its feed to the models of the feed's row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nettop.batch import Batch, DumpMark, End, Gap, Stream, StreamAdded, Text
from nettop.broker.requests import ResolveName
from nettop.columns import Decoded
from nettop.kinds import StreamKind
from nettop.model.counters.table import CounterTable
from nettop.model.events.table import KEEP_EVENTS, EventLog
from nettop.model.expectations.table import ExpectationTable
from nettop.model.findings import Finding
from nettop.model.flow_groups.table import FlowGroups
from nettop.model.flows.devices import FlowDevices
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.store import FlowStore
from nettop.model.flows.table import FlowTable
from nettop.model.map.drawing import MapDrawing
from nettop.model.map.lists import MapLists
from nettop.model.map.table import MapTable
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings
from nettop.model.names import Names
from nettop.model.packet_rates.meter import FlowMeter
from nettop.model.packets.reorder import HOLD_NS
from nettop.model.packets.store import open_for_reading
from nettop.model.packets.table import BUDGET, PacketModel
from nettop.model.processes.processes import Processes
from nettop.model.ruleset.chain_matrix import ChainMatrix
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.counters import TracedHits
from nettop.model.ruleset.find import RuleFinder
from nettop.model.ruleset.rule_table import RuleTable
from nettop.model.sysctls import Sysctls
from nettop.model.table import Model, Snapshot, TableModel, ViewSpec
from nettop.model.topology.host_map import HostMap
from nettop.model.topology.routing import Routing
from nettop.model.traces.journeys import Journeys
from nettop.model.traces.table import TraceTable
from nettop.pipeline.feed import Feed
from nettop.pipeline.feeds import MAPPING, feed_of
from nettop.pipeline.intake import Intake
from nettop.pipeline.ledger_booking import book_events, book_packets
from nettop.pipeline.receive_filter import ReceiveFilter
from nettop.pipeline.route_checks import RouteChecks
from nettop.sources.names import NameResolver
from nettop.text.units import plural

_FOREVER = 1 << 62  # ns
_OF_HOST = frozenset(feed.stream for feed in MAPPING)


class Engine(Intake):
    """Every model of one run. To be used from one thread; `apply` gets items in the order of the streams.

    `netns` is the label of the namespace whose rules are shown; None: the first one of a recording. The last
    `keep_events` events are kept.
    """

    def __init__(
        self,
        netns: str | None = None,
        keep_events: int = KEEP_EVENTS,
        resolve: Callable[[ResolveName], str | None] = lambda query: None,
    ) -> None:
        super().__init__(netns or "")
        self._show_first_netns = netns is None
        self.sysctls = Sysctls(self._label)
        self.receive_filter: ReceiveFilter | None = None  # other flows and events are withheld from the models
        self._joins_version = 0  # the sum of the joined models' versions when the flow table's last grew
        self.events = EventLog(self.strings, self._label, self._stream_name, keep_events)
        self.routing = Routing()
        self.host_map = HostMap()
        self.checks: RouteChecks | None = None  # of a live session: the kernel can be asked
        self.processes = Processes(self.routing)
        self.devices = FlowDevices(self.routing)
        self.expectations = ExpectationTable(self.strings)
        self.names = Names(lambda: NameResolver(resolve), time.monotonic_ns)
        store = FlowStore()
        self.meter = FlowMeter(store, self.code)
        expected, accounting = self.expectations.of_flow, self.sysctls.accounting
        joins = FlowJoins(self.processes, self.devices, self.meter, self.names, expected, accounting)
        self.flows = FlowTable(self.strings, self._label, self.events.history, joins, store)
        self.counters = CounterTable(self._label, namespaces=self.labels)
        rules, self._hits = self.ruleset, TracedHits()
        find_chain = lambda *key: rules.picture.chain(*key)  # noqa: E731
        found = rules.rule, self.routing.device, rules.legacy_rule, find_chain, rules.prove_order, self._hits
        legacy = rules.has_legacy, self.routing.is_bridge, rules.texts.legacy_at
        self.traces = Journeys(*found, rules.branches, *legacy, rules.is_stale)
        self.traced = TraceTable(self.traces, lambda: rules.joined_version, lambda: rules.picture.chains)
        self.packets = PacketModel(self.meter.add)
        self.groups = FlowGroups(self.flows, lambda: self.counters.table_use(self.netns)[1])
        self.views = self._views()
        self.models |= self._models()

    def _views(self) -> dict[str, TableModel]:
        chains = ChainTable(self.ruleset)
        self.finder, self.findings = RuleFinder(self.ruleset, chains.order), chains.findings
        self.map = MapTable(self.host_map, self._shown_in_map, self._known, self._map_findings, self._rules_version)
        return {
            "flows": self.flows,
            "groups": self.groups,
            "events": self.events,
            "chains": chains,
            "matrix": ChainMatrix(self.ruleset, chains, self.finder),
            "rules": RuleTable(self.ruleset, chains, self.finder, self._hits),
            "packets": self.packets,
            "counters": self.counters,
            "map": self.map,
            "drawing": MapDrawing(self.map),
            "lists": MapLists(self.map),
            "traces": self.traced,
        }

    def _models(self) -> dict[str, Model]:
        return {  # by the names in pipeline.feeds
            "events": self.events,
            "flows": self.flows,
            "expectations": self.expectations,
            "counters": self.counters,
            "routing": self.routing,
            "processes": self.processes,
            "sysctls": self.sysctls,
            "map": self.host_map,
            "traces": self.traces,
        }

    def snapshot(self, view: str, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window of a view that spec describes."""
        return self.views[view].snapshot(spec, now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due by time: bring the ledger, the counters that show it, packets, rates and names up to date."""
        streams = self.streams.values()
        packets = [s.id for s in streams if s.kind is StreamKind.PACKETS and not s.headers]
        book_packets(self.ledger, self.packets.lists, packets)
        events = [(s.id, self.code(s.netns)) for s in streams if _has_events(feed_of(s))]
        book_events(self.ledger, self.events, events)
        self.counters.put_ledger(self.ledger.rows(), now_ns)
        self.packets.lists.live.store.settle(now_ns - HOLD_NS)
        self.meter.tick(now_ns)
        self.traces.settle(now_ns)
        self.names.collect()
        self._update_flows()

    def due(self) -> bool:
        """Return whether the next tick must come soon without new items: packets or answers are pending."""
        return self.names.awaited or self.meter.measuring or self.packets.lists.live.store.waiting

    def _update_flows(self) -> None:
        """Raise the version of the flow table if what is joined to flows has changed."""
        joins = (self.routing, self.processes, self.meter, self.names, self.expectations)
        version = sum(join.version for join in joins)
        if version != self._joins_version:
            self._joins_version = version
            self.flows.version += 1

    def show_namespaces(self, labels: Mapping[str, int]) -> None:
        """Prepare for flows of these namespaces, by label, with their inodes. Of several the tables get a column."""
        self.host_map.watched = labels
        for label in labels:
            self.code(label)
        if len(labels) > 1:
            self.flows.default_columns = (*self.flows.default_columns, "netns")
            self.events.default_columns = (*self.events.default_columns, "netns")
            self.packets.default_columns = (
                *self.packets.default_columns[:4],
                "netns",
                *self.packets.default_columns[4:],
            )
            self.counters.default_columns = ("group", "netns", *self.counters.default_columns[1:])

    def watch(self, receive_filter: ReceiveFilter | None) -> None:
        """Receive only flows that match; the flow tables are emptied."""
        self.receive_filter = receive_filter
        for label in self.labels:
            self.forget(label)

    def forget(self, netns: str) -> None:
        """Remove every flow and expectation of this namespace."""
        self.flows.forget(self.code(netns))
        self.expectations.forget(self.code(netns))

    def keep_packets(self, budget: int = BUDGET, opener: Callable[[str], int] = open_for_reading) -> None:
        """Keep packets with this budget (bytes), and open their files with `opener`. Before the first item."""
        self.packets = self.views["packets"] = PacketModel(self.meter.add, budget, opener)

    def close(self) -> None:
        """Close the files that packets are read from, and end the resolver."""
        self.packets.close()
        self.names.close()
        if self.checks is not None:
            self.checks.close()

    def _map_findings(self) -> Sequence[Finding]:
        drops = None if self.checks is None else self.checks.drops
        return map_findings(MapFacts(self.host_map, self.rulesets.of, drops))

    def _rules_version(self) -> int:
        """Return a number that grows with what findings are made of beside the map."""
        return self.ruleset.layout_version + (0 if self.checks is None else self.checks.version)

    def _shown_in_map(self) -> str:
        """Return the label of the shown namespace in the map; once that is gone, of the one nettop was started in."""
        label = self.host_map.listed(self.netns)
        return "" if self.host_map.of(label) is None else label

    def _known(self, label: str) -> list[str]:
        """Return what else is known of a watched namespace: its flows and its rules."""
        netns = next((one for one in self.host_map.watched if self.host_map.listed(one) == label), label)
        flows, rules = self.counters.table_use(netns)[0], self.rulesets.of(netns)
        flows = len(self.flows) if flows is None and self.labels == [netns] else flows
        count = 0 if rules is None else len(rules.picture.rules)
        return [*([] if flows is None else [plural(flows, "flow")]), *([plural(count, "rule")] if count else [])]

    def _stream_name(self, stream: int) -> str:
        return self.streams[stream].name if stream in self.streams else str(stream)

    def _added(self, item: StreamAdded, now_ns: int) -> None:
        super()._added(item, now_ns)
        stream = item.stream
        if self._show_first_netns and stream.kind is not StreamKind.PACKETS and stream.name not in _OF_HOST:
            self.netns = stream.netns
            self.rulesets.show(stream.netns)
            self._show_first_netns = False
        if stream.kind is StreamKind.PACKETS:
            if not stream.file:
                self.meter.forget()  # another capture begins
            self.packets.apply(item, self.code(stream.netns), now_ns)

    def _ended(self, item: End) -> None:
        super()._ended(item)
        if item.stream is None:  # no record comes any more
            self.traces.settle(_FOREVER)

    def _apply_to(self, item: Batch | Gap | DumpMark | Text, stream: Stream, now_ns: int) -> None:
        if stream.kind is StreamKind.PACKETS:
            self.packets.apply(item, self.code(stream.netns), now_ns)
        else:
            super()._apply_to(item, stream, now_ns)

    def _received(self, feed: Feed, stream: Stream, decoded_item: Any, now_ns: int) -> Any:
        if self.receive_filter is None or not feed.flows or not isinstance(decoded_item, Decoded):
            return decoded_item
        decoded_item, withheld = self.receive_filter.select(decoded_item, now_ns, self.strings, self._label)
        self.ledger.add_withheld(stream.id, withheld)
        return decoded_item

    def _unreadable(self, feed: Feed, item: Batch, decoded: Any) -> int:
        return self.events.unreadable(item, decoded) if _has_events(feed) else super()._unreadable(feed, item, decoded)


def _has_events(feed: Feed | None) -> bool:
    return feed is not None and "events" in feed.models
