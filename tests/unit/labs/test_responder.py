"""The program behind tun and tap: correct answers to pings and ARP requests, none to anything else, and no crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from nettop.labs.responder import answer_frame, answer_packet

PING = IP(src="10.0.1.1", dst="10.0.1.2", options=b"\1\1\1\0")


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=80))
def test_an_echo_request_gets_the_reply_with_the_right_checksums(identifier: int, sequence: int, data: bytes) -> None:
    reply = answer_packet(bytes(PING / ICMP(id=identifier, seq=sequence) / Raw(data)))
    assert reply is not None
    expected = IP(src="10.0.1.2", dst="10.0.1.1", proto="icmp", options=b"\1\1\1\0")
    assert reply[:24] == bytes(expected / Raw(reply[24:]))[:24]
    again = bytes(ICMP(type=0, id=identifier, seq=sequence) / Raw(data))
    # 0 and 0xffff are both zero in one's complement
    assert reply[24:26] + reply[28:] == again[:2] + again[4:]
    assert int.from_bytes(reply[26:28]) % 0xFFFF == int.from_bytes(again[2:4]) % 0xFFFF


@pytest.mark.parametrize(
    "packet",
    [
        PING / ICMP(type=0),
        PING / TCP(),
        IP(src="10.0.1.1", dst="10.0.1.2", flags="MF") / ICMP(),
        IP(src="10.0.1.1", dst="10.0.1.2", frag=3) / ICMP(),
        IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(),
    ],
)
def test_other_packets_get_no_answer(packet: Packet) -> None:
    assert answer_packet(bytes(packet)) is None
    assert answer_frame(bytes(Ether() / packet)) is None


def test_behind_a_tap_device_arp_is_answered_and_so_is_the_ping() -> None:
    mine = "02:00:00:00:00:aa"
    request = Ether(src=mine, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mine, psrc="10.0.2.1", pdst="10.0.2.2")
    answer = Ether(answer_frame(bytes(request)))
    assert (answer.dst, answer.src) == (mine, "02:00:00:00:00:01")
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, "02:00:00:00:00:01", "10.0.2.2")
    assert (answer[ARP].hwdst, answer[ARP].pdst) == (mine, "10.0.2.1")
    echo = Ether(answer_frame(bytes(Ether(src=mine, dst=answer.src) / PING / ICMP())))
    assert (echo.dst, echo[IP].dst, echo[ICMP].type) == (mine, "10.0.1.1", 0)


@given(st.binary(max_size=100))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    answer_packet(data)
    answer_frame(data)
    answer_frame(data[:12] + b"\x08\x06" + data[12:])
