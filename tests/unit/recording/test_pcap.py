"""Classic pcap files, from bytes built by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from nettop.batch import Batch, NetlinkMeta, PacketMeta
from nettop.kinds import StreamKind
from tests.unit.recording.handmade import cooked, decode_chunks, end, frames, pcap, records, streams

PACKETS = [(1_700_000_000, 5, b"first"), (1_700_000_001, 999_999, b""), (4_000_000_000, 0, b"x" * 1500)]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
@pytest.mark.parametrize("step", [None, 1, 7, 600])
def test_both_byte_orders_and_both_resolutions_in_any_pieces(order: str, magic: int, unit: int, step: int) -> None:
    items = decode_chunks(pcap(PACKETS, order=order, magic=magic), step)
    assert [(t, d) for _, t, d in records(items)] == [(s * 10**9 + f * unit, d) for s, f, d in PACKETS]
    assert end(items).error == ""
    wire = [w for item in items if isinstance(item, Batch) for w in item.meta.wirelen.tolist()]  # type: ignore[union-attr]
    assert wire == [len(d) + 5 for _, _, d in PACKETS]


def test_the_batch_says_where_its_frames_stand_and_their_numbers() -> None:
    data = pcap(PACKETS)
    items = decode_chunks(data, 700)
    for batch in items:
        if isinstance(batch, Batch):
            assert isinstance(batch.meta, PacketMeta) and batch.meta.file_off is not None
            for i, at in enumerate(batch.meta.file_off.tolist()):
                assert data[at : at + int(batch.caplen[i])] == batch.record(i)
    numbers = [n for b in items if isinstance(b, Batch) for n in b.meta.number.tolist()]  # type: ignore[union-attr]
    assert numbers == [1, 2, 3]


def test_the_modified_format_says_the_direction() -> None:
    head = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    packet = struct.pack("<IIIIIHBB", 1, 2, 3, 3, 7, 0x800, 4, 0) + b"abc"
    (batch,) = [item for item in decode_chunks(head + packet) if isinstance(item, Batch)]
    assert batch.record(0) == b"abc"
    assert isinstance(batch.meta, PacketMeta) and batch.meta.direction is not None
    assert batch.meta.direction.tolist() == [4]


def test_a_header_without_packets_is_a_legal_file() -> None:
    items = decode_chunks(pcap([]))
    assert len(streams(items)) == 1
    assert frames(items) == []
    assert end(items).error == ""


def test_the_link_type_leaves_out_the_frame_check_sequence_bits() -> None:
    assert streams(decode_chunks(pcap([], link=0x24000071)))[0].linktype == 0x71


def test_a_netlink_capture_has_a_stream_for_each_family() -> None:
    def message(flags: int) -> bytes:
        return struct.pack("<IHHII", 16, 1, flags, 0, 0)

    data = pcap(
        [(1, 0, cooked(message(1), 12, 4)), (2, 0, cooked(message(2), 12, 4)), (3, 0, cooked(b"", 0, 4))], link=253
    )
    items = decode_chunks(data)
    assert [(s.kind, s.netlink_family) for s in streams(items)] == [(StreamKind.NETLINK, 12), (StreamKind.NETLINK, 0)]
    batches = [item for item in items if isinstance(item, Batch)]
    assert [b.record(i) for b in batches for i in range(len(b))] == [message(1), message(2), b""]
    metas = [b.meta for b in batches]
    assert all(isinstance(meta, NetlinkMeta) for meta in metas)
    assert np.concatenate([m.outgoing for m in metas if isinstance(m, NetlinkMeta)]).tolist() == [True, False, False]


@pytest.mark.parametrize("lie", [0xFFFFFFFF, 0x80000000, 300_000])
def test_a_length_that_lies_ends_the_file_there(lie: int) -> None:
    good = pcap(PACKETS)
    items = decode_chunks(good + struct.pack("<IIII", 1, 2, lie, 60) + bytes(60))
    assert frames(items) == [d for _, _, d in PACKETS]
    assert str(lie) in end(items).error
    assert end(items).offset == len(good)


@pytest.mark.parametrize("step", [None, 11])
def test_a_file_cut_anywhere_gives_what_is_whole_and_says_where(step: int | None) -> None:
    data = pcap(PACKETS[:2])
    whole = [24, 24 + 16 + 5, len(data)]
    for size in range(4, len(data) + 1):
        items = decode_chunks(data[:size], step)
        assert frames(items) == [d for _, _, d in PACKETS[: max(0, sum(size >= w for w in whole) - 1)]]
        if size in whole:
            assert end(items).error == ""
        else:
            assert "cut" in end(items).error
            assert end(items).offset == max([w for w in [0, *whole] if w < size])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("version", "swapped"), [((2, 2), True), ((2, 0), True), ((2, 3), True), ((2, 3), False)])
@pytest.mark.parametrize("step", [None, 7])
def test_old_versions_have_their_two_lengths_swapped(
    order: str, version: tuple[int, int], swapped: bool, step: int | None
) -> None:
    data = struct.pack(order + "IHHiIII", 0xA1B2C3D4, *version, 0, 0, 65535, 1)
    for i in range(5):
        lengths = (100, 60 + i) if swapped else (60 + i, 100)
        data += struct.pack(order + "IIII", i, 0, *lengths) + bytes([i]) * (60 + i)
    items = decode_chunks(data, step)
    assert frames(items) == [bytes([i]) * (60 + i) for i in range(5)]
    assert [w for b in items if isinstance(b, Batch) for w in b.meta.wirelen.tolist()] == [100] * 5  # type: ignore[union-attr]
    assert end(items).error == ""


@pytest.mark.parametrize("version", [(1, 0), (2, 5), (3, 0)])
def test_another_version_is_read_and_reported(version: tuple[int, int]) -> None:
    data = pcap([(1, 2, b"abc")])
    items = decode_chunks(data[:4] + struct.pack("<HH", *version) + data[8:])
    assert frames(items) == [b"abc"]
    assert f"version {version[0]}.{version[1]} of pcap is not known" in end(items).error
    assert (end(items).offset, end(items).read_on) == (4, True)


def test_a_link_type_over_65535_is_kept() -> None:
    (stream,) = streams(decode_chunks(pcap([(1, 2, b"abc")], link=70_000)))
    assert stream.linktype == 70_000
