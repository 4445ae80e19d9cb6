"""The packet list: order, numbers, gaps at their place, a bounded memory, filters, and the detail of one packet."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from nettop.batch import Batch, Gap, NetlinkMeta, PacketMeta, Stream, StreamAdded
from nettop.kinds import GapReason, StreamKind
from nettop.model.filter.expression import parse
from nettop.model.packets.blocks import PacketBlock
from nettop.model.packets.table import PacketModel
from nettop.model.table import PacketDetail, Row, Snapshot, ViewSpec
from nettop.recording.reader import open_reader
from nettop.recording.writer import RecordingWriter
from nettop.text.units import clock
from tests.profiles import examples
from tests.unit.recording.handmade import block, epb, idb, shb

COLUMNS = PacketModel.default_columns
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IP4 = IP(src="10.0.3.7", dst="200.200.200.1")
SECOND = 1_000_000_000


def udp(port: int, size: int = 10) -> bytes:
    return bytes(ETHER / IP4 / UDP(sport=port, dport=53) / Raw(b"\0" * size))


def batch_of(frames: list[bytes], stream: int = 0, start_s: float = 0.0, step_s: float = 1.0) -> Batch:
    caplen = np.array([len(frame) for frame in frames], np.uint32)
    off = np.concatenate(([0], np.cumsum(caplen)))[:-1].astype(np.uint32)
    ts_ns = (np.arange(len(frames)) * int(step_s * SECOND) + int(start_s * SECOND)).astype(np.int64)
    return Batch(stream, 0, b"".join(frames), off, caplen, ts_ns, PacketMeta(caplen))


def model_of(*batches: Batch, streams: int = 1, **of: Any) -> PacketModel:
    model = PacketModel(**of)
    for number in range(streams):
        model.apply(StreamAdded(Stream(number, StreamKind.PACKETS, f"eth{number}"), 0), 0, 0)
    for batch in batches:
        model.apply(batch, 0, 0)
    return model


LATER = 1 << 62  # ns: long after every packet of these tests


def look(model: PacketModel, expression: str = "", columns: tuple[str, ...] = COLUMNS, **spec: Any) -> Snapshot:
    return model.snapshot(ViewSpec(columns, filter=parse(expression, "packet"), **spec), LATER)


def column(snapshot: Snapshot, key: str) -> list[str]:
    at = snapshot.spec.columns.index(key)
    return [row.cells[at] for row in snapshot.rows]


def test_rows_are_numbered_and_carry_the_time_since_the_row_before() -> None:
    snapshot = look(model_of(batch_of([udp(1), udp(2), udp(3)], start_s=5, step_s=0.25)))
    assert column(snapshot, "number") == ["1", "2", "3"]
    assert column(snapshot, "delta") == ["", "0.250000", "0.250000"]
    assert column(snapshot, "source") == ["10.0.3.7:1", "10.0.3.7:2", "10.0.3.7:3"]
    assert column(snapshot, "device") == ["eth0"] * 3


def test_a_capture_without_a_packet_says_what_it_waits_for() -> None:
    model = PacketModel()
    for number, name in enumerate(("eth0", "eth\x1b[2J")):
        model.apply(StreamAdded(Stream(number, StreamKind.PACKETS, name, capture_filter="host 10.0.0.1"), 0), 0, 0)
    notes = ["".join(text for text, _ in line) for line in look(model).notes]
    assert notes == ["No packet yet on eth0, eth\\x1b[2J", "that passes the capture filter host 10.0.0.1"]
    assert len(look(model_of()).notes) == 1


def test_the_first_visible_row_knows_the_row_above_the_window() -> None:
    snapshot = look(model_of(batch_of([udp(port) for port in range(1, 9)])), first=3, height=2)
    assert column(snapshot, "number") == ["4", "5"]
    assert column(snapshot, "delta") == ["1.000000", "1.000000"]


def test_follow_shows_the_end_and_first_never_passes_it() -> None:
    model = model_of(batch_of([udp(port) for port in range(1, 101)]))
    assert column(look(model, follow=True, height=3), "number") == ["98", "99", "100"]
    assert look(model, first=5000, height=10).first == 90


def test_a_filter_shows_what_matches_and_grows_with_new_packets() -> None:
    model = model_of(batch_of([udp(1), udp(2)] * 50))
    wanted = "src port 2"
    assert look(model, wanted).matched == 50
    model.apply(batch_of([udp(2)] * 7, start_s=1000), 0, 0)
    snapshot = look(model, wanted)
    assert (snapshot.matched, snapshot.total) == (57, 107)
    assert look(model, "src port 1").matched == 50
    assert look(model).matched == 107


def test_a_filter_can_name_the_device() -> None:
    model = model_of(batch_of([udp(1)] * 3), batch_of([udp(2)] * 2, stream=1, start_s=9), streams=2)
    assert column(look(model, "device eth1"), "source") == ["10.0.3.7:2"] * 2


def test_the_anchor_is_where_the_row_is_now_or_none_when_hidden() -> None:
    model = model_of(batch_of([udp(port % 5) for port in range(100)]))
    assert look(model, anchor=42).anchor == 41
    assert look(model, "src port 1", anchor=42).anchor == 8
    assert look(model, "src port 2", anchor=42).anchor is None
    assert look(model, anchor=4242).anchor is None


def test_a_gap_is_a_row_at_its_place_whatever_the_filter() -> None:
    model = model_of(batch_of([udp(1)] * 3))
    model.apply(Gap(0, 1, 1204, GapReason.RING, 3 * SECOND, 4 * SECOND), 0, 0)
    model.apply(batch_of([udp(1)] * 2, start_s=5), 0, 0)
    snapshot = look(model)
    assert [row.ident for row in snapshot.rows] == [1, 2, 3, -1, 4, 5]
    assert "1,204 packets lost, kernel ring of eth0" in " ".join(snapshot.rows[3].cells)
    assert [row.ident for row in look(model, "src port 9").rows] == [-1]
    detail = model.detail(-1, 0)
    assert detail is not None and "1,204 packets" in detail.title[0][0]
    assert look(model, anchor=-1).anchor == 3


def test_a_loss_of_unknown_size_is_not_called_zero() -> None:
    model = model_of()
    model.apply(Gap(0, 1, None, GapReason.QUEUE, 0, 0), 0, 0)
    assert "GAP packets lost, nettop's queue of eth0" in " ".join(look(model).rows[0].cells)


def test_memory_is_bounded_and_what_is_evicted_is_counted() -> None:
    model = model_of(budget=1_000_000)
    for number in range(100):
        model.apply(batch_of([udp(1, 400)] * 100, start_s=number * 100), 0, 0)
    store = model.store
    kept = sum(len(segment) for segment in store.segments)
    assert store.seen == 10_000 == kept + store.evicted
    assert 0 < kept < 2_500
    snapshot = look(model, follow=True, height=1, anchor=5)
    assert column(snapshot, "number") == ["10000"]
    assert snapshot.anchor is None
    assert model.detail(5, 0) is None
    assert "evicted" in "".join(text for text, _ in snapshot.totals)


def test_the_budget_counts_whole_buffers_not_only_the_packets_in_them() -> None:
    model = model_of(budget=1_000_000)
    for number in range(100):
        batch = batch_of([udp(1, 10)] * 10, start_s=number * 100)
        model.apply(replace(batch, buf=batch.buf + bytes(100_000)), 0, 0)
    kept = sum(len(segment.buf) for segment in model.store.segments if isinstance(segment, PacketBlock) and segment.buf)
    assert 0 < kept <= 1_100_000


def test_a_trickle_of_packets_does_not_cost_a_block_each() -> None:
    model = model_of(*[batch_of([udp(port)], start_s=port) for port in range(1, 2001)])
    assert len(model.store.segments) < 60
    assert column(look(model, first=1500, height=2), "source") == ["10.0.3.7:1501", "10.0.3.7:1502"]


def test_two_devices_stand_in_order_of_time_and_are_numbered_so() -> None:
    one = batch_of([udp(10)] * 4, start_s=0.0)
    two = batch_of([udp(20)] * 4, stream=1, start_s=0.5)
    snapshot = look(model_of(one, two, streams=2))
    assert column(snapshot, "device") == ["eth0", "eth1"] * 4
    assert column(snapshot, "number") == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert set(column(snapshot, "delta")) == {"", "0.500000"}


def test_what_one_device_delivers_early_waits_for_the_other() -> None:
    early, late = batch_of([udp(10)] * 2, start_s=0.0, step_s=0.4), batch_of([udp(20)], stream=1, start_s=0.1)
    model = model_of(early, streams=2)
    spec = ViewSpec(COLUMNS)
    assert column(model.snapshot(spec, SECOND // 10), "device") == []
    model.apply(late, 0, 0)
    assert column(model.snapshot(spec, SECOND * 35 // 100), "device") == ["eth0", "eth1"]
    assert column(model.snapshot(spec, SECOND * 7 // 10), "number") == ["1", "2", "3"]


def test_ipv6_and_ipv4_share_a_block() -> None:
    from scapy.layers.inet6 import IPv6

    six = bytes(ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=5, dport=6))
    model = model_of(batch_of([udp(1)] * 2), batch_of([six] * 2, start_s=5), batch_of([udp(2)], start_s=9))
    assert len(model.store.segments) == 1
    assert look(model, "host fd00::1").matched == 2
    assert look(model, "host 10.0.3.7").matched == 3
    assert column(look(model, "ip6"), "source") == ["[fd00::1]:5"] * 2


def test_netlink_is_not_listed() -> None:
    model = model_of()
    model.apply(StreamAdded(Stream(9, StreamKind.NETLINK, "conntrack"), 0), 0, 0)
    one = np.ones(1, np.uint32)
    model.apply(Batch(9, 0, b"x", one * 0, one, np.zeros(1, np.int64), NetlinkMeta(np.zeros(1, np.bool_))), 0, 0)
    assert look(model).total == 0


@pytest.mark.parametrize(
    ("packet", "proto", "info"),
    [
        (IP4 / TCP(flags="S", seq=0, window=64240, options=[("MSS", 1460), ("WScale", 7)]), "TCP",
         "[SYN] Seq=0 Len=0 Win=64240 MSS=1460 WS=128"),
        (IP4 / TCP(flags="RA", seq=1, ack=2), "TCP", "[RST, ACK] Seq=1 Ack=1 Len=0 Win=8192"),
        (IP4 / UDP(sport=9, dport=53) / DNS(rd=1, qd=DNSQR(qname="example.net")), "DNS", "query A example.net"),
        (IP4 / UDP(sport=53, dport=9) / DNS(qr=1, rcode=3, qd=DNSQR(qname="no.example", qtype="AAAA")), "DNS",
         "no such name: AAAA no.example"),
        (IP4 / TCP(flags="PA", dport=80) / Raw(b"GET /x\x1b[2J HTTP/1.1\r\nHost: a\r\n"), "HTTP",
         "GET /x\\x1b[2J HTTP/1.1"),
        (IP4 / TCP(flags="PA", dport=443) / Raw(b"\x17\x03\x03\x00\x05hello"), "TLS", "Application Data"),
        (IP4 / UDP(sport=123, dport=123) / Raw(b"\x23" + bytes(47)), "NTP", "NTPv4 client"),
        (IP4 / UDP(sport=7, dport=8), "UDP", "length 0"),
        (ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.2"), "ARP", "Request who-has 10.0.0.2 tell 10.0.0.1, length 28"),
    ],
)  # fmt: skip
def test_info_says_what_the_packet_is_about(packet: Packet, proto: str, info: str) -> None:
    snapshot = look(model_of(batch_of([bytes(ETHER / packet)])))
    assert (column(snapshot, "proto"), column(snapshot, "info")) == ([proto], [info])


def talk(flags: str, seq: int, ack: int, size: int = 0, back: bool = False, port: int = 1000) -> bytes:
    ends = {"src": "10.0.0.2", "dst": "10.0.0.1"} if back else {"src": "10.0.0.1", "dst": "10.0.0.2"}
    ports = {"sport": 9, "dport": port} if back else {"sport": port, "dport": 9}
    wrapped = {"seq": seq % (1 << 32), "ack": ack % (1 << 32)}
    return bytes(ETHER / IP(**ends) / TCP(flags=flags, **ports, **wrapped) / Raw(bytes(size)))


def counted(snapshot: Snapshot) -> list[str]:
    return [info.split("] ")[1].split(" Len")[0] for info in column(snapshot, "info")]


def conversation(here: int, there: int) -> list[bytes]:
    return [
        talk("S", here, 0),
        talk("SA", there, here + 1, back=True),
        talk("A", here + 1, there + 1),
        talk("PA", here + 1, there + 1, 10),
        talk("PA", there + 1, here + 11, 20, back=True),
        talk("FA", here + 11, there + 21),
    ]


@pytest.mark.parametrize("here", [0, 3_180_424_101, (1 << 32) - 5])
def test_sequence_numbers_count_from_the_streams_beginning_wherever_the_window_is(here: int) -> None:
    batch = batch_of([*conversation(here, (1 << 32) - 12), *[udp(7)] * 50])
    expected = ["Seq=0", "Seq=0 Ack=1", "Seq=1 Ack=1", "Seq=1 Ack=1", "Seq=1 Ack=11", "Seq=11 Ack=21"]
    assert counted(look(model_of(batch), "tcp")) == expected
    for first in range(5):
        assert counted(look(model_of(batch), "tcp", first=first, height=1)) == expected[first : first + 1]


def test_a_stream_that_was_joined_late_counts_from_what_either_side_spoke_of_first() -> None:
    late = conversation(5_000, 9_000)[4:]
    assert counted(look(model_of(batch_of(late)))) == ["Seq=1 Ack=1", "Seq=1 Ack=21"]
    assert counted(look(model_of(batch_of(late[1:])))) == ["Seq=1 Ack=1"]


def test_another_life_of_the_same_ports_counts_from_its_own_syn() -> None:
    batch = batch_of([*conversation(5_000, 9_000), *conversation(3_000_000_000, 2_000_000_000)])
    assert counted(look(model_of(batch)))[6:] == counted(look(model_of(batch_of(conversation(1, 1)))))


def client_hello(name: bytes) -> bytes:
    server_name = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack(">H", len(server_name))
    body += server_name
    return b"\x16\x03\x01" + struct.pack(">HB", len(body) + 4, 1) + len(body).to_bytes(3, "big") + body


def test_the_name_a_tls_client_asks_for_is_shown_and_harmless() -> None:
    frames = [bytes(ETHER / IP4 / TCP(dport=443, flags="PA") / Raw(client_hello(name)))
              for name in (b"api.example.net", b"\x1b]0;x\x07", b"x" * 300)]  # fmt: skip
    infos = column(look(model_of(batch_of(frames))), "info")
    assert infos[0] == "Client Hello SNI=api.example.net"
    assert all(info.isprintable() for info in infos)


def marked(model: PacketModel, ident: int, start: str) -> bytes:
    """The bytes that the detail's line beginning with `start` says it covers."""
    detail = model.detail(ident, 0)
    assert isinstance(detail, PacketDetail)
    for line, (begin, end) in zip(detail.lines, detail.ranges, strict=True):
        if "".join(text for text, _ in line).strip(" ▾").startswith(start):
            return record(model, ident)[begin:end]
    raise AssertionError(f"no line {start}: {detail.lines}")


