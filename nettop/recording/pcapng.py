"""The pcapng format (draft-ietf-opsawg-pcapng): decodes chunks of a file, all their blocks at once, into items."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Counters, Gap, Item, select_rows
from nettop.errors import DamagedInput, InputError
from nettop.kinds import GapReason
from nettop.recording import blocks, bulk, interfaces, marks
from nettop.recording.emission import Emitter, Mark
from nettop.recording.packetblocks import PACKETS, Blocks
from nettop.recording.records import FileBlock, FormatDecoder, Interface, Numbering, order_of

_CUSTOM = (blocks.CUSTOM, blocks.CUSTOM_NO_COPY)
_COUNTED = np.array([*PACKETS, *_CUSTOM])  # Wireshark counts a Custom Block as a frame
_KNOWN = np.array([blocks.SHB, blocks.IDB, blocks.ISB, *_CUSTOM, blocks.ANNOTATION])
_DROPS = (blocks.ISB_IFDROP, blocks.ISB_OSDROP)
_COUNTS = {blocks.ISB_IFRECV, *_DROPS}
_MAX_CACHED = 4_096  # interface descriptions of files with many small sections, and bytes of one


@dataclass(slots=True)
class _Section:
    """The state of a section: its interfaces, counted from 0."""

    interfaces: list[Interface] = field(default_factory=list)
    recorded: dict[int, int] = field(default_factory=dict)  # a stream's id when nettop recorded it → its id now
    text: dict[int, list[bytes]] = field(default_factory=dict)  # stream → the parts of a text so far
    dropped: dict[int, tuple[int, int]] = field(default_factory=dict)  # interface → its last drop count, the time


class PcapngDecoder(FormatDecoder):
    """Decodes the blocks in successive chunks of a pcapng file."""

    def __init__(self, numbering: Numbering) -> None:
        super().__init__(numbering, blocks.MIN_BLOCK)
        self._order = "<"
        self._section = _Section()
        self._table: list[Interface] = []  # the interfaces of the chunk's sections, one after another
        self._totals: dict[int, tuple[int, int, int]] = {}  # stream → its last Counters
        self._before = 1  # the number of the record after the current block
        self._reported: dict[int, int] = {}  # stream → losses in packet blocks that no statistics block has repeated
        self._cached: dict[tuple[str, bytes], tuple[Interface, int | None]] = {}
        self._handlers: dict[int, Callable[[bytes, int, list[Item]], int | None]] = {  # they return the stream
            blocks.SHB: self._section_header,
            blocks.IDB: self._interface,
            blocks.ISB: self._statistics,
            blocks.CUSTOM: self._annotation,
            blocks.CUSTOM_NO_COPY: self._annotation,
            blocks.ANNOTATION: self._annotation,
        }

    def _read(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        self.need = blocks.MIN_BLOCK
        used = self._blocks(chunk, base, out) if len(chunk) >= blocks.MIN_BLOCK else 0
        if final and used < len(chunk):
            raise DamagedInput("the file is cut in the middle of a block", base + used)
        return used

    def _blocks(self, chunk: bytes, base: int, out: list[Item]) -> int:
        """Handle the whole blocks of a chunk. Return their size in bytes."""
        found = self._find(chunk)
        packet = np.isin(found.kind, PACKETS)
        between = self._other_blocks(found, base, packet)
        own = np.flatnonzero(packet[: found.whole])
        rows, fault, overrun = select_rows(found, own).packets(self._table)
        if fault is not None:
            found.cut(int(own[len(rows)]), fault)
            between = [mark for mark in between if mark.at <= len(rows)]
        if overrun is not None:
            self._note("an option of a packet reaches past its block", base + int(found.pos[own[overrun]]))
        try:
            emitter = Emitter(self._streams, rows, self._table, chunk, base, out)
            emitter.emit(self._without_repeated(between, emitter))
        except ValueError as error:
            raise DamagedInput(f"the file {error}", base) from None
        self._number += int(np.count_nonzero(np.isin(found.kind[: found.whole], _COUNTED)))
        if found.damage:
            raise DamagedInput(found.damage, base + int(found.pos[found.whole]))
        return int(found.length[: found.whole].sum())

    def _find(self, chunk: bytes) -> Blocks:
        """Return the blocks of a chunk, and the first that is damaged."""
        found_at, changes, no_order = _positions(chunk, self._order)
        pos = np.array(found_at, np.int64)
        turns = np.zeros(len(pos) + 1, np.int64)
        turns[changes] = 1
        big = (np.cumsum(turns)[:-1] & 1).astype(np.bool_) ^ (self._order == ">")
        head = bulk.gather_mixed(chunk, pos, 2, big).astype(np.int64)
        kind, length = head[:, 0], head[:, 1]
        shortest = np.where(kind == blocks.SHB, 28, blocks.MIN_BLOCK)
        invalid = (length < shortest) | (length & 3 != 0) | (length > blocks.MAX_BLOCK)
        invalid[-1:] |= no_order
        inside = ~invalid & (pos + length <= len(chunk))
        whole = int(np.argmin(inside)) if not inside.all() else len(pos)
        counted, none = np.isin(kind, _COUNTED), np.zeros_like(pos)
        number = self._number + np.cumsum(counted) - counted
        found = Blocks(chunk, pos, big, kind, length, number, none, none, whole)
        trailer = bulk.gather_mixed(chunk, pos[:whole] + length[:whole] - 4, 1, big[:whole])[:, 0]
        differ = np.flatnonzero(trailer != length[:whole])
        if len(differ):
            found.cut(int(differ[0]), "a block's two lengths differ")
        elif whole < len(pos) and invalid[whole]:
            orderless = no_order and whole == len(pos) - 1
            found.damage = (
                "a section header has no byte order" if orderless else f"a block claims {length[whole]} bytes"
            )
        elif whole < len(pos):
            self.need = int(length[whole])
        return found

    def _other_blocks(self, found: Blocks, base: int, packet: NDArray[np.bool_]) -> list[Mark]:
        """Handle all but packets: set the interfaces that are described at each block, and return the items."""
        self._table = list(self._section.interfaces)
        described = [(-1, 0, len(self._table))]  # block, the section's first interface in the table, their number
        between: list[Mark] = []
        other = ~packet if self._numbering.keep_block is not None else np.isin(found.kind, _KNOWN)
        rank = np.cumsum(packet)
        for index in np.flatnonzero(other[: found.whole]).tolist():
            kind, pos = int(found.kind[index]), int(found.pos[index])
            body = found.chunk[pos + 8 : pos + int(found.length[index]) - 4]
            items: list[Item] = []
            self._before, self._order = int(found.number[index]), ">" if found.big[index] else "<"
            try:
                self._other_block(kind, body, base + pos, items)
            except DamagedInput as damage:
                found.cut(index, damage.message)
                break
            except (struct.error, KeyError, TypeError, ValueError):
                found.cut(index, f"a block of type {kind:#x} is malformed")
                break
            if kind in (blocks.SHB, blocks.IDB):
                known = len(self._section.interfaces)
                described.append((index, len(self._table) - known, known))
            between += [Mark(int(rank[index]), item) for item in items]
        begin, first, known = np.array(described, np.int64).T
        state = np.searchsorted(begin, np.arange(len(found)), "right") - 1
        found.first, found.known = first[state], known[state]
        return between

    def _other_block(self, kind: int, body: bytes, offset: int, items: list[Item]) -> None:
        handler = self._handlers.get(kind)
        stream = None if handler is None else handler(body, offset, items)
        if self._numbering.keep_block is not None:
            self._numbering.keep_block(FileBlock(kind, body, self._order, stream, self._before))

    def _section_header(self, body: bytes, offset: int, items: list[Item]) -> int | None:
        major, minor = struct.unpack_from(self._order + "HH", body, 4)
        if major != 1:
            message = f"version {major}.{minor} of pcapng is not known"
            raise InputError(message, "update nettop") if offset == 0 else DamagedInput(message, offset)
        if minor not in (0, 2):  # 1.2 is the same as 1.0
            self._note(f"version {major}.{minor} of pcapng is not known, it was read as 1.0", offset)
        for _, value in self._options(body, 16, "a section header", offset):
            _refuse_newer(value, self._order, offset)
        self._section = _Section()
        return None

    def _options(self, body: bytes, start: int, owner: str, offset: int) -> list[blocks.Option]:
        options, overrun = blocks.decode_options(body[start:], self._order)
        if overrun:
            self._note(f"an option of {owner} reaches past its block", offset)
        return options

    def _interface(self, body: bytes, offset: int, items: list[Item]) -> int | None:
        known = self._section.interfaces
        if len(known) >= blocks.MAX_INTERFACES:
            raise DamagedInput(f"a section describes more than {blocks.MAX_INTERFACES} interfaces", offset)
        key = (self._order, body)
        described = self._cached.get(key)
        if described is None:
            link, snaplen = struct.unpack_from(self._order + "HxxI", body)
            options = self._options(body, 8, "an interface", offset)
            described = interfaces.decode(link, snaplen, options, self._order, self._numbering.file)
            if len(self._cached) < _MAX_CACHED and len(body) < _MAX_CACHED:
                self._cached[key] = described
        template, recorded = described
        interface = replace(template, index=len(known), ids={})
        known.append(interface)
        self._table.append(interface)
        if recorded is not None:
            family = interface.stream.netlink_family if interface.netlink else 0
            self._section.recorded[recorded] = self._streams.on(interface, family, items)
        elif not interface.netlink:
            self._streams.on(interface, 0, items)
        return next(iter(interface.ids.values()), None)

    def _statistics(self, body: bytes, offset: int, items: list[Item]) -> int | None:
        """Add Counters, unless they only repeat the last ones as at the end of a file, and other tools' new losses."""
        index, high, low = struct.unpack_from(self._order + "III", body)
        interface = self._section.interfaces[index] if index < len(self._section.interfaces) else None
        options = self._options(body, 12, "a statistics block", offset)
        numbers = {code: value for code, value in options if len(value) == 8}
        stream: int | None = None if interface is None else next(iter(interface.ids.values()), None)
        if interface is None or stream is None or not numbers.keys() & _COUNTS:
            return stream
        unpack = struct.Struct(self._order + "Q").unpack
        received, *drops = (unpack(numbers.get(code, bytes(8)))[0] for code in (blocks.ISB_IFRECV, *_DROPS))
        ts_ns = interface.time_ns(high << 32 | low)
        if not self._numbering.packets_only:
            self._counters(Counters(stream, 0, ts_ns, received, sum(drops)), items)
        before, from_ns = self._section.dropped.get(index, (0, 0))
        self._section.dropped[index] = sum(drops), ts_ns
        if sum(drops) > before and not interface.by_nettop:  # nettop records its losses themselves
            if start := numbers.get(blocks.ISB_STARTTIME):
                high, low = struct.unpack(self._order + "II", start)
                from_ns = from_ns or interface.time_ns(high << 32 | low)
            lost = sum(drops) - before
            items.append(Gap(stream, 0, lost, GapReason.RING, from_ns or ts_ns, ts_ns, self._before))
        return stream

    def _without_repeated(self, between: list[Mark], emitter: Emitter) -> list[Mark]:
        """Return the marks without the losses in statistics that the packets before them have reported already."""
        rows, reported, done = emitter.rows, self._reported, 0
        if rows.lost is None and not reported:
            return between
        kept: list[Mark] = []
        for mark in [*between, Mark(len(rows), Gap(-1, 0, 0, GapReason.RING, 0, 0))]:
            if rows.lost is not None and isinstance(mark.item, Gap):
                for row in (done + np.flatnonzero(rows.lost[done : mark.at])).tolist():
                    for stream in self._table[int(rows.interface[row])].ids.values():
                        reported[stream] = reported.get(stream, 0) + int(rows.lost[row])
                done = mark.at
            if isinstance(mark.item, Gap) and mark.item.why is GapReason.RING and mark.item.lost is not None:
                lost = mark.item.lost - reported.pop(mark.item.stream, 0)
                if lost > 0:
                    kept.append(Mark(mark.at, replace(mark.item, lost=lost)))
            else:
                kept.append(mark)
        return kept

    def _counters(self, item: Counters, out: list[Item]) -> None:
        totals = (item.ts_ns, item.received, item.dropped)
        if self._totals.get(item.stream) != totals:
            self._totals[item.stream] = totals
            out.append(item)

    def _annotation(self, body: bytes, offset: int, items: list[Item]) -> int | None:
        _refuse_newer(body, self._order, offset)
        content = blocks.nettop_content(body, self._order)
        if content is None or (self._numbering.packets_only and not content.startswith(marks.GAP)):
            return None
        fields, data = marks.unpack(content)
        if fields["item"] not in marks.KNOWN:
            return None  # of a later minor version
        if fields["item"] == "stream":
            described = marks.stream_from(fields, self._numbering.file)
            stream_id = self._streams.announce(-1 - described.id, replace(described, id=0), items)
            self._section.recorded[described.id] = stream_id
            return None
        stream = self._section.recorded[fields["stream"]]
        if fields["item"] == "text":
            parts = self._section.text.setdefault(stream, [])
            parts.append(data)
            if sum(map(len, parts)) > marks.MAX_TEXT:
                raise ValueError("too long a text")
            if fields.get("more") is True:
                return None
            data = b"".join(self._section.text.pop(stream))
        item = marks.decode(fields, data, stream, 0)
        if isinstance(item, Counters):
            self._counters(item, items)
        else:
            items.append(replace(item, before=self._before) if isinstance(item, Gap) else item)
        return stream if isinstance(item, Gap) else None


