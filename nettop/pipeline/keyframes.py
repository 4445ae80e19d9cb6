"""Which dumps a recording keeps: enough to begin anywhere, and all that events do not tell."""

from __future__ import annotations

from nettop.batch import Batch, DumpMark, Gap, Item, NetlinkMeta, StreamAdded, Text
from nettop.kinds import TextKind

KEYFRAME_EVERY_NS = 300_000_000_000  # of the conntrack table: a dump of 1M flows is 236 MB
RULES_EVERY_NS = 10_000_000_000  # of what counts in the ruleset, and of the lists of processes
_EARLY = 10  # a dump may come this part of the period early: polls are never quite regular
_RULES = frozenset({"nft-chains", "nft-rules", "nft-objects"})
_ROUTES = frozenset({"links", "addresses", "routes"})


class Keyframes:
    """Of each stream and kind of dump the first is written, those asked for, and one every so often.

    The conntrack table's also after a Gap among its events, the ruleset's and the routes' after a change; what costs
    little always. Of the lists of processes and of /proc's statistics one every so often, too.
    """

    def __init__(self, every_ns: int = KEYFRAME_EVERY_NS) -> None:
        rules_ns = min(every_ns, RULES_EVERY_NS)
        self._every_ns = {what: rules_ns - rules_ns // _EARLY for what in _RULES}
        self._every_ns |= dict.fromkeys(_ROUTES, every_ns - every_ns // _EARLY)
        for text in (TextKind.PROCESSES, TextKind.NET_STATISTICS):
            self._every_ns[text.value] = rules_ns - rules_ns // _EARLY
        self._every_ns["conntrack"] = every_ns - every_ns // _EARLY
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
            self._after(item.stream, "conntrack", "conntrack-dump")
            self._after(item.stream, "nft-events", "nft")
            self._after(item.stream, "route-events", "routes")
        elif isinstance(item, Text):
            return self._due((item.stream, item.what.value), item.ts_ns)
        elif isinstance(item, Batch) and isinstance(item.meta, NetlinkMeta):
            if item.stream in self._open:
                return self._open[item.stream]
            self._after(item.stream, "nft-events", "nft")
            self._after(item.stream, "route-events", "routes")
        return True

    def _after(self, stream: int, events: str, dumps: str) -> None:
        """If that stream is one of such events: the dumps of its namespace that begin from now on are written."""
        name, netns = self._names.get(stream, ("", ""))
        if name == events:
            stale = [key for key in self._last if self._names.get(key[0]) == (dumps, netns)]
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


def rules_every_s(keyframe_s: float) -> float:
    """How often what counts in the ruleset is to be read, in seconds: all that is read is written then."""
    return min(keyframe_s, RULES_EVERY_NS / 1e9)