def record(model: PacketModel, ident: int) -> bytes:
    segment, row = model.store.find(ident) or pytest.fail("gone")
    return model.store.record(segment, row)  # type: ignore[arg-type]


def test_each_line_of_the_tree_knows_its_bytes() -> None:
    frame = ETHER / IP4 / TCP(sport=51822, dport=443, flags="S", options=[("MSS", 1460)]) / Raw(b"data")
    model = model_of(batch_of([bytes(frame)]))
    assert marked(model, 1, "Frame") == bytes(frame)
    assert marked(model, 1, "Ethernet") == bytes(frame)[:14]
    assert marked(model, 1, "IPv4") == bytes(frame)[14:34]
    assert marked(model, 1, "TCP") == bytes(frame)[34:58]
    assert marked(model, 1, "Source port") == struct.pack(">H", 51822)
    assert marked(model, 1, "Destination port") == struct.pack(">H", 443)
    assert marked(model, 1, "Time to live") == b"\x40"
    assert marked(model, 1, "Options") == b"\x02\x04\x05\xb4"
    assert marked(model, 1, "Payload") == b"data"


def test_tcp_flags_and_options_are_in_words_in_the_tree() -> None:
    options = [("MSS", 1460), ("NOP", None), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 2)), (77, b"\x1b[2J")]
    model = model_of(batch_of([bytes(ETHER / IP4 / TCP(flags="SA", options=options))]))
    detail = model.detail(1, 0)
    assert detail is not None
    lines = ["".join(text for text, _ in line).strip() for line in detail.lines]
    assert "Flags  0x012 SYN, ACK" in lines
    assert "Options  MSS 1460, window scale 7 (×128), SACK permitted, timestamps 1 2, 77 \\x1b[2J" in lines


