"""Bytes measured from packets are those that the kernel counts, through NAT, on one device or on both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, DumpMark, End, Gap, Item, Stream, StreamAdded
from nettop.broker.client import Broker
from nettop.columns import HAVE_OCOUNT, HAVE_RCOUNT, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.kinds import StreamKind
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.flows.table import FlowTable
from nettop.model.packet_rates.meter import FlowMeter
from nettop.model.packets.table import PacketModel
from nettop.model.table import Snapshot, ViewSpec
from nettop.pipeline import feeds
from nettop.pipeline.captures import CaptureRequest, Captures, OpenRing, close_rings
from nettop.pipeline.ingest import Plumbing
from nettop.session.live import LiveSession
from tests.kernel.live import all_are_read, read_until
from tests.kernel.namespaces import Lab, keep_flows, poll, run_in

pytestmark = pytest.mark.kernel

SECOND = 1_000_000_000
RULES = """
table inet t {
  chain pre { type nat hook prerouting priority -100; tcp dport 8080 dnat ip to 10.2.0.2:5001; }
  chain post { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
  chain seen { type filter hook forward priority 0; ct state established; }
}
"""
# Echoes TCP and UDP, a different amount back than came: what is counted must not be mirrored.
SERVER = """
import socket, threading
def stream(one):
    while data := one.recv(65536):
        one.sendall(data[: len(data) // 3])
def serve(family, address):
    listener = socket.create_server((address, 5001), family=family)
    print("ready", flush=True)
    while True:
        threading.Thread(target=stream, args=(listener.accept()[0],), daemon=True).start()
def datagrams(family, address):
    sock = socket.socket(family, socket.SOCK_DGRAM); sock.bind((address, 5001))
    while True:
        data, peer = sock.recvfrom(65536); sock.sendto(data * 2, peer)
for family, address in ((socket.AF_INET, "10.2.0.2"), (socket.AF_INET6, "fd00:2::2")):
    threading.Thread(target=serve, args=(family, address), daemon=True).start()
    threading.Thread(target=datagrams, args=(family, address), daemon=True).start()
threading.Event().wait()
"""
CLIENT = """
import socket, sys
def tcp(address, port, size, wait):
    with socket.create_connection((address, port), 30) as one:
        one.sendall(bytes(size)); left = wait
        while left > 0 and (data := one.recv(65536)):
            left -= len(data)
for n in range(3):
    tcp("10.2.0.2", 5001, 200_000 * (n + 1), 60_000)
    tcp("10.1.0.1", 8080, 90_000, 20_000)
    tcp("fd00:2::2", 5001, 150_000, 30_000)
for family, address in ((socket.AF_INET, "10.2.0.2"), (socket.AF_INET6, "fd00:2::2")):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(30)
        for size in (0, 1, 18, 100, 600):
            one.sendto(bytes(size), (address, 5001)); one.recv(65536)
"""


class World:
    """client 10.1.0.2 — lan0 [router, NAT, accounting on] wan0 — 10.2.0.2 server; rings and a meter in the router."""

    def __init__(self, lab: Lab, broker: Broker, devices: Sequence[str]) -> None:
        self.lab, self.broker = lab, broker
        self.client, self.router, self.server = lab.netns("c"), lab.netns("r"), lab.netns("s")
        six = ("fd00:1::2/64", "fd00:1::1/64"), ("fd00:2::1/64", "fd00:2::2/64")
        lab.veth_pair(self.client, self.router, "eth0", "lan0", ("10.1.0.2/24", six[0][0]), ("10.1.0.1/24", six[0][1]))
        lab.veth_pair(self.router, self.server, "wan0", "eth0", ("10.2.0.1/24", six[1][0]), ("10.2.0.2/24", six[1][1]))
        for ns, via4, via6 in ((self.client, "10.1.0.1", "fd00:1::1"), (self.server, "10.2.0.1", "fd00:2::1")):
            run_in(ns, "ip", "route", "add", "default", "via", via4)
            run_in(ns, "ip", "route", "add", "default", "via", via6)
        on = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.netfilter.nf_conntrack_acct=1")
        run_in(self.router, "sysctl", "-qw", *on)
        run_in(self.router, "nft", "-f", "-", stdin=RULES)
        keep_flows(self.router)
        self.netns = broker.netns(self.router)
        self.flows = FlowTable(Strings())
        self.meter = FlowMeter(self.flows.store, lambda label: 0)
        self.packets = PacketModel(self.meter.add)
        self.rings: list[OpenRing] = Captures(broker, self.netns, Plumbing()).open(CaptureRequest(devices, "", 128))
        server = lab.spawn_in(self.server, sys.executable, "-c", SERVER, stdout=subprocess.PIPE)
        assert server.stdout is not None and server.stdout.readline() and server.stdout.readline()

    def traffic(self) -> None:
        run_in(self.client, sys.executable, "-c", CLIENT)
        run_in(self.client, "ping", "-c", "3", "-i", "0.01", "-s", "0", "10.2.0.2")
        run_in(self.client, "ping", "-c", "2", "-i", "0.01", "-s", "900", "fd00:2::2")

    def measure(self) -> None:
        """Read of the rings all that the kernel counted, the table once, and join."""
        for _, ring in self.rings:
            items = read_until(ring, all_are_read)
            assert not [item for item in items if isinstance(item, Gap)]
            for item in items:
                if isinstance(item, Batch | StreamAdded):
                    self.packets.apply(item, 0, 0)
        self.packets.store.settle(1 << 62)
        for item in self.table():
            decoded = ConntrackDecoder(self.flows.strings)(item) if isinstance(item, Batch) else item
            if isinstance(decoded, DumpMark) or isinstance(item, Batch):
                self.flows.apply(decoded, 0, 0)  # type: ignore[arg-type]
        self.meter.join(self.meter._began_ns + SECOND)

    def table(self) -> list[Item]:
        stream = Stream(99, StreamKind.NETLINK, "conntrack-dump", self.netns.label)
        sock = self.broker.netlink_socket(self.netns, NETLINK_NETFILTER)
        source = replace(feeds.TABLE, every_s=None).dump(stream, self.broker, sock, Counter64())
        items = read_until(source, lambda items: any(isinstance(item, End) for item in items))
        source.close()
        return items

    def close(self) -> None:
        close_rings(self.rings)


@pytest.mark.parametrize("devices", [("lan0",), ("wan0",), ("lan0", "wan0")], ids=" ".join)
def test_measured_bytes_are_the_kernels(lab: Lab, broker: Broker, devices: tuple[str, ...]) -> None:
    world = World(lab, broker, devices)
    try:
        world.traffic()
        world.measure()
    finally:
        world.close()
    data = world.flows.window()
    measured = world.meter.measured(data)
    assert measured is not None
    live = world.flows.store.live() & (data["have"] & (HAVE_OCOUNT | HAVE_RCOUNT) == HAVE_OCOUNT | HAVE_RCOUNT)
    counted = live & (data["obytes"] > 0)
    lines = [json.loads(line) for line in world.flows.json_lines(np.flatnonzero(counted))]
    assert len(lines) >= 13 and {line["proto"] for line in lines} == {"tcp", "udp", "icmp", "icmpv6"}
    assert any("dnat" in line["nat"] for line in lines) and any(line["nat"] == ["snat"] for line in lines)
    ours = {
        line["id"]: (float(up), float(down))
        for line, up, down in zip(lines, measured[0][counted], measured[1][counted], strict=True)
    }
    assert ours == {line["id"]: (line["bytes"], line["reply_bytes"]) for line in lines}
    assert max(sum(pair) for pair in ours.values()) > 200_000  # much, but a busy host sends less


def is_about_20(rate: str) -> bool:
    """Whether it says 10 to 30 kB/s."""
    number, unit, _ = rate.partition("k/s")
    return bool(unit) and 10 <= float("".join(c for c in number if c.isdigit() or c == ".")) <= 30


def test_without_accounting_a_session_shows_rates_from_packets(lab: Lab, broker: Broker) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b)
    run_in(b, "nft", "-f", "-", stdin="table ip t { chain c { type filter hook input priority 0; ct state new; }; }")
    run_in(b, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=0")
    lab.spawn_in(a, "ping", "-i", "0.05", "-s", "972", "10.99.0.2")  # 20 a second, 1,000 bytes each
    session = LiveSession(broker, b)
    columns = ("proto", "rate_up", "rate_down")

    def drawn() -> list[tuple[str, ...]]:
        found: list[Snapshot] = []
        session.ask("flows", ViewSpec(columns), found.append)
        poll(lambda: found)
        return [row.cells for row in found[0].rows if row.cells[0] == "icmp"]

    try:
        poll(lambda: drawn() == [("icmp", "–", "–")])
        session.measure_rates(lambda error: None)
        poll(lambda: drawn() and all(map(is_about_20, drawn()[0][1:])), what="20 kB/s each way")
        assert session._run.engine.packets.store.seen == 0  # headers are in no list
        session.stop_capture()
        poll(lambda: drawn() == [("icmp", "–", "–")], what="no rates without packets")
    finally:
        session.close()
