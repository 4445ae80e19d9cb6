"""The live sources of one namespace: which there are, how often they poll, and how they poke one another."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from nettop.batch import Stream
from nettop.broker.client import Broker, Netns
from nettop.kinds import NETLINK_NETFILTER, StreamKind, TextKind
from nettop.pipeline.plumbing import EVENT_GATHER_NS, Plumbing
from nettop.pipeline.threads import SourceThread
from nettop.sources import conntrack, nftables
from nettop.sources.ctstats import ConntrackStats
from nettop.sources.dumps import SHARE, DumpSource
from nettop.sources.ring import PacketRing
from nettop.sources.texts import Texts

RULE_TEXTS = (
    TextKind.NFT_RULESET,
    TextKind.IPTABLES_SAVE,
    TextKind.IP6TABLES_SAVE,
    TextKind.IPTABLES_LEGACY_SAVE,
    TextKind.IP6TABLES_LEGACY_SAVE,
)
LEGACY_TEXTS = (TextKind.IPTABLES_LEGACY_SAVE, TextKind.IP6TABLES_LEGACY_SAVE)
DUMP_EVERY_S = 2.0
RULES_EVERY_S = 1.0
SYSCTLS_EVERY_S = 5.0
LEGACY_EVERY_S = 2.0
EVENT_RCVBUF = conntrack.EVENT_RCVBUF


class LiveSources:
    """Opens and runs sources in one namespace. Every method raises BrokerError when the kernel refuses."""

    def __init__(self, broker: Broker, netns: Netns, plumbing: Plumbing) -> None:
        self.broker = broker
        self.netns = netns
        self._plumbing = plumbing
        self._threads: list[SourceThread] = []
        self._captures: list[SourceThread] = []
        self._pokes: dict[str, tuple[DumpSource | Texts, SourceThread]] = {}

    def events(self, rcvbuf: int = EVENT_RCVBUF) -> None:
        """Conntrack events as they come."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER, conntrack.EVENT_GROUPS, rcvbuf)
        source = conntrack.ConntrackEvents(self._netlink("conntrack"), sock, self._plumbing.seq)
        self._threads.append(self._plumbing.start(source, "events", gather_ns=EVENT_GATHER_NS))

    def table(self, interval: float | None = DUMP_EVERY_S, share: float | None = SHARE) -> None:
        """Dumps of the conntrack table; `interval` None: one, then the stream ends."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream, seq = self._netlink("conntrack-dump"), self._plumbing.seq
        source = conntrack.ConntrackDump(stream, self.broker, self.netns, sock, seq, interval, share)
        self._dumps("conntrack", source)

    def statistics(self, interval: float | None = 1.0) -> None:
        """Conntrack's statistics and the table's use."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stats = ConntrackStats(self._netlink("ctstats"), self.broker, sock, self._plumbing.seq, interval)
        self._dumps("ctstats", stats)

    def rules(self, interval: float | None = RULES_EVERY_S) -> None:
        """nftables with its counters and changes, and the words of every rule; `interval` None: once each."""
        seq, once = self._plumbing.seq, interval is None
        if not once:
            sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER, nftables.EVENT_GROUPS)
            events = nftables.NftEvents(self._netlink("nft-events"), sock, seq, self.poke_rules)
            self._threads.append(self._plumbing.start(events, "nft-events", gather_ns=EVENT_GATHER_NS))
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        self._dumps("nft", nftables.NftDump(self._netlink("nft"), self.broker, sock, seq, interval))
        self._texts("texts", RULE_TEXTS, None, once)

    def legacy_counters(self, interval: float = LEGACY_EVERY_S) -> None:
        """Poll the words of legacy tables: their counters come in no other way. Call it when there are such tables."""
        if "legacy" not in self._pokes:
            self._texts("legacy", LEGACY_TEXTS, interval, once=False)

    def sysctls(self) -> None:
        """The sysctls that explain what is seen."""
        self._texts("sysctls", (TextKind.SYSCTLS,), SYSCTLS_EVERY_S, once=False)

    def capture(self, devices: Sequence[str], expression: str, snaplen: int = 262_144) -> None:
        """A packet ring on each device, with libpcap's filter in the kernel; replaces the capture that runs."""
        opened = self.broker.packet_socket
        sockets = [opened(self.netns, name, expression=expression, snaplen=snaplen) for name in devices]
        self.stop_capture()
        for sock in sockets:
            stream = Stream(
                self._plumbing.stream_id(),
                StreamKind.PACKETS,
                sock.device.name,
                self.netns.label,
                sock.linktype,
                snaplen,
                expression,
                f"{platform.system()} {platform.release()}",
                sock.device.ifindex,
            )
            source = PacketRing(stream, sock, self._plumbing.seq)
            self._captures.append(self._plumbing.start(source, f"ring-{sock.device.name}"))

    def stop_capture(self) -> None:
        """End every ring."""
        captures, self._captures = self._captures, []
        self._plumbing.stop(captures)

    def poke_table(self) -> None:
        """Dump the conntrack table now."""
        self._poke("conntrack")

    def poke_rules(self) -> None:
        """Dump nftables and read the words again."""
        self._poke("nft")
        self._poke("texts")

    def poke_sysctls(self) -> None:
        """Read the sysctls again."""
        self._poke("sysctls")

    def close(self) -> None:
        """End every source of this namespace."""
        self._plumbing.stop([*self._threads, *self._captures])
        self._threads, self._captures = [], []

    def _netlink(self, name: str) -> Stream:
        return Stream(self._plumbing.stream_id(), StreamKind.NETLINK, name, self.netns.label)

    def _dumps(self, name: str, source: DumpSource) -> None:
        self._keep(name, source, self._plumbing.start(source, name, wait=True))

    def _texts(self, name: str, kinds: Sequence[TextKind], interval: float | None, once: bool) -> None:
        stream = Stream(self._plumbing.stream_id(), StreamKind.TEXT, "text", self.netns.label)
        source = Texts(stream, self.broker, self.netns, kinds, self._plumbing.seq, interval, once)
        self._keep(name, source, self._plumbing.start(source, name, wait=True))

    def _keep(self, name: str, source: DumpSource | Texts, thread: SourceThread) -> None:
        self._threads.append(thread)
        self._pokes[name] = source, thread

    def _poke(self, name: str) -> None:
        if name in self._pokes:
            source, thread = self._pokes[name]
            source.poke()
            thread.wake()
