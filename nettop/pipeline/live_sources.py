"""The live sources of one namespace: its feeds and its captures."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nettop.batch import Source, Stream
from nettop.broker.client import Broker
from nettop.broker.requests import DumpFilter, Netns
from nettop.kinds import StreamKind
from nettop.pipeline import feeds
from nettop.pipeline.feeds import Feed
from nettop.pipeline.ingest import EVENT_GATHER_NS, Plumbing
from nettop.pipeline.source_thread import SourceThread
from nettop.sources.dumps import DumpSource
from nettop.sources.netlink import NetlinkEvents
from nettop.sources.ring import PacketRing
from nettop.sources.texts import TextSource

MAX_SNAPLEN = 262_144
_REST_PER_COST = 50  # pause between two reported changes, in multiples of the cost of the dump that they cause
RING_DRAIN_NS = 60_000_000  # a ring's open block is retired after at most 50 ms

OpenRing = tuple[Stream, PacketRing]


class LiveSources:
    """Opens and runs the sources of one namespace. Every method raises BrokerError when the kernel refuses."""

    def __init__(self, broker: Broker, netns: Netns, plumbing: Plumbing) -> None:
        self.broker = broker
        self.netns = netns
        self._plumbing = plumbing
        self._lock = threading.Lock()  # the model thread may add feeds while the control thread closes
        self._closed = False
        self._threads: list[SourceThread] = []
        self._captures: list[SourceThread] = []
        self._running: dict[str, tuple[Feed, Source, SourceThread]] = {}  # by the feed's name
        self._paced: tuple[frozenset[str], bool] | None = None  # arguments of pace() that all sources have

    def watch(self, *watched: Feed, every_s: float | None = None, once: bool = False) -> None:
        """Read these feeds at the pace of their rows or every `every_s`; `once`: each dump and text once, no events.

        Feeds that are already running do not change.
        """
        for feed in watched:
            if feed.name in self._running:
                continue
            row = feed if every_s is None else replace(feed, every_s=every_s)
            if row.texts:
                self._texts(row, once)
            elif row.rounds:
                self.dump(replace(row, every_s=None) if once else row)
            elif not once:
                self._events(row)

    def events(self, rcvbuf: int = feeds.EVENT_RCVBUF, program: bytes = b"") -> None:
        """Read conntrack events; with a socket filter `program`, those that it accepts."""
        self._events(replace(feeds.EVENTS, rcvbuf=rcvbuf), program)

    def dump(self, feed: Feed = feeds.TABLE, dump_filter: DumpFilter | None = None) -> None:
        """Read the dumps of a feed, or the part that the filter selects; with `every_s` None once, then the End."""
        sock = self.broker.netlink_socket(self.netns, feed.family)
        stream = self._stream(feed)
        self._start_polling(feed, feed.dump(stream, self.broker, sock, self._plumbing.seq, dump_filter), stream)

    def capture(self, devices: Sequence[str], expression: str, snaplen: int = MAX_SNAPLEN) -> None:
        """Capture on these devices, with libpcap's filter in the kernel, instead of a running capture."""
        rings = self.open_rings(devices, expression, snaplen)
        self.stop_capture()
        self.run_rings(rings)

    def open_rings(self, devices: Sequence[str], expression: str, snaplen: int = MAX_SNAPLEN) -> list[OpenRing]:
        """Return the open rings, for run_rings or close_rings; they already fill. On failure none is left open."""
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
        """Start to read these rings."""
        for stream, ring in rings:
            thread = self._plumbing.start(ring, f"ring-{stream.name}", drain_ns=RING_DRAIN_NS, stream=stream.id)
            self._add_thread(self._captures, thread)

    def stop_capture(self) -> None:
        """End every ring."""
        with self._lock:
            captures, self._captures[:] = self._captures[:], []
        self._plumbing.stop(captures)

    def stop(self, *stopped: Feed) -> None:
        """End these feeds, so that they can be started again."""
        with self._lock:
            threads = [self._running.pop(feed.name)[2] for feed in stopped if feed.name in self._running]
            self._threads = [thread for thread in self._threads if thread not in threads]
        self._plumbing.stop(threads)

    def poke(self, *poked: Feed) -> None:
        """Read these feeds again now, if they are running."""
        self._poke(*(feed.name for feed in poked))

    def pace(self, visible: frozenset[str], recorded: bool) -> None:
        """Set the pace of every feed while these views are visible. A feed that becomes visible is read at once.

        To be called by one thread at a time.
        """
        if self._paced == (visible, recorded):
            return
        before, self._paced = self._paced, (visible, recorded)
        for feed, source, thread in list(self._running.values()):
            if not feed.shown_in:
                continue
            every_s, rounds = feed.polling(visible, recorded)
            if isinstance(source, DumpSource):
                source.pace(every_s, rounds)
            elif isinstance(source, TextSource):
                source.pace(every_s)
            if before is not None and feed.polling(*before) != (every_s, rounds) == feed.polling((), True):
                self._poke(feed.name)
            thread.wake()

    def halt(self) -> None:
        """Stop every source of this namespace without waiting; none can start afterwards. From any thread."""
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

    def _texts(self, feed: Feed, once: bool) -> None:
        stream, seq = self._stream(feed), self._plumbing.seq
        source = TextSource(stream, self.broker, self.netns, feed.texts, seq, feed.every_s, once, feed.share)
        self._start_polling(feed, source, stream)

    def _events(self, feed: Feed, program: bytes = b"") -> None:
        sock = self.broker.netlink_socket(self.netns, feed.family, feed.groups, feed.rcvbuf, program)
        stream, seq = self._stream(feed), self._plumbing.seq
        source = NetlinkEvents(
            stream, sock, seq, feed.announces, lambda: self._poke(*feed.wakes), lambda: self._rest(feed)
        )
        thread = self._plumbing.start(source, feed.name, gather_ns=EVENT_GATHER_NS, drain_ns=0, stream=stream.id)
        self._add(feed, source, thread)

    def _rest(self, feed: Feed) -> int:
        """Return the ns between two reported changes of a feed: a busy routing daemon must not keep us busy."""
        if not feed.rest_s:
            return 0
        woken = (self._running[name][1] for name in feed.wakes if name in self._running)
        cost_ns = sum(source.cost_ns for source in woken if isinstance(source, DumpSource))
        return max(int(feed.rest_s * 1e9), _REST_PER_COST * cost_ns)

    def _stream(self, feed: Feed) -> Stream:
        return feed.new_stream(self._plumbing.stream_id(), self.netns.label)

    def _start_polling(self, feed: Feed, source: DumpSource | TextSource, stream: Stream) -> None:
        """Run a source of dumps or texts, which can be poked."""
        thread = self._plumbing.start(source, feed.name, wait=True, stream=stream.id, listens=False)
        self._add(feed, source, thread)

    def _add(self, feed: Feed, source: Source, thread: SourceThread) -> None:
        self._running[feed.name] = feed, source, thread
        self._paced = None
        self._add_thread(self._threads, thread)

    def _add_thread(self, threads: list[SourceThread], thread: SourceThread) -> None:
        with self._lock:
            threads.append(thread)
            if self._closed:
                thread.stop()

    def _poke(self, *names: str) -> None:
        for _, source, thread in [self._running[name] for name in names if name in self._running]:
            if isinstance(source, (DumpSource, TextSource)):
                source.poke()
                thread.wake()


def close_rings(rings: Iterable[OpenRing]) -> None:
    """Close rings that are not being read."""
    for _, ring in rings:
        ring.close()
