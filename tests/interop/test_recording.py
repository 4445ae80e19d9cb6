"""What tcpdump, dumpcap, editcap, capinfos and tshark say of a file is what nettop says of it, both ways."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from nettop.batch import Batch, Counters, DumpMark, Item, NetlinkMeta, PacketMeta, Stream, Text
from nettop.kinds import StreamKind, TextKind
from nettop.recording.reader import open_reader
from nettop.recording.writer import RecordingWriter
from tests.kernel.commands import TCPDUMP
from tests.kernel.namespaces import Lab, command_in, netns_path, poll, run_in
from tests.kernel.rights import other_users
from tests.unit.recording.handmade import end, frames, records, streams

pytestmark = [pytest.mark.interop, pytest.mark.kernel]

NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY = 1, 3  # linux/netfilter/nfnetlink_compat.h
PACKETS = Stream(0, StreamKind.PACKETS, "veth0", "gw-a", capture_filter="icmp", snaplen=262144, os="Linux")
EVENTS = Stream(1, StreamKind.NETLINK, "conntrack", "gw-a")
TEXTS = Stream(2, StreamKind.TEXT, "text", "gw-a")


def tool(*argv: str | Path) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def items_of(path: Path) -> list[Item]:
    reader = open_reader(str(path))
    try:
        return list(reader)
    finally:
        reader.close()


def fields(path: Path, *names: str, only: str = "") -> list[list[str]]:
    """The named tshark fields of every packet."""
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", *(word for name in names for word in ("-e", name))]
    return [line.split("\t") for line in tool(*argv, *(["-Y", only] if only else [])).splitlines()]


def hex_of_tcpdump(path: Path) -> list[str]:
    """The bytes of every packet as `tcpdump -xx` prints them."""
    out: list[str] = []
    for line in tool(*TCPDUMP, "-nn", "-xx", "-r", path).splitlines():
        if found := re.match(r"\s+0x[0-9a-f]+:\s+(.*)", line):
            out[-1] += found.group(1).replace(" ", "")
        else:
            out.append("")
    return out


def capture(lab: Lab, argv: list[str], path: Path) -> None:
    """Runs a capture of 20 packets or so while pings pass on veth0 of a namespace, until its file has them."""
    a, b = lab.netns("ra"), lab.netns("rb")
    lab.veth_pair(a, b)
    process = subprocess.Popen(command_in(a, *argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        poll(lambda: path.exists() and path.stat().st_size > 0, what="the capture's file")
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            run_in(a, "ping", "-c", "3", "-i", "0.01", "-s", "100", "10.99.0.2", check=False)
            run_in(a, "ping", "-c", "2", "-i", "0.01", "127.0.0.1", check=False)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def times_ns(path: Path) -> list[int]:
    """tshark's times, in ns."""
    return [int(re.sub(r"\.", "", time)) for (time,) in fields(path, "frame.time_epoch")]


