"""The packets that the kernel drops, with its reasons: counted for the whole host, and one by one while a trace runs.

The tracepoint skb:kfree_skb has no device and no namespace. While a trace runs, net:netif_receive_skb names the device
and length of the packets that its namespace receives, and net:net_dev_start_xmit those that have left it again. Numbers
and offsets are those of the running kernel, whose addresses stay in this process.
"""

from __future__ import annotations

import errno
import os
import re
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from selectors import EVENT_READ, BaseSelector
from struct import Struct

from nettop.broker.budget import Budget
from nettop.broker.tracing import perf
from nettop.errors import BrokerError

MAX_RECORDS = 1000  # that wait for the app
MAX_COUNTS = 1000  # reasons × functions × protocols; the protocols beyond are counted together
_OTHERS = 0  # in place of a protocol
_MAX_PACKETS = 50_000  # received, of which the end is not known
_MAX_AGE_NS = 1_000_000_000  # of a received packet that is dropped: later, another one is at its address
_MAX_NAMED = 32  # devices in a filter
_SAFE_NAME = re.compile(r"[\w.@-]+", re.ASCII)
_NOT_OURS = "OTHERHOST"  # packets to other hosts, which flood a network that mirrors or broadcasts them
_ABSENT = "-"


def open_symbols() -> int | None:
    """Return a descriptor of the kernel's symbols: it takes CAP_SYSLOG to open them, but not to read them later."""
    try:
        return os.open("/proc/kallsyms", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


class Drops:
    """The drops since the first request. `symbols` is what open_symbols() returned.

    The rings are read on request, and when the selector finds one a quarter full.
    """

    def __init__(self, budget: Budget, selector: BaseSelector, symbols: int | None) -> None:
        self._budget, self._selector, self._symbols = budget, selector, _Symbols(symbols)
        self._rings: dict[int, perf.Ring] = {}  # by CPU
        self._receiving: list[int] = []  # events of received and sent packets, while a trace runs
        self._packets: dict[int, tuple[int, int, str]] = {}  # by address: time, length, device
        self._records: deque[tuple[int, int, int, int, str]] = deque(maxlen=MAX_RECORDS)
        self._counts: Counter[tuple[int, int, int]] = Counter()  # by reason, location, protocol
        self._since_ns = self._wall_ns = 0

    def listing(self) -> bytes:
        """Return the counts since the first call: lines `since NS`, `lost N`, `REASON SYMBOL PROTOCOL COUNT`.

        Or `missing` and the reason why there are none.
        """
        if missing := self._begin():
            return missing
        place = self._symbols.named({location for _, location, _ in self._counts})
        rows = (
            f"{self._reason(reason)} {place[location]} {protocol:#06x} {count}"
            for (reason, location, protocol), count in self._counts.items()
        )
        return "\n".join((f"since {self._since_ns}", f"lost {self._lost()}", *rows, "")).encode()

    def records(self) -> bytes:
        """Return the drops since the last call, while a trace runs.

        Lines `lost N`, `NS REASON SYMBOL PROTOCOL LENGTH DEVICE`; or `missing` and the reason why there are none.
        """
        if missing := self._begin():
            return missing
        place = self._symbols.named({location for _, _, location, _, _ in self._records})
        rows = [
            f"{time_ns} {self._reason(reason)} {place[location]} {protocol:#06x} {packet}"
            for time_ns, reason, location, protocol, packet in self._records
        ]
        self._records.clear()
        return "\n".join((f"lost {self._lost()}", *rows, "")).encode()

    def follow(self, devices: Iterable[str]) -> None:
        """Note the packets that these devices receive and send, so that a drop has a device, where that may be."""
        names = [name for name in devices if _SAFE_NAME.fullmatch(name)][:_MAX_NAMED]
        if not names:
            return
        with suppress(BrokerError, OSError):
            self._open()
            accepts = " || ".join(f'name == "{name}"' for name in names)
            for cpu, ring in self._rings.items():
                for event in (self._received, self._sent):
                    self._receiving.append(perf.open_event(event, cpu, accepts, ring.fd))

    def unfollow(self) -> None:
        """Note no received packets: no trace runs."""
        while self._receiving:
            os.close(self._receiving.pop())
        self._packets.clear()

    def _begin(self) -> bytes:
        """Open the rings if they are not, and read them. Return the text of an error."""
        try:
            self._open()
        except BrokerError as error:
            return f"missing {error}\n".encode()
        self._read()
        return b""

    def _read(self) -> None:
        self._wall_ns = time.time_ns() - time.monotonic_ns()
        samples = [sample for ring in self._rings.values() for sample in ring.read()]
        if self._receiving:
            samples.sort()
        for time_ns, raw in samples:
            kind = raw[0] | raw[1] << 8  # common_type
            if kind == self._dropped.id:
                self._drop(time_ns, raw)
            elif kind == self._received.id:
                self._receive(time_ns, raw)
            else:
                read, at = self._sent_field
                self._packets.pop(read(raw, at)[0], None)

    def _drop(self, time_ns: int, raw: bytes) -> None:
        address, location, protocol, reason = (read(raw, at)[0] for read, at in self._fields)
        counted = reason, location, protocol
        if counted not in self._counts and len(self._counts) >= MAX_COUNTS:  # whoever sends chooses the protocol
            counted = reason, location, _OTHERS
        self._counts[counted] += 1
        if not self._receiving:
            return
        received, length, device = self._packets.pop(address, (0, 0, ""))
        known = bool(received) and time_ns - received < _MAX_AGE_NS
        packet = f"{length} {device}" if known else f"{_ABSENT} {_ABSENT}"
        self._records.append((time_ns + self._wall_ns, reason, location, protocol, packet))

    def _receive(self, time_ns: int, raw: bytes) -> None:
        address, length, name = (read(raw, at)[0] for read, at in self._packet_fields)
        begin, size = name & 0xFFFF, name >> 16  # __data_loc
        if len(self._packets) > _MAX_PACKETS:
            self._packets.clear()
        device = raw[begin : begin + size].split(b"\0")[0].decode("utf-8", "backslashreplace")
        self._packets[address] = time_ns, length, device

    def _lost(self) -> int:
        return sum(ring.lost() for ring in self._rings.values())

    def _reason(self, number: int) -> str:
        return self._dropped.names.get(number, str(number))

    def _open(self) -> None:
        """Open the rings if they are not. Raises BrokerError."""
        if self._rings:
            return
        try:
            self._open_rings()
            self._budget.reserve(perf.RING_BYTES * len(self._rings))
        except (BrokerError, OSError) as error:
            while self._rings:
                os.close(self._rings.popitem()[1].fd)
            if isinstance(error, BrokerError):
                raise
            raise perf.refused(error) from error
        for ring in self._rings.values():
            self._selector.register(ring.fd, EVENT_READ, self._read)
        self._since_ns = time.time_ns()

    def _open_rings(self) -> None:
        events = "skb/kfree_skb", "net/netif_receive_skb", "net/net_dev_start_xmit"
        self._dropped, self._received, self._sent = perf.tracepoints(*events)
        (self._sent_field,) = _readers(self._sent, ("skbaddr",))
        self._fields = _readers(self._dropped, ("skbaddr", "location", "protocol", "reason"))
        self._packet_fields = _readers(self._received, ("skbaddr", "len", "name"))
        others = [number for number, name in self._dropped.names.items() if name == _NOT_OURS]
        accepts = " && ".join(("protocol != 0", *(f"reason != {number}" for number in others)))
        for cpu in range(os.cpu_count() or 1):
            try:
                self._rings[cpu] = perf.Ring(perf.open_event(self._dropped, cpu, accepts))
            except OSError as error:
                if error.errno != errno.ENODEV:  # the CPU is offline
                    raise


def _readers(tracepoint: perf.Tracepoint, names: Sequence[str]) -> list[tuple[Callable[[bytes, int], tuple[int]], int]]:
    """Return a function and an offset for each field. Raises BrokerError for a kernel whose tracepoint lacks one."""
    missing = [name for name in names if name not in tracepoint.fields]
    if missing:
        raise BrokerError(f"this kernel's drops have no {missing[0]}", "Linux 6.0 and later have it")
    return [(_UNSIGNED[size], at) for at, size in (tracepoint.fields[name] for name in names)]


_UNSIGNED = {size: Struct(f"={code}").unpack_from for size, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}


class _Symbols:
    """The names of the kernel's functions. Without the right to them, none is known."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._names: dict[int, str] = {}

    def named(self, addresses: set[int]) -> dict[int, str]:
        """Return the name of the function that each address is in, `-` where it is not known."""
        new = addresses - self._names.keys()
        if new:
            self._names |= dict.fromkeys(new, _ABSENT) | self._looked_up(new)
        return self._names

    def _looked_up(self, addresses: Iterable[int]) -> dict[int, str]:
        """Return the names of those that are found."""
        if self._fd is None:
            return {}
        os.lseek(self._fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._fd), "rb") as file:
            symbols = sorted(file.read().splitlines())  # `ffffffff81000000 T _text`, and of modules a name
        found = {}
        for address in addresses:
            at = bisect_right(symbols, b"%016x~" % address)
            begin, _, name = symbols[at - 1].split()[:3] if at else (b"0", b"", b"")
            if int(begin, 16):  # 0: they are hidden
                found[address] = name.decode("ascii", "replace").split(".")[0]
        return found
