"""The packet ring against real devices: every frame, its bytes, direction and loss, as the kernel and tcpdump say."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, Counters, End, Gap, Item, PacketMeta, Stream, StreamAdded
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.kinds import GapReason, StreamKind
from nettop.linux.packet import PACKET_OUTGOING, TP_STATUS_VLAN_VALID
from nettop.pipeline.source_thread import SourceThread
from nettop.sources.ring import PacketRing
from tests.kernel.live import all_are_read, count, injector, read_until, records, tcpdump
from tests.kernel.namespaces import Lab, command_in, poll, run_in
from tests.kernel.rights import tun_devices

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

BROADCAST = b"\xff" * 6
SENDER = bytes.fromhex("02aa00000001")
ODD_ETHERTYPE = b"\x88\xb5"  # IEEE 802 local experimental: nobody else sends it
EXPERIMENTAL = "ether proto 0x88b5"


@dataclass
class Pair:
    """Two namespaces joined by veth0; the broker's handles of both."""

    a: str
    b: str
    ns_a: Netns
    ns_b: Netns


@pytest.fixture
def pair(lab: Lab, broker: Broker) -> Pair:
    a, b = lab.netns("a"), lab.netns("b")
    for ns in (a, b):
        run_in(ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    lab.veth_pair(a, b)
    return Pair(a, b, broker.netns(a), broker.netns(b))


@contextmanager
def ring(broker: Broker, ns: Netns, device: str = "veth0", **options: object) -> Iterator[PacketRing]:
    opened = broker.packet_socket(ns, device, **options)  # type: ignore[arg-type]
    source = PacketRing(Stream(7, StreamKind.PACKETS, device), opened, Counter64())
    try:
        yield source
    finally:
        source.close()


def frame(payload: bytes, destination: bytes = BROADCAST, tag: bytes = b"") -> bytes:
    return destination + SENDER + tag + ODD_ETHERTYPE + payload


def frames_of_many_sizes(how_many: int) -> list[bytes]:
    sizes = random.Random(1)
    return [frame(struct.pack("!I", i) + bytes(sizes.randrange(0, 1400))) for i in range(how_many)]


def seen(source: PacketRing, how_many: int) -> list[Item]:
    return read_until(source, lambda items: count(items) >= how_many)


def batches(items: list[Item]) -> list[Batch]:
    return [item for item in items if isinstance(item, Batch)]


def meta(items: list[Item]) -> PacketMeta:
    metas = [batch.meta for batch in batches(items) if isinstance(batch.meta, PacketMeta)]
    return PacketMeta(
        np.concatenate([m.wirelen for m in metas]),
        np.concatenate([m.direction for m in metas if m.direction is not None]),
        np.concatenate([m.tp_status for m in metas if m.tp_status is not None]),
    )


def test_every_frame_arrives_once_in_order_and_whole(broker: Broker, pair: Pair) -> None:
    sent = frames_of_many_sizes(5_000)
    with ring(broker, pair.ns_b, expression=EXPERIMENTAL) as source, injector(broker, pair.ns_a, "veth0") as sender:
        before = time.time_ns()
        for one in sent:
            sender.send(one)
        items = seen(source, len(sent))
        after = time.time_ns()
    assert records(items) == sent
    stamps = np.concatenate([batch.ts_ns for batch in batches(items)])
    assert before <= stamps.min() <= stamps.max() <= after
    assert np.all(np.diff(stamps) >= 0)
    assert meta(items).wirelen.tolist() == [len(one) for one in sent]
    totals = [item for item in items if isinstance(item, Counters)][-1]
    assert (totals.received, totals.dropped) == (len(sent), 0)


def test_the_stream_is_announced_first_and_items_are_in_order(broker: Broker, pair: Pair) -> None:
    with ring(broker, pair.ns_b) as source:
        assert source.due_ns() == 0
        first = source.read(1)[0]
        run_in(pair.a, "ping", "-c", "2", "-i", "0.01", "10.99.0.2")
        items = seen(source, 4)
    assert isinstance(first, StreamAdded)
    order = [item.seq for item in [first, *items]]
    assert order == sorted(set(order))


def test_directions_are_the_kernels(broker: Broker, pair: Pair) -> None:
    with ring(broker, pair.ns_b, expression="icmp") as source:
        run_in(pair.a, "ping", "-c", "3", "-i", "0.01", "10.99.0.2")
        items = seen(source, 6)
    outgoing = meta(items).direction == PACKET_OUTGOING  # type: ignore[operator]
    kinds = [record[34] for record in records(items)]
    assert [8 if not out else 0 for out in outgoing.tolist()] == kinds == [8, 0] * 3


def test_snaplen_cuts_and_keeps_the_wire_length(broker: Broker, pair: Pair) -> None:
    sent = frame(bytes(range(256)))
    with (
        ring(broker, pair.ns_b, expression=EXPERIMENTAL, snaplen=64) as source,
        injector(broker, pair.ns_a, "veth0") as sender,
    ):
        sender.send(sent)
        items = seen(source, 1)
    assert records(items) == [sent[:64]]
    assert meta(items).wirelen.tolist() == [len(sent)]


def test_loopback_shows_each_packet_once(broker: Broker, pair: Pair) -> None:
    with ring(broker, pair.ns_a, "lo", expression="icmp") as source:
        run_in(pair.a, "ping", "-c", "3", "-i", "0.01", "127.0.0.1")
        items = seen(source, 6)
        items += read_until(source, lambda more: any(isinstance(i, Counters) for i in items + more))
    assert [record[34] for record in records(items)] == [8, 0] * 3
    assert [item.received for item in items if isinstance(item, Counters)][-1] == 6


def test_frames_are_what_tcpdump_writes_with_vlan_tags_put_back(broker: Broker, pair: Pair, tmp_path: Path) -> None:
    tags = [b"", b"\x81\x00\x20\x05", b"\x88\xa8\x00\x07", b"\x88\xa8\x00\x07\x81\x00\x0f\xff", b"\x81\x00\x00\x00"]
    sent = [frame(bytes([i % 256]) * (1 + i % 90), tag=tags[i % len(tags)]) for i in range(500)]
    with (
        tcpdump(pair.b, "veth0", tmp_path / "b.pcap") as theirs,
        ring(broker, pair.ns_b) as source,
        injector(broker, pair.ns_a, "veth0") as sender,
    ):
        for one in sent:
            sender.send(one)
        items = seen(source, len(sent))
        expected = theirs(len(sent))
    assert records(items) == expected == sent
    assert meta(items).wirelen.tolist() == [len(one) for one in sent]
    tagged = meta(items).tp_status & TP_STATUS_VLAN_VALID  # type: ignore[operator]
    assert np.count_nonzero(tagged) == 400  # the kernel did strip them


def test_sent_tagged_frames_are_whole_on_the_senders_side_too(broker: Broker, pair: Pair) -> None:
    sent = [frame(b"x" * 50, tag=b"\x81\x00\x00\x05"), frame(b"y" * 50)]
    with ring(broker, pair.ns_a) as source, injector(broker, pair.ns_a, "veth0") as sender:
        for one in sent:
            sender.send(one)
        items = seen(source, 2)
    assert records(items) == sent


def test_an_overrun_is_counted_to_the_packet(broker: Broker, pair: Pair) -> None:
    sent = frames_of_many_sizes(3_000)
    with (
        ring(broker, pair.ns_b, expression=EXPERIMENTAL, block_size=1 << 16, block_count=4) as source,
        injector(broker, pair.ns_a, "veth0") as sender,
    ):
        items = source.read(1)
        began = time.time_ns()
        for one in sent:
            sender.send(one)
        items += read_until(source, lambda more: _lost(more) + count(more) == len(sent))
    gaps = [item for item in items if isinstance(item, Gap)]
    assert 0 < _lost(items) < len(sent)
    assert {gap.why for gap in gaps} == {GapReason.RING}
    assert all(gap.from_ns < gap.to_ns for gap in gaps)
    assert gaps[-1].to_ns > began
    totals = [item for item in items if isinstance(item, Counters)][-1]
    assert (totals.received, totals.dropped) == (len(sent), _lost(items))
    assert records(items) == sent[: count(items)]  # a full ring drops what comes after


def _lost(items: list[Item]) -> int:
    return sum(item.lost or 0 for item in items if isinstance(item, Gap))


def test_capture_goes_on_after_the_link_was_down(broker: Broker, pair: Pair) -> None:
    with ring(broker, pair.ns_b, expression=EXPERIMENTAL) as source, injector(broker, pair.ns_a, "veth0") as sender:
        sender.send(frame(b"before"))
        items = seen(source, 1)
        run_in(pair.b, "ip", "link", "set", "veth0", "down")
        items += read_until(source, lambda _: source.due_ns() is not None)
        run_in(pair.b, "ip", "link", "set", "veth0", "up")
        poll(lambda: "state UP" in run_in(pair.a, "ip", "link", "show", "veth0"))
        sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # its own ENETDOWN
        sender.send(frame(b"after"))
        items += seen(source, 1)
    assert [record[14:] for record in records(items)] == [b"before", b"after"]
    assert not [item for item in items if isinstance(item, End)]


def test_a_link_that_is_down_does_not_keep_the_source_busy(broker: Broker, pair: Pair) -> None:
    with ring(broker, pair.ns_b) as source:
        source.read(1)
        run_in(pair.b, "ip", "link", "set", "veth0", "down")
        read_until(source, lambda _: source.due_ns() is not None)
        due = source.due_ns()
        assert due is not None
        assert due > time.monotonic_ns()
        assert source.read(1) == []


@pytest.mark.parametrize("down_first", [False, True])
def test_a_removed_device_ends_the_stream_after_its_last_packet(broker: Broker, pair: Pair, down_first: bool) -> None:
    with ring(broker, pair.ns_b, expression=EXPERIMENTAL) as source:
        source.read(1)
        with injector(broker, pair.ns_a, "veth0") as sender:
            sender.send(frame(b"last words"))
        if down_first:
            run_in(pair.b, "ip", "link", "set", "veth0", "down")
            read_until(source, lambda _: source.due_ns() is not None)
        run_in(pair.b, "ip", "link", "del", "veth0")
        items = read_until(source, lambda items: any(isinstance(item, End) for item in items))
    end = items[-1] if isinstance(items[-1], End) else items[-2]
    assert isinstance(end, End)
    assert end.error == "device veth0 is gone"


def test_a_closed_ring_lets_the_namespace_go(broker: Broker, lab: Lab, pair: Pair) -> None:
    with ring(broker, pair.ns_b) as source:
        run_in(pair.a, "ping", "-c", "1", "10.99.0.2")
        seen(source, 2)
    broker.leave(pair.ns_b)
    lab.remove(pair.b)
    poll(lambda: "veth0" not in run_in(pair.a, "ip", "link", "show"))  # the pair goes with its other half


def test_reading_by_the_byte_gives_the_same_as_all_at_once(broker: Broker, pair: Pair) -> None:
    sent = frames_of_many_sizes(400)
    with (
        ring(broker, pair.ns_b, expression=EXPERIMENTAL, block_size=1 << 16, block_count=64) as source,
        injector(broker, pair.ns_a, "veth0") as sender,
    ):
        for one in sent:
            sender.send(one)
        items = source.read(1)
        poll(lambda: bool(items.extend(source.read(1))) or count(items) >= len(sent) - 100, what="blocks one by one")
        assert all(len(batches([item])) <= 1 for item in items)
        items += source.read(1 << 30)
        items += read_until(source, lambda more: count(items + more) >= len(sent))
    assert records(items)[-100:] == sent[-100:]


SERVER = """
import socket
server = socket.create_server(("10.99.0.2", 5000))
print(flush=True)
peer, _ = server.accept()
while peer.recv(1 << 20):
    pass
"""
CLIENT = """
import socket
client = socket.create_connection(("10.99.0.2", 5000))
client.sendall(bytes(5_000_000))
client.shutdown(socket.SHUT_WR)
client.recv(1)
"""


def test_big_segments_are_whole_as_in_tcpdump(broker: Broker, lab: Lab, pair: Pair, tmp_path: Path) -> None:
    with (
        tcpdump(pair.b, "veth0", tmp_path / "tcp.pcap", "tcp", snaplen=70_000) as theirs,
        ring(broker, pair.ns_b, expression="tcp") as ours,
    ):
        server = lab.spawn_in(pair.b, "python3", "-c", SERVER, stdout=subprocess.PIPE)
        assert server.stdout is not None
        with server.stdout:
            server.stdout.readline()
            run_in(pair.a, "python3", "-c", CLIENT)
        items = read_until(ours, all_are_read)
        expected = theirs(count(items))
    assert sum(record[47] & 1 for record in records(items)) >= 2  # both FINs: on a busy machine TCP may repeat one
    assert max(len(record) for record in records(items)) > 1514
    assert sorted(records(items)) == sorted(expected)  # two CPUs: each tap has an order of its own


def test_a_source_thread_stops_at_once_and_lets_go(broker: Broker, pair: Pair) -> None:
    opened = broker.packet_socket(pair.ns_b, "veth0")
    seq, items = Counter64(), list[Item]()
    source = PacketRing(Stream(7, StreamKind.PACKETS, "veth0"), opened, seq)
    thread = SourceThread(source, items.extend, seq, "ring")
    thread.start()
    run_in(pair.a, "ping", "-c", "1", "10.99.0.2")
    poll(lambda: count(items) >= 2)
    began = time.monotonic()
    thread.stop()
    thread.join(30)
    assert time.monotonic() - began < 5
    assert source.fileno() == -1


TUN = """
import fcntl, os, struct, sys, time
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
os.system("ip link set tun0 up")
print(flush=True)
while sys.stdin.readline():
    os.write(tun, bytes.fromhex("450000180000000040fd0000c0000201c0000202deadbeef"))
"""


@tun_devices
def test_a_device_without_link_layer_gives_packets_from_the_ip_header_on(broker: Broker, pair: Pair) -> None:
    argv = command_in(pair.a, "python3", "-c", TUN)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tunnel:
        assert tunnel.stdin is not None
        assert tunnel.stdout is not None
        tunnel.stdout.readline()
        with ring(broker, pair.ns_a, "tun0", expression="src host 192.0.2.1") as source:
            source.read(1)
            tunnel.stdin.write(b"\n")
            tunnel.stdin.flush()
            items = seen(source, 1)
        tunnel.stdin.close()
    assert records(items)[0].hex() == "450000180000000040fd0000c0000201c0000202deadbeef"
    assert meta(items).direction.tolist() == [0]  # type: ignore[union-attr]
