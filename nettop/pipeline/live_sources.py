"""The live sources of one namespace: its feeds and its captures."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nettop.batch import Batch, Source, Stream
from nettop.broker.client import Broker
from nettop.broker.requests import DumpFilter, NetlinkSocket, Netns
from nettop.kinds import TextKind
from nettop.pipeline import feeds
from nettop.pipeline.captures import Captures
from nettop.pipeline.feed import Feed
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.source_thread import SourceThread
from nettop.sources.dumps import DumpSource
from nettop.sources.netlink import ALL_PARTS, NetlinkEvents
from nettop.sources.nft_rules import NftRuleDump
from nettop.sources.texts import TextSource

if TYPE_CHECKING:
    from nettop.pipeline.map_sources import MapSources

_MAX_PARTS = 4  # of a listing: the whole costs little more than many
_REST_PER_COST = 100  # pause between two reported changes, in multiples of the cost of the dump that they cause


class LiveSources:
    """Opens and runs the sources of one namespace. Every method raises BrokerError when the kernel refuses."""

    def __init__(self, broker: Broker, netns: Netns, plumbing: Plumbing) -> None:
        self.broker = broker
        self.netns = netns
        self.captures = Captures(broker, netns, plumbing)
        self._plumbing = plumbing
        self._lock = threading.Lock()  # the model thread may add feeds while the control thread closes
        self._closed = False
        self._host_map: MapSources | None = None
        self._running: dict[str, tuple[Feed, Source, SourceThread]] = {}  # by the feed's name
        self._paced: tuple[frozenset[str], bool, int] | None = None  # arguments of pace() that all sources have

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

    def stop(self, *stopped: Feed) -> None:
        """End these feeds, so that they can be started again."""
        with self._lock:
            threads = [self._running.pop(feed.name)[2] for feed in stopped if feed.name in self._running]
        self._plumbing.stop(threads)

    def poke(self, *poked: Feed, parts: Collection[str] = ALL_PARTS) -> None:
        """Read these feeds, or parts of them, again now, if they are running."""
        self._poke(*(feed.name for feed in poked), parts=parts)

    def want_texts(self, wanted: Collection[tuple[TextKind, tuple[str, str] | None]]) -> None:
        """Read these texts of rules when their share allows it; of nft's listing only the tables named."""
        for feed in feeds.RULE_TEXTS:
            tables = [table for kind, table in wanted if kind in feed.texts]
            parts = tuple("" if table is None else " ".join(table) for table in tables)
            if feed is not feeds.NFT_LISTING or len(parts) > _MAX_PARTS or "" in parts:
                parts = ("",) if parts else ()
            _, source, thread = self._running.get(feed.name, (feed, None, None))
            if isinstance(source, TextSource) and thread is not None and source.want(parts):
                thread.wake()

    def show_rules(self, rules: Sequence[tuple[str, str, str, int]]) -> None:
        """Read the counters of these rules (family, table, chain, handle) first: they are on screen."""
        _, source, thread = self._running.get(feeds.NFT.name, (None, None, None))
        if isinstance(source, NftRuleDump) and thread is not None and source.show(rules):
            thread.wake()

    def pace(self, visible: frozenset[str], recorded: bool, still: int = 0) -> None:
        """Set the pace of every feed, as Feed.polling() says. A feed that becomes visible is read at once.

        To be called by one thread at a time.
        """
        if self._paced == (visible, recorded, still):
            return
        before, self._paced = self._paced, (visible, recorded, still)
        for feed, source, thread in list(self._running.values()):
            if not feed.shown_in and feed.still_s is None:
                continue
            every_s, rounds = feed.polling(visible, recorded, still)
            if isinstance(source, DumpSource):
                source.pace(every_s, rounds)
            elif isinstance(source, TextSource):
                source.pace(every_s)
            shown = feed.polling(visible, recorded)
            if before is not None and feed.polling(*before[:2]) != shown == feed.polling((), True):
                self._poke(feed.name)
            thread.wake()

    def host_map(self) -> MapSources:
        """Return the sources of the map, which are not started yet."""
        from nettop.pipeline.map_sources import MapSources

        self._host_map = MapSources(self.broker, self._plumbing)
        return self._host_map

    def other_gone(self, netns: Netns) -> None:
        """Close what the map has open in a namespace that is gone."""
        if self._host_map is not None:
            self._host_map.close_netns(netns)

    def halt(self) -> None:
        """Stop every source of this namespace without waiting; none can start afterwards. From any thread."""
        self.captures.halt()
        with self._lock:
            self._closed = True
            for _, _, thread in self._running.values():
                thread.stop()

    def close(self) -> None:
        """End every source of this namespace."""
        self.halt()
        with self._lock:
            threads = [thread for _, _, thread in self._running.values()]
        self._plumbing.stop(threads)
        self.captures.close()

    def _texts(self, feed: Feed, once: bool) -> None:
        stream, seq = self._stream(feed), self._plumbing.seq
        source = TextSource(stream, self.broker, self.netns, feed.texts, seq, feed.every_s, once, feed.share, feed.part)
        self._start_polling(feed, source, stream)

    def trace_log(self) -> None:
        """Read the trace records of iptables-legacy, until the next trace has ended."""
        self._listen(feeds.TRACE_LOG, self.broker.trace_log(self.netns))

    def _events(self, feed: Feed, program: bytes = b"") -> None:
        self._listen(feed, self.broker.netlink_socket(self.netns, feed.family, feed.groups, feed.rcvbuf, program))

    def _listen(self, feed: Feed, sock: NetlinkSocket) -> None:
        stream, seq = self._stream(feed), self._plumbing.seq
        announces = self._links if feed.links else feed.announces
        changed, rest_ns = partial(self._changed, feed), partial(self.rest_ns, feed)
        parts_of = feed.parts_of or (lambda batch: ALL_PARTS)
        source = NetlinkEvents(stream, sock, seq, announces, changed, rest_ns, feed.rest_grows, parts_of)
        thread = self._plumbing.start(source, feed.name, gather_ns=feed.gather_ns, drain_ns=0, stream=stream.id)
        self._add(feed, source, thread)

    def _links(self, batch: Batch) -> bool:
        """Capture devices that have come up; what is routed has changed with each batch."""
        self.captures.follow(batch)
        return True

    def _changed(self, feed: Feed, parts: frozenset[str]) -> None:
        """Read again what a change or a loss of a feed's events concerns."""
        self._poke(*feed.wakes, parts=parts)
        if feed.links:
            self.captures.look()  # events that were lost may have been of devices

    def rest_ns(self, feed: Feed) -> int:
        """Return the ns between two reported changes of a feed: a program that changes much must not keep us busy."""
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
        with self._lock:
            self._running[feed.name] = feed, source, thread
            self._paced = None
            if self._closed:
                thread.stop()

    def _poke(self, *names: str, parts: Collection[str] = ALL_PARTS) -> None:
        for _, source, thread in [self._running[name] for name in names if name in self._running]:
            if isinstance(source, DumpSource):
                source.poke(parts)
            elif isinstance(source, TextSource):
                source.poke()
            thread.wake()
