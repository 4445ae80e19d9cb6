"""The packet list as a table: its window, the tree and bytes of one packet, an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nettop.batch import Batch, Gap, Item, PacketMeta, Stream, StreamAdded
from nettop.kinds import StreamKind
from nettop.model.filter.expression import Filter
from nettop.model.packets.blocks import OnColumns, PacketBlock, ports
from nettop.model.packets.cells import COLUMNS, PacketRow
from nettop.model.packets.detail import packet_detail
from nettop.model.packets.lists import PacketLists
from nettop.model.packets.order import PacketOrder
from nettop.model.packets.reorder import HOLD_NS
from nettop.model.packets.store import PacketStore, open_for_reading
from nettop.model.table import Detail, Line, Snapshot, SortKey, ViewSpec
from nettop.model.window import visible
from nettop.text.units import grouped, plural, scaled

_ALL = (1 << 63) - 1  # a time after every packet
BUDGET = 256 << 20  # bytes of packets kept in memory; a file's packets stay in the file


class PacketModel:
    """Packets of every stream in order. Other items are ignored; so are streams of headers, but for `on_columns`."""

    columns = COLUMNS
    default_columns: tuple[str, ...] = (
        *("number", "time", "delta", "device", "source", "destination", "proto", "length", "info"),
    )
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self, on_columns: OnColumns | None = None, budget: int = BUDGET, opener: Callable[[str], int] = open_for_reading
    ) -> None:
        """Begin with no packets. `on_columns` is called once for every batch, with its decoded columns.

        `opener` returns a descriptor for a path: an app without rights has had its files opened before.
        """
        self.lists = PacketLists(lambda: PacketStore(budget, opener, on_columns), budget)
        self._streams: dict[int, Stream] = {}
        self._headers: dict[int, Stream] = {}
        self._on_columns = on_columns
        self.version = 0
        self._detail: Detail | None = None

    @property
    def store(self) -> PacketStore:
        """The packets of the list that is shown."""
        return self.lists.shown.store

    def show(self, number: int) -> None:
        """Show the list of that capture."""
        self.lists.show(number)
        self._detail = None
        self.version += 1

    def apply(self, item: Item, netns: int, now_ns: int) -> None:
        """Apply one item of any stream."""
        if isinstance(item, StreamAdded):
            if item.stream.headers:
                self._headers[item.stream.id] = item.stream
            elif item.stream.kind is StreamKind.PACKETS:
                self._streams[item.stream.id] = item.stream
                self.lists.expect(item.stream)
                self._detail = None
        elif isinstance(item, Batch) and (headers := self._headers.get(item.stream)) is not None:
            if self._on_columns is not None:
                self._on_columns(headers, ports(item, headers))
        elif isinstance(item, Batch):
            stream = self._streams.get(item.stream)
            if stream is not None and isinstance(item.meta, PacketMeta):
                self.lists.live.store.append(item, stream)
                self.lists.make_room()
                self.version += 1
        elif isinstance(item, Gap) and item.stream in self._streams:
            self.lists.live.store.gap(item, self._streams[item.stream])
            self.version += 1

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window. Gaps are rows of their own; they count in `first` and `matched`."""
        self.store.settle(now_ns - HOLD_NS)
        self.store.set_filter(spec.filter)
        order = PacketOrder(self.store)
        part = visible(spec, len(order))
        return Snapshot(
            spec=spec,
            first=part.start,
            rows=tuple(self.lists.shown.cells.rows(order[part], spec.columns)),
            matched=len(order),
            total=sum(len(segment) for segment in order.segments),
            anchor=order.index_of(spec.anchor),
            totals=self._totals(spec.filter, len(order)),
            notes=self._notes(spec.filter, len(order)),
            version=self.version,
        )

    def _totals(self, display_filter: Filter | None, matched: int) -> Line:
        store = self.store
        aside = self.lists.shown is not self.lists.live
        before = [("an earlier capture, ", "warn"), (f"{self.lists.shown.name}   ", "dim")] if aside else []
        parts: list[tuple[str, str]] = [*before, (plural(store.seen, "packet"), "")]
        if display_filter is not None:
            parts.append((f", {grouped(matched)} match", ""))
        if store.evicted:
            parts.append((f"   {grouped(store.evicted)} evicted (memory for {scaled(store.budget)}B)", "warn"))
        if store.lost or store.lost_unknown:
            more = "+" if store.lost_unknown else ""
            parts.append((f"   {grouped(store.lost)}{more} lost", "bad"))
        return tuple(parts)

    def _notes(self, display_filter: Filter | None, matched: int) -> tuple[Line, ...]:
        if matched:
            return ()
        if self.store.seen and display_filter is not None:
            return ((("No packet matches. ", "heading"), ("/", "key"), (" changes the filter", "")),)
        return _waiting(self.lists.shown.streams) if self.lists.shown.streams else ()

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the tree and the bytes of a packet, or the text of a gap; None when it was evicted."""
        if self._detail is not None and self._detail.ident == ident:
            return self._detail
        found = self.store.find(ident)
        if found is None:
            return None
        segment, row = found
        row_text = ""
        if isinstance(segment, PacketBlock):
            row_text = " ".join(
                self.lists.shown.cells.rows([PacketRow(segment, row, None)], ("proto", "info"))[0].cells
            )
        self._detail = packet_detail(self.store, segment, row, row_text)
        return self._detail

    def export(self, display_filter: Filter | None) -> Iterator[Item]:
        """Yield the matching packets, in the order of the list, as items of a recording: a stream before each batch."""
        self.store.settle(_ALL)
        for streams, batch in self.store.batches(display_filter):
            yield from (StreamAdded(stream, 0) for stream in streams)
            yield batch

    def close(self) -> None:
        """Close the files."""
        for one in self.lists.all:
            one.store.close()


_MAX_DEVICES = 6  # named while no packet has come


def _waiting(streams: Sequence[Stream]) -> tuple[Line, ...]:
    """Return the note of an empty table: the devices, and the capture filter, which may be the reason."""
    names = list(dict.fromkeys(stream.name for stream in streams))
    more = f" and {len(names) - _MAX_DEVICES} more" if len(names) > _MAX_DEVICES else ""
    devices = ", ".join(names[:_MAX_DEVICES]) + more
    capture_filter = next((stream.capture_filter for stream in streams if stream.capture_filter), "")
    return (
        (("No packet yet on ", "heading"), (devices, "accent")),
        *(((("that passes the capture filter ", "dim"), (capture_filter, "")),) if capture_filter else ()),
    )