@other_users
def test_a_tcpdump_file_reads_as_tcpdump_reads_it(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "t.pcap"
    capture(lab, ["tcpdump", "-U", "-Z", "root", "-i", "veth0", "-c", "20", "-s", "60", "-w", str(path)], path)
    items = items_of(path)
    assert end(items).error == ""
    assert [data.hex() for data in frames(items)] == hex_of_tcpdump(path)
    assert [t for _, t, _ in records(items)] == times_ns(path)
    wire = [w for item in items if isinstance(item, Batch) for w in item.meta.wirelen.tolist()]  # type: ignore[union-attr]
    assert [[str(w)] for w in wire] == fields(path, "frame.len")
    assert max(len(data) for data in frames(items)) == 60 < max(wire)


def test_a_dumpcap_file_of_two_devices_reads_as_tshark_reads_it(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "d.pcapng"
    capture(lab, ["dumpcap", "-q", "-i", "veth0", "-i", "lo", "-f", "icmp", "-c", "20", "-w", str(path)], path)
    items = items_of(path)
    assert end(items).error == ""
    name = {s.id: s.name for s in streams(items)}
    assert set(name.values()) == {"veth0", "lo"}
    ours = sorted(
        (int(item.meta.number[i]), name[item.stream], int(item.ts_ns[i]), len(item.record(i)))  # type: ignore[union-attr,index]
        for item in items
        if isinstance(item, Batch)
        for i in range(len(item))
    )
    theirs = fields(path, "frame.number", "frame.interface_name", "frame.cap_len")
    assert [[str(n), i, str(c)] for n, i, _, c in ours] == theirs
    assert [t for _, _, t, _ in ours] == times_ns(path)
    counters = [item for item in items if isinstance(item, Counters)]
    assert counters and sum(item.received for item in counters) >= 20


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng", "modpcap"])
def test_every_format_that_editcap_writes_holds_the_same_frames(form: str, tmp_path: Path) -> None:
    before = tmp_path / "before.pcapng"
    packets_only(before, 50)
    after = tmp_path / "after"
    tool("editcap", "-F", form, before, after)
    ours, theirs = items_of(before), items_of(after)
    assert frames(theirs) == frames(ours) and len(frames(ours)) == 50
    unit = 1 if form in ("nsecpcap", "pcapng") else 1000
    assert [t for _, t, _ in records(theirs)] == [t // unit * unit for _, t, _ in records(ours)]
    assert end(theirs).error == ""


def packets_only(path: Path, n: int) -> None:
    """A recording of n ICMP echo requests, each longer than the one before."""
    headers = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.99.0.1", dst="10.99.0.2") / ICMP()
    data = [bytes(headers / bytes(56 + i)) for i in range(n)]
    length = np.array([len(d) for d in data], np.uint32)
    off = (np.cumsum(length) - length).astype(np.uint32)
    times = np.arange(n, dtype=np.int64) * 1_234_567 + 1_700_000_000_000_000_001
    meta = PacketMeta(length, np.where(np.arange(n) % 2, 4, 0).astype(np.uint8), comment={3: "why \u2713"})
    writer = RecordingWriter(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), [PACKETS])
    writer.write([Batch(0, 0, b"".join(data), off, length, times, meta), Counters(0, 1, int(times[-1]), n + 5, 5)])
    writer.close()


def test_tshark_capinfos_and_tcpdump_read_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    packets_only(path, 50)
    assert hex_of_tcpdump(path) == [data.hex() for data in frames(items_of(path))]
    assert times_ns(path) == [t for _, t, _ in records(items_of(path))]
    about = tool("capinfos", path)
    for words in (
        r"Number of packets:\s+50",
        r"nettop \d",
        "Name = veth0",
        "Description = netns gw-a",
        "Capture length = 262144",
    ):
        assert re.search(words, about), (words, about)
    assert re.search(r"Time precision = nanoseconds", about) and "Filter string = icmp" in about
    assert re.search(r"Number of stat entries = 2", about)
    assert fields(path, "frame.comment", only="frame.comment") == [["why \u2713"]]
    directions = [d for (d,) in fields(path, "frame.packet_flags_direction")]
    assert {int(d, 0) for d in directions[1::2]} == {2} and {int(d, 0) for d in directions[::2]} == {1}
    assert fields(path, "frame.number", only="_ws.malformed") == []


def conntrack_datagrams(lab: Lab) -> list[bytes]:
    """Real NEW and DESTROY events of a namespace in which flows begin and are flushed."""
    ns = lab.netns("rc")
    rule = "add table t; add chain t c { type filter hook output priority 0; }; add rule t c ct state new accept"
    run_in(ns, "nft", rule)
    sock = socket_in(ns)
    try:
        for port in range(9000, 9010):
            run_in(ns, "sh", "-c", f"echo x >/dev/udp/127.0.0.1/{port} || true", check=False)
            run_in(
                ns, "bash", "-c", f"echo x >/dev/udp/127.0.0.1/{port}; echo x >/dev/tcp/127.0.0.1/{port}", check=False
            )
        run_in(ns, "ping", "-c", "1", "127.0.0.1", check=False)
        run_in(ns, "conntrack", "-F", check=False)
        sock.settimeout(2)
        got = [sock.recv(65536)]
        sock.setblocking(False)
        while len(got) < 10_000:
            try:
                got.append(sock.recv(65536))
            except BlockingIOError:
                break
    finally:
        sock.close()
    return got


def socket_in(ns: str) -> socket.socket:
    """A netlink socket that receives the namespace's conntrack events, made by a thread inside it."""
    made: list[socket.socket] = []

    def make() -> None:
        with open(netns_path(ns), "rb") as target:
            os_setns(target.fileno())
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        sock.bind((0, 1 << NFNLGRP_CONNTRACK_NEW - 1 | 1 << NFNLGRP_CONNTRACK_DESTROY - 1))
        made.append(sock)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def os_setns(fd: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(fd, 0x40000000) == 0, os.strerror(ctypes.get_errno())


def test_tshark_decodes_the_conntrack_messages_of_a_recording(lab: Lab, tmp_path: Path) -> None:
    datagrams = conntrack_datagrams(lab)
    assert len(datagrams) >= 20
    path = tmp_path / "c.pcapng"
    length = np.array([len(d) for d in datagrams], np.uint32)
    off = (np.cumsum(length) - length).astype(np.uint32)
    times = np.arange(len(datagrams), dtype=np.int64) + 1_700_000_000_000_000_000
    batch = Batch(1, 0, b"".join(datagrams), off, length, times, NetlinkMeta(np.zeros(len(datagrams), np.bool_)))
    writer = RecordingWriter(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), [PACKETS, EVENTS, TEXTS])
    marks: list[Item] = [DumpMark(1, 0, 1, "conntrack", True), batch, DumpMark(1, 0, 2, "conntrack", False, True)]
    writer.write([*marks, Text(2, 0, 3, TextKind.NFT_RULESET, b"table ip t {\n}\n")])
    writer.close()

    rows = fields(path, "frame.protocols", "netlink-netfilter.nfct_tuple.proto.dst_port")
    assert len(rows) == len(datagrams)
    assert all("netlink-netfilter" in protocols for protocols, _ in rows)
    ports = {int(port, 0) for _, some in rows for port in some.split(",") if port}
    assert ports >= set(range(9000, 9010))
    assert fields(path, "frame.number", only="_ws.malformed") == []
    back = items_of(path)
    assert frames(back) == datagrams
    assert [type(i).__name__ for i in back[3:]] == ["DumpMark", "Batch", "DumpMark", "Text", "End"]


def test_a_recording_copied_by_editcap_keeps_its_streams_and_records(lab: Lab, tmp_path: Path) -> None:
    path, copy = tmp_path / "r.pcapng", tmp_path / "copy.pcapng"
    packets_only(path, 20)
    tool("editcap", "-F", "pcapng", path, copy)
    back = items_of(copy)
    assert frames(back) == frames(items_of(path))
    assert [(s.name, s.netns, s.capture_filter) for s in streams(back)] == [("veth0", "gw-a", "icmp")]
