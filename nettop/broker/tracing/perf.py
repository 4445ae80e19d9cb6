"""Samples of the kernel's tracepoints (perf_event_open(2)): their formats, and a ring for each CPU."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from nettop.broker import abi
from nettop.broker.privileges import missing_rights
from nettop.errors import BrokerError, NotPermitted
from nettop.linux import perf

RING_BYTES = 256 << 10  # of a CPU. Any user may map 516 KiB a CPU (perf_event_mlock_kb)
_PAGE = mmap.PAGESIZE
_NOT_READ = "the kernel's drop reasons are not read"
_FIELD = re.compile(r"field:[^;]*?(\w+)(?:\[\w*\])?;\s*offset:(\d+);\s*size:(\d+);")
_VALUE = re.compile(r'\{\s*(\w+),\s*"([^"]*)"\s*\}')


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint of the running kernel: offset and size of each field, and the names that it prints for numbers."""

    id: int
    fields: dict[str, tuple[int, int]]
    names: dict[int, str]


def tracepoints(*events: str) -> list[Tracepoint]:
    """Return the tracepoints "skb/kfree_skb", … of this kernel. Raises OSError; BrokerError for an unknown format.

    The formats are read from a mount of tracefs that is in no directory and ends with its descriptor.
    """
    root = _tracefs()
    try:
        return [_tracepoint(_text(root, f"events/{event}/format")) for event in events]
    finally:
        os.close(root)


def refused(error: OSError) -> BrokerError:
    """Return the error that names what keeps the kernel's drops from being read."""
    if error.errno not in (errno.EPERM, errno.EACCES):
        return BrokerError(f"{_NOT_READ}: {error.filename or 'perf_event_open'}: {os.strerror(error.errno or 0)}")
    return NotPermitted(_NOT_READ, missing_rights("SYS_ADMIN"))


def _tracefs() -> int:
    made = abi.syscall("fsopen", b"tracefs", perf.FSOPEN_CLOEXEC)
    try:
        abi.syscall("fsconfig", made, perf.FSCONFIG_CMD_CREATE, None, None, 0)
        return abi.syscall("fsmount", made, perf.FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(made)


def _text(root: int, path: str) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=root), encoding="ascii", errors="replace") as file:
        return file.read()


def _tracepoint(text: str) -> Tracepoint:
    number = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
    if number is None:
        raise BrokerError("a tracepoint of the kernel has no format that is known")
    fields = {name: (int(at), int(size)) for name, at, size in _FIELD.findall(text)}
    values = {int(value, 0): name for value, name in _VALUE.findall(text) if value[0].isdigit()}
    return Tracepoint(int(number[1]), fields, values)


def open_event(tracepoint: Tracepoint, cpu: int, accepts: str = "", output: int | None = None) -> int:
    """Return a descriptor that samples a tracepoint on a CPU, each time that `accepts` holds. Raises OSError.

    `output` is the descriptor of the ring that its samples go to; None: its own.
    """
    kinds, lost = perf.PERF_SAMPLE_TIME | perf.PERF_SAMPLE_RAW, perf.PERF_FORMAT_LOST
    bits = perf.PERF_ATTR_DISABLED | perf.PERF_ATTR_WATERMARK | perf.PERF_ATTR_USE_CLOCKID
    wakeup = RING_BYTES // 4  # so full the ring makes the descriptor readable
    attr = perf.ATTR.pack(
        perf.PERF_TYPE_TRACEPOINT, perf.ATTR.size, tracepoint.id, 1, kinds, lost, bits, wakeup, 0, time.CLOCK_MONOTONIC
    )
    fd = abi.syscall("perf_event_open", attr, -1, cpu, -1, perf.PERF_FLAG_FD_CLOEXEC)
    try:
        if accepts:
            fcntl.ioctl(fd, perf.PERF_EVENT_IOC_SET_FILTER, accepts.encode() + b"\0")
        if output is not None:
            fcntl.ioctl(fd, perf.PERF_EVENT_IOC_SET_OUTPUT, output)
            fcntl.ioctl(fd, perf.PERF_EVENT_IOC_ENABLE, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mapped(fd: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, _PAGE + RING_BYTES)
    except PermissionError as error:  # all programs of a user share kernel.perf_event_mlock_kb
        raise BrokerError(f"{_NOT_READ}: too much memory is locked", "raise `ulimit -l`") from error


class Ring:
    """The samples of one CPU."""

    def __init__(self, fd: int) -> None:
        """Map the ring of a descriptor, and begin to sample. Raises OSError, BrokerError."""
        self.fd = fd
        try:
            self._map = _mapped(fd)
            fcntl.ioctl(fd, perf.PERF_EVENT_IOC_ENABLE, 0)
        except BaseException:
            os.close(fd)
            raise

    def lost(self) -> int:
        """Return the samples of its descriptor that were lost, since the ring was full."""
        return int(perf.READ.unpack(os.read(self.fd, perf.READ.size))[1])

    def take(self) -> bytes:
        """Return the new records, and free their place."""
        head = int.from_bytes(self._map[perf.PERF_HEAD : perf.PERF_HEAD + 8], "little")
        tail = int.from_bytes(self._map[perf.PERF_TAIL : perf.PERF_TAIL + 8], "little")
        begin, length = tail % RING_BYTES, head - tail
        data = self._map[_PAGE + begin : _PAGE + min(begin + length, RING_BYTES)]
        data += self._map[_PAGE : _PAGE + length - len(data)]
        self._map[perf.PERF_TAIL : perf.PERF_TAIL + 8] = head.to_bytes(8, "little")
        return data

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield the time (CLOCK_MONOTONIC, ns) and the raw data of each new sample."""
        data, at = self.take(), 0
        while at < len(data):
            kind, _, size = perf.RECORD.unpack_from(data, at)
            if kind == perf.PERF_RECORD_SAMPLE:
                time_ns, raw = perf.SAMPLE.unpack_from(data, at)
                begin = at + perf.SAMPLE.size
                yield time_ns, data[begin : begin + raw]
            at += size