def test_the_hexdump_is_the_whole_record() -> None:
    frame = udp(5)
    detail = model_of(batch_of([frame])).detail(1, 0)
    assert isinstance(detail, PacketDetail)
    shown = "".join(line[0][0][6:54].replace(" ", "") for line in detail.hexdump)
    assert bytes.fromhex(shown) == frame


@settings(max_examples=examples(60))
@given(
    st.sampled_from((1, 0, 101, 113, 276, 147)),
    st.binary(max_size=150),
    st.sampled_from((b"", bytes(ETHER / IP4)[:34], bytes(ETHER / IP4 / UDP(dport=53, sport=53, chksum=0))[:42],
                     bytes(ETHER / IP4 / TCP(dport=53, flags="PA"))[:54])),
)  # fmt: skip
def test_hostile_bytes_give_a_row_and_a_tree(linktype: int, tail: bytes, head: bytes) -> None:
    model = PacketModel()
    model.apply(StreamAdded(Stream(0, StreamKind.PACKETS, "x", linktype=linktype), 0), 0, 0)
    model.apply(batch_of([head + tail]), 0, 0)
    row: Row = look(model).rows[0]
    detail = model.detail(1, 0)
    assert isinstance(detail, PacketDetail)
    texts = [*row.cells, *(text for line in (*detail.lines, *detail.hexdump) for text, _ in line)]
    assert all(text.isprintable() for text in texts)
    size = len(head + tail)
    assert all(0 <= start <= end <= size for start, end in detail.ranges)


