"""pcapng files, block by block, from bytes built by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, Counters, DumpMark, Gap, NetlinkMeta, PacketMeta, Stream
from nettop.errors import InputError
from nettop.kinds import NO_TIME, GapReason, StreamKind
from nettop.recording import blocks, interfaces, marks
from nettop.recording.pcapng import PcapngDecoder
from nettop.recording.records import FileBlock, Numbering
from tests.unit.recording.handmade import (
    PEN,
    block,
    cooked,
    decode_chunks,
    end,
    epb,
    frames,
    idb,
    options,
    records,
    shb,
    streams,
)

NS = (9, b"\x09")  # if_tsresol
ORDERS = pytest.mark.parametrize("order", "<>")


def packets(items: list) -> list[PacketMeta]:  # type: ignore[type-arg]
    return [item.meta for item in items if isinstance(item, Batch) and isinstance(item.meta, PacketMeta)]


@ORDERS
@pytest.mark.parametrize("step", [None, 1, 13, 100])
def test_enhanced_packets_come_with_time_length_and_interface(order: str, step: int | None) -> None:
    data = (
        shb(order)
        + idb(order, (2, b"eth0"), NS)
        + epb(b"abc", 1_700_000_000_123_456_789, order=order, wire=1500)
        + epb(b"", 5, order=order)
        + epb(b"defgh", 1 << 40, order=order)
    )
    items = decode_chunks(data, step)
    assert records(items) == [(0, 1_700_000_000_123_456_789, b"abc"), (0, 5, b""), (0, 1 << 40, b"defgh")]
    assert streams(items)[0].name == "eth0"
    assert [w for meta in packets(items) for w in meta.wirelen.tolist()] == [1500, 0, 5]
    assert [n for meta in packets(items) for n in meta.number.tolist()] == [1, 2, 3]  # type: ignore[union-attr]
    assert end(items).error == ""


@ORDERS
def test_simple_packets_have_no_time_and_are_cut_at_the_snaplen(order: str) -> None:
    def spb(frame: bytes, wire: int) -> bytes:
        return block(3, struct.pack(order + "I", wire) + frame, order)

    items = decode_chunks(shb(order) + idb(order, snaplen=4) + spb(b"abcd", 99) + spb(b"xyz", 3))
    assert frames(items) == [b"abcd", b"xyz"]
    assert [ts_ns for _, ts_ns, _ in records(items)] == [NO_TIME, NO_TIME]
    assert packets(items)[0].wirelen.tolist() == [99, 3]


@ORDERS
def test_obsolete_packet_blocks_tell_interface_and_drops(order: str) -> None:
    body = struct.pack(order + "HHIIII", 1, 3, 0, 2_000_000, 5, 5) + b"hello\0\0\0"
    items = decode_chunks(shb(order) + idb(order, (2, b"a")) + idb(order, (2, b"b")) + block(2, body, order))
    assert records(items) == [(1, 2_000_000_000, b"hello")]
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert (gap.stream, gap.lost, gap.why) == (1, 3, GapReason.RING)


@pytest.mark.parametrize("known", [0, 1, 2, 5])
def test_a_packet_of_an_interface_that_is_not_described_is_reported_as_that(known: int) -> None:
    items = decode_chunks(shb() + idb() * known + epb(b"x", interface=known + 3))
    assert end(items).error == "a packet's interface is not described"


@pytest.mark.parametrize(
    ("resolution", "ticks", "ns"),
    [
        (6, 1_700_000_000_000_001, 1_700_000_000_000_001_000),
        (9, 1_700_000_000_000_000_001, 1_700_000_000_000_000_001),
        (0, 7, 7_000_000_000),
        (3, 7, 7_000_000),
        (12, 7_000_000_001_999, 7_000_000_001),
        (0x80 | 10, 1 << 10, 1_000_000_000),
        (0x80 | 20, (5 << 20) + (1 << 19), 5_500_000_000),
        (0x80 | 40, (3 << 40) + (1 << 38), 3_250_000_000),
        (0x80 | 63, (1 << 63) + (1 << 62), 1_500_000_000),
        (0x80 | 127, (1 << 64) - 1, 0),
        (127, (1 << 64) - 1, 0),
    ],
)
def test_every_timestamp_resolution(resolution: int, ticks: int, ns: int) -> None:
    items = decode_chunks(shb() + idb("<", (9, bytes([resolution]))) + epb(b"x", ticks))
    assert records(items)[0][1] == ns


@ORDERS
def test_the_timestamp_offset_is_added(order: str) -> None:
    items = decode_chunks(
        shb(order) + idb(order, (14, struct.pack(order + "q", -10)), NS) + epb(b"x", 11_000_000_000, order=order)
    )
    assert records(items)[0][1] == 1_000_000_000


def test_sections_count_interfaces_anew_and_change_byte_order() -> None:
    data = shb("<") + idb("<", (2, b"a"), NS) + epb(b"1", 1) + shb(">") + idb(">", (2, b"b"), NS, link=113)
    items = decode_chunks(data + epb(b"2", 2, order=">") + shb("<") + idb("<", (2, b"a"), NS) + epb(b"3", 3))
    assert sorted(records(items), key=lambda one: one[1]) == [(0, 1, b"1"), (1, 2, b"2"), (0, 3, b"3")]
    assert [(s.name, s.linktype) for s in streams(items)] == [("a", 1), ("b", 113)]


def test_a_section_of_the_other_order_is_seen_though_its_length_could_be_ours() -> None:
    """Length 65536 of a big-endian header reads 256 in little-endian."""
    long = shb(">", (1, b"c" * (65536 - 28 - 8)))
    assert len(long) == 65536
    items = decode_chunks(shb() + idb() + epb(b"1") + long + idb(">") + epb(b"2", order=">"))
    assert frames(items) == [b"1", b"2"]
    assert end(items).error == ""


def test_unknown_blocks_names_and_secrets_are_passed_over() -> None:
    other = block(4, b"\0\0\0\0") + block(10, b"secret!!") + block(0x0BAD, struct.pack("<I", 1) + b"theirs")
    ours_by_number_only = block(0x0BAD, struct.pack("<I", PEN) + b"someone else's example")
    data = shb() + other + idb() + other + epb(b"1") + ours_by_number_only + block(0x99, b"") + epb(b"2")
    items = decode_chunks(data)
    assert frames(items) == [b"1", b"2"]
    assert end(items).error == ""


@ORDERS
def test_what_the_interface_says_of_itself(order: str) -> None:
    about = [
        (2, b"eth1"),
        (3, b"netns gw-a"),
        (12, b"Linux 6.18"),
        (11, b"\0tcp port 80"),
        (1, b"a comment"),
        NS,
    ]
    (stream,) = streams(decode_chunks(shb(order) + idb(order, *about, link=276, snaplen=96)))
    assert (stream.name, stream.netns, stream.os, stream.capture_filter) == (
        "eth1",
        "gw-a",
        "Linux 6.18",
        "tcp port 80",
    )
    assert (stream.kind, stream.linktype, stream.snaplen) == (StreamKind.PACKETS, 276, 96)


@ORDERS
def test_flags_tell_direction_and_checksum_state(order: str) -> None:
    def flags(value: int) -> tuple[int, bytes]:
        return 2, struct.pack(order + "I", value)

    values = [1 | 1 << 2, 1 | 2 << 2, 1 | 3 << 2, 1 | 4 << 2, 2, 0, 1, 2 | 1 << 9]
    data = b"".join(epb(b"x", i, flags(v), order=order) for i, v in enumerate(values))
    (meta,) = packets(decode_chunks(shb(order) + idb(order) + data))
    assert meta.direction is not None and meta.tp_status is not None
    assert meta.direction.tolist() == [0, 2, 1, 3, 4, 255, 0, 4]
    assert meta.tp_status.tolist() == [0] * 7 + [8]


def test_comments_and_drop_counts_among_other_options() -> None:
    data = epb(b"1", 10) + epb(
        b"2", 20, (5, bytes(8)), (1, "why \u2713".encode()), (4, struct.pack("<Q", 7)), (1, b"two")
    )
    items = decode_chunks(shb() + idb("<", NS) + data + epb(b"3", 30, (4, bytes(8))))
    assert [meta.comment for meta in packets(items)] == [{}, {0: "why \u2713\ntwo"}]
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert (gap.lost, gap.from_ns, gap.to_ns, gap.why) == (7, 10, 20, GapReason.RING)


@pytest.mark.parametrize("tail", [b"\x01\0\xff\xff", b"\x02\0\x04\0", b"\x02\0\x00\0" * 200, b"\x02\0\x03\0abc\0"])
def test_options_whose_lengths_lie_cost_only_themselves(tail: bytes) -> None:
    head = struct.pack("<IIIII", 0, 0, 1, 4, 4)
    items = decode_chunks(shb() + idb() + block(6, head + b"data" + tail) + epb(b"next", 2))
    assert frames(items) == [b"data", b"next"]
    assert (end(items).error == "") == (tail[2:4] != b"\xff\xff" and tail != b"\x02\0\x04\0")
    assert end(items).read_on == bool(end(items).error)


@ORDERS
def test_statistics_are_counters_and_a_repetition_is_not_given_twice(order: str) -> None:
    numbers = options((4, struct.pack(order + "Q", 100)), (5, struct.pack(order + "Q", 3)), order=order)
    isb = block(5, struct.pack(order + "III", 0, 0, 9) + numbers, order)
    items = decode_chunks(shb(order) + idb(order, NS) + epb(b"x", 1, order=order) + isb + isb)
    (counters,) = [item for item in items if isinstance(item, Counters)]
    assert (counters.received, counters.dropped, counters.ts_ns) == (100, 3, 9)


def test_interfaces_that_alternate_are_given_by_stream_with_their_numbers() -> None:
    data = b"".join(epb(bytes([i]), i, interface=i % 2) for i in range(40))
    items = decode_chunks(shb() + idb("<", (2, b"a")) + idb("<", (2, b"b")) + data)
    batches = [item for item in items if isinstance(item, Batch)]
    assert [len(b) for b in batches] == [20, 20]
    numbered = sorted(
        (int(b.meta.number[i]), b.record(i))
        for b in batches
        for i in range(len(b))  # type: ignore[union-attr,index]
    )
    assert [data for _, data in numbered] == [bytes([i]) for i in range(40)]


def test_netlink_interfaces_keep_the_order_between_their_streams() -> None:
    data = b"".join(epb(cooked(bytes([i]), 12 if i % 2 else 0), i, interface=i % 2) for i in range(10))
    items = decode_chunks(shb() + idb("<", (2, b"x"), link=253) + idb("<", (2, b"y"), link=253) + data)
    assert frames(items) == [bytes([i]) for i in range(10)]
    assert {(s.name, s.netlink_family) for s in streams(items)} == {("x", 0), ("y", 12)}


def test_a_netlink_record_shorter_than_its_header_is_a_gap() -> None:
    items = decode_chunks(shb() + idb("<", link=253) + epb(cooked(b"ok")) + epb(b"short") + epb(cooked(b"again")))
    assert frames(items) == [b"ok", b"again"]
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert (gap.lost, gap.why) == (1, GapReason.FILE)


def test_a_request_in_a_tapped_netlink_capture_is_known_by_its_flag() -> None:
    request = struct.pack("<IHHII", 16, 0x101, 0x301, 1, 0)
    answer = struct.pack("<IHHII", 16, 0x100, 2, 1, 0)
    items = decode_chunks(shb() + idb("<", link=253) + epb(cooked(request, kind=4)) + epb(cooked(answer, kind=4)))
    outgoing = [b.meta.outgoing for b in items if isinstance(b, Batch) and isinstance(b.meta, NetlinkMeta)]
    assert np.concatenate(outgoing).tolist() == [True, False]


def test_a_custom_block_counts_as_a_frame_as_in_wireshark_and_nettops_own_does_not() -> None:
    ours = struct.pack("<I", PEN) + b'nettop\x01\x00{"item":"from a later minor version","stream":0}\n'
    theirs = block(0x0BAD, struct.pack("<I", 1) + b"theirs")
    local = block(0x80007ED9, b"someone else's") + block(0x80007ED9, ours)
    data = shb() + idb() + epb(b"1") + theirs + local + epb(b"2")
    assert [n for meta in packets(decode_chunks(data)) for n in meta.number.tolist()] == [1, 3]  # type: ignore[union-attr]
    assert end(decode_chunks(data)).error == ""


LIES = {
    "zero": struct.pack("<II", 6, 0) + bytes(64),
    "eight": struct.pack("<II", 6, 8) + bytes(64),
    "4 GiB": struct.pack("<II", 6, 0xFFFFFFF0) + bytes(64),
    "odd": struct.pack("<II", 6, 33) + bytes(21) + struct.pack("<I", 33),
    "trailer": epb(b"abcd")[:-4] + struct.pack("<I", 40),
    "beyond the end": struct.pack("<II", 6, 4000) + bytes(64),
    "caplen": block(6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + b"abcd\0\0\0\0"),
    "caplen of 4 GiB": block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 9) + b"abcd"),
    "too short a packet": block(6, bytes(16)),
    "unknown interface": epb(b"abcd", interface=7),
    "short interface": block(1, b"\1\0"),
    "header": block(0x0A0D0D0A, bytes(16)),
    "header of 4 GiB": struct.pack("<IIIHHq", 0x0A0D0D0A, 0xFFFFFFFC, 0x1A2B3C4D, 1, 0, -1) + bytes(40),
    "our own block, empty": block(0x0BAD, struct.pack("<I", PEN) + b"nettop\x01\x00"),
    "our own block, nested": block(0x0BAD, struct.pack("<I", PEN) + b"nettop\x01\x00" + b"[" * 100_000 + b"\n"),
    "our own block, long number": block(0x0BAD, struct.pack("<I", PEN) + b"nettop\x01\x00" + b"1" * 9000 + b"\n"),
    "our own block, unknown stream": block(
        0x0BAD, struct.pack("<I", PEN) + b'nettop\x01\x00{"item":"end","stream":5,"why":"","error":""}\n'
    ),
    "our own block, wrong type": block(
        0x0BAD, struct.pack("<I", PEN) + b'nettop\x01\x00{"item":"dump","stream":[1]}\n'
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("step", [None, 16])
def test_damage_ends_the_file_with_its_offset_after_all_that_stood_before(lie: bytes, step: int | None) -> None:
    before = shb() + idb("<", NS) + epb(b"one", 1) + epb(b"two", 2)
    items = decode_chunks(before + lie, step)
    assert frames(items) == [b"one", b"two"]
    assert end(items).offset == len(before)
    assert end(items).error and "\n" not in end(items).error


@ORDERS
def test_a_file_cut_anywhere_gives_a_prefix_and_says_where(order: str) -> None:
    parts = [shb(order), idb(order, (2, b"eth0"), NS)]
    parts += [epb(b"abcde"[:i], i, (1, b"note"), order=order) for i in range(4)]
    data = b"".join(parts)
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    all_frames = frames(decode_chunks(data))
    for size in range(4, len(data)):
        items = decode_chunks(data[:size])
        got = frames(items)
        assert got == all_frames[: len(got)]
        assert len(got) == sum(size >= s for s in starts[3:])
        if size in starts:
            assert end(items).error == ""
        else:
            assert "cut" in end(items).error and end(items).offset == max(s for s in starts if s < size)


def test_a_recording_of_a_later_format_is_refused_with_what_to_do() -> None:
    later = (2989, struct.pack("<I", PEN) + b"nettop\x02\x00")
    with pytest.raises(InputError, match="update nettop"):
        decode_chunks(shb("<", later) + idb())
    minor = (2989, struct.pack("<I", PEN) + b"nettop\x01\x63")
    assert end(decode_chunks(shb("<", minor) + idb())).error == ""


def test_too_many_interfaces_end_the_file() -> None:
    items = decode_chunks(shb() + idb() * (blocks.MAX_INTERFACES + 1))
    assert "more than 131072 interfaces" in end(items).error
    assert len(streams(items)) == blocks.MAX_INTERFACES


def test_many_tiny_sections_are_read_in_step_with_their_number() -> None:
    """Each section restarts the decoding: it must not look at the rest of the chunk again."""
    data = (shb() + idb() + epb(b"x")) * 20_000
    items = decode_chunks(data)
    assert len(frames(items)) == 20_000
    assert len(streams(items)) == 1


def test_batches_hold_at_most_16384_records() -> None:
    items = decode_chunks(shb() + idb("<", NS) + epb(b"x", 1) * 40_000)
    assert [len(item) for item in items if isinstance(item, Batch)] == [16384, 16384, 7232]
    assert replace(streams(items)[0], id=0).name == ""


def isb(dropped: int, ticks: int, interface: int = 0) -> bytes:
    numbers = options((4, struct.pack("<Q", 100)), (5, struct.pack("<Q", dropped)))
    return block(5, struct.pack("<III", interface, ticks >> 32, ticks & 0xFFFFFFFF) + numbers)


MIXES = {
    "statistics": lambda i: isb(0, i),
    "names": lambda i: block(4, bytes(4)),
    "netlink": lambda i: epb(cooked(bytes([i % 250])), i, interface=1),
    "custom": lambda i: block(0x0BAD, struct.pack("<I", 1) + b"theirs"),
    "a later section": lambda i: shb() + idb("<", NS) + idb("<", NS, link=253),
    "a section of the other order": lambda i: shb(">") + idb(">", NS) + shb() + idb("<", NS) + idb("<", NS, link=253),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES.keys())
def test_packets_that_alternate_with_other_blocks_are_one_batch(mix: Callable[[int], bytes]) -> None:
    data = b"".join(epb(bytes([i]), i) + mix(i) for i in range(200))
    items = decode_chunks(shb() + idb("<", NS) + idb("<", NS, link=253) + data)
    of_packets = [item for item in items if isinstance(item, Batch) and isinstance(item.meta, PacketMeta)]
    assert [len(item) for item in of_packets] == [200]
    assert frames(of_packets) == [bytes([i]) for i in range(200)]  # type: ignore[arg-type]
    assert len([item for item in items if isinstance(item, Batch)]) <= 2
    assert [item.seq for item in items] == list(range(len(items)))


def test_netlink_messages_and_marks_keep_their_order_while_packets_are_gathered() -> None:
    mark = b"".join(marks.encode(DumpMark(1, 0, 1, "conntrack", True)))
    head = b"".join(map(interfaces.encode, (Stream(0, StreamKind.PACKETS, "e"), Stream(1, StreamKind.NETLINK, "ct"))))
    data = b"".join(
        epb(b"p", i) + epb(cooked(bytes([i])), i, interface=1) + (mark if i % 10 == 5 else b"") for i in range(100)
    )
    items = decode_chunks(shb() + head + data)
    order = [
        item if isinstance(item, DumpMark) else len(item)
        for item in items
        if isinstance(item, DumpMark) or (isinstance(item, Batch) and isinstance(item.meta, NetlinkMeta))
    ]
    assert [size for size in order if isinstance(size, int)] == [6, *[10] * 9, 4]
    assert [isinstance(one, DumpMark) for one in order] == [False, True] * 10 + [False]


def test_a_loss_divides_the_packets_where_it_happened() -> None:
    data = b"".join(epb(bytes([i]), i, *([(4, struct.pack("<Q", 7))] if i == 61 else [])) for i in range(100))
    items = [item for item in decode_chunks(shb() + idb("<", NS) + data) if isinstance(item, Batch | Gap)]
    assert [len(item) if isinstance(item, Batch) else item.lost for item in items] == [61, 7, 39]


def test_drops_that_another_tool_counts_are_losses_where_they_grew() -> None:
    data = epb(b"1", 1) + isb(0, 1) + epb(b"2", 2) + isb(5, 3) + epb(b"3", 4) + isb(5, 5) + isb(6, 6)
    items = [item for item in decode_chunks(shb() + idb("<", NS) + data) if isinstance(item, Batch | Gap)]
    assert [len(item) if isinstance(item, Batch) else item.lost for item in items] == [1, 1, 5, 1, 1]
    gaps = [item for item in items if isinstance(item, Gap)]
    assert [(gap.from_ns, gap.to_ns, gap.before) for gap in gaps] == [(1, 3, 3), (5, 6, 4)]


def test_a_loss_that_packets_and_statistics_both_count_is_one() -> None:
    data = epb(b"1", 1) + epb(b"2", 2, (4, struct.pack("<Q", 5))) + isb(7, 3)
    gaps = [item for item in decode_chunks(shb() + idb("<", NS) + data) if isinstance(item, Gap)]
    assert [gap.lost for gap in gaps] == [5, 2]


@ORDERS
@pytest.mark.parametrize("step", [None, 16])
def test_a_version_that_is_not_known_is_an_error(order: str, step: int | None) -> None:
    def header(major: int, minor: int) -> bytes:
        return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, minor, -1), order)

    with pytest.raises(InputError, match=r"version 2\.0 of pcapng"):
        decode_chunks(header(2, 0) + idb(order), step)
    later = decode_chunks(header(1, 0) + idb(order) + epb(b"x", order=order) + header(7, 0), step)
    assert frames(later) == [b"x"] and "version 7.0" in end(later).error
    minor = decode_chunks(header(1, 9) + idb(order) + epb(b"x", order=order), step)
    assert frames(minor) == [b"x"] and "version 1.9" in end(minor).error and end(minor).read_on
    assert end(decode_chunks(header(1, 2) + idb(order), step)).error == ""


@ORDERS
def test_an_option_that_reaches_past_its_block_is_an_error_with_its_place(order: str) -> None:
    tail = struct.pack(order + "HH", 3, 5000) + b"what"
    for place, data in {
        0: block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + tail, order) + idb(order),
        28: shb(order) + block(1, struct.pack(order + "HHI", 1, 0, 0) + tail, order),
        48: shb(order) + idb(order) + block(5, struct.pack(order + "III", 0, 0, 0) + tail, order),
    }.items():
        items = decode_chunks(data + epb(b"x", order=order))
        assert frames(items) == [b"x"]
        assert (end(items).offset, end(items).read_on) == (place, True)
        assert "reaches past its block" in end(items).error


def test_five_thousand_interfaces_and_sections_without_end_are_read() -> None:
    data = b"".join(epb(bytes(3), i, interface=i) for i in range(5000))
    items = decode_chunks(shb() + idb("<", NS) * 5000 + data)
    assert len(frames(items)) == len(streams(items)) == 5000 and end(items).error == ""


def test_for_packets_alone_all_interfaces_of_a_link_type_are_one_batch() -> None:
    data = b"".join(
        epb(bytes([i]), i, *([(4, struct.pack("<Q", 2))] if i == 3 else []), interface=i % 3) for i in range(90)
    )
    head = shb() + idb("<", (2, b"a")) + idb("<", (2, b"b")) + idb("<", (2, b"c"), link=113)
    kept: list[FileBlock] = []
    numbering = Numbering(Counter64().next, Counter64().next, packets_only=True, keep_block=kept.append)
    items, _ = PcapngDecoder(numbering).decode(head + data, 0, True)
    ethernet, cooked_v1 = [item for item in items if isinstance(item, Batch)]
    assert isinstance(ethernet.meta, PacketMeta) and ethernet.meta.streams is not None
    assert ethernet.meta.streams.tolist() == [0, 1] * 30 and len(cooked_v1) == 30
    assert ethernet.meta.number is not None and ethernet.meta.number[:4].tolist() == [1, 2, 4, 5]
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert (gap.stream, gap.lost, gap.before) == (0, 2, 4)
    assert (gap.from_ns, gap.to_ns) == (0, 3000)  # since the packet before it on its own interface
    assert [block.kind for block in kept] == [0x0A0D0D0A, 1, 1, 1]
