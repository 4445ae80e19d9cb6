"""Which dumps a recording keeps: enough to begin anywhere, and all that events do not tell."""

from __future__ import annotations

from nettop.batch import Batch, DumpMark, Gap, Item, NetlinkMeta, StreamAdded, Text
from nettop.pipeline.feeds import FEEDS, pace_s

KEYFRAME_EVERY_NS = 300_000_000_000  # of the conntrack table: a dump of 1M flows is 236 MB
_EARLY = 10  # a dump may come this part of the period early: polls are never quite regular


class Keyframes:
    """Of each stream and kind of dump the first is written, those asked for, and one every so often.

    How often its row in pipeline.feeds says: what costs little always, what events announce also after a change or a
    Gap among them.
    """

    def __init__(self, every_ns: int = KEYFRAME_EVERY_NS) -> None:
        periods = {kind: pace_s(feed.kept, every_ns / 1e9) for feed in FEEDS for kind in feed.kinds()}
        self._every_ns = {kind: int(s * 1e9) - int(s * 1e9) // _EARLY for kind, s in periods.items()}
        self._wakes = {feed.stream: feed for feed in FEEDS if feed.wakes}
        self._names: dict[int, tuple[str, str]] = {}  # stream → its name and namespace
        self._last: dict[tuple[int, str], int] = {}
        self._open: dict[int, bool] = {}  # stream → whether the dump under way is written

    def ask(self) -> None:
        """Write the next dump of every kind."""
        self._last.clear()

    def wanted(self, item: Item) -> bool:
        """Whether the item belongs in the recording. To be asked of every item, in order."""
        if isinstance(item, StreamAdded):
            self._names[item.stream.id] = item.stream.name, item.stream.netns
        elif isinstance(item, DumpMark):
            return self._mark(item)
        elif isinstance(item, Gap):
            self._after(item.stream, loss=True)
        elif isinstance(item, Text):
            return self._due((item.stream, item.what.value), item.ts_ns)
        elif isinstance(item, Batch) and isinstance(item.meta, NetlinkMeta):
            if item.stream in self._open:
                return self._open[item.stream]
            self._after(item.stream)
        return True

    def _after(self, stream: int, loss: bool = False) -> None:
        """After a loss or a change among events: the dumps that they wake and that begin from now on are written."""
        name, netns = self._names.get(stream, ("", ""))
        feed = self._wakes.get(name)
        if feed is not None and (loss or feed.announces is not None):
            woken = {(dump.stream, netns) for dump in FEEDS if dump.name in feed.wakes and dump.rounds}
            stale = [key for key in self._last if self._names.get(key[0]) in woken]
            for key in stale:
                del self._last[key]

    def _mark(self, mark: DumpMark) -> bool:
        key = (mark.stream, mark.what)
        if not mark.begin:
            written = self._open.pop(mark.stream, True)
            if written and not mark.complete:
                self._last.pop(key, None)  # it reconciles nothing: the next one may
            return written
        write = self._open[mark.stream] = self._due(key, mark.ts_ns)
        return write

    def _due(self, key: tuple[int, str], ts_ns: int) -> bool:
        last, every_ns = self._last.get(key), self._every_ns.get(key[1], 0)
        write = last is None or not every_ns or ts_ns - last >= every_ns
        if write:
            self._last[key] = ts_ns
        return write
