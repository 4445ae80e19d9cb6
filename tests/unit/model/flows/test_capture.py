"""The capture filter of one flow, compiled by libpcap and run on packets made by scapy."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, Raw

from nettop.broker.capture_filter import libpcap
from nettop.columns import HAVE_OPORTS, HAVE_ORIG, HAVE_REPLY, HAVE_RPORTS, Strings
from nettop.model.flows.capture import flow_capture
from nettop.model.flows.cells import RowView
from nettop.text.flow import NAT_SNAT
from tests.unit.model.flows.flow_rows import ip

LAN, WAN, SERVER, OTHER = "192.168.1.2", "100.100.100.1", "200.200.200.1", "9.9.9.9"
ALL = HAVE_ORIG | HAVE_REPLY | HAVE_OPORTS | HAVE_RPORTS
SIX, SIX_SERVER = "fd00::1", "2001:db8::ffff:2"
# Told, so that scapy asks nobody on the host's own network for them.
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def row(proto: int = 17, have: int = ALL, **given: Any) -> RowView:
    """192.168.1.2:5000 → 200.200.200.1:7000, seen as 100.100.100.1:6000 behind SNAT."""
    data = {"family": 2, "proto": proto, "osrc_lo": ip(LAN), "odst_lo": ip(SERVER), "osport": 5000, "odport": 7000}
    data |= {"rsrc_lo": ip(SERVER), "rdst_lo": ip(WAN), "rsport": 7000, "rdport": 6000, "nat": NAT_SNAT}
    return RowView(data | given, have, Strings(), lambda code: "")


def row6(proto: int = 17, sport: int = 5000, dport: int = 7000, rsport: int = 7000, rdport: int = 5000) -> RowView:
    src, dst = (0xFD00 << 48, 1), (0x20010DB8 << 32, 0xFFFF0002)
    halves = {"osrc": src, "odst": dst, "rsrc": dst, "rdst": src}
    data = {
        f"{end}_{half}": value for end, pair in halves.items() for half, value in zip(("hi", "lo"), pair, strict=True)
    }
    ports = {"osport": sport, "odport": dport, "rsport": rsport, "rdport": rdport}
    return RowView({"family": 10, "proto": proto, "nat": 0, **data, **ports}, ALL, Strings(), lambda code: "")


class _Library:
    """libpcap's own interpreter: bpf_filter of pcap/bpf.h."""

    def __init__(self, expression: str) -> None:
        self._program = libpcap.compile_program(1, expression, 262_144)
        self._run = ctypes.CDLL("libpcap.so.0.8").bpf_filter
        self._run.restype = ctypes.c_uint

    def takes(self, packet: Packet) -> bool:
        raw = bytes(packet)
        length = ctypes.c_uint(len(raw))
        return bool(self._run(ctypes.create_string_buffer(self._program), raw, length, length))


def udp(src: str, sport: int, dst: str, dport: int, size: int = 10) -> Packet:
    return ETHER / IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(bytes(size))


def error(about: Packet, kind: int = 3, by: str = OTHER) -> Packet:
    quoted = bytes(about[IP])
    return ETHER / IP(src=by, dst=about[IP].src) / ICMP(type=kind, code=1) / Raw(quoted[: 20 + 8])


MINE = [
    udp(LAN, 5000, SERVER, 7000),
    udp(SERVER, 7000, LAN, 5000),
    udp(WAN, 6000, SERVER, 7000),
    udp(SERVER, 7000, WAN, 6000),
]
OTHERS = [
    udp(LAN, 5001, SERVER, 7000),
    udp(LAN, 5000, SERVER, 7001),
    udp(LAN, 7000, SERVER, 5000),
    udp(WAN, 5000, SERVER, 7000),
    udp(LAN, 6000, SERVER, 7000),
    udp(OTHER, 5000, SERVER, 7000),
    ETHER / IP(src=LAN, dst=SERVER) / TCP(sport=5000, dport=7000),
    ETHER / IP(src=LAN, dst=SERVER) / ICMP(type=8, id=5000),
]


def test_a_flow_is_taken_both_ways_on_both_sides_of_its_nat_and_no_other() -> None:
    filter_ = _Library(flow_capture(row()).expression)
    assert [filter_.takes(packet) for packet in MINE] == [True] * 4
    assert [filter_.takes(packet) for packet in OTHERS] == [False] * len(OTHERS)


def test_every_fragment_is_taken_and_of_others_only_those_without_ports() -> None:
    filter_ = _Library(flow_capture(row()).expression)
    for packet in MINE:
        whole = packet[IP].src, packet[UDP].sport, packet[IP].dst, packet[UDP].dport
        assert all(filter_.takes(part) for part in fragment(udp(*whole, size=4000), 1000))
    assert [filter_.takes(part) for part in fragment(udp(LAN, 5001, SERVER, 7000, 2500), 1000)] == [False, True, True]
    assert not any(filter_.takes(part) for part in fragment(udp(LAN, 5000, OTHER, 7000, 2500), 1000))


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_icmp_errors_about_it_are_taken_whoever_sends_them(kind: int) -> None:
    filter_ = _Library(flow_capture(row()).expression)
    assert all(filter_.takes(error(packet, kind)) for packet in MINE)
    assert not any(filter_.takes(error(packet, kind)) for packet in OTHERS)


