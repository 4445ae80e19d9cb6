"""The words for packets: what tshark calls them, we call them, and the list, `read` and JSON use the same words."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, LLC, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from nettop.headless import read
from nettop.model.packets.dissection import dissect
from tests.interop.packet_files import listed, write_pcap

pytestmark = pytest.mark.interop

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"
HERE = Ether(src=A, dst=B)
P4, BACK = IP(src="10.0.0.1", dst="10.0.0.2"), IP(src="10.0.0.2", dst="10.0.0.1")
P6 = IPv6(src="fd00::1", dst="fd00::2")
QUOTED = IP(src="10.0.0.2", dst="10.9.0.7")
CCS, DATA = b"\x14\x03\x03\x00\x01\x01", b"\x17\x03\x03\x00\x05hello"


def handshake(kind: int, body: bytes = bytes(38)) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def tls(*messages: bytes) -> bytes:
    body = b"".join(messages)
    return b"\x16\x03\x03" + struct.pack(">H", len(body)) + body


def client_hello(name: bytes) -> bytes:
    server_name = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    head = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    return handshake(1, head + struct.pack(">H", len(server_name)) + server_name)


SERVER_HELLO = handshake(2, b"\x03\x03" + bytes(32) + b"\0\xc0\x2f\0")
QUERY = bytes(DNS(id=7, rd=1, qd=DNSQR(qname="example.net")))
LONG_ANSWER = bytes(
    DNS(
        id=7,
        qr=1,
        qd=DNSQR(qname="example.net", qtype="TXT"),
        an=[DNSRR(rrname="example.net", type="TXT", rdata=b"y" * 200) for _ in range(10)],
    )
)
OVER_TCP = struct.pack(">H", len(LONG_ANSWER)) + LONG_ANSWER


def segment(data: bytes, dport: int, port: int = 1000, seq: int = 1) -> Packet:
    return HERE / P4 / TCP(sport=port, dport=dport, seq=seq, ack=1, flags="PA", window=100) / Raw(data)


def datagram(dport: int, data: Packet | bytes, port: int = 1) -> Packet:
    return HERE / P4 / UDP(sport=port, dport=dport) / (data if isinstance(data, Packet) else Raw(data))


# The packet, PROTO as tshark has it (ours where it is another), and INFO.
CASES: list[tuple[str, Packet, str, str]] = [
    (
        "RARP request",
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff", type=0x8035) / ARP(op=3, hwsrc=A, hwdst=A),
        "RARP",
        f"Reverse Request who-is {A} tell {A}, length 28",
    ),
    (
        "RARP reply",
        Ether(src=B, dst=A, type=0x8035) / ARP(op=4, hwsrc=B, hwdst=A, pdst="10.0.0.1"),
        "RARP",
        f"Reverse Reply {A} at 10.0.0.1, length 28",
    ),
    ("nothing on BOOTP's port", datagram(67, b"", 68), "UDP", "length 0"),
    ("BOOTP", datagram(67, BOOTP(op=1), 68), "BOOTP", "Boot Request"),
    ("BOOTP reply", datagram(68, BOOTP(op=2), 67), "BOOTP", "Boot Reply"),
    ("DHCP", datagram(67, BOOTP(op=1) / DHCP(options=[("message-type", "discover"), "end"]), 68), "DHCP", "Discover"),
    ("DNS over TCP", segment(struct.pack(">H", len(QUERY)) + QUERY, 53), "DNS", "query A example.net"),
    (
        "DNS over TCP, continued",
        segment(OVER_TCP[1000:2000], 53, 1001, 1001),
        "TCP",
        "[PSH, ACK] Seq=1 Ack=1 Len=1000 Win=100",
    ),
    (
        "DNS over TCP, its end",
        segment(OVER_TCP[2000:], 53, 1002, 2001),
        "TCP",
        f"[PSH, ACK] Seq=1 Ack=1 Len={len(OVER_TCP) - 2000} Win=100",
    ),
    (
        "RTSP",
        segment(b"OPTIONS rtsp://10.0.0.2/a RTSP/1.0\r\nCSeq: 1\r\n\r\n", 554),
        "RTSP",
        "OPTIONS rtsp://10.0.0.2/a RTSP/1.0",
    ),
    ("RTSP reply", segment(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", 1003, 554), "RTSP", "RTSP/1.0 200 OK"),
    ("SIP", segment(b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n", 5060, 1004), "SIP", "OPTIONS sip:a@b SIP/2.0"),
    ("HTTP OPTIONS", segment(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 80, 1005), "HTTP", "OPTIONS * HTTP/1.1"),
    ("HTTP reply", segment(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1006, 80), "HTTP", "HTTP/1.1 200 OK"),
    ("WebDAV", segment(b"PROPFIND /dav HTTP/1.1\r\nHost: a\r\n\r\n", 80, 1007), "HTTP", "PROPFIND /dav HTTP/1.1"),
    (
        "words in a body",
        segment(b"POST OFFICE is what I do\r\n", 1008, 80),
        "TCP",
        "[PSH, ACK] Seq=1 Ack=1 Len=26 Win=100",
    ),
    ("Client Hello", segment(tls(client_hello(b"a.example")), 443, 1009), "TLS", "Client Hello SNI=a.example"),
    (
        "Client Hello behind Change Cipher Spec",
        segment(CCS + tls(client_hello(b"a.example")), 443, 1010),
        "TLS",
        "Change Cipher Spec, Client Hello SNI=a.example",
    ),
    (
        "a TLS 1.3 server",
        segment(tls(SERVER_HELLO) + CCS + DATA + DATA, 1011, 443),
        "TLS",
        "Server Hello, Change Cipher Spec, Application Data, Application Data",
    ),
    (
        "a TLS 1.2 server",
        segment(tls(SERVER_HELLO, handshake(11), handshake(12), handshake(14, b"")), 1012, 443),
        "TLS",
        "Server Hello, Certificate, Server Key Exchange, Server Hello Done",
    ),
    (
        "a TLS 1.2 client",
        segment(tls(handshake(16)) + CCS + tls(b"\x9a\x01\x02\x03" + bytes(36)), 443, 1013),
        "TLS",
        "Client Key Exchange, Change Cipher Spec, Encrypted Handshake Message",
    ),
    ("TLS, continued", segment(b"\x99\x88" * 100, 443, 1014), "TCP", "[PSH, ACK] Seq=1 Ack=1 Len=200 Win=100"),
    (
        "mDNS answer",
        datagram(
            5353, DNS(qr=1, aa=1, rd=0, qd=[], an=[DNSRR(rrname="_http._tcp.local", type="PTR", rdata="a")]), 5353
        ),
        "MDNS",
        "answer PTR _http._tcp.local, 1 record",
    ),
    (
        "mDNS questions",
        datagram(5353, DNS(rd=0, qd=[DNSQR(qname="a.local"), DNSQR(qname="b.local")]), 5353),
        "MDNS",
        "query A a.local, 2 questions",
    ),
    (
        "DNS update",
        datagram(53, DNS(opcode=5, rd=0, qd=DNSQR(qname="example.net", qtype="SOA"))),
        "DNS",
        "update SOA example.net",
    ),
    (
        "DNS notification",
        datagram(53, DNS(opcode=4, rd=0, qd=DNSQR(qname="example.net", qtype="SOA"))),
        "DNS",
        "notify SOA example.net",
    ),
    ("no DNS", datagram(53, b"this is no DNS message"), "UDP", "length 22"),
    ("no NTP", datagram(123, bytes(60), 123), "UDP", "length 60"),
    ("no VXLAN", datagram(4789, bytes(8)), "UDP", "length 8"),
    (
        "port unreachable",
        HERE / P4 / ICMP(type=3, code=3) / QUOTED / UDP(dport=80),
        "ICMP",
        "port unreachable: 10.9.0.7 udp port 80, length 36",
    ),
    (
        "host unreachable",
        HERE / P4 / ICMP(type=3, code=1) / QUOTED / TCP(dport=443),
        "ICMP",
        "host unreachable: 10.9.0.7 tcp port 443, length 48",
    ),
    (
        "too big",
        HERE / P4 / ICMP(type=3, code=4, nexthopmtu=1400) / QUOTED / UDP(dport=9),
        "ICMP",
        "unreachable, need to fragment: 10.9.0.7 udp port 9, mtu 1400, length 36",
    ),
    (
        "time exceeded",
        HERE / P4 / ICMP(type=11) / QUOTED / ICMP(),
        "ICMP",
        "time exceeded in transit: 10.9.0.7 icmp, length 36",
    ),
    (
        "redirect",
        HERE / P4 / ICMP(type=5, code=1, gw="10.0.0.254") / QUOTED / UDP(dport=53),
        "ICMP",
        "redirect to host: 10.9.0.7 udp port 53, gateway 10.0.0.254, length 36",
    ),
    (
        "port unreachable, IPv6",
        HERE / P6 / ICMPv6DestUnreach(code=4) / IPv6(dst="fd00::9") / UDP(dport=80),
        "ICMPv6",
        "port unreachable: fd00::9 udp port 80, length 56",
    ),
    (
        "too big, IPv6",
        HERE / P6 / ICMPv6PacketTooBig(mtu=1280) / IPv6(dst="fd00::9") / TCP(dport=80),
        "ICMPv6",
        "packet too big: fd00::9 tcp port 80, mtu 1280, length 68",
    ),
    (
        "spanning tree",
        Dot3(src=A, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
        "STP",
        "dsap 0x42 ssap 0x42, length 38",
    ),
]
OURS = {"TLSv1.2": "TLS", "TLSv1": "TLS", "TLSv1.3": "TLS", "SSL": "TCP"}
# tshark goes by the port alone here.
BY_PORT = {"no DNS": "DNS", "no NTP": "NTP", "no VXLAN": "Ethernet"}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("words") / "words.pcap", [bytes(packet) for _, packet, _, _ in CASES])


_BITS = {"True": "1", "False": "0"}


def tshark(path: Path, *fields: str, which: str = "f") -> list[list[str]]:
    """The first ("f") or last ("l") values of these fields, a list for each frame. Since 4.2 a bit is True or False."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", f"occurrence={which}", "-E", "separator=\t"]
    command += [part for field in fields for part in ("-e", field)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    return [[_BITS.get(value, value) for value in line.split("\t")] for line in done.stdout.splitlines()]


def of_read(path: Path, as_json: bool) -> list[str]:
    out = io.BytesIO()
    assert read.read_files(read.open_files([str(path)]), None, read.PacketPrinter(out, as_json)) == 0
    return out.getvalue().decode().splitlines()


def of_list(path: Path, first: int = 0, height: int = 1000) -> list[tuple[str, ...]]:
    """PROTO and INFO of the packet list."""
    return listed(path, ("proto", "info"), "", first, height)


def test_protocols_are_called_as_tshark_calls_them(capture: Path) -> None:
    theirs = [name for (name,) in tshark(capture, "_ws.col.Protocol")]
    for (case, *_), proto, other in zip(CASES, of_list(capture), theirs, strict=True):
        assert proto[0] == OURS.get(other, other) or BY_PORT.get(case) == other, case


def test_the_list_read_and_json_use_the_same_words(capture: Path) -> None:
    wanted = [(proto, info) for _, _, proto, info in CASES]
    assert of_list(capture) == wanted
    objects = [json.loads(line) for line in of_read(capture, True)]
    assert [(one["protocol"], one["info"]) for one in objects] == wanted
    for line, (proto, info) in zip(of_read(capture, False), wanted, strict=True):
        assert line.endswith(f": {proto} {info}")


def test_both_tags_are_named(tmp_path: Path) -> None:
    frame = bytes(HERE / Dot1AD(vlan=100) / Dot1Q(vlan=7) / P4 / UDP())
    path = write_pcap(tmp_path / "qinq.pcap", [frame])
    assert " vlan 100, vlan 7, IP 10.0.0.1" in of_read(path, False)[0]
    row = json.loads(of_read(path, True)[0])
    assert (row["vlan"], row["inner_vlan"]) == (100, 7)


def talk(random_of: random.Random) -> list[Packet]:
    """Segments of a few streams in any order: with or without SYN, scaled windows, repetitions, wraps, ports reused."""
    made: list[Packet] = []
    for port in range(2000, 2012):
        here, there = random_of.randrange(1 << 32), random_of.randrange(1 << 32)
        options = [[("WScale", random_of.randrange(15))], []]
        if random_of.random() < 0.7:
            syn = TCP(sport=port, dport=9, flags="S", seq=here, window=1000, options=random_of.choice(options))
            made.append(HERE / P4 / syn)
            if random_of.random() < 0.8:
                back = TCP(sport=9, dport=port, flags="SA", seq=there, ack=here + 1, window=2000)
                back.options = random_of.choice(options)
                made.append(HERE / BACK / back)
        for _ in range(8):
            mine, other = random_of.randrange(1, 3000), random_of.randrange(1, 3000)
            if random_of.random() < 0.5:
                one = TCP(
                    sport=port, dport=9, flags="A", seq=(here + mine) % (1 << 32), ack=(there + other) % (1 << 32)
                )
                made.append(HERE / P4 / one)
            else:
                one = TCP(
                    sport=9, dport=port, flags="A", seq=(there + other) % (1 << 32), ack=(here + mine) % (1 << 32)
                )
                made.append(HERE / BACK / one)
            one.window = random_of.randrange(65536)
    return made


@pytest.mark.parametrize("seed", range(6))
def test_seq_ack_and_window_are_what_tshark_shows_and_never_negative(tmp_path: Path, seed: int) -> None:
    path = write_pcap(tmp_path / "talk.pcap", [bytes(one) for one in talk(random.Random(seed))])
    fields = tshark(path, "tcp.seq", "tcp.ack", "tcp.window_size", "tcp.flags.ack")
    theirs = [(seq, ack if with_ack == "1" else None, window) for seq, ack, window, with_ack in fields]
    shown = [info for _, info in of_list(path)]
    assert [numbers(info) for info in shown] == theirs
    assert [json.loads(line)["info"] for line in of_read(path, True)] == shown
    assert [one for first in range(len(shown)) for _, one in of_list(path, first, 1)] == shown


def numbers(info: str) -> tuple[str, str | None, str]:
    found = dict(word.split("=") for word in info.split() if "=" in word)
    return found["Seq"], found.get("Ack"), found["Win"]


DISSECTED: list[tuple[Packet, str, str, str]] = [  # packet, tshark's field, our line, its text with tshark's value
    (HERE / P4 / TCP(), "ip.hdr_len", "IPv4/Header length", "{} bytes"),
    (HERE / IP(options=[b"\x94\x04\0\0"]) / UDP(), "ip.hdr_len", "IPv4/Header length", "{} bytes"),
    (HERE / P4 / TCP(options=[("MSS", 1460)]), "tcp.hdr_len", "TCP/Header length", "{} bytes"),
    (HERE / IP(frag=10, flags="MF", proto=17) / Raw(bytes(8)), "ip.frag_offset", "IPv4/Fragment offset", "80 bytes"),
    (
        HERE / P6 / IPv6ExtHdrFragment(offset=9, m=1, nh=17) / Raw(bytes(8)),
        "ipv6.fraghdr.offset",
        "IPv6 fragment/Fragment offset",
        "72 bytes",
    ),
    (
        HERE / P6 / IPv6ExtHdrDestOpt() / UDP(),
        "ipv6.dstopts.len_oct",
        "IPv6 destination options/Header length",
        "{} bytes",
    ),
    (
        HERE / IPv6(nh=51) / AH(nh=6, spi=5, icv=bytes(12), payloadlen=4) / TCP(sport=7),
        "tcp.srcport",
        "TCP/Source port",
        "echo ({})",
    ),
    (HERE / IPv6(tc=3) / UDP(), "ipv6.tclass", "IPv6/Traffic class", "3"),
    (
        HERE / P4 / UDP(sport=53, dport=4444) / DNS(qr=1, tc=1, qd=DNSQR(qname="a")),
        "dns.flags.truncated",
        "DNS/Truncated",
        "{}",
    ),
    (
        HERE / P4 / UDP(sport=53, dport=4444) / DNS(qr=1, ad=1, qd=DNSQR(qname="a")),
        "dns.flags.authenticated",
        "DNS/Authentic data",
        "{}",
    ),
    (
        HERE / P4 / ICMP(type=3, code=4, nexthopmtu=1400) / QUOTED / UDP(dport=9),
        "icmp.mtu",
        "ICMP/MTU of next hop",
        "{}",
    ),
    (Ether(src=A, dst=B, type=0x8035) / ARP(op=3, hwdst=A), "arp.dst.hw_mac", "RARP/Target MAC", "{}"),
]


@pytest.mark.parametrize("case", range(len(DISSECTED)))
def test_the_tree_says_of_a_field_what_tshark_says(tmp_path: Path, case: int) -> None:
    packet, field, line, text = DISSECTED[case]
    [[value]] = tshark(write_pcap(tmp_path / "one.pcap", [bytes(packet)]), field)
    found, layer = {}, ""
    for node in dissect(bytes(packet), 1):
        layer = node.name if node.depth == 0 else layer
        found[f"{layer}/{node.name}" if node.depth else node.name] = node.text
    assert found[line] == text.format(value)


def test_the_lines_of_a_quoted_packet_mark_its_bytes() -> None:
    frame = bytes(HERE / P4 / ICMP(type=3, code=3) / QUOTED / UDP(dport=80))
    marks = {node.name: (node.start, node.end) for node in dissect(frame, 1) if node.depth == 0}
    padded = {node.name: (node.start, node.end) for node in dissect(bytes(HERE / P4 / UDP()) + bytes(18), 1)}
    assert padded["IPv4"] == (14, 34) and padded["UDP"] == (34, 42) and padded["Padding"] == (42, 60)
    assert marks["ICMP"] == (34, 42) and marks["IPv4 in ICMP"] == (42, 62) and marks["UDP in ICMP"] == (62, 70)


@pytest.mark.parametrize(
    ("data", "linktype", "text"),
    [
        (b"abc", 147, "link type 147"),
        (b"abc", 253, "link type netlink"),
        (b"\0" * 20, 101, "link type raw"),
        (b"abc", 1, "cut off, or not as its protocol requires"),
    ],
)
def test_what_is_not_dissected_says_why(data: bytes, linktype: int, text: str) -> None:
    assert [(node.name, node.text) for node in dissect(data, linktype)] == [("not dissected", text)]
    assert dissect(b"", linktype) == []


INNER = IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=1, dport=53)
TUNNELS: list[tuple[Packet, str, str]] = [
    (HERE / P4 / INNER, "IPIP", "10.9.0.1 > 10.9.0.2 udp port 53, length 28"),
    (HERE / P4 / GRE(key_present=1, key=5) / INNER, "GRE", "key 0x5, 10.9.0.1 > 10.9.0.2 udp port 53, length 36"),
    (HERE / P4 / GRE(proto=0x6558) / HERE / INNER, "GRE", "10.9.0.1 > 10.9.0.2 udp port 53, length 46"),
    (HERE / P6 / IPv6(src="fd00::7", dst="fd00::8") / TCP(dport=80), "IPv6",
     "fd00::7 > fd00::8 tcp port 80, length 60"),
    (HERE / P4 / UDP(dport=4789) / VXLAN(vni=42, flags=8) / HERE / INNER, "VXLAN",
     "VNI 42, 10.9.0.1 > 10.9.0.2 udp port 53"),
    (HERE / PPPoE(sessionid=7) / PPP(proto=0x21) / INNER, "PPPoE",
     "ethertype 0x8864, 10.9.0.1 > 10.9.0.2 udp port 53, length 36"),
    (Ether(src=A, dst=B, type=0x8847) / Raw(struct.pack(">II", 16 << 12 | 0xFF, 17 << 12 | 0x1FF)) / INNER, "MPLS",
     "ethertype 0x8847, 10.9.0.1 > 10.9.0.2 udp port 53, length 36"),
    (HERE / P4 / GRE(proto=0x88BE) / Raw(bytes(50)), "GRE", "length 54"),
]  # fmt: skip


def test_the_packet_in_a_tunnel_is_named_as_tshark_sees_it(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "tunnels.pcap", [bytes(packet) for packet, _, _ in TUNNELS])
    assert of_list(path) == [(proto, info) for _, proto, info in TUNNELS]
    fields = ("ip.src", "ipv6.src", "udp.dstport", "tcp.dstport")
    for (_, info), theirs in zip(of_list(path)[:-1], tshark(path, *fields, which="l"), strict=False):
        src4, src6, udp, tcp = theirs
        assert f"{src6 or src4} > " in info and f" port {udp if 'udp' in info else tcp}" in info


def test_flags_are_named_in_tsharks_order(tmp_path: Path) -> None:
    frames = []
    for flags in range(1, 512):
        frame = bytearray(bytes(HERE / P4 / TCP(sport=1000 + flags, dport=9, seq=5, ack=7, flags=flags & 255)))
        frame[46] |= flags >> 8
        frames.append(bytes(frame))
    path = write_pcap(tmp_path / "flags.pcap", frames)
    theirs = [info.split("  ")[0] for (info,) in tshark(path, "_ws.col.Info")]
    for (_, ours), other in zip(of_list(path), theirs, strict=True):
        assert f" {ours.split(' Seq=')[0]} Seq=" in other
