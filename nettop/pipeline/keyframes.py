"""The choice of the dumps that a recording keeps: enough to start anywhere, and all that events do not report."""

from __future__ import annotations

from nettop.batch import Batch, DumpMark, Gap, Item, NetlinkMeta, StreamAdded, Text
from nettop.pipeline.feed import pace_s
from nettop.pipeline.feeds import FEEDS

KEYFRAME_EVERY_NS = 300_000_000_000  # of the conntrack table: a dump of 1M flows is 236 MB
_EARLY = 10  # a dump may come early by this part of the period: polls are not quite regular


class Keyframes:
    """Decides by stream and kind of dump: the first is written, those requested, and then one per period.

    The period is in the feed's row in pipeline.feeds; 0: each one is written. Dumps whose changes events announce are
    also written after a change or a Gap among these events.
    """

    def __init__(self, every_ns: int = KEYFRAME_EVERY_NS) -> None:
        periods = {kind: pace_s(feed.keep_pace, every_ns / 1e9) for feed in FEEDS for kind in feed.kinds()}
        self._every_ns = {kind: int(s * 1e9) - int(s * 1e9) // _EARLY for kind, s in periods.items()}
        self._wakes = {feed.stream: feed for feed in FEEDS if feed.wakes}
        self._names: dict[int, tuple[str, str]] = {}  # stream → name, namespace
        self._last: dict[tuple[int, str, str], int] = {}  # stream, kind, namespace → time
        self._open: dict[int, bool] = {}  # stream → whether its current dump is written

    def request(self) -> None:
        """Write the next dump of every kind."""
        self._last.clear()

    def includes(self, item: Item) -> bool:
        """Return whether the item is written. To be called with every item, in order."""
        if isinstance(item, StreamAdded):
            self._names[item.stream.id] = item.stream.name, item.stream.netns
        elif isinstance(item, DumpMark):
            return self._mark(item)
        elif isinstance(item, Gap):
            self._after(item.stream, loss=True)
        elif isinstance(item, Text):
            return self._due((item.stream, item.what.value, item.netns), item.ts_ns)
        elif isinstance(item, Batch) and isinstance(item.meta, NetlinkMeta):
            if item.stream in self._open:
                return self._open[item.stream]
            self._after(item.stream)
        return True

    def _after(self, stream: int, loss: bool = False) -> None:
        """After a loss or a change among events, have the next dumps written that these events wake."""
        name, netns = self._names.get(stream, ("", ""))
        feed = self._wakes.get(name)
        if feed is not None and (loss or feed.announces is not None):
            woken = {(dump.stream, netns) for dump in FEEDS if dump.name in feed.wakes and dump.rounds}
            stale = [key for key in self._last if self._names.get(key[0]) in woken]
            for key in stale:
                del self._last[key]

    def _mark(self, mark: DumpMark) -> bool:
        key = (mark.stream, mark.what, mark.netns)
        if not mark.begin:
            written = self._open.pop(mark.stream, True)
            if written and not mark.complete:
                self._last.pop(key, None)  # it cannot reconcile a table: the next one may
            return written
        write = self._open[mark.stream] = self._due(key, mark.ts_ns)
        return write

    def _due(self, key: tuple[int, str, str], ts_ns: int) -> bool:
        last, every_ns = self._last.get(key), self._every_ns.get(key[1].partition(" ")[0], 0)  # of a part: of its kind
        write = last is None or not every_ns or not 0 <= ts_ns - last < every_ns  # < 0: the clock was set back
        if write:
            self._last[key] = ts_ns
        return write
