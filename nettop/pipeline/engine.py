"""Feeds the models: each item goes through the decoder of its stream to the models that it concerns."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nettop.batch import Batch, Counters, DumpMark, End, Gap, Item, Stream, StreamAdded, Text
from nettop.columns import Decoded, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.decode.conntrack.statistics import decode_ctstats
from nettop.decode.net_statistics import decode_net_statistics
from nettop.decode.nfacct import decode_nfacct
from nettop.decode.nftables.decoder import NftDecoder
from nettop.decode.nftables.sets import NftSetsDecoder
from nettop.decode.rtnetlink import decode_rtnetlink
from nettop.decode.sysctls import sysctl_values
from nettop.kinds import StreamKind, TextKind
from nettop.model.counters.table import CounterTable
from nettop.model.events.log import KEEP_EVENTS, EventLog
from nettop.model.expectations.table import ExpectationTable
from nettop.model.flow_groups.table import FlowGroups
from nettop.model.flows.devices import FlowDevices
from nettop.model.flows.table import FlowTable
from nettop.model.ledger import Ledger
from nettop.model.names import Names
from nettop.model.packet_rates.meter import FlowMeter
from nettop.model.packets.reorder import HOLD_NS
from nettop.model.packets.table import PacketModel
from nettop.model.processes.processes import Processes
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.rule_table import RuleTable
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.table import Snapshot, TableModel, ViewSpec
from nettop.model.topology.routing import Routing
from nettop.pipeline.ledger_booking import book_events, book_packets
from nettop.pipeline.receive_filter import Only
from nettop.sources.names import NameResolver

CONNTRACK_STREAMS = ("conntrack", "conntrack-dump")
RULE_STREAMS = ("nft", "nft-events")
COUNTING_STREAMS = ("ctstats", "nfacct", "nft", "nft-sets")
_ENDINGS = 32  # of failed streams that are remembered
_LAST_CODE = 0xFFFF  # columns hold codes of namespaces in 16 bits


class Engine:
    """Every model of one run. To be used from one thread; `apply` in the order of the streams.

    `netns` is the label of the namespace whose rules are shown; None: the first one that a recording tells of.
    `keep_events` is how many of the last events are kept.
    """

    def __init__(self, netns: str | None = None, keep_events: int = KEEP_EVENTS) -> None:
        self.netns = netns or ""
        self._adopts = netns is None
        self.strings = Strings()
        self.streams: dict[int, Stream] = {}
        self.labels: list[str] = []
        self._codes: dict[str, int] = {}  # the places of labels: a recording may tell of 65,536
        self.sysctls: dict[str, dict[str, str]] = {}  # by namespace, of the latest TextKind.SYSCTLS
        self.ended: deque[End] = deque(maxlen=_ENDINGS)  # the last streams that ended in an error
        self.ledger = Ledger()
        self.only: Only | None = None  # nothing else reaches the flow table and the events
        self._joined = 0  # versions of what is joined to flows, when their table was told last
        self.events = EventLog(self.strings, self._label, self._stream_name, keep_events)
        self.flows = FlowTable(self.strings, self._label, self.events.history)
        self.routing = Routing()
        self.processes = Processes(self.routing)
        self.devices = FlowDevices(self.routing)
        self.flows.joins.devices, self.flows.joins.processes = self.devices, self.processes
        self.expectations = ExpectationTable(self.strings)
        self.flows.joins.relations = self.expectations
        self.flows.joins.accounting = self._accounting
        self.names = self.flows.joins.hosts = Names(NameResolver, time.monotonic_ns)
        self.counters = CounterTable(self._label, namespaces=self.labels)
        self.ruleset = Ruleset(self.netns)
        self.meter = self.flows.joins.meter = FlowMeter(self.flows.store, self.code)
        self.packets = PacketModel()
        self.packets.store.told = self.meter.take
        chains = ChainTable(self.ruleset)
        self.groups = FlowGroups(self.flows, lambda: self.counters.table_use(self.netns)[1])
        self.views: dict[str, TableModel] = {
            "flows": self.flows,
            "groups": self.groups,
            "events": self.events,
            "chains": chains,
            "rules": RuleTable(self.ruleset, chains),
            "packets": self.packets,
            "counters": self.counters,
        }
        self._decoders: dict[int, Callable[[Batch], Any]] = {}
        self._conntrack = ConntrackDecoder(self.strings)

    def apply(self, item: Item, now_ns: int) -> None:
        """Take one item. Never raises on what came from outside."""
        self.ledger.take(item)
        if isinstance(item, StreamAdded):
            self._added(item, now_ns)
        elif isinstance(item, End):
            if item.error:
                self.ended.append(item)
        elif isinstance(item, Counters):
            pass  # the ledger's alone
        elif item.stream in self.streams:
            stream = self.streams[item.stream]
            if stream.kind is StreamKind.PACKETS:
                self.packets.apply(item, now_ns)
            elif isinstance(item, Text):
                self._text(item, stream, now_ns)
            else:
                self._netlink(item, stream, now_ns)

    def code(self, netns: str) -> int:
        """The code that stands for a namespace in the models' columns; those that no longer fit share the last one."""
        code = self._codes.get(netns)
        if code is None:
            code = self._codes[netns] = min(len(self.labels), _LAST_CODE)
            if len(self.labels) <= _LAST_CODE:
                self.labels.append(netns)
        return code

    def snapshot(self, view: str, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window of a view that spec describes."""
        return self.views[view].snapshot(spec, now_ns)

    def tick(self, now_ns: int) -> None:
        """What is due by time: our own losses among the counters, what views hide or gave up in the ledger."""
        streams = self.streams.values()
        book_packets(self.ledger, self.packets.store, [s.id for s in streams if s.kind is StreamKind.PACKETS])
        events = [(s.id, self.code(s.netns)) for s in streams if s.name == "conntrack"]
        book_events(self.ledger, self.events, events)
        self.counters.put_ledger(self.ledger.rows(), now_ns)
        self.packets.store.settle(now_ns - HOLD_NS)
        self.meter.tick(now_ns)
        self.names.collect()
        self._tell_flows()

    def _tell_flows(self) -> None:
        """What is joined to flows changed: so does what their table shows."""
        joins = (self.routing, self.processes, self.meter, self.names, self.expectations)
        joined = sum(join.version for join in joins)
        if joined != self._joined:
            self._joined = joined
            self.flows.version += 1

    def show_namespaces(self, labels: Sequence[str]) -> None:
        """Flows of these namespaces are to come; where they are several, their tables say which."""
        for label in labels:
            self.code(label)
        if len(labels) > 1:
            self.flows.default_columns = (*self.flows.default_columns, "netns")
            self.events.default_columns = (*self.events.default_columns, "netns")
            self.counters.default_columns = ("group", "netns", *self.counters.default_columns[1:])

    def watch(self, only: Only | None) -> None:
        """From now on only these flows; the table of the namespace begins anew."""
        self.only = only
        for label in self.labels:
            self.forget(label)

    def forget(self, netns: str) -> None:
        """No flow of this namespace is known any more."""
        self.flows.forget(self.code(netns))
        self.expectations.forget(self.code(netns))

    def read_packets_with(self, packets: PacketModel) -> None:
        """Use this packet model from now on (before the first item)."""
        self.packets = self.views["packets"] = packets
        packets.store.told = self.meter.take

    def close(self) -> None:
        """Let go of the files that packets are read from, and ask for no more names."""
        self.packets.close()
        self.names.close()

    def _label(self, code: int) -> str:
        return self.labels[code] if code < len(self.labels) else ""

    def _accounting(self, netns: str) -> bool | None:
        """Whether bytes are counted there; None where its sysctls are not known."""
        value = self.sysctls.get(netns, {}).get("net.netfilter.nf_conntrack_acct")
        return None if value is None else value != "0"

    def _stream_name(self, stream: int) -> str:
        return self.streams[stream].name if stream in self.streams else str(stream)

    def _added(self, item: StreamAdded, now_ns: int) -> None:
        stream = item.stream
        self.streams[stream.id] = stream
        self.code(stream.netns)
        if self._adopts and stream.kind is not StreamKind.PACKETS:
            self.netns = self.ruleset.netns = stream.netns
            self._adopts = False
        if stream.kind is StreamKind.PACKETS:
            if not stream.file:
                self.meter.forget()  # another capture begins
            self.packets.apply(item, now_ns)
        elif stream.name in (*CONNTRACK_STREAMS, "expect"):
            self._decoders[stream.id] = self._conntrack
        elif stream.name == "ctstats":
            self._decoders[stream.id] = decode_ctstats
        elif stream.name == "nfacct":
            self._decoders[stream.id] = decode_nfacct
        elif stream.name == "nft-sets":
            self._decoders[stream.id] = NftSetsDecoder()
        elif stream.name == "routes":
            self._decoders[stream.id] = decode_rtnetlink
        elif stream.name in RULE_STREAMS:
            self._decoders[stream.id] = NftDecoder(events=stream.name == "nft-events")

    def _netlink(self, item: Batch | Gap | DumpMark, stream: Stream, now_ns: int) -> None:
        decoder = self._decoders.get(stream.id)
        if decoder is None:
            return
        decoded = item if not isinstance(item, Batch) else self._decoded(decoder, item, stream)
        code = self.code(stream.netns)
        if self.only is not None and stream.name in CONNTRACK_STREAMS and isinstance(decoded, Decoded):
            decoded, withheld = self.only.kept(decoded, now_ns, self.strings, self._label)
            self.ledger.withhold(stream.id, withheld)
        if stream.name == "conntrack":
            self.events.apply(decoded, code, now_ns)
            self.flows.apply(decoded, code, now_ns)
            self.expectations.apply(decoded, code, now_ns)
        elif stream.name == "conntrack-dump":
            self.flows.apply(decoded, code, now_ns)
            self.expectations.apply(decoded, code, now_ns)
        elif stream.name == "expect":
            self.expectations.apply(decoded, code, now_ns)
        elif stream.name in COUNTING_STREAMS:
            self.counters.apply(decoded, code, now_ns)
        elif stream.name == "routes":
            self.routing.apply(decoded, code, now_ns)
        if stream.name in RULE_STREAMS and stream.netns == self.netns:
            self.ruleset.apply(decoded, now_ns)

    def _decoded(self, decoder: Callable[[Batch], Any], item: Batch, stream: Stream) -> Any:
        decoded = decoder(item)
        events = stream.name == "conntrack"
        bad = self.events.unreadable(item, decoded) if events else decoded.errors.records()
        self.ledger.spoil(stream.id, bad)
        return decoded

    def _text(self, item: Text, stream: Stream, now_ns: int) -> None:
        if item.what is TextKind.SYSCTLS:
            self.sysctls[stream.netns] = sysctl_values(item.body)
            self.counters.put_sysctls(self.sysctls[stream.netns], self.code(stream.netns), item.ts_ns)
        elif item.what is TextKind.NET_STATISTICS:
            found = decode_net_statistics(item.body, item.ts_ns)
            self.counters.apply(found, self.code(stream.netns), now_ns)
        elif item.what is TextKind.PROCESSES:
            self.processes.apply(item, self.code(stream.netns), now_ns)
        elif stream.netns == self.netns:
            self.ruleset.apply(item, now_ns)
