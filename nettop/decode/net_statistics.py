"""The /proc statistics of a namespace: SNMP and TCP counters, per-CPU softnet, queues and logs of nfnetlink.

They come in one TextKind.NET_STATISTICS text: blocks that begin with a line such as `== /proc/net/snmp`. Malformed
lines are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

_MAX_LINES = 20_000  # of one text: a host has a few hundred (one for each CPU and queue)
_MAX_CPUS = 8192  # the highest CONFIG_NR_CPUS
_MAX_DIGITS = 20  # of a 64-bit number


@dataclass(frozen=True, slots=True)
class SoftnetCpu:
    """A line of /proc/net/softnet_stat (net/core/net-procfs.c, softnet_seq_show): 32-bit counters since boot."""

    cpu: int
    processed: int
    dropped: int
    time_squeeze: int
    received_rps: int | None = None
    flow_limit: int | None = None
    backlog: int | None = None  # packets waiting now


@dataclass(frozen=True, slots=True)
class NfQueue:
    """A line of /proc/net/netfilter/nfnetlink_queue (net/netfilter/nfnetlink_queue.c, seq_show)."""

    number: int
    portid: int  # netlink port id of the program that reads it
    waiting: int  # packets still without a verdict
    copy_mode: int
    copy_range: int
    dropped: int  # the queue was full, or nothing read it
    user_dropped: int  # the program's socket buffer was full
    sequence: int  # id of the last packet, which is the number of packets so far


@dataclass(frozen=True, slots=True)
class NfLogGroup:
    """A line of /proc/net/netfilter/nfnetlink_log (net/netfilter/nfnetlink_log.c, seq_show)."""

    group: int
    portid: int
    waiting: int  # records collected for the next message
    copy_mode: int
    copy_range: int
    flush_timeout: int  # hundredths of a second


@dataclass(slots=True)
class NetStatistics:
    """The statistics of one text. Counters have nstat's names: IpInDiscards, TcpExtListenDrops, Udp6NoPorts."""

    ts_ns: int
    counters: dict[str, int] = field(default_factory=dict)
    softnet: list[SoftnetCpu] = field(default_factory=list)
    queues: list[NfQueue] | None = None  # None: this kernel, or this text, has no such file
    logs: list[NfLogGroup] | None = None


def decode_net_statistics(body: bytes, ts_ns: int) -> NetStatistics:
    """Decode the text of that time (ns since the epoch). Never raises. Unknown files are skipped."""
    found = NetStatistics(ts_ns)
    for name, lines in _blocks(body):
        read = _FILES.get(name)
        if read is not None:
            read(lines, found)
    return found


def _blocks(body: bytes) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", list[str]()
    text = body.decode("ascii", "replace")
    for line in islice(text.split("\n"), _MAX_LINES):
        if line.startswith("== "):
            yield name, lines
            name, lines = line[3:].strip().rpartition("/")[2], []
        elif line.strip():
            lines.append(line)
    yield name, lines


def _pairs(lines: list[str], found: NetStatistics) -> None:
    """Read two lines for each protocol: `Ip: names…`, `Ip: values…`."""
    heads = iter(lines)
    for head in heads:
        proto, _, names = head.partition(":")
        owner, _, values = next(heads, "").partition(":")
        words, numbers = names.split(), [_decimal(value) for value in values.split()]
        if proto == owner and len(words) == len(numbers):
            counters = {proto + word: number for word, number in zip(words, numbers, strict=True) if number is not None}
            found.counters |= counters


def _snmp6(lines: list[str], found: NetStatistics) -> None:
    """Read lines with one counter each: `Ip6InDiscards 0`."""
    for line in lines:
        name, _, value = line.partition(" ") if "\t" not in line else line.partition("\t")
        number = _decimal(value.strip())
        if number is not None:
            found.counters[name.strip()] = number


def _softnet(lines: list[str], found: NetStatistics) -> None:
    """Read lines of hexadecimal numbers. The CPU's number is the 13th on newer kernels. Offline CPUs have no line."""
    for at, line in enumerate(lines):
        words = [_hexadecimal(word) for word in line.split()]
        known = [word for word in words if word is not None]
        more = known + [None] * (13 - len(known))
        cpu = at if more[12] is None else more[12]
        if 3 <= len(known) == len(words) and cpu < _MAX_CPUS:
            found.softnet.append(SoftnetCpu(cpu, known[0], known[1], known[2], more[9], more[10], more[11]))


def _queues(lines: list[str], found: NetStatistics) -> None:
    found.queues = [NfQueue(*words[:8]) for words in _rows(lines, 8)]


def _logs(lines: list[str], found: NetStatistics) -> None:
    found.logs = [NfLogGroup(*words[:6]) for words in _rows(lines, 6)]


def _rows(lines: list[str], min_columns: int) -> Iterator[list[int]]:
    for line in lines:
        words = [_decimal(word) for word in line.split()]
        known = [word for word in words if word is not None]
        if min_columns <= len(known) == len(words):
            yield known


def _decimal(word: str) -> int | None:
    """Return a decimal number of at most _MAX_DIGITS; None for any other word, also a negative one (Tcp MaxConn)."""
    return int(word) if word.isdecimal() and word.isascii() and len(word) <= _MAX_DIGITS else None


def _hexadecimal(word: str) -> int | None:
    if not 0 < len(word) <= 8 or not set(word) <= _HEXADECIMAL:
        return None
    return int(word, 16)


_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_FILES: dict[str, Callable[[list[str], NetStatistics], None]] = {
    "snmp": _pairs,
    "netstat": _pairs,
    "snmp6": _snmp6,
    "softnet_stat": _softnet,
    "nfnetlink_queue": _queues,
    "nfnetlink_log": _logs,
}