def test_an_error_about_a_packet_with_options_or_about_a_fragment_is_taken_by_its_hosts() -> None:
    filter_ = _Library(flow_capture(row()).expression)
    later = fragment(udp(LAN, 5000, SERVER, 7000, 2500), 1000)[1]
    assert filter_.takes(error(later))
    quoted = IPerror(src=LAN, dst=SERVER, proto=17, options=[]) / UDPerror(sport=5000, dport=7000)
    assert filter_.takes(ETHER / IP(dst=LAN) / ICMP(type=3) / quoted)


def test_a_ping_is_told_by_its_id() -> None:
    ping = row(1, osport=77, odport=8 << 8, rsport=77, rdport=0, rsrc_lo=ip(SERVER), rdst_lo=ip(WAN))
    filter_ = _Library(flow_capture(ping).expression)
    request, reply = ICMP(type=8, id=77), ICMP(type=0, id=77)
    assert filter_.takes(ETHER / IP(src=LAN, dst=SERVER) / request)
    assert filter_.takes(ETHER / IP(src=SERVER, dst=WAN) / reply)
    assert filter_.takes(error(ETHER / IP(src=LAN, dst=SERVER) / request, 11))
    assert not filter_.takes(ETHER / IP(src=LAN, dst=SERVER) / ICMP(type=8, id=78))
    assert not filter_.takes(error(ETHER / IP(src=LAN, dst=SERVER) / ICMP(type=8, id=78), 11))
    assert not filter_.takes(ETHER / IP(src=SERVER, dst=LAN) / request)


def test_what_libpcap_sees_no_ports_of_is_told_by_its_hosts() -> None:
    found = flow_capture(row(47))
    filter_ = _Library(found.expression)
    assert filter_.takes(ETHER / IP(src=WAN, dst=SERVER) / GRE())
    assert not filter_.takes(udp(WAN, 6000, SERVER, 7000))
    assert "gre of these hosts, of every flow" in found.notes


def six(src: str, sport: int, dst: str, dport: int) -> Packet:
    return ETHER / IPv6(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(bytes(20))


def six_fragments(sport: int, dport: int) -> list[Packet]:
    header = struct.pack("!HHHH", sport, dport, 2000, 0)
    first = IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=9) / Raw(header + bytes(1000))
    second = IPv6ExtHdrFragment(nh=17, offset=126, m=0, id=9) / Raw(bytes(992))
    return [ETHER / IPv6(src=SIX, dst=SIX_SERVER) / part for part in (first, second)]


def test_ipv6_with_its_fragments_and_errors() -> None:
    filter_ = _Library(flow_capture(row6()).expression)
    there, back, other = (
        six(SIX, 5000, SIX_SERVER, 7000),
        six(SIX_SERVER, 7000, SIX, 5000),
        six(SIX, 5001, SIX_SERVER, 7000),
    )
    assert [filter_.takes(packet) for packet in (there, back, other)] == [True, True, False]
    assert [filter_.takes(part) for part in six_fragments(5000, 7000)] == [True, True]
    assert [filter_.takes(part) for part in six_fragments(5001, 7000)] == [False, True]
    for packet, taken in ((there, True), (back, True), (other, False), (six_fragments(5000, 7000)[1], True)):
        quoting = ETHER / IPv6(src="fe80::1", dst=SIX) / ICMPv6PacketTooBig() / Raw(bytes(packet[IPv6])[:100])
        assert filter_.takes(quoting) == taken


def test_a_ping_of_ipv6() -> None:
    filter_ = _Library(flow_capture(row6(58, 77, 128 << 8, 77, 129 << 8)).expression)
    assert filter_.takes(ETHER / IPv6(src=SIX, dst=SIX_SERVER) / ICMPv6EchoRequest(id=77))
    assert not filter_.takes(ETHER / IPv6(src=SIX, dst=SIX_SERVER) / ICMPv6EchoRequest(id=78))


def test_without_nat_there_is_one_tuple() -> None:
    same = flow_capture(row(rdst_lo=ip(LAN), rdport=5000, nat=0))
    assert same.expression.count("udp and") == 1
    assert flow_capture(row()).expression.count("udp and") == 2


class Routes:
    def __init__(self, near: str | None, far: str | None) -> None:
        self._found = near, far

    def devices(self, row: RowView) -> tuple[str | None, str | None]:
        return self._found


@pytest.mark.parametrize(
    ("near", "far", "devices"),
    [
        ("lan0", "wan0", (("lan0", "before SNAT"), ("wan0", "after SNAT"))),
        ("local", "wan0", (("wan0", "after SNAT"),)),
        ("br0", "br0", (("br0", "both sides of the SNAT"),)),
        (None, None, ()),
        ("–", "wan0", (("wan0", "after SNAT"),)),
    ],
)
def test_each_device_is_said_to_show_its_side_of_the_nat(
    near: str | None, far: str | None, devices: tuple[tuple[str, str], ...]
) -> None:
    assert flow_capture(row(), Routes(near, far)).devices == devices


def test_words_say_what_must_be_known() -> None:
    words = flow_capture(row(zone=2), Routes("lan0", "wan0")).notes
    assert words.startswith(
        "192.168.1.2:5000 ⇄ 200.200.200.1:7000 before SNAT, 100.100.100.1:6000 ⇄ 200.200.200.1:7000 after it; "
    )
    assert "zone 2 is not on the wire" in words
    assert "devices are not known" in flow_capture(row()).notes
    assert "reply tuple is not known" in flow_capture(row(have=HAVE_ORIG | HAVE_OPORTS)).notes
