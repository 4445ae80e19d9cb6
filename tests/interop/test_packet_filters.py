"""A display filter of packets selects what tcpdump selects with the same words, in `read` and in the packet list."""

from __future__ import annotations

import io
import json
import struct
import subprocess
from pathlib import Path

import pytest
from scapy.contrib.igmp import IGMP
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, LLC, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from nettop.headless import read
from nettop.model.filter.expression import parse
from tests.interop.packet_files import listed, write_pcap
from tests.kernel.commands import TCPDUMP

pytestmark = pytest.mark.interop

A, B, ALL = "02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"
HERE = Ether(src=A, dst=B)
BACK = Ether(src=B, dst=A)
P4 = IP(src="10.0.0.1", dst="10.0.0.2")


def frames() -> list[bytes]:
    """Untagged frames, for which nettop's words and tcpdump's mean the same."""
    made: list[Packet] = [
        HERE / P4 / TCP(sport=1000, dport=80, flags=flags, seq=5, window=512)
        for flags in ("S", "SA", "A", "FA", "R", "PAU")
    ]
    made += [
        HERE / P4 / TCP(sport=1000, dport=80, flags="PA") / Raw(b"GET / HTTP/1.1\r\n\r\n"),
        HERE / IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x94\x04\x00\x00"]) / TCP(flags="S"),
        HERE / IPv6(src="fd00::1", dst="fd00::2") / TCP(flags="A"),
        BACK / IP(src="10.0.0.2", dst="10.0.0.1", ttl=1) / ICMP(type=8, id=1, seq=1) / Raw(b"x" * 40),
        BACK / IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=0, id=1, seq=1),
        BACK / IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=3, code=3) / P4 / UDP(),
        HERE / P4 / UDP(sport=5, dport=53) / Raw(b"\x12\x34" + bytes(30)),
        Ether(src=A, dst=ALL) / IP(src="10.0.0.1", dst="255.255.255.255") / UDP(sport=68, dport=67) / Raw(bytes(300)),
        Ether(src=A, dst="01:00:5e:00:00:fb") / IP(src="10.0.0.1", dst="224.0.0.251") / UDP(sport=5353, dport=5353),
        Ether(src=A, dst="01:00:5e:00:00:16") / IP(src="10.0.0.1", dst="224.0.0.22") / IGMP(type=22, gaddr="224.0.0.9"),
        Ether(src=A, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_NS(tgt="fe80::2"),
        HERE / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=5),
        Ether(src=A, dst=ALL) / ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.2"),
        Ether(src=A, dst=ALL, type=0x8035) / ARP(op=3, hwsrc=A, hwdst=A, psrc="0.0.0.0", pdst="0.0.0.0"),
        Ether(src=B, dst=A, type=0x8035) / ARP(op=4, hwsrc=B, hwdst=A, psrc="10.0.0.2", pdst="10.0.0.1"),
        Dot3(src=A, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
        Dot3(src=A, dst="01:80:c2:00:00:15") / LLC(dsap=0xFE, ssap=0xFE, ctrl=3) / Raw(bytes(30)),
        Ether(src=A, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(b"\x02\x07\x04" + bytes(40)),
        Ether(src=A, dst="cf:00:00:00:00:00", type=0x9000) / Raw(bytes(46)),
        Ether(src=A, dst=ALL, type=0x8863) / PPPoE(code=9) / Raw(bytes(20)),
        HERE / PPPoE(sessionid=7) / PPP(proto=0x21) / IP(src="10.9.0.1") / UDP(),
        Ether(src=A, dst=B, type=0x8847) / Raw(struct.pack(">I", 16 << 12 | 0x1FF)) / IP(src="10.9.0.1") / UDP(),
        HERE / P4 / SCTP(sport=1, dport=2) / SCTPChunkInit(),
        *fragment(HERE / IP(src="10.0.0.1", dst="10.0.0.2", id=9) / UDP(sport=7, dport=8) / Raw(b"f" * 200), 104),
    ]  # fmt: skip
    return [bytes(one) for one in made]


def tagged() -> list[bytes]:
    made: list[Packet] = [
        HERE / Dot1Q(vlan=7) / P4 / UDP(sport=53, dport=5),
        HERE / Dot1Q(vlan=0) / P4 / TCP(flags="S"),
        HERE / Dot1AD(vlan=100) / Dot1Q(vlan=7) / P4 / TCP(flags="S"),
        HERE / Dot1Q(vlan=7) / Dot1Q(vlan=200) / ARP(),
        HERE / P4 / UDP(),
        Ether(src=A, dst=ALL) / ARP(),
    ]
    return [bytes(one) for one in made]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("plain") / "plain.pcap", frames())


@pytest.fixture(scope="module")
def with_tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("tags") / "tags.pcap", tagged())


