"""The packets that the kernel drops, with its reasons: counted for the whole host, and one by one while a trace runs.

The tracepoint skb:kfree_skb has no device and no namespace. While a trace runs, net:netif_receive_skb names the device
and length of the packets that its namespace receives, and net:net_dev_start_xmit those that have left it again (see
passing). Numbers and offsets are those of the running kernel, whose addresses stay in this process.
"""

from __future__ import annotations

import errno
import os
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from selectors import EVENT_READ, BaseSelector
from struct import Struct

from nettop.broker.budget import Budget
from nettop.broker.tracing import passing, perf
from nettop.broker.tracing.passing import PassingPackets
from nettop.errors import BrokerError

MAX_RECORDS = 1000  # that wait for the app
# Of them of one reason and function, and of those that were not received: a flood of some must not hide others.
_MAX_ALIKE, _MAX_UNKNOWN = MAX_RECORDS // 2, MAX_RECORDS // 20
_RARE = 20  # of one reason and function between two calls
MAX_COUNTS = 1000  # reasons × functions × protocols; the protocols beyond are counted together
_OTHERS = 0  # in place of a protocol
_MAX_ADDRESSES = 50_000  # of packets that were dropped
_NOT_OURS = "OTHERHOST"  # packets to other hosts, which flood a network that mirrors or broadcasts them
# Packets that waited for the address of their next hop: their reason, or who drops them without one.
_OF_NEIGHBOURS = ("NEIGH_", "neigh_invalidate", "arp_error_report", "ndisc_error_report")
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
        self._passing: PassingPackets | None = None  # while a trace runs
        self._dropped_ns: dict[int, int] = {}  # by the packet's address, in that time
        self._alike: Counter[tuple[int, int, bool]] = Counter()  # records that wait: reason, location, is received
        self._records: deque[tuple[int, int, int, int, tuple[int, str, bool] | None]] = deque(maxlen=MAX_RECORDS)
        self._counts: Counter[tuple[int, int, int]] = Counter()  # by reason, location, protocol
        self._since_ns = self._wall_ns = 0

    def listing(self) -> bytes:
        """Return the counts so far: `since NS`, `lost N`, `REASON SYMBOL PROTOCOL COUNT`; or `missing` and why."""
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
        rows = []
        for time_ns, reason, location, protocol, found in self._records:
            words = f"{self._reason(reason)} {place[location]}"
            length, device, waited = found or (_ABSENT, _ABSENT, False)
            if waited and not any(word.startswith(_OF_NEIGHBOURS) for word in words.split()):
                length, device = _ABSENT, _ABSENT
            rows.append(f"{time_ns} {words} {protocol:#06x} {length} {device}")
        self._records.clear()
        self._alike.clear()
        if self._passing is not None:
            self._passing.renew()
        return "\n".join((f"lost {self._lost()}", *rows, "")).encode()

    def follow(self, devices: Iterable[str]) -> None:
        """Note the packets that these devices receive and send, so that a drop has a device, where that may be."""
        with suppress(BrokerError, OSError):
            self._open()
            if self._passing is None:
                self._budget.reserve(passing.RING_BYTES * len(self._rings))
                self._passing = PassingPackets(self._received, self._sent, self._selector)
            self._passing.follow(devices, self._rings)

    def unfollow(self) -> None:
        """Note no received packets: no trace runs."""
        if self._passing is not None:
            self._passing.close()
            self._passing = None
            self._budget.release(passing.RING_BYTES * len(self._rings))
        self._dropped_ns.clear()

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
        if self._passing is not None:  # after the drops: each packet was received before it was dropped
            self._passing.read()
            samples.sort()
        for time_ns, raw in samples:
            self._drop(time_ns, raw)

    def _drop(self, time_ns: int, raw: bytes) -> None:
        address, location, protocol, reason = (read(raw, at)[0] for read, at in self._fields)
        counted = reason, location, protocol
        if counted not in self._counts and len(self._counts) >= MAX_COUNTS:  # the sender chooses the protocol
            counted = reason, location, _OTHERS
        self._counts[counted] += 1
        if self._passing is None:
            return
        if len(self._dropped_ns) > _MAX_ADDRESSES:
            self._dropped_ns.clear()
        alike = self._alike[reason, location, True], self._alike[reason, location, False]
        if alike[0] >= _MAX_ALIKE or alike[1] >= _MAX_UNKNOWN:
            return
        found = self._passing.find(address, time_ns, self._dropped_ns.get(address, 0), sum(alike) < _RARE)
        self._alike[reason, location, bool(found)] += 1
        self._dropped_ns[address] = time_ns
        self._records.append((time_ns + self._wall_ns, reason, location, protocol, found))

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
        self._fields = _readers(self._dropped, ("skbaddr", "location", "protocol", "reason"))
        _readers(self._received, ("skbaddr", "len", "name"))
        _readers(self._sent, ("skbaddr",))
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
