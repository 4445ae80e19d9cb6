"""What tcpdump and tshark say of a mixed capture is what nettop says: rows, selections, addresses, ports, lengths."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, GRE, LLC, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from nettop.headless import read
from tests.interop.packet_files import write_pcap
from tests.kernel.commands import TCPDUMP

pytestmark = pytest.mark.interop

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
A4, B4 = "10.0.3.7", "200.200.200.1"
A6, B6 = "fd00::7", "fd00:1::1"


def v4(**more: Any) -> Packet:
    return ETHER / IP(src=A4, dst=B4, **more)


def v6(**more: Any) -> Packet:
    return ETHER / IPv6(src=A6, dst=B6, **more)


def mixed() -> list[bytes]:
    """Frames of many kinds; tcpdump and nettop understand all of these alike."""
    tcp = TCP(sport=51822, dport=443, flags="S", seq=7, options=[("MSS", 1460), ("WScale", 7)])
    made: list[Packet] = [
        v4() / tcp,
        ETHER / IP(src=B4, dst=A4) / TCP(sport=443, dport=51822, flags="SA", seq=9, ack=8),
        v4() / TCP(sport=51822, dport=443, flags="PA", seq=8, ack=10) / Raw(b"x" * 700),
        v4() / UDP(sport=40112, dport=53) / DNS(rd=1, qd=DNSQR(qname="example.net")),
        v4() / UDP(sport=123, dport=123) / Raw(b"\x23" + bytes(47)),
        v4(options=[b"\x94\x04\x00\x00"]) / UDP(sport=5555, dport=5556) / Raw(b"opt"),
        v4() / ICMP(type=8, id=77, seq=1) / Raw(b"ping"),
        ETHER / IP(src=B4, dst=A4) / ICMP(type=3, code=3) / IP(src=A4, dst=B4) / UDP(sport=1, dport=2),
        v4() / SCTP(sport=36412, dport=36413) / SCTPChunkInit(),
        v4() / GRE(key_present=1, key=5) / IP(src="1.1.1.1", dst="2.2.2.2") / UDP(sport=9, dport=9),
        v4(proto=50) / Raw(struct.pack(">II", 0xBEEF, 1) + bytes(32)),
        v4() / UDP(sport=5000, dport=4789) / VXLAN(vni=42, flags=8) / ETHER / IP(dst="9.9.9.9") / UDP(sport=1, dport=2),
        v4(proto=89) / Raw(bytes(24)),
        v6() / TCP(sport=51822, dport=443, flags="S"),
        v6() / UDP(sport=40112, dport=53) / Raw(b"no dns"),
        v6() / ICMPv6EchoRequest(id=5, seq=6),
        v6() / ICMPv6ND_NS(tgt=B6),
        ETHER / ARP(op=1, psrc=A4, pdst="10.0.3.1"),
        ETHER / ARP(op=2, psrc="10.0.3.1", pdst=A4, hwsrc="02:00:00:00:00:09"),
        Dot3(src="02:00:00:00:00:01", dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
        Ether(src="02:00:00:00:00:01", dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(b"\x02\x07\x04" + bytes(20)),
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B5) / Raw(bytes(50)),
    ]
    made += fragment(v4(id=99) / UDP(sport=7000, dport=7001) / Raw(b"f" * 3000), 1000)
    return [bytes(packet) for packet in made]


def beyond() -> list[bytes]:
    """Frames where nettop looks further than tcpdump: behind VLAN tags and IPv6 extension headers."""
    made: list[Packet] = [
        ETHER / Dot1Q(vlan=7) / IP(src=A4, dst=B4) / TCP(sport=1, dport=443),
        ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=7) / IP(src=A4, dst=B4) / UDP(sport=53, dport=5),
        v6() / IPv6ExtHdrHopByHop() / UDP(sport=53, dport=54),
        v6() / IPv6ExtHdrRouting(addresses=["fd00::9"]) / IPv6ExtHdrDestOpt() / TCP(sport=1, dport=443),
        v6() / IPv6ExtHdrFragment(m=1, id=4, nh=17) / Raw(bytes(UDP(sport=53, dport=54) / Raw(b"x" * 64))),
        v6() / IPv6ExtHdrFragment(offset=9, id=4, nh=17) / Raw(b"y" * 64),
    ]
    return [bytes(packet) for packet in made]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("mixed") / "mixed.pcap", mixed())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("all") / "all.pcap", mixed() + beyond())


def rows(path: Path, expression: str = "") -> list[dict[str, Any]]:
    out = io.BytesIO()
    assert (
        read.read_files(read.open_files([str(path)]), read.parse(expression, "packet"), read.PacketPrinter(out, True))
        == 0
    )
    return [json.loads(line) for line in out.getvalue().splitlines()]


def tcpdump_numbers(path: Path, expression: str) -> list[int]:
    """The numbers of the frames tcpdump selects: their seconds count from 1,700,000,000."""
    command = [*TCPDUMP, "-r", str(path), "-w", "-", *expression.split()]
    data = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    return [number + 1 for number in _pcap_seconds(data)]


def _pcap_seconds(data: bytes) -> Iterator[int]:
    at = 24
    while at < len(data):
        seconds, _, caplen, _ = struct.unpack_from("<IIII", data, at)
        yield seconds - 1_700_000_000
        at += 16 + caplen


def tcpdump_lines(path: Path) -> list[str]:
    """tcpdump's rows; a packet in a packet, or bytes it has no words for, stand on further lines of theirs."""
    command = [*TCPDUMP, "-nn", "-r", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=30)
    return [line for line in done.stdout.splitlines() if re.match(r"\d\d:\d\d:\d\d\.", line)]