def of_tcpdump(path: Path, expression: str) -> list[int]:
    """The numbers of the frames that tcpdump selects: their seconds."""
    done = subprocess.run(
        [*TCPDUMP, "-r", str(path), "-w", "-", expression], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    data, at, found = done.stdout, 24, []
    while at < len(data):
        seconds, _, caplen, _ = struct.unpack_from("<IIII", data, at)
        found.append(seconds - 1_700_000_000 + 1)
        at += 16 + caplen
    return found


def of_read(path: Path, expression: str) -> list[int]:
    out = io.BytesIO()
    printer = read.PacketPrinter(out, True)
    assert read.read_files(read.open_files([str(path)]), parse(expression, "packet"), printer) == 0
    return [json.loads(line)["number"] for line in out.getvalue().splitlines()]


def of_list(path: Path, expression: str) -> list[int]:
    """The numbers that the packet list shows."""
    return [int(number) for (number,) in listed(path, ("number",), expression)]


FILTERS = [
    "rarp", "stp", "not stp", "arp or rarp", "host 10.0.0.2", "rarp host 10.0.0.2", "mpls",
    "mpls 16", "mpls 17", "pppoed", "pppoes", "pppoes 7", "pppoes 8",
    "ether host 02:00:00:00:00:01", "ether src 02:00:00:00:00:01", "ether dst 02:00:00:00:00:01",
    "ether src host 02:00:00:00:00:02", "ether src or dst host 02:00:00:00:00:02", "ether dst ff:ff:ff:ff:ff:ff",
    "ether src 02-00-00-00-00-01 and ip", "ether host 02:00:00:00:00:01 or 02:00:00:00:00:02",
    "ether dst 0200.0000.0001", "not ether src 02:00:00:00:00:01 and icmp", "ether src and dst 02:00:00:00:00:01",
    "ether proto 0x88cc", "ether proto 2048", "ether proto \\ip", "ether proto \\arp", "ether proto \\rarp",
    "ether proto \\stp", "ether proto 0x42", "ether proto \\ip6", "ether proto 0x9000", "ether proto 0xfe",
    "broadcast", "multicast", "ether broadcast", "ether multicast", "ip multicast", "ip6 multicast", "not multicast",
    "broadcast and udp", "multicast and not broadcast", "not broadcast and not multicast", "tcp[13] & 2 != 0",
    "tcp[13]&2!=0", "tcp[13] = 2", "tcp[13] == 18", "tcp[tcpflags] & tcp-syn != 0",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) != 0", "tcp[tcpflags] & (tcp-syn | tcp-ack) == (tcp-syn | tcp-ack)",
    "tcp[tcpflags]&(tcp-syn|tcp-fin)!=0 and not src net 10.9", "(tcp[13] & 2) != 0", "(tcp[13] & 2 != 0)",
    "((tcp[13] & 2) != 0 or icmp[icmptype] = icmp-echo) and ip[8] < 64", "not tcp[13] & 2 != 0",
    "!(tcp[tcpflags] & tcp-rst != 0)", "tcp[tcpflags] == tcp-syn or tcp[tcpflags] == tcp-rst",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", "tcp port 80 and tcp[13] & 16 != 0",
    "icmp[icmptype] = icmp-echo", "icmp[icmptype] == icmp-echoreply or icmp[0] = 3",
    "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply", "icmp[icmpcode] = 3",
    "icmp6[icmp6type] = icmp6-echo", "icmp6[0] = icmp6-neighborsolicit", "ip[6:2] & 0x1fff = 0",
    "ip[6:2] & 0x3fff != 0", "ip[8] < 5", "ip[9] = 6", "ip[2:2] > 100", "ip[0] & 0xf > 5", "(ip[0]&0x0f) != 5",
    "ip[16:4] = 0x0a000002", "ip6[6] = 58", "ether[0] & 1 = 0 and ip[16] >= 224", "ether[0] & 1 != 0",
    "ether[12:2] > 1500", "link[12:2] = 0x806", "arp[6:2] = 1", "rarp[7] = 4", "udp[4:2] > 40", "udp[8:2] = 0x1234",
    "igmp[0] = 0x16", "sctp[0:2] = 1", "0x47455420 = tcp[20:4]", "tcp[13] * 2 + 1 = 5", "tcp[13] % 4 = 2",
    "tcp[13] ^ 2 = 0", "tcp[13] | 1 & 2 = 2", "tcp[13] << 1 > 32", "tcp[13] / 2 - 1 = 0",
    "ip[2:2] - (ip[0] & 15) * 4 - 8 > 20", "len > 200", "len - 14 > 100", "ip[2:2] + 14 = len",
    "udp and udp[100] = 0", "not udp[100] = 0", "tcp[500] = 1 or udp", "udp or tcp[500] = 1", "tcp or udp[100] = 0",
    "not (icmp and icmp[100] = 1)", "udp[8:2] / udp[4000] = 1", "tcp[13] = tcp-syn && ip", "tcp[13] = tcp-syn || arp",
    "ip proto 2", "ip and multicast", "ip host 10.0.0.2", "tcp[0:2] = tcp[2:2]", "tcp [13] & 2 != 0",
    "tcp[ tcpflags ] & tcp-syn != 0",
]  # fmt: skip


