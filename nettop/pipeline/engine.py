"""Feeds the models: each item goes through the decoder of its stream to the models that it concerns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from nettop.batch import Batch, Counters, DumpMark, End, Gap, Item, Stream, StreamAdded, Text
from nettop.columns import Strings
from nettop.decode.conntrack import ConntrackDecoder
from nettop.decode.ctstats import decode_ctstats
from nettop.decode.nftables import NftDecoder
from nettop.kinds import StreamKind, TextKind
from nettop.model.counters import CounterTable
from nettop.model.events import EventLog
from nettop.model.flows import FlowTable
from nettop.model.ledger import Ledger
from nettop.model.packets import PacketModel
from nettop.model.ruleset import Ruleset
from nettop.model.ruleset_chains import ChainTable
from nettop.model.ruleset_rules import RuleTable
from nettop.model.view import Snapshot, TableModel, ViewSpec
from nettop.pipeline.accounts import book_events, book_packets
from nettop.text.sanitize import clean_bytes

CONNTRACK_STREAMS = ("conntrack", "conntrack-dump")
_ENDINGS = 32  # of failed streams that are remembered


class Engine:
    """Every model of one run. To be used from one thread; `apply` in the order of the streams.

    `netns` is the label of the namespace whose rules are shown; None: the first one that a recording tells of.
    """

    def __init__(self, netns: str | None = None) -> None:
        self.netns = netns or ""
        self._adopts = netns is None
        self.strings = Strings()
        self.streams: dict[int, Stream] = {}
        self.labels: list[str] = []
        self.sysctls: dict[str, dict[str, str]] = {}  # by namespace, of the latest TextKind.SYSCTLS
        self.ended: deque[End] = deque(maxlen=_ENDINGS)  # the last streams that ended in an error
        self.ledger = Ledger()
        self._hidden_events = 0
        self.events = EventLog(self.strings, self._label, self._stream_name)
        self.flows = FlowTable(self.strings, self._label, self.events.history)
        self.counters = CounterTable(self._label)
        self.ruleset = Ruleset(self.netns)
        self.packets = PacketModel()
        chains = ChainTable(self.ruleset)
        self.views: dict[str, TableModel] = {
            "flows": self.flows,
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
        """The code that stands for a namespace in the models' columns."""
        if netns not in self.labels:
            self.labels.append(netns)
        return self.labels.index(netns)

    def snapshot(self, view: str, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window of a view that spec describes."""
        found = self.views[view].snapshot(spec, now_ns)
        if view == "events":
            self._hidden_events = found.total - found.matched
        return found

    def tick(self, now_ns: int) -> None:
        """What is due by time: our own losses among the counters, what views hide or gave up in the ledger."""
        streams = self.streams.values()
        book_packets(self.ledger, self.packets.store, [s.id for s in streams if s.kind is StreamKind.PACKETS])
        events = [(s.id, self.code(s.netns)) for s in streams if s.name == "conntrack"]
        book_events(self.ledger, self.events, events, self._hidden_events)
        self.counters.put_ledger(self.ledger.rows(), now_ns)

    def read_packets_with(self, packets: PacketModel) -> None:
        """Use this packet model from now on (before the first item)."""
        self.packets = self.views["packets"] = packets

    def close(self) -> None:
        """Let go of the files that packets are read from."""
        self.packets.close()

    def _label(self, code: int) -> str:
        return self.labels[code] if code < len(self.labels) else ""

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
            self.packets.apply(item, now_ns)
        elif stream.name in CONNTRACK_STREAMS:
            self._decoders[stream.id] = self._conntrack
        elif stream.name == "ctstats":
            self._decoders[stream.id] = decode_ctstats
        elif stream.name in ("nft", "nft-events"):
            self._decoders[stream.id] = NftDecoder(events=stream.name == "nft-events")

    def _netlink(self, item: Batch | Gap | DumpMark, stream: Stream, now_ns: int) -> None:
        decoder = self._decoders.get(stream.id)
        if decoder is None:
            return
        decoded = decoder(item) if isinstance(item, Batch) else item
        code = self.code(stream.netns)
        if stream.name == "conntrack":
            self.events.apply(decoded, code, now_ns)
            self.flows.apply(decoded, code, now_ns)
        elif stream.name == "conntrack-dump":
            self.flows.apply(decoded, code, now_ns)
        elif stream.name == "ctstats":
            self.counters.apply(decoded, code, now_ns)
        elif stream.netns == self.netns:
            self.ruleset.apply(decoded, now_ns)

    def _text(self, item: Text, stream: Stream, now_ns: int) -> None:
        if item.what is TextKind.SYSCTLS:
            self.sysctls[stream.netns] = sysctl_values(item.body)
        elif stream.netns == self.netns:
            self.ruleset.apply(item, now_ns)


def sysctl_values(body: bytes) -> dict[str, str]:
    """The values of a TextKind.SYSCTLS snapshot: `name = value` lines."""
    lines = (clean_bytes(line).partition("=") for line in body.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
