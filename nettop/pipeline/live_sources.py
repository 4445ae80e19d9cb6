"""The live sources of one namespace: which there are, how often they poll, and how they poke one another."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable, Sequence

from nettop.batch import Stream
from nettop.broker.client import Broker, Netns
from nettop.broker.requests import Narrowing
from nettop.kinds import NETLINK_NETFILTER, NETLINK_ROUTE, StreamKind, TextKind
from nettop.pipeline.ingest import EVENT_GATHER_NS, Plumbing
from nettop.pipeline.source_thread import SourceThread
from nettop.sources import conntrack, counting, nftables, routes
from nettop.sources.conntrack import ConntrackStats
from nettop.sources.dumps import SHARE, DumpSource
from nettop.sources.netlink import NetlinkEvents
from nettop.sources.nft_sets import NftSetDump
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
EXPECT_EVERY_S = 2.0  # those of flows older than any listener come in no other way
RULES_EVERY_S = 1.0
SYSCTLS_EVERY_S = 5.0
COUNTING_EVERY_S = 2.0
LEGACY_EVERY_S = 2.0
PROCESSES_EVERY_S = 30.0  # while nobody looks at them
PROCESSES_SHARE = 0.02  # of a core: the broker looks through every process's descriptors
EVENT_RCVBUF = conntrack.EVENT_RCVBUF
MAX_SNAPLEN = 262_144
RING_LAST_NS = 60_000_000  # a ring's open block is shown at the latest after 50 ms

OpenRing = tuple[Stream, PacketRing]


class LiveSources:
    """Opens and runs sources in one namespace. Every method raises BrokerError when the kernel refuses."""

    def __init__(self, broker: Broker, netns: Netns, plumbing: Plumbing) -> None:
        self.broker = broker
        self.netns = netns
        self._plumbing = plumbing
        self._lock = threading.Lock()  # the model thread asks for legacy counters while the control thread may close
        self._closed = False
        self._threads: list[SourceThread] = []
        self._captures: list[SourceThread] = []
        self._pokes: dict[str, tuple[DumpSource | Texts, SourceThread]] = {}
        self._named: dict[str, SourceThread] = {}

    def events(self, rcvbuf: int = EVENT_RCVBUF, program: bytes = b"") -> None:
        """Conntrack events as they come; with a socket filter, those that it lets through."""
        groups = conntrack.EVENT_GROUPS
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER, groups, rcvbuf, program)
        stream = self._netlink("conntrack")
        self._events("events", conntrack.ConntrackEvents(stream, sock, self._plumbing.seq), stream)

    def table(
        self, interval: float | None = DUMP_EVERY_S, share: float | None = SHARE, narrow: Narrowing | None = None
    ) -> None:
        """Dumps of the conntrack table, or of a part of it; `interval` None: one, then the stream ends."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream, seq = self._netlink("conntrack-dump"), self._plumbing.seq
        source = conntrack.ConntrackDump(stream, self.broker, self.netns, sock, seq, interval, share, narrow)
        self._keep("conntrack", source, stream)

    def expectations(self, interval: float | None = EXPECT_EVERY_S) -> None:
        """What conntrack's helpers await; `interval` None: once."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream = self._netlink("expect")
        self._keep("expect", conntrack.ExpectationDump(stream, self.broker, sock, self._plumbing.seq, interval), stream)

    def statistics(self, interval: float | None = 1.0) -> None:
        """Conntrack's statistics and the table's use."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream = self._netlink("ctstats")
        stats = ConntrackStats(stream, self.broker, sock, self._plumbing.seq, interval)
        self._keep("ctstats", stats, stream)

    def counting(self, interval: float | None = COUNTING_EVERY_S) -> None:
        """What else is counted: sets' elements, nfacct's objects, /proc's statistics; `interval` None: once each."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream = self._netlink("nft-sets")
        self._keep("nft-sets", NftSetDump(stream, self.broker, sock, self._plumbing.seq, interval), stream)
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream = self._netlink("nfacct")
        self._keep("nfacct", counting.NfacctDump(stream, self.broker, sock, self._plumbing.seq, interval), stream)
        self._texts("net-statistics", (TextKind.NET_STATISTICS,), interval, interval is None)

    def objects(self, interval: float | None) -> None:
        """nft's named counters, quotas and limits, without the rules."""
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream = self._netlink("nft")
        self._keep("nft", counting.NftObjectDump(stream, self.broker, sock, self._plumbing.seq, interval), stream)

    def rules(self, interval: float | None = RULES_EVERY_S) -> None:
        """nftables with its counters and changes, and the words of every rule; `interval` None: once each."""
        seq, once = self._plumbing.seq, interval is None
        if not once:
            sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER, nftables.EVENT_GROUPS)
            stream = self._netlink("nft-events")
            self._events("nft-events", nftables.NftEvents(stream, sock, seq, self.poke_rules), stream)
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        stream = self._netlink("nft")
        self._keep("nft", nftables.NftDump(stream, self.broker, sock, seq, interval), stream)
        self._texts("texts", RULE_TEXTS, None, once)

    def legacy_counters(self, interval: float = LEGACY_EVERY_S) -> None:
        """Poll the words of legacy tables: their counters come in no other way. Call it when there are such tables."""
        if "legacy" not in self._pokes:
            self._texts("legacy", LEGACY_TEXTS, interval, once=False)

    def sysctls(self, once: bool = False) -> None:
        """The sysctls that explain what is seen."""
        self._texts("sysctls", (TextKind.SYSCTLS,), SYSCTLS_EVERY_S, once)

    def routes(self, interval: float | None = routes.EVERY_S) -> None:
        """Links, addresses and routes, and at once again when they change; `interval` None: once."""
        seq = self._plumbing.seq
        sock = self.broker.netlink_socket(self.netns, NETLINK_ROUTE)
        stream = self._netlink("routes", NETLINK_ROUTE)
        dump = routes.RouteDump(stream, self.broker, sock, seq, interval)
        self._keep("routes", dump, stream)
        if interval is not None:
            sock = self.broker.netlink_socket(self.netns, NETLINK_ROUTE, routes.EVENT_GROUPS)
            stream = self._netlink("route-events", NETLINK_ROUTE)
            events = routes.RouteEvents(stream, sock, seq, lambda: self._poke("routes"), lambda: dump.cost_ns)
            self._events("route-events", events, stream)

    def processes(self, interval: float | None = PROCESSES_EVERY_S) -> None:
        """The sockets of the namespace with their processes; `interval` None: once."""
        self._texts("processes", (TextKind.PROCESSES,), interval, interval is None, PROCESSES_SHARE)

    def capture(self, devices: Sequence[str], expression: str, snaplen: int = MAX_SNAPLEN) -> None:
        """A packet ring on each device, with libpcap's filter in the kernel; replaces the capture that runs."""
        rings = self.open_rings(devices, expression, snaplen)
        self.stop_capture()
        self.run_rings(rings)

    def open_rings(self, devices: Sequence[str], expression: str, snaplen: int = MAX_SNAPLEN) -> list[OpenRing]:
        """The rings, filling already, to be given to run_rings or close_rings. On failure none is left open."""
        rings: list[OpenRing] = []
        try:
            for name in dict.fromkeys(devices):
                sock = self.broker.packet_socket(self.netns, name, expression=expression, snaplen=snaplen)
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
                rings.append((stream, PacketRing(stream, sock, self._plumbing.seq)))
        except BaseException:
            close_rings(rings)
            raise
        return rings

    def run_rings(self, rings: Sequence[OpenRing]) -> None:
        """Read these rings from now on."""
        for stream, ring in rings:
            thread = self._plumbing.start(ring, f"ring-{stream.name}", last_ns=RING_LAST_NS, stream=stream.id)
            self._keep_thread(self._captures, thread)

    def stop_capture(self) -> None:
        """End every ring."""
        with self._lock:
            captures, self._captures[:] = self._captures[:], []
        self._plumbing.stop(captures)

    def stop_conntrack(self) -> None:
        """End the events and the dumps of flows: others are to follow."""
        with self._lock:
            threads = [self._named.pop(name) for name in ("events", "conntrack") if name in self._named]
            self._threads = [thread for thread in self._threads if thread not in threads]
            self._pokes.pop("conntrack", None)
        self._plumbing.stop(threads)

    def poke_table(self) -> None:
        """Dump the conntrack table now."""
        self._poke("conntrack")

    def poke_expectations(self) -> None:
        """Dump the expectations now."""
        self._poke("expect")

    def poke_rules(self) -> None:
        """Dump nftables and read the words again."""
        self._poke("nft")
        self._poke("texts")

    def poke_processes(self) -> None:
        """Read the processes again."""
        self._poke("processes")

    def poke_joins(self) -> None:
        """Read routes and processes again."""
        self._poke("routes")
        self._poke("processes")

    def poke_sysctls(self) -> None:
        """Read the sysctls again."""
        self._poke("sysctls")

    def halt(self) -> None:
        """Tell every source of this namespace to end, and wait for none; none begins any more. From any thread."""
        with self._lock:
            self._closed = True
            for thread in (*self._threads, *self._captures):
                thread.stop()

    def close(self) -> None:
        """End every source of this namespace."""
        self.halt()
        with self._lock:
            threads = [*self._threads, *self._captures]
            self._threads.clear()
            self._captures.clear()
        self._plumbing.stop(threads)

    def _netlink(self, name: str, family: int = NETLINK_NETFILTER) -> Stream:
        label = self.netns.label
        return Stream(self._plumbing.stream_id(), StreamKind.NETLINK, name, label, netlink_family=family)

    def _events(self, name: str, source: NetlinkEvents, stream: Stream) -> None:
        started = self._plumbing.start(source, name, gather_ns=EVENT_GATHER_NS, last_ns=0, stream=stream.id)
        self._named[name] = started
        self._keep_thread(self._threads, started)

    def _texts(
        self, name: str, kinds: Sequence[TextKind], interval: float | None, once: bool, share: float | None = None
    ) -> None:
        stream = Stream(self._plumbing.stream_id(), StreamKind.TEXT, "text", self.netns.label)
        source = Texts(stream, self.broker, self.netns, kinds, self._plumbing.seq, interval, once, share)
        self._keep(name, source, stream)

    def _keep(self, name: str, source: DumpSource | Texts, stream: Stream) -> None:
        """Run a source that asks for what it reads, and can be poked."""
        thread = self._plumbing.start(source, name, wait=True, stream=stream.id, listens=False)
        self._pokes[name] = source, thread
        self._named[name] = thread
        self._keep_thread(self._threads, thread)

    def _keep_thread(self, threads: list[SourceThread], thread: SourceThread) -> None:
        with self._lock:
            threads.append(thread)
            if self._closed:
                thread.stop()

    def _poke(self, name: str) -> None:
        if name in self._pokes:
            source, thread = self._pokes[name]
            source.poke()
            thread.wake()


def close_rings(rings: Iterable[OpenRing]) -> None:
    """Let go of rings that nobody reads."""
    for _, ring in rings:
        ring.close()