def write_recording(path: Path, *batches: Batch, streams: int = 1) -> None:
    writer = RecordingWriter(os.open(path, os.O_WRONLY | os.O_CREAT))
    for number in range(streams):
        writer.write([StreamAdded(Stream(number, StreamKind.PACKETS, f"eth{number}"), 0)])
    writer.write(batches)
    writer.close()


def opened(path: Path, **of: Any) -> PacketModel:
    model = PacketModel(**of)
    reader = open_reader(str(path))
    for item in reader:
        model.apply(item, 0, 0)
    reader.close()
    return model


def test_a_files_packets_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    write_recording(path, batch_of([udp(port) for port in range(1, 3001)]))
    model = opened(path, budget=100_000_000)
    assert all(segment.buf is None for segment in model.store.segments)  # type: ignore[union-attr]
    assert column(look(model, first=2000, height=1), "source") == ["10.0.3.7:2001"]
    assert record(model, 77) == udp(77)


def test_a_file_that_goes_away_leaves_rows_that_say_so(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    write_recording(path, batch_of([udp(1)] * 3))
    model = opened(path)
    path.unlink()
    assert column(look(model), "info") == ["its file can no longer be read"] * 3
    assert model.detail(1, 0) is not None


def test_a_packet_without_a_time_has_none_and_is_no_base_for_the_next(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 60) + bytes(60))
    path = tmp_path / "a.pcapng"
    path.write_bytes(shb() + idb() + simple + epb(bytes(60), 1_000_000) + simple + epb(bytes(60), 3_500_000))
    snapshot = look(opened(path), columns=("time", "delta"))
    assert [text == "–" for text in column(snapshot, "time")] == [True, False, True, False]
    assert column(snapshot, "delta") == ["", "", "", "2.500000"]


