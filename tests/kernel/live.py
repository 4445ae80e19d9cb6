"""Driving a live source in a test: reading until something holds, sending raw frames, tcpdump beside it."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nettop.batch import Batch, Counters, Item, Source
from nettop.broker.client import Broker
from nettop.broker.identity import can_change_ids
from nettop.broker.requests import NetlinkSocket, Netns, PacketSocket
from tests.kernel.namespaces import command_in, poll
from tests.kernel.rights import ONLY_ROOT

READ_BYTES = 4 << 20


def read_until(source: Source, done: Callable[[list[Item]], bool], deadline_s: float = 30.0) -> list[Item]:
    """What the source gives, read as the pipeline would, until `done(items)`; fails after `deadline_s`."""
    items: list[Item] = []
    end = time.monotonic() + deadline_s
    while not done(items):
        if time.monotonic() >= end:
            last = [type(item).__name__ for item in items[-5:]]
            raise AssertionError(
                f"not within {deadline_s} s; {count(items)} records in {len(items)} items, last {last}"
            )
        items += read_once(source)
        items += source.losses()
    return items


def read_once(source: Source, wait_s: float = 0.02) -> list[Item]:
    """One read, when the source is ready or due within `wait_s`."""
    fd, due = source.fileno(), source.due_ns()
    left = wait_s if due is None else min(wait_s, max(0.0, (due - time.monotonic_ns()) / 1e9))
    ready = bool(select.select([] if fd is None else [fd], [], [], left)[0])
    due = source.due_ns()
    return source.read(READ_BYTES) if ready or (due is not None and due <= time.monotonic_ns()) else []


def records(items: list[Item]) -> list[bytes]:
    """The records of all batches that are not requests of ours, in order."""
    batches = [item for item in items if isinstance(item, Batch) and not _outgoing(item)]
    return [batch.record(i) for batch in batches for i in range(len(batch))]


def count(items: list[Item]) -> int:
    """How many records the batches hold, without our own requests."""
    return sum(len(item) for item in items if isinstance(item, Batch) and not _outgoing(item))


def all_are_read(items: list[Item]) -> bool:
    """The ring gave as many as the kernel counted: it counts at once and shows a block when it retires."""
    received = [item.received for item in items if isinstance(item, Counters)]
    return bool(received) and received[-1] == count(items)


def _outgoing(batch: Batch) -> bool:
    outgoing = getattr(batch.meta, "outgoing", None)
    return outgoing is not None and bool(outgoing.any())


@contextmanager
def injector(broker: Broker, ns: Netns, device: str) -> Iterator[socket.socket]:
    """A packet socket that sends whole frames out of a device."""
    opened = broker.packet_socket(ns, device, block_count=1, expression="less 0")
    with socket.socket(fileno=opened.fd) as sock:
        yield sock


def sysctl(broker: Broker, ns: Netns, name: str) -> str:
    """What an opened sysctl says now."""
    with open(broker.open_sysctl(ns, name), encoding="ascii") as file:
        return file.read().strip()


def close_fd(opened: PacketSocket | NetlinkSocket) -> None:
    """Close a descriptor that no source took over."""
    os.close(opened.fd)


@contextmanager
def tcpdump(
    ns: str, device: str, file: Path, *words: str, snaplen: int = 2048
) -> Iterator[Callable[[int], list[bytes]]]:
    """tcpdump -w beside us; yields a function that waits for that many frames and returns them all.

    Its ring (-B, in KiB) holds as many frames as `snaplen` fits in: with the default one it loses some itself.
    """
    if not can_change_ids():
        pytest.skip(f"{ONLY_ROOT}tcpdump changes its user, and there are no others here")
    options = ["-i", device, "-s", str(snaplen), "-B", "32768", "-U", "--immediate-mode", "-Z", "root", "-w", str(file)]
    argv = command_in(ns, "tcpdump", *options, *words)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            if b"Kernel filter failed" in line:
                line = process.stderr.readline()
            assert b"listening on" in line, line
            yield lambda wanted: _frames_in(file, wanted)
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()


def _frames_in(file: Path, wanted: int) -> list[bytes]:
    poll(lambda: len(pcap_frames(file)) >= wanted, what=f"{wanted} frames in tcpdump's file")
    return pcap_frames(file)


def pcap_frames(file: Path) -> list[bytes]:
    """The frames of a pcap file in host byte order that may still grow."""
    raw, at = file.read_bytes() if file.exists() else b"", 24
    frames = []
    while at + 16 <= len(raw):
        caplen = struct.unpack_from("=I", raw, at + 8)[0]
        if at + 16 + caplen > len(raw):
            break
        frames.append(raw[at + 16 : at + 16 + caplen])
        at += 16 + caplen
    return frames
