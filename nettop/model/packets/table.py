"""The packet list as a table: what is kept, the window that is visible, the tree and bytes of one packet, an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nettop.batch import Batch, Gap, Item, PacketMeta, Stream, StreamAdded
from nettop.kinds import StreamKind
from nettop.model.filter.expression import Filter
from nettop.model.packets.blocks import Block
from nettop.model.packets.cells import COLUMNS, PacketCells, Place
from nettop.model.packets.detail import packet_detail
from nettop.model.packets.order import PacketOrder
from nettop.model.packets.reorder import HOLD_NS
from nettop.model.packets.store import PacketStore
from nettop.model.table import Detail, Line, Snapshot, SortKey, ViewSpec
from nettop.model.window import visible
from nettop.text.units import grouped, scaled

_ALL = (1 << 63) - 1  # a time after every packet
BUDGET = 256 << 20  # bytes of packets kept in memory; a file's packets stay in the file


class PacketModel:
    """Packets of every stream in order. Feed it items; it passes over what is not of packets."""

    columns = COLUMNS
    default_columns = ("number", "time", "delta", "device", "source", "destination", "proto", "length", "info")
    default_sort: tuple[SortKey, ...] = ()

    def __init__(self, budget: int = BUDGET, opener: Callable[[str], int] | None = None) -> None:
        """`opener` gives a descriptor for a file's name (an app without rights had it opened before); default: open."""
        self.store = PacketStore(budget) if opener is None else PacketStore(budget, opener)
        self._streams: dict[int, Stream] = {}
        self._cells = PacketCells(self.store)
        self.version = 0
        self._detail: Detail | None = None

    def apply(self, item: Item, now_ns: int = 0) -> None:
        """Takes one item of any stream."""
        if isinstance(item, StreamAdded):
            if item.stream.kind is StreamKind.PACKETS:
                self._streams[item.stream.id] = item.stream
                self.store.expect(item.stream)
        elif isinstance(item, Batch):
            stream = self._streams.get(item.stream)
            if stream is not None and isinstance(item.meta, PacketMeta):
                self.store.append(item, stream)
                self.version += 1
        elif isinstance(item, Gap) and item.stream in self._streams:
            self.store.gap(item, self._streams[item.stream])
            self.version += 1

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window; gaps stand in it as rows of their own, at their place, and count into `first` and `matched`."""
        self.store.settle(now_ns - HOLD_NS)
        self.store.set_filter(spec.filter)
        order = PacketOrder(self.store)
        part = visible(spec, len(order))
        return Snapshot(
            spec=spec,
            first=part.start,
            rows=tuple(self._cells.rows(order[part], spec.columns)),
            matched=len(order),
            total=sum(len(segment) for segment in order.segments),
            anchor=order.place_of(spec.anchor),
            totals=self._totals(spec.filter, len(order)),
            notes=self._notes(spec.filter, len(order)),
            now_ns=now_ns,
            version=self.version,
        )

    def _totals(self, wanted: Filter | None, matched: int) -> Line:
        store = self.store
        parts: list[tuple[str, str]] = [(f"{grouped(store.seen)} packets", "")]
        if wanted is not None:
            parts.append((f", {grouped(matched)} match", ""))
        if store.evicted:
            parts.append((f"   {grouped(store.evicted)} evicted (memory for {scaled(store.budget)}B)", "warn"))
        if store.lost or store.lost_unknown:
            more = "+" if store.lost_unknown else ""
            parts.append((f"   {grouped(store.lost)}{more} lost", "bad"))
        return tuple(parts)

    def _notes(self, wanted: Filter | None, matched: int) -> tuple[Line, ...]:
        if matched:
            return ()
        if self.store.seen and wanted is not None:
            return ((("No packet matches. ", "heading"), ("/", "key"), (" changes the filter", "")),)
        return _waiting(list(self._streams.values())) if self._streams else ()

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the tree and the bytes of a packet, or the text of a gap; None when it was evicted."""
        if self._detail is not None and self._detail.ident == ident:
            return self._detail
        found = self.store.find(ident)
        if found is None:
            return None
        segment, row = found
        said = ""
        if isinstance(segment, Block):
            said = " ".join(self._cells.rows([Place(segment, row, None)], ("proto", "info"))[0].cells)
        self._detail = packet_detail(self.store, segment, row, said)
        return self._detail

    def export(self, wanted: Filter | None) -> Iterator[Item]:
        """What a recording writer takes: the streams and the packets that match, in the order of the list."""
        self.store.settle(_ALL)
        for stream, batch in self.store.batches(wanted):
            yield StreamAdded(stream, 0)
            yield batch

    def clear(self) -> None:
        """Forget the packets shown."""
        self.store.clear()
        self._detail = None
        self.version += 1

    def close(self) -> None:
        """Let go of files."""
        self.store.close()


_DEVICES = 6  # that an empty table names


def _waiting(streams: Sequence[Stream]) -> tuple[Line, ...]:
    """What is waited for where no packet has come: the devices, and the filter that may be why."""
    names = list(dict.fromkeys(stream.name for stream in streams))
    more = f" and {len(names) - _DEVICES} more" if len(names) > _DEVICES else ""
    said = ", ".join(names[:_DEVICES]) + more
    wanted = next((stream.capture_filter for stream in streams if stream.capture_filter), "")
    return (
        (("No packet yet on ", "heading"), (said, "accent")),
        *(((("that passes the capture filter ", "dim"), (wanted, "")),) if wanted else ()),
    )