def _refuse_newer(value: bytes, order: str, offset: int) -> None:
    if blocks.nettop_content(value, order) is None or blocks.version(value) <= blocks.FORMAT_MAJOR:
        return
    message = f"this recording has format {blocks.version(value)}, this nettop reads up to {blocks.FORMAT_MAJOR}"
    if offset == 0:
        raise InputError(message, "update nettop")
    raise DamagedInput(message + ": update nettop", offset)


def _positions(chunk: bytes, order: str) -> tuple[list[int], list[int], bool]:
    """Return the offsets of blocks, following lengths unchecked to an impossible one, and the changes of byte order.

    These are the indexes of the section headers of another order than the section before. True: the last block is a
    section header without a byte order.
    """
    unpack = struct.Struct(order + "II").unpack_from
    found: list[int] = []
    changes: list[int] = []
    append, last, section, pos = found.append, len(chunk) - blocks.MIN_BLOCK, blocks.SHB, 0
    while pos <= last:
        kind, length = unpack(chunk, pos)
        if kind == section:
            own = order_of(chunk[pos + 8 : pos + 12], blocks.BYTE_ORDER_MAGIC)
            if own is None:
                return [*found, pos], changes, True
            if own != order:
                changes.append(len(found))
                order, unpack = own, struct.Struct(own + "II").unpack_from
                length = unpack(chunk, pos)[1]
        append(pos)
        if length < 12:
            break
        pos += length
    return found, changes, False