def test_a_loss_in_a_file_is_a_row_where_it_happened(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    drop = (4, struct.pack("<Q", 7))
    packets = b"".join(epb(bytes(60), i * 1_000_000, *([drop] if i == 61 else [])) for i in range(1, 101))
    path.write_bytes(shb() + idb() + packets)
    snapshot = look(opened(path), columns=("number", "info"), height=200)
    assert [at for at, row in enumerate(snapshot.rows) if "GAP 7 packets lost" in row.cells[1]] == [60]


def test_devices_that_alternate_in_a_file_are_one_list_in_order(tmp_path: Path) -> None:
    path = tmp_path / "two.pcapng"
    batches = [batch_of([udp(number)], stream=number % 2, start_s=number) for number in range(1, 401)]
    write_recording(path, *batches, streams=2)
    snapshot = look(opened(path), height=400)
    assert column(snapshot, "source") == [f"10.0.3.7:{number}" for number in range(1, 401)]
    assert column(snapshot, "number") == [str(number) for number in range(1, 401)]


def test_an_export_writes_what_matches_and_opens_again(tmp_path: Path) -> None:
    model = model_of(batch_of([udp(1), udp(2)] * 10), batch_of([udp(2)] * 3, stream=1, start_s=5.5), streams=2)
    out = tmp_path / "out.pcapng"
    writer = RecordingWriter(os.open(out, os.O_WRONLY | os.O_CREAT))
    for item in model.export(parse("src port 2", "packet")):
        writer.write([item])
    writer.close()
    again = opened(out)
    assert look(again).matched == 13
    assert set(column(look(again), "source")) == {"10.0.3.7:2"}
    assert set(column(look(again), "device")) == {"eth0", "eth1"}


def test_an_export_keeps_directions_and_does_not_invent_them(tmp_path: Path) -> None:
    one = batch_of([udp(1)] * 3)
    way = np.array([4, 255, 0], np.uint8)
    out = tmp_path / "out.pcapng"
    writer = RecordingWriter(os.open(out, os.O_WRONLY | os.O_CREAT))
    sent = Batch(0, 0, one.buf, one.off, one.caplen, one.ts_ns, PacketMeta(one.caplen, way))
    writer.write(model_of(sent).export(None))
    writer.close()
    again = look(opened(out), columns=("way",))
    assert column(again, "way") == ["out", "", "in"]


def test_many_devices_do_not_share_a_block_beyond_what_a_byte_tells() -> None:
    batches = [batch_of([udp(number)], stream=number, start_s=number) for number in range(300)]
    snapshot = look(model_of(*batches, streams=300), height=300)
    assert column(snapshot, "device") == [f"eth{number}" for number in range(300)]


def test_rows_cost_little_memory() -> None:
    frames = [
        bytes(ETHER / IP(src=f"10.0.{n % 7}.1", dst="10.1.1.1") / UDP(sport=n, dport=n * 7 % 60_000))
        for n in range(500)
    ]
    block = model_of(batch_of(frames)).store.segments[0]
    arrays = [block.ident, block.ts_ns, block.length, block.off, *block.cols.values()]  # type: ignore[union-attr]
    assert sum(array.itemsize for array in arrays if array.strides != (0,)) <= 60


def test_headers_for_rates_are_in_no_list_and_no_export_but_are_counted() -> None:
    counted: list[int] = []
    model = model_of(batch_of([udp(1)]), on_columns=lambda stream, cols: counted.append(len(cols)))
    model.apply(StreamAdded(Stream(7, StreamKind.PACKETS, "eth0", snaplen=128, headers=True), 0), 0, 0)
    model.apply(batch_of([udp(2), udp(3)], stream=7), 0, 0)
    model.apply(Gap(7, 0, 5, GapReason.RING, 0, 1), 0, 0)
    assert [row.cells[3] for row in look(model).rows] == ["eth0"]
    assert sum(len(item) for item in model.export(None) if isinstance(item, Batch)) == 1
    assert sorted(counted) == [1, 2]


def capture_of(number: int, stream: int, name: str = "eth0", text: str = "") -> StreamAdded:
    return StreamAdded(Stream(stream, StreamKind.PACKETS, name, capture_filter=text, capture=number), 0)


def test_a_new_capture_is_a_new_list_and_the_one_before_is_put_aside_by_name() -> None:
    model = PacketModel()
    model.apply(capture_of(1, 1), 0, 0)
    model.apply(batch_of([udp(1), udp(2)], stream=1), 0, 0)
    model.apply(capture_of(2, 2, "eth1", "tcp port 443"), 0, 0)
    assert look(model).rows == ()
    model.apply(batch_of([udp(3)], stream=2), 0, 0)
    assert [row.cells[3] for row in look(model).rows] == ["eth1"]
    assert [(one.number, one.name, one.store.seen) for one in model.lists.all] == [
        (1, f"{clock(0)} eth0", 2),
        (2, f"{clock(0)} eth1 tcp port 443", 1),
    ]
    model.show(1)
    assert [row.cells[3] for row in look(model).rows] == ["eth0", "eth0"]
    assert "an earlier capture" in look(model).totals[0][0]
    assert sum(len(item) for item in model.export(None) if isinstance(item, Batch)) == 2
    model.apply(batch_of([udp(4)], stream=2), 0, 0)
    model.show(2)
    assert len(look(model).rows) == 2


def test_a_device_that_joins_a_capture_is_in_its_list() -> None:
    model = PacketModel()
    model.apply(capture_of(1, 1), 0, 0)
    model.apply(batch_of([udp(1)], stream=1), 0, 0)
    model.apply(capture_of(1, 2, "new0"), 0, 0)
    model.apply(batch_of([udp(2)], stream=2), 0, 0)
    assert [row.cells[3] for row in look(model).rows] == ["eth0", "new0"]


def test_the_oldest_list_makes_room_for_the_newest() -> None:
    model = PacketModel(budget=20_000)
    for number in range(1, 5):
        model.apply(capture_of(number, number), 0, 0)
        model.apply(batch_of([udp(n, 1000) for n in range(1, 9)], stream=number), 0, 0)
    assert model.lists.all[-1] is model.lists.live is model.lists.shown
    assert sum(one.store.cost for one in model.lists.all) <= 20_000
    kept = sum(one.store.seen - one.store.evicted for one in model.lists.all)
    assert model.lists.dropped + kept + sum(one.store.evicted for one in model.lists.all) == 32
