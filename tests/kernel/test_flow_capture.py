"""Capturing one flow on both sides of a real NAT: every packet of it, and no segment of another."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest
from nettop.columns import Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.flows.capture import FlowCapture, flow_capture
from nettop.model.flows.cells import row_views
from tests.kernel.live import pcap_frames, tcpdump
from tests.kernel.namespaces import Lab, poll, run_in
from tests.unit.decode.netlink_bytes import batch

pytestmark = pytest.mark.kernel

CLIENT, SERVER = "10.1.0.2", "10.2.0.2"
MASQUERADE = """table ip t {
  chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
"""
# Answers 3,000 bytes to each datagram; at "close" the port closes, and what comes after is answered by an ICMP error.
ECHO = """import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.bind(("", int(sys.argv[1])))
    print("ready", flush=True)
    while True:
        data, sender = out.recvfrom(65535)
        if data == b"close":
            break
        out.sendto(bytes(3000), sender)
print("closed", flush=True)
"""
CLIENT_CODE = """import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.bind(("", int(sys.argv[1])))
    out.settimeout(30)
    to = ("10.2.0.2", int(sys.argv[2]))
    for word in sys.argv[3:]:
        out.sendto(bytes(2500) if word == "big" else word.encode(), to)
        if word not in ("close", "last"):
            out.recvfrom(65535)
"""


@dataclass(frozen=True)
class Packet:
    """What a frame of IPv4 says of the flow it belongs to; of a later fragment or an ICMP error that, too."""

    proto: int
    ends: frozenset[tuple[str, int]]
    hosts: frozenset[str]
    later: bool
    error: bool


def read(frame: bytes) -> Packet | None:
    if frame[12:14] != b"\x08\x00":
        return None
    packet = inner(frame[14:])
    if packet.proto != 1:
        return packet
    quoted = inner(frame[14 + 20 + 8 :])
    return Packet(quoted.proto, quoted.ends, quoted.hosts, quoted.later, True)


def inner(packet: bytes) -> Packet:
    src, dst = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    later = struct.unpack_from("!H", packet, 6)[0] & 0x1FFF != 0
    ports = (0, 0) if later or packet[9] == 1 else struct.unpack_from("!HH", packet, 20)
    return Packet(packet[9], frozenset({(src, ports[0]), (dst, ports[1])}), frozenset({src, dst}), later, False)


@pytest.fixture
def gateway(lab: Lab) -> tuple[str, str, str]:
    """A client behind a gateway that masquerades, and a server."""
    client, gateway, server = lab.netns("client"), lab.netns("gw"), lab.netns("server")
    lab.veth_pair(client, gateway, "eth0", "lan", (f"{CLIENT}/24",), ("10.1.0.1/24",))
    lab.veth_pair(gateway, server, "wan", "eth0", ("10.2.0.1/24",), (f"{SERVER}/24",))
    run_in(client, "ip", "route", "add", "default", "via", "10.1.0.1")
    run_in(gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run_in(server, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    run_in(gateway, "nft", "-f", "-", stdin=MASQUERADE)
    return client, gateway, server


def talk(client: str, *words: str) -> None:
    run_in(client, sys.executable, "-c", CLIENT_CODE, *words)


def captures(broker: Broker, ns: str, sport: int, dport: int) -> FlowCapture:
    """The capture of the flow with these ports in the kernel's table."""
    capture = poll(partial(found, broker, broker.netns(ns), sport, dport), what="the flow in a dump")
    assert capture is not None
    return capture


def found(broker: Broker, ns: Netns, sport: int, dport: int) -> FlowCapture | None:
    """None while a dump lacks it: the hash may be resized meanwhile."""
    opened = broker.netlink_socket(ns, NETLINK_NETFILTER)
    broker.request(opened, ReadRequest.CONNTRACK_DUMP)
    with socket.socket(fileno=opened.fd) as sock:
        messages = sock.recv(1 << 20)
    broker.release(opened)
    strings = Strings()
    cols = ConntrackDecoder(strings)(batch([messages])).cols
    if not len(cols):
        return None
    mine = np.flatnonzero((cols["osport"] == sport) & (cols["odport"] == dport))
    return flow_capture(row_views(cols.data, mine, strings, lambda code: "")[0]) if len(mine) else None


def listens(ns: str, port: str) -> bool:
    return f":{port} " in run_in(ns, "ss", "-Hlun")


@pytest.fixture
def echoes(lab: Lab, gateway: tuple[str, str, str], tmp_path: Path) -> Iterator[None]:
    """Two echo servers, at ports 7000 and 7001."""
    server = gateway[2]
    for port in ("7000", "7001"):
        lab.spawn_in(server, sys.executable, "-c", ECHO, port)
        poll(partial(listens, server, port), what=f"the server at {port}")
    yield


def packets(file: Path) -> list[Packet]:
    return [packet for frame in pcap_frames(file) if (packet := read(frame))]


def has_error(file: Path, ends: set[tuple[str, int]]) -> bool:
    return any(packet.error and packet.ends == ends for packet in packets(file))


def test_a_capture_on_both_sides_of_the_nat_has_all_of_the_flow_and_nothing_of_others(
    broker: Broker, lab: Lab, gateway: tuple[str, str, str], echoes: None, tmp_path: Path
) -> None:
    client, gw, server = gateway
    talk(client, "5000", "7000", "hello")
    expression = captures(broker, gw, 5000, 7000).expression
    sides = {"lan": {(CLIENT, 5000), (SERVER, 7000)}, "wan": {("10.2.0.1", 5000), (SERVER, 7000)}}
    with ExitStack() as stack:
        files = {name: (tmp_path / f"{name}.all", tmp_path / f"{name}.flow") for name in sides}
        for name, (whole, _) in files.items():
            stack.enter_context(tcpdump(gw, name, whole))
        frames = {name: stack.enter_context(tcpdump(gw, name, flow, expression)) for name, (_, flow) in files.items()}
        talk(client, "5000", "7001", "hello", "big")
        talk(client, "5000", "7000", "hello", "big", "again")
        talk(client, "5001", "7000", "big")
        run_in(client, "ping", "-c", "2", "-i", "0.1", SERVER)
        talk(client, "5000", "7000", "close")
        poll(lambda: not listens(server, "7000"), what="the server at 7000 to end")
        talk(client, "5001", "7000", "last")
        talk(client, "5000", "7000", "last")
        for name, ends in sides.items():
            poll(partial(has_error, files[name][0], ends), what="the ICMP error")
            everything = packets(files[name][0])
            mine = [packet for packet in everything if packet.ends == ends and not packet.later]
            hosts = frozenset(address for address, _ in ends)
            parts = [packet for packet in everything if packet.later and packet.hosts == hosts and packet.proto == 17]
            got = [packet for frame in frames[name](len(mine) + len(parts)) if (packet := read(frame))]
            assert sum(packet.error for packet in mine) == 1
            assert sum(not packet.error for packet in mine) == 8
            assert len(parts) > 8
            assert [packet for packet in got if not packet.later] == mine
            assert [packet for packet in got if packet.later] == parts


def test_a_ping_through_the_nat_is_captured_by_its_id(
    broker: Broker, lab: Lab, gateway: tuple[str, str, str], tmp_path: Path
) -> None:
    client, gw, _ = gateway
    run_in(client, "ping", "-c", "1", "-e", "77", SERVER)
    opened = captures(broker, gw, 77, 8 << 8)
    with (
        tcpdump(gw, "lan", tmp_path / "lan", opened.expression) as lan,
        tcpdump(gw, "wan", tmp_path / "wan", opened.expression) as wan,
    ):
        run_in(client, "ping", "-c", "2", "-i", "0.1", "-e", "78", SERVER)
        run_in(client, "ping", "-c", "3", "-i", "0.1", "-e", "77", SERVER)
        for frames in (lan(6), wan(6)):
            assert [struct.unpack_from("!H", frame, 14 + 20 + 4)[0] for frame in frames] == [77] * 6
