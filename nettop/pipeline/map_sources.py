"""The live sources of the map: the list of the host's namespaces, and what is in each of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from nettop.batch import Stream
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.decode.topology.objects import Namespace
from nettop.model.topology.host_map import HostMap
from nettop.pipeline import feeds
from nettop.pipeline.feed import Feed
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.source_thread import SourceThread
from nettop.sources.namespace_map import NamespaceMapSource
from nettop.sources.texts import TextSource

_REFRESH_S = 10.0  # between two keyframes
_STREAMS = (feeds.MAP, feeds.MAP_COUNTS, feeds.MAP_EVENTS, feeds.MAP_SYSCTLS)


class MapSources:
    """Starts and ends the sources of the map. No method waits for a thread; all are thread-safe but serve()."""

    def __init__(self, broker: Broker, plumbing: Plumbing) -> None:
        self._broker, self._plumbing = broker, plumbing
        self._streams: list[Stream] = []  # of this start: the last one may still be ending
        self._list: tuple[TextSource, SourceThread] | None = None
        self._map: tuple[NamespaceMapSource, SourceThread] | None = None
        self._followed: list[str] = []
        self._refreshed = -_REFRESH_S
        self._shown: frozenset[str] = frozenset()

    @property
    def stream(self) -> int:
        """The stream that ends when every namespace was read once."""
        return self._streams[0].id

    def serve(self, hosts: HostMap, wanted: bool) -> None:
        """Run while the map is wanted, and read the namespaces that it lists."""
        if wanted and self._map is None:
            self.start()
        elif not wanted:
            self.stop()
        self.follow([known.namespace for known in hosts.namespaces()])
        self.show(hosts.shown)

    def start(self, once: bool = False, sysctls: bool = True) -> None:
        """Read the list of namespaces, and the namespaces of follow(); `once`: each once, then the End of `stream`."""
        feed, seq, broker = feeds.NAMESPACES, self._plumbing.seq, self._broker
        self._streams = [each.new_stream(self._plumbing.stream_id(), "") for each in _STREAMS]
        list_stream = feed.new_stream(self._plumbing.stream_id(), "")
        own, share = broker.netns(""), None if once else feed.share
        listing = TextSource(list_stream, broker, own, feed.texts, seq, feed.every_s, share=share)
        source = NamespaceMapSource(broker, seq, self._streams, self.look, once, sysctls)
        source.show(self._shown)
        self._map = source, self._run(source, feeds.MAP, self._streams[0].id)
        self._list = listing, self._run(listing, feed, list_stream.id)

    def _run(self, source: TextSource | NamespaceMapSource, feed: Feed, stream: int) -> SourceThread:
        return self._plumbing.start(source, feed.name, wait=True, stream=stream, listens=False)

    def stop(self) -> None:
        """End the sources."""
        if self._list is not None:
            self._list[1].stop()
        if self._map is not None:
            self._map[0].finish()
            self._map[1].wake()
        self._list = self._map = None
        self._followed = []

    def follow(self, namespaces: Sequence[Namespace]) -> None:
        """Read these namespaces: those of the list that can be entered."""
        labels = [one.label for one in namespaces if one.inode >= 0 and not one.refusal]
        if labels != self._followed and self._map is not None:
            self._followed = labels
            self._call("follow", labels)

    def show(self, labels: Collection[str]) -> None:
        """Read the counters of these namespaces every second."""
        if self._shown != labels:
            self._shown = frozenset(labels)
            self._call("show", self._shown)

    def close_netns(self, netns: Netns) -> None:
        """Close what is open in a namespace that is gone, and read the list again."""
        self._call("close_netns", netns)
        self.look()

    def refresh(self) -> None:
        """Read everything again, as a keyframe; not again so soon that small files would hold only maps."""
        now = time.monotonic()
        if now - self._refreshed >= _REFRESH_S:
            self._refreshed = now
            self._call("refresh")
            self.look()

    def look(self) -> None:
        """Read the list of namespaces again."""
        if self._list is not None:
            self._list[0].poke()
            self._list[1].wake()

    def _call(self, method: str, *arguments: object) -> None:
        if self._map is not None:
            getattr(self._map[0], method)(*arguments)
            self._map[1].wake()