EXPRESSIONS = [
    "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp",
    "host 10.0.3.7", "src host 10.0.3.7", "dst host 10.0.3.7", "host 10.0.3.1", "host fd00::7", "src host fd00::7",
    "net 10.0.0.0/8", "src net 200.200.0.0/16", "net fd00::/16", "dst net 10.0.3.0/24", "net 10.0.3",
    "port 443", "src port 443", "dst port 53", "tcp port 443", "udp port 53", "portrange 40000-60000",
    "src portrange 1-200", "port 4789", "udp and port 123", "port 7000", "port 36412",
    "not ip", "not tcp and not udp", "ip and not icmp", "tcp or udp and port 53", "tcp or arp", "not port 443",
    "not (tcp or udp)", "less 60", "greater 500", "greater 1000 and udp", "less 42 or icmp6",
    "ip6 and tcp", "ip6 and port 53", "tcp and src port 443 and dst host 10.0.3.7", "ip proto 89", "proto 50",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_filter_selects_what_tcpdump_selects(capture: Path, expression: str) -> None:
    theirs = tcpdump_numbers(capture, expression.replace("proto 50", "ip proto 50").replace("ip ip", "ip"))
    assert [row["number"] for row in rows(capture, expression)] == theirs


@pytest.mark.parametrize("expression", ["tcp", "udp", "port 443", "port 53", "host 10.0.3.7", "ip", "ip6"])
def test_behind_tags_and_extension_headers_nettop_selects_more(everything: Path, expression: str) -> None:
    ours = {row["number"] for row in rows(everything, expression)}
    theirs = set(tcpdump_numbers(everything, expression))
    tagged = set(tcpdump_numbers(everything, f"vlan and {expression} or (vlan and vlan and {expression})"))
    assert theirs | tagged <= ours
    assert all(number > len(mixed()) for number in ours - theirs)


def test_every_packet_is_one_row_as_in_tcpdump(everything: Path) -> None:
    theirs = tcpdump_lines(everything)
    out = io.BytesIO()
    read.read_files(read.open_files([str(everything)]), None, read.PacketPrinter(out, False))
    lines = out.getvalue().decode().splitlines()
    assert len(lines) == len(theirs) == len(mixed() + beyond())
    assert len(rows(everything)) == len(lines)


def test_times_and_ends_stand_as_tcpdump_writes_them(capture: Path) -> None:
    theirs = tcpdump_lines(capture)
    out = io.BytesIO()
    read.read_files(read.open_files([str(capture)]), None, read.PacketPrinter(out, False))
    both = list(zip(out.getvalue().decode().splitlines(), theirs, strict=True))
    assert all(ours.split(" ")[0] == other.split(" ")[0] for ours, other in both)
    tcp = [(ours, other) for ours, other in both if " > " in other and "Flags [" in other]
    assert len(tcp) == 4
    for ours, other in tcp:
        assert ours.split(": TCP [")[0] == other.split(": Flags [")[0]
    udp = [(ours, other) for ours, other in both if "UDP, length" in other and "GRE" not in other]
    plain = [(ours, other.replace("UDP, length", "UDP length")) for ours, other in udp if ": UDP" in ours]
    assert plain and all(ours == other for ours, other in plain)


def tshark(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=f", "-E", "separator=\t"]
    command += ["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]  # each frame by itself, as we see it
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_addresses_ports_and_tags_are_what_tshark_dissects(everything: Path) -> None:
    theirs = tshark(
        everything, "frame.number", "frame.len", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "arp.src.proto_ipv4",
        "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "sctp.srcport", "ieee8021ad.id",
        "vlan.id", "frame.protocols",
    )  # fmt: skip
    for row, other in zip(rows(everything), theirs, strict=True):
        number, length, src4, dst4, src6, dst6, arp, tcps, tcpd, udps, udpd, sctp, outer, vlan, layers = other
        assert (row["number"], row["len"]) == (int(number), int(length))
        if row["proto"] not in ("lldp", "llc", "0x88b5"):
            assert row["src"] == (src4 or src6 or arp), layers
        assert row["vlan"] == (int(outer or vlan) if outer or vlan else None)
        if src4 or src6:
            assert row["dst"] == (dst4 or dst6)
        if row["sport"] is None:
            continue
        if "icmp" not in layers:
            assert str(row["sport"]) == (tcps or udps or sctp), layers
        if tcpd or udpd:
            assert str(row["dport"]) == (tcpd or udpd)


def test_payload_lengths_are_what_tshark_dissects(capture: Path) -> None:
    theirs = tshark(capture, "tcp.len", "udp.length", "ip.proto")
    compared = 0
    for row, (tcp, udp, proto) in zip(rows(capture), theirs, strict=True):
        if row["proto"] == "tcp" and tcp:
            assert f" Len={tcp} " in row["info"]
            compared += 1
        elif row["protocol"] == "UDP" and udp and proto in ("", "17") and "fragment" not in row["info"]:
            assert row["info"] == f"length {int(udp) - 8}"
            compared += 1
    assert compared == 6  # four segments, two datagrams of no known application


@pytest.mark.parametrize("snaplen", [14, 20, 34, 36, 48, 60])
def test_a_short_snaplen_still_gives_a_row_a_packet_and_tcpdumps_selections(tmp_path: Path, snaplen: int) -> None:
    cut = write_pcap(tmp_path / "cut.pcap", mixed(), snaplen)
    assert len(rows(cut)) == len(mixed())
    for expression in ("ip", "arp", "ip6"):
        assert [row["number"] for row in rows(cut, expression)] == tcpdump_numbers(cut, expression)


def test_an_export_is_what_tcpdump_would_have_written(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "udp.pcapng"
    command = [sys.executable, "-m", "nettop", "read", str(capture), "--filter", "udp", "-w", str(out)]
    subprocess.run(command, check=True, timeout=60)
    exported = tshark(out, "frame.time_epoch", "frame.len", "frame.cap_len")
    wanted = tcpdump_numbers(capture, "udp")
    assert [int(float(time)) - 1_700_000_000 + 1 for time, _, _ in exported] == wanted
    assert [row["len"] for row in rows(out)] == [len(mixed()[number - 1]) for number in wanted]