@pytest.mark.parametrize("expression", FILTERS)
def test_a_filter_selects_what_tcpdump_selects(plain: Path, expression: str) -> None:
    theirs = of_tcpdump(plain, expression)
    assert of_read(plain, expression) == theirs
    assert of_list(plain, expression) == theirs


@pytest.mark.parametrize("snaplen", [13, 20, 40, 47, 60])
def test_where_bytes_are_cut_off_a_filter_rejects_as_tcpdump_does(tmp_path: Path, snaplen: int) -> None:
    cut = write_pcap(tmp_path / "cut.pcap", frames(), snaplen)
    expressions = ["ether src 02:00:00:00:00:01", "not broadcast"]
    expressions += ["not ip[30] = 1 or arp"] if snaplen >= 14 else []
    expressions += ["not tcp[13] = 2"] if snaplen >= 34 else []  # tcpdump's `tcp` rejects what has no protocol byte
    for expression in expressions:
        assert of_read(cut, expression) == of_list(cut, expression) == of_tcpdump(cut, expression), expression


@pytest.mark.parametrize(
    ("expression", "theirs"),
    [
        ("vlan", "vlan"), ("not vlan", "not vlan"), ("vlan 7", "vlan 7"),
        ("vlan 7 and ether proto 0x88a8", "vlan and vlan 7"),
        ("vlan 200", "vlan and vlan 200"), ("vlan and udp", "vlan and udp"), ("udp and vlan", "vlan and udp"),
        ("vlan 100 and vlan 7", "vlan 100 and vlan 7"), ("vlan or arp", "arp or vlan"),
        ("(vlan) and ip", "vlan and ip or (vlan and ip)"),
        ("vlan 0", "vlan 0"), ("vlan && tcp[13] = 2", "vlan and (tcp[13] = 2 or (vlan and tcp[13] = 2))"),
        ("ether proto 0x88a8", "ether proto 0x88a8"), ("ether proto 0x8100", "ether proto 0x8100"),
        ("vlan != 7", None), ("vlan > 150", None),
    ],
)  # fmt: skip
def test_tags_are_found_outer_and_inner(with_tags: Path, expression: str, theirs: str | None) -> None:
    wanted = of_tcpdump(with_tags, theirs) if theirs else {"vlan != 7": [2], "vlan > 150": [4]}[expression]
    wanted = [1, 3, 4] if expression == "vlan 7" else wanted  # tcpdump sees the outer tag only
    assert of_read(with_tags, expression) == of_list(with_tags, expression) == wanted


def test_the_direction_of_cooked_frames_is_tcpdumps(tmp_path: Path) -> None:
    ip = bytes(P4 / UDP(sport=1, dport=2))
    cooked = [struct.pack(">HHH8sH", kind, 1, 6, bytes(8), 0x0800) + ip for kind in (0, 1, 2, 3, 4)]
    path = write_pcap(tmp_path / "cooked.pcap", cooked, link=113)
    for expression in ("inbound", "outbound", "not inbound", "link[1] = 4", "udp"):
        assert of_read(path, expression) == of_tcpdump(path, expression), expression
    assert of_read(path, "broadcast") == [2]
    assert of_read(path, "multicast") == [2, 3]


def test_without_a_direction_a_packet_is_neither_inbound_nor_outbound(plain: Path) -> None:
    assert of_read(plain, "inbound") == of_read(plain, "outbound") == []


def test_an_authentication_header_is_found_before_ipv6s_transport_too(tmp_path: Path) -> None:
    from scapy.layers.ipsec import AH

    header = AH(nh=6, spi=5, seq=1, icv=bytes(12), payloadlen=4)
    made = [
        HERE / IPv6(src="fd00::1", dst="fd00::2", nh=51) / header / TCP(flags="S"),
        HERE / IP(src="10.0.0.1", dst="10.0.0.2", proto=51) / header / TCP(flags="S"),
        HERE / P4 / TCP(),
    ]
    path = write_pcap(tmp_path / "ah.pcap", [bytes(one) for one in made])
    for expression in ("ah", "ip6 proto 51", "ip proto ah", "not ah"):
        escaped = expression.replace("proto ah", "proto \\ah")
        assert of_read(path, expression) == of_list(path, expression) == of_tcpdump(path, escaped), expression
    assert of_read(path, "proto ah") == [1, 2]
