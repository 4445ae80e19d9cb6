"""The lines of `nettop read`: one a packet, whatever the packet; JSON with the keys of the contract."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, GRE, LLC, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

from nettop.batch import Batch, PacketMeta, Stream
from nettop.decode.packets.decoder import PacketDecoder
from nettop.kinds import StreamKind
from nettop.model.packets.lines import JsonWriter, LineWriter
from tests.profiles import examples

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IP4 = IP(src="10.0.3.7", dst="200.200.200.1")
HEADERS = bytes(ETHER / IP4)[:34]
KEYS = ["kind", "file", "number", "ts_ns", "interface", "linktype", "caplen", "len", "direction", "vlan", "proto",
        "src", "sport", "dst", "dport", "info", "comment"]  # fmt: skip


def batch_of(*frames: bytes | Packet, direction: int = 255, comment: dict[int, str] | None = None) -> Batch:
    records = [bytes(frame) for frame in frames]
    caplen = np.array([len(record) for record in records], np.uint32)
    off = np.concatenate(([0], np.cumsum(caplen)))[:-1].astype(np.uint32)
    way = np.full(len(records), direction, np.uint8)
    ts_ns = 1_700_000_000_123_456_789 + np.arange(len(records), dtype=np.int64)
    return Batch(0, 0, b"".join(records), off, caplen, ts_ns, PacketMeta(caplen, way, comment=comment or {}))


def stream(name: str = "", linktype: int = 1, file: str = "a.pcap") -> Stream:
    return Stream(0, StreamKind.PACKETS, name, linktype=linktype, file=file)


def text(*frames: bytes | Packet, direction: int = 255, **of: Any) -> list[str]:
    source, batch = stream(**of), batch_of(*frames, direction=direction)
    return LineWriter().lines({0: source}, batch, PacketDecoder(source.linktype)(batch).cols)


def said(frame: bytes | Packet, **of: Any) -> str:
    """The line of one packet."""
    return text(frame, **of)[0]


def objects(*frames: bytes | Packet, comment: dict[int, str] | None = None, **of: Any) -> list[dict[str, Any]]:
    source, batch = stream(**of), batch_of(*frames, direction=4, comment=comment)
    cols = PacketDecoder(source.linktype)(batch).cols
    lines = JsonWriter().lines({0: source}, batch, cols)
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (
            ETHER / IP4 / TCP(sport=51830, dport=443, flags="S", seq=5, window=64240),
            "IP 10.0.3.7.51830 > 200.200.200.1.443: TCP [SYN] Seq=0 Len=0 Win=64240",
        ),
        (
            ETHER / IP4 / TCP(sport=1, dport=2, flags="PA", seq=5, ack=6, window=7) / Raw(b"xy"),
            "IP 10.0.3.7.1 > 200.200.200.1.2: TCP [PSH, ACK] Seq=1 Ack=1 Len=2 Win=7",
        ),
        (ETHER / IP4 / UDP(sport=3, dport=4) / Raw(b"x"), "IP 10.0.3.7.3 > 200.200.200.1.4: UDP length 1"),
        (
            ETHER / IP4 / ICMP(type=8, id=7, seq=2),
            "IP 10.0.3.7 > 200.200.200.1: ICMP echo request, id 7, seq 2, length 8",
        ),
        (ETHER / IP4 / ICMP(type=3, code=1), "IP 10.0.3.7 > 200.200.200.1: ICMP host unreachable, length 8"),
        (
            ETHER / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=1, seq=2),
            "IP6 fd00::1 > fd00::2: ICMPv6 echo request, id 1, seq 2, length 8",
        ),
        (
            ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2),
            "IP6 fd00::1.1 > fd00::2.2: UDP length 0",
        ),
        (
            ETHER / ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.2"),
            "10.0.0.1 > 10.0.0.2: ARP Request who-has 10.0.0.2 tell 10.0.0.1, length 28",
        ),
        (
            ETHER / ARP(op=2, psrc="10.0.0.1", pdst="10.0.0.2", hwsrc="02:00:00:00:00:09"),
            "10.0.0.1 > 10.0.0.2: ARP Reply 10.0.0.1 is-at 02:00:00:00:00:09, length 28",
        ),
        (
            ETHER / Dot1Q(vlan=7) / IP4 / UDP(sport=1, dport=2),
            "vlan 7, IP 10.0.3.7.1 > 200.200.200.1.2: UDP length 0",
        ),
        (ETHER / IP4 / GRE(key_present=1, key=5), "IP 10.0.3.7 > 200.200.200.1: GRE key 0x5, length 8"),
        (
            ETHER / IP(src="1.1.1.1", dst="2.2.2.2", frag=10, id=9, proto=17) / Raw(b"x" * 8),
            "IP 1.1.1.1 > 2.2.2.2: UDP fragment at 80, the last, id 9, length 8",
        ),
        (
            ETHER / IP(src="1.1.1.1", dst="2.2.2.2", flags="MF", id=9) / UDP(sport=1, dport=2) / Raw(b"x" * 8),
            "IP 1.1.1.1.1 > 2.2.2.2.2: UDP length 8 (first fragment, id 9)",
        ),
        (
            Dot3(src="02:00:00:00:00:01", dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42) / Raw(bytes(35)),
            "02:00:00:00:00:01 > 01:80:c2:00:00:00: STP dsap 0x42 ssap 0x42, length 38",
        ),
        (
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B5) / Raw(bytes(10)),
            "02:00:00:00:00:01 > 02:00:00:00:00:02: 0x88b5 ethertype 0x88b5, length 10",
        ),
        (bytes(ETHER / IP4)[:20], "02:00:00:00:00:01 > 02:00:00:00:00:02: IPv4 header cut off or wrong, length 20"),
        (
            bytes(ETHER / IP4 / TCP())[:40],
            "IP 10.0.3.7.20 > 200.200.200.1.80: TCP header cut off, length 20",
        ),
        (b"", "- > -: – link type ethernet, length 0"),
    ],
)
def test_each_kind_of_packet_has_its_line(packet: Packet, line: str) -> None:
    assert said(packet) == line


def test_a_link_type_that_is_not_known_still_has_a_line() -> None:
    assert said(b"abc", linktype=147) == "- > -: – link type 147, length 3"


def test_interface_and_direction_stand_before_the_protocol() -> None:
    assert said(ETHER / IP4 / UDP(sport=1, dport=2), name="eth0", direction=4).startswith("eth0 out IP 10.0.3.7.1 >")


def test_a_hostile_interface_name_does_not_reach_the_terminal() -> None:
    assert "\x1b" not in said(ETHER / IP4 / UDP(), name="\x1b[2Jeth0")


def test_a_mixed_batch_keeps_its_order() -> None:
    frames = [ETHER / IP4 / UDP(sport=1), ETHER / ARP(), ETHER / IP4 / TCP(flags="S"), b"x", ETHER / IP4 / UDP(sport=2)]
    words = ("UDP", "who-has", "[SYN]", "link type", "UDP")
    assert all(word in line for word, line in zip(words, text(*frames), strict=True))


def test_json_has_the_keys_of_the_contract_kind_first() -> None:
    row = objects(ETHER / Dot1Q(vlan=7) / IP4 / TCP(sport=1, dport=2, flags="S"), name="eth0", comment={0: 'a "b"'})[0]
    assert next(iter(row)) == "kind" and set(KEYS) <= set(row)
    assert {key: row[key] for key in KEYS if key not in ("info", "ts_ns")} == {
        "kind": "packet", "file": "a.pcap", "number": 1, "interface": "eth0", "linktype": 1, "caplen": 58, "len": 58,
        "direction": "out", "vlan": 7, "proto": "tcp", "src": "10.0.3.7", "sport": 1, "dst": "200.200.200.1",
        "dport": 2, "comment": 'a "b"',
    }  # fmt: skip
    assert row["ts_ns"] == 1_700_000_000_123_456_789


def test_absent_values_are_null() -> None:
    icmp, llc, nothing = objects(ETHER / IP4 / ICMP(), Dot3() / LLC() / Raw(bytes(40)), b"")
    assert (icmp["sport"], icmp["dport"], icmp["vlan"], icmp["interface"], icmp["comment"]) == (None,) * 5
    assert (icmp["proto"], llc["proto"], nothing["proto"]) == ("icmp", "llc", None)
    assert (nothing["src"], nothing["dst"]) == (None, None)


@pytest.mark.parametrize("name", ['quote".pcap', "per%cent%s.pcap", "new\nline", "\x1b[2J", "ü"])
def test_any_file_name_gives_json(name: str) -> None:
    assert objects(ETHER / IP4 / UDP(), file=name)[0]["file"] == name


TLS_OR_DNS = st.sampled_from(
    [b"\x16\x03\x03\0\x20\x01\0\0", b"\x14\x03\x03", b"GET ", b"\0\x20\0\0\x81\x80\0\1\0\1\0\0\0\0"]
)


@settings(max_examples=examples(150))
@given(
    st.sampled_from([(TCP, 53), (TCP, 443), (UDP, 53), (UDP, 5353), (UDP, 67), (UDP, 123), (UDP, 4789)]),
    st.builds(bytes.__add__, TLS_OR_DNS | st.just(b""), st.binary(max_size=300)),
    st.integers(0, 400),
)
def test_any_payload_gives_one_printable_line(where: tuple[type[Packet], int], payload: bytes, snaplen: int) -> None:
    frame = bytes(ETHER / IP4 / where[0](sport=1, dport=where[1]) / Raw(payload))
    icmp = bytes(ETHER / IP4 / ICMP(type=3, code=3) / Raw(payload[: snaplen or 1]))
    six = bytes(ETHER / IPv6() / ICMPv6DestUnreach() / Raw(payload))
    tunnels = [bytes(ETHER / IP(proto=proto) / Raw(payload)) for proto in (4, 41, 47)]
    tunnels += [bytes(Ether(type=kind) / Raw(payload)) for kind in (0x8847, 0x8864)]
    assert all(line.isprintable() for line in text(frame, frame[:snaplen], icmp, six, *tunnels))


@settings(max_examples=examples(150))
@given(
    st.sampled_from((0, 1, 101, 113, 276, 147)),
    st.lists(st.binary(max_size=90) | st.binary(max_size=70).map(lambda tail: HEADERS + tail), max_size=5),
    st.dictionaries(st.integers(0, 4), st.text(max_size=10), max_size=2),
)
def test_any_bytes_give_one_printable_line_and_one_object(
    linktype: int, frames: list[bytes], notes: dict[int, str]
) -> None:
    lines = text(*frames, linktype=linktype)
    assert len(lines) == len(frames)
    assert all(line.isprintable() for line in lines)
    comment = {row: note for row, note in notes.items() if row < len(frames)}
    rows = objects(*frames, linktype=linktype, comment=comment)
    assert [row["comment"] for row in rows] == [comment.get(at) for at in range(len(frames))]
