"""Packets decode to what scapy and the specifications say, and no bytes make the decoder raise."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, GRE, LLC, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from nettop.batch import Batch, PacketMeta, select_rows
from nettop.columns import Columns, Decoded
from nettop.decode.packets import columns as pc
from nettop.decode.packets.decoder import Depth, PacketDecoder
from nettop.decode.packets.window import CHUNK_ROWS, HeaderWindow
from tests.profiles import examples

LINKTYPES = (0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 147)


def batch_of(frames: list[bytes], pad: bytes = b"") -> Batch:
    """The frames one after the other, with `pad` between them."""
    off, at = [], 0
    for frame in frames:
        off.append(at)
        at += len(frame) + len(pad)
    caplen = np.array([len(frame) for frame in frames], np.uint32)
    ts = np.arange(len(frames), dtype=np.int64)
    return Batch(3, 7, pad.join(frames), np.array(off, np.uint32), caplen, ts, PacketMeta(caplen))


def decode(*frames: bytes | Packet, linktype: int = 1, depth: Depth = Depth.FULL) -> Decoded:
    return PacketDecoder(linktype, depth)(batch_of([bytes(frame) for frame in frames]))


def row(frame: bytes | Packet, linktype: int = 1) -> dict[str, int]:
    """The columns of one frame."""
    cols = decode(frame, linktype=linktype).cols
    return {name: int(column[0]) for name, column in cols.data.items()}


def has(values: dict[str, int], bits: int) -> bool:
    return values["have"] & bits == bits


def ipv4(text: str) -> int:
    return int.from_bytes(bytes(map(int, text.split("."))), "big")


ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IP4 = IP(src="10.0.3.7", dst="200.200.200.1", ttl=63, id=0x1C46, flags="DF")
IP6 = IPv6(src="fd00::1", dst="fd00::2", hlim=61)


def test_tcp_over_ethernet_gives_every_column() -> None:
    tcp = TCP(sport=51822, dport=443, seq=7, ack=9, flags="SAE", window=64240, options=[("MSS", 1460)])
    values = row(ETHER / IP4 / tcp / Raw(b"hello"))
    assert (values["src_lo"], values["dst_lo"]) == (ipv4("10.0.3.7"), ipv4("200.200.200.1"))
    assert (values["sport"], values["dport"], values["seq"], values["ack"]) == (51822, 443, 7, 9)
    assert (values["flags"], values["window"], values["payload"]) == (0x52, 64240, 5)
    assert (values["family"], values["proto"], values["ttl"], values["ip_id"]) == (2, 6, 63, 0x1C46)
    assert (values["frag"], values["l3"], values["l4"], values["ethertype"]) == (pc.FRAG_DONT, 14, 34, 0x800)
    assert has(values, pc.HAVE_IP | pc.HAVE_PORTS | pc.HAVE_TCP | pc.HAVE_PAYLOAD)
    assert not values["have"] & (pc.HAVE_VLAN | pc.HAVE_FRAGMENT | pc.HAVE_DIRECTION)


def test_ipv4_options_move_layer_four() -> None:
    values = row(ETHER / IP(src="1.2.3.4", dst="5.6.7.8", options=[b"\x94\x04\x00\x00"]) / UDP(sport=5, dport=6))
    assert (values["l4"], values["sport"], values["dport"], values["payload"]) == (38, 5, 6, 0)


@pytest.mark.parametrize("tags", [[Dot1Q(vlan=7)], [Dot1AD(vlan=7), Dot1Q(vlan=9)], [Dot1Q(vlan=7)] * 8])
def test_vlan_tags_are_stepped_over_and_the_outer_id_is_kept(tags: list[Packet]) -> None:
    frame = ETHER.copy()
    for tag in tags:
        frame = frame / tag.copy()
    values = row(frame / IP4 / UDP(sport=1, dport=2))
    assert has(values, pc.HAVE_VLAN | pc.HAVE_PORTS)
    assert (values["vlan"], values["ethertype"], values["l3"]) == (7, 0x800, 14 + 4 * len(tags))


def test_more_tags_than_eight_are_an_error_not_a_loop() -> None:
    decoded = decode(b"\0" * 12 + b"\x81\x00\x00\x07" * 60)
    assert decoded.errors.code.tolist() == [pc.BAD_TAGS]
    assert decoded.cols["vlan"][0] == 7


def test_llc_is_marked_and_has_no_ethertype() -> None:
    values = row(Dot3(src="02:00:00:00:00:01", dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42) / Raw(b"x" * 35))
    assert has(values, pc.HAVE_LLC)
    assert not has(values, pc.HAVE_ETHERTYPE)


def test_ipv6_halves_and_hop_limit() -> None:
    values = row(ETHER / IP6 / TCP(sport=1, dport=2, flags="S"))
    assert (values["src_hi"], values["src_lo"]) == (0xFD00 << 48, 1)
    assert (values["dst_hi"], values["dst_lo"], values["ttl"], values["family"]) == (0xFD00 << 48, 2, 61, 10)


def test_ipv6_halves_exist_only_with_an_ipv6_row() -> None:
    assert "src_hi" not in decode(ETHER / IP4 / UDP()).cols


def test_ipv6_extension_headers_are_stepped_over() -> None:
    chain = IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"]) / IPv6ExtHdrDestOpt()
    values = row(ETHER / IP6 / chain / UDP(sport=53, dport=54) / Raw(b"abc"))
    assert (values["proto"], values["sport"], values["dport"], values["payload"]) == (17, 53, 54, 3)
    assert values["l4"] == 14 + 40 + 8 + 24 + 8


def test_ipv6_authentication_header_is_stepped_over_with_its_own_unit() -> None:
    ah = struct.pack(">BBHII", 17, 4, 0, 0xDEAD, 1) + b"\0" * 12
    values = row(ETHER / IPv6(src="fd00::1", dst="fd00::2", nh=51) / Raw(ah) / UDP(sport=3, dport=4))
    assert (values["proto"], values["sport"], values["tunnel"]) == (17, 3, 0xDEAD)


@pytest.mark.parametrize(("offset", "more", "later"), [(0, 1, False), (185, 1, True), (185, 0, True)])
def test_later_fragments_have_no_ports(offset: int, more: int, later: bool) -> None:
    udp = bytes(UDP(sport=9, dport=10) / Raw(b"x" * 40))
    v4 = row(ETHER / IP(src="1.1.1.1", dst="2.2.2.2", frag=offset, flags=more, id=77, proto=17) / Raw(udp))
    v6 = row(ETHER / IP6 / IPv6ExtHdrFragment(offset=offset, m=more, id=77, nh=17) / Raw(udp))
    for values in (v4, v6):
        assert has(values, pc.HAVE_FRAGMENT)
        assert has(values, pc.HAVE_LATER_FRAGMENT) is later
        assert has(values, pc.HAVE_PORTS) is not later
        assert (values["proto"], values["ip_id"], values["frag"] & pc.FRAG_OFFSET) == (17, 77, offset * 8)
        assert values["frag"] & pc.FRAG_MORE == more


def test_icmp_gives_type_code_and_id() -> None:
    echo = row(ETHER / IP4 / ICMP(type=8, id=0x1234, seq=5))
    assert (echo["dport"], echo["sport"], echo["seq"]) == (0x0800, 0x1234, 5)
    unreachable = row(ETHER / IP4 / ICMP(type=3, code=1))
    assert has(unreachable, pc.HAVE_ICMP) and not has(unreachable, pc.HAVE_ICMP_ID)
    assert (unreachable["dport"], unreachable["sport"]) == (0x0301, 0)
    six = row(ETHER / IP6 / ICMPv6EchoRequest(id=9, seq=2))
    assert (six["dport"], six["sport"], six["proto"]) == (128 << 8, 9, 58)


def test_arp_gives_sender_and_target() -> None:
    values = row(ETHER / ARP(op=2, psrc="10.0.0.1", pdst="10.0.0.2"))
    assert (values["src_lo"], values["dst_lo"], values["dport"]) == (ipv4("10.0.0.1"), ipv4("10.0.0.2"), 2)
    assert has(values, pc.HAVE_ARP) and values["family"] == 0


def test_tunnel_ids() -> None:
    assert row(ETHER / IP4 / GRE(key_present=1, key=0xCAFE))["tunnel"] == 0xCAFE
    assert row(ETHER / IP4 / GRE(key_present=1, chksum_present=1, key=0xCAFE))["tunnel"] == 0xCAFE
    assert not has(row(ETHER / IP4 / GRE()), pc.HAVE_TUNNEL)
    assert row(ETHER / IP4 / UDP(sport=1, dport=4789) / VXLAN(vni=42, flags=8) / ETHER)["tunnel"] == 42
    assert row(ETHER / IP(proto=50) / Raw(struct.pack(">II", 0xBEEF, 1)))["tunnel"] == 0xBEEF


def test_sctp_has_ports() -> None:
    values = row(ETHER / IP4 / SCTP(sport=36412, dport=36413))
    assert has(values, pc.HAVE_PORTS)
    assert (values["sport"], values["dport"]) == (36412, 36413)


@pytest.mark.parametrize(
    ("linktype", "header"),
    [
        (12, b""),
        (14, b""),
        (101, b""),
        (228, b""),
        (0, struct.pack("<I", 2)),
        (0, struct.pack(">I", 2)),
        (108, struct.pack(">I", 2)),
        (113, struct.pack(">HHH8sH", 4, 1, 6, b"", 0x800)),
        (276, struct.pack(">HHIHBB8s", 0x800, 0, 3, 1, 4, 6, b"")),
    ],
)
def test_other_link_types(linktype: int, header: bytes) -> None:
    values = row(header + bytes(IP4 / UDP(sport=1, dport=2)), linktype)
    assert (values["family"], values["sport"], values["l3"]) == (2, 1, len(header))
    if linktype in (113, 276):
        assert has(values, pc.HAVE_DIRECTION) and values["direction"] == 4


def test_ipv6_on_raw_and_null_links() -> None:
    packet = bytes(IP6 / UDP(sport=1, dport=2))
    assert row(packet, 101)["sport"] == row(packet, 229)["sport"] == 1
    assert row(struct.pack("<I", 30) + packet, 0)["family"] == 10


def test_netlink_in_a_cooked_capture_is_no_ethertype() -> None:
    values = row(struct.pack(">HHH8sH", 4, 824, 0, b"", 0x800) + bytes(60), 113)
    assert not has(values, pc.HAVE_ETHERTYPE) and values["family"] == 0


@pytest.mark.parametrize("length", [0, 13, 14, 20, 33, 34, 37, 38, 53, 54])
def test_a_cut_frame_has_what_is_whole_and_an_error_for_the_rest(length: int) -> None:
    frame = bytes(ETHER / IP4 / TCP(sport=1, dport=2, flags="S"))[:length]
    cols = decode(frame).cols
    errors = decode(frame).errors
    have = int(cols["have"][0])
    assert bool(have & pc.HAVE_ETHERTYPE) is (length >= 14)
    assert bool(have & pc.HAVE_IP) is (length >= 34)
    assert bool(have & pc.HAVE_PORTS) is (length >= 38)
    assert bool(have & pc.HAVE_TCP) is (length >= 54)
    assert len(errors) == (length < 54)


def test_bytes_of_the_next_record_are_never_read() -> None:
    """The second frame is cut in its TCP header; what follows it in the buffer is another frame."""
    frame = bytes(ETHER / IP4 / TCP(sport=1, dport=2, flags="S"))
    cols = decode(frame, frame[:36], frame).cols
    assert (cols["have"] & pc.HAVE_PORTS != 0).tolist() == [True, False, True]
    assert cols["sport"].tolist() == [1, 0, 1]


def test_a_segment_that_tso_has_yet_to_cut_takes_its_length_from_the_wire() -> None:
    packet = ETHER / IP(src="1.1.1.1", dst="2.2.2.2", len=0) / TCP(sport=1, dport=2, flags="A") / Raw(b"x" * 3000)
    assert row(packet)["payload"] == 3000


def test_errors_name_their_record_and_offset() -> None:
    good = bytes(ETHER / IP4 / UDP())
    decoded = decode(good, good[:20], good, b"")
    assert decoded.errors.record.tolist() == [1, 3]
    assert decoded.errors.offset.tolist() == [len(good) + 14, 2 * len(good) + 20]
    assert decoded.errors.code.tolist() == [pc.BAD_IPV4, pc.BAD_LINK]
    assert all(int(code) in pc.ERROR_TEXT for code in decoded.errors.code)


def test_batches_longer_than_a_chunk_keep_their_order() -> None:
    frames = [bytes(ETHER / IP4 / UDP(sport=port, dport=1)) for port in range(8)]
    repeated = frames * (CHUNK_ROWS // 8 + 2)
    repeated[-3] = frames[0][:30]
    decoded = PacketDecoder(1)(batch_of(repeated))
    ports = np.arange(len(repeated)) % 8
    ports[-3] = 0
    assert np.array_equal(decoded.cols["sport"], ports)
    assert decoded.errors.record.tolist() == [len(repeated) - 3]


def test_an_empty_batch_decodes_to_no_rows() -> None:
    assert len(decode().cols) == 0


def test_chosen_rows_keep_what_stands_beside_them() -> None:
    frames = [bytes(ETHER / IP4 / UDP(sport=port)) for port in range(5)]
    batch = batch_of(frames)
    batch.meta.comment[3] = "three"  # type: ignore[union-attr]
    some = select_rows(batch, np.array([1, 3]))
    assert PacketDecoder(1)(some).cols["sport"].tolist() == [1, 3]
    assert isinstance(some.meta, PacketMeta) and some.meta.comment == {1: "three"}


def test_a_window_past_the_end_reads_zeros() -> None:
    window = HeaderWindow(b"abcdef")
    got = window.at(np.array([0, 4, 6, 100]), np.dtype("S4"))
    assert got.tolist() == [b"abcd", b"ef", b"", b""]


# Random well-formed packets: scapy is the oracle.

PORT = st.integers(0, 65535)
ADDRESS4 = st.integers(0, 2**32 - 1)
ADDRESS6 = st.integers(0, 2**128 - 1)
VLANS = st.lists(st.integers(0, 4095), max_size=3)
PAYLOAD = st.binary(max_size=60)


def text4(value: int) -> str:
    return ".".join(str(byte) for byte in value.to_bytes(4, "big"))


def text6(value: int) -> str:
    return ":".join(f"{value >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))


@st.composite
def frames(draw: Any) -> tuple[bytes, dict[str, int]]:
    """A frame and the columns it must decode to."""
    vlans = draw(VLANS)
    frame: Packet = ETHER.copy()
    for vlan in vlans:
        frame = frame / Dot1Q(vlan=vlan)
    want: dict[str, int] = {"vlan": vlans[0] if vlans else 0}
    if draw(st.booleans()):
        src, dst = draw(ADDRESS4), draw(ADDRESS4)
        frame = frame / IP(src=text4(src), dst=text4(dst), ttl=draw(st.integers(0, 255)))
        want |= {"family": 2, "src_lo": src, "dst_lo": dst}
    else:
        src, dst = draw(ADDRESS6), draw(ADDRESS6)
        frame = frame / IPv6(src=text6(src), dst=text6(dst))
        for _ in range(draw(st.integers(0, 2))):
            frame = frame / IPv6ExtHdrDestOpt()
        mask = 2**64 - 1
        want |= {"family": 10, "src_lo": src & mask, "dst_lo": dst & mask, "src_hi": src >> 64, "dst_hi": dst >> 64}
    sport, dport, payload = draw(PORT), draw(PORT), draw(PAYLOAD)
    want |= {"sport": sport, "dport": dport, "payload": len(payload)}
    if draw(st.booleans()):
        seq, ack, flags = draw(ADDRESS4), draw(ADDRESS4), draw(st.integers(0, 511))
        frame = frame / TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags) / Raw(payload)
        want |= {"proto": 6, "seq": seq, "ack": ack, "flags": flags}
    else:
        frame = frame / UDP(sport=sport, dport=dport) / Raw(payload)
        want |= {"proto": 17}
    return bytes(frame), want


@settings(max_examples=examples(60))
@given(st.lists(frames(), min_size=1, max_size=6))
def test_random_packets_decode_to_what_they_were_made_of(made: list[tuple[bytes, dict[str, int]]]) -> None:
    decoded = decode(*[frame for frame, _ in made])
    assert len(decoded.errors) == 0
    for number, (_, want) in enumerate(made):
        got = {name: int(decoded.cols[name][number]) for name in want}
        assert got == want


# Hostile bytes.


def check_sane(cols: Columns, frames_: list[bytes]) -> None:
    have = cols["have"]
    assert len(have) == len(frames_)
    size = np.array([len(frame) for frame in frames_])
    for bits, least in ((pc.HAVE_IP, 20), (pc.HAVE_PORTS, 24), (pc.HAVE_TCP, 40), (pc.HAVE_ARP, 28)):
        assert (size[have & bits != 0] >= least).all()
    assert not ((have & pc.HAVE_PORTS != 0) & (have & pc.HAVE_LATER_FRAGMENT != 0)).any()
    assert (cols["l4"] <= size).all()


@settings(max_examples=examples(300))
@given(st.sampled_from(LINKTYPES), st.lists(st.binary(max_size=120), max_size=5))
def test_random_bytes_never_raise(linktype: int, records: list[bytes]) -> None:
    decoded = PacketDecoder(linktype)(batch_of(records))
    check_sane(decoded.cols, records)


@settings(max_examples=examples(200))
@given(frames(), st.integers(0, 150), st.data())
def test_cut_and_mutated_packets_never_raise(made: tuple[bytes, Any], cut: int, data: st.DataObject) -> None:
    frame = bytearray(made[0][:cut])
    for _ in range(data.draw(st.integers(0, 4))):
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    for depth in Depth:
        cols = PacketDecoder(1, depth)(batch_of([made[0], bytes(frame)])).cols
        if depth == Depth.FULL:
            check_sane(cols, [made[0], bytes(frame)])


@settings(max_examples=examples(100))
@given(st.lists(frames(), min_size=1, max_size=4), st.lists(st.binary(max_size=80), max_size=4))
def test_every_depth_agrees_with_the_full_decode(made: list[tuple[bytes, Any]], noise: list[bytes]) -> None:
    records = [frame for frame, _ in made] + noise
    full = PacketDecoder(1)(batch_of(records)).cols
    for depth, names in (
        (Depth.LINK, ("ethertype", "family", "vlan")),
        (Depth.NETWORK, ("proto", "src_lo", "dst_lo", "l4")),
        (Depth.PORTS, ("sport", "dport")),
    ):
        cols = PacketDecoder(1, depth)(batch_of(records)).cols
        for name in names:
            assert np.array_equal(cols[name], full[name]), name


def test_records_that_point_outside_the_buffer_are_cut_at_its_end() -> None:
    off = np.array([0, 90, 4_000_000_000], np.uint32)
    caplen = np.array([200, 200, 4_294_967_295], np.uint32)
    batch = Batch(0, 0, bytes(100), off, caplen, np.zeros(3, np.int64), PacketMeta(caplen))
    assert len(PacketDecoder(1)(batch).cols) == 3
