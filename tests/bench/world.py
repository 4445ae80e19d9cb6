"""What the rows stand on: namespaces, flows, floods, files; all of it taken away, the kernel's knobs put back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tests.bench import measure
from tests.bench.traffic_file import write_traffic
from tests.kernel import hash_lock
from tests.kernel.namespaces import Lab, command_in, netlink_sockets, poll, run_in

_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")
BUCKETS = Path("/sys/module/nf_conntrack/parameters/hashsize")
_RULE = "add table inet bench\nadd chain inet bench o { type filter hook output priority 0; }\n"
_TRACK = "add rule inet bench o ct state new counter\n"  # a rule that asks for conntrack switches it on


class World:
    """Sizes and fixtures of one run. With `quick` everything is small: rows run, their figures mean little."""

    def __init__(self, quick: bool = False) -> None:
        self.quick = quick
        self.rounds = 1 if quick else 3
        self.soak_minutes = 0.0  # 0: as long as the kind of run says
        self.scratch = Path(tempfile.mkdtemp(prefix="nettop-bench-", dir="/dev/shm" if _has_shm() else None))
        self.scratch.chmod(0o777)
        self._lab = Lab()
        self._made = 0
        self._flows: tuple[int, str] | None = None
        self._knobs: tuple[str, str] | None = None

    def size(self, full: int, quick: int) -> int:
        """A size, by the kind of run."""
        return quick if self.quick else full

    def seconds(self, full: float, quick: float) -> float:
        """A duration, by the kind of run."""
        return quick if self.quick else full

    def netns(self, tracked: bool = True) -> str:
        """A namespace from which every address below 10/8 goes out on veth0 to nowhere; conntrack follows it or not."""
        self._made += 1
        ns, other = (self._lab.netns(f"bench{self._made}{side}") for side in "ab")
        for one in (ns, other):  # no packet but ours
            run_in(one, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        self._lab.veth_pair(ns, other, addresses_a=("10.0.0.1/8",), addresses_b=())
        run_in(ns, "ip", "link", "set", "veth0", "arp", "off")
        run_in(other, "ip", "link", "set", "veth0", "promisc", "on")
        run_in(ns, "nft", "-f", "-", stdin=_RULE + (_TRACK if tracked else ""))
        run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
        return ns

    def drop_netns(self, ns: str) -> None:
        """Take such a namespace away, its flows first: the kernel would do it later, at the cost of the next row."""
        if self._flows is not None and self._flows[1] == ns:
            self._flows = None
        run_in(ns, "conntrack", "-F", check=False)
        self._lab.remove(ns)

    def flows(self, count: int) -> str:
        """A namespace with this many flows that stay; the last one is kept for the next row that wants as many."""
        if self._flows is not None and self._flows[0] == count:
            return self._flows[1]
        self.clear()
        self.room_for(count)
        ns = self.netns()
        run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1800")
        self.flood(ns, count).wait()
        found = int(run_in(ns, "conntrack", "-C"))
        if found < count:
            raise RuntimeError(f"only {found} of {count} flows could be made")
        self._flows = count, ns
        return ns

    @contextmanager
    def many_namespaces(self, count: int) -> Iterator[str]:
        """So many namespaces around one, with five devices each; their hub."""
        lab = Lab()
        try:
            hub = lab.netns("hub")
            for number in range(count):
                leaf = lab.netns(f"leaf{number}")
                lines = (
                    f"link add eth0 type veth peer name v{number} netns {hub.removeprefix('pid:')}",
                    "link add p0 type veth peer name p1",
                    "link add mv0 link eth0 type macvlan mode bridge",
                    f"address add 10.{number >> 8}.{number & 255}.2/24 dev eth0",
                    "link set eth0 up",
                )
                run_in(leaf, "ip", "-batch", "-", stdin="\n".join(lines) + "\n")
            yield hub
        finally:
            lab.close()

    def clear(self) -> None:
        """No table of many flows any more: the kernel's hash is one for all namespaces."""
        if self._flows is not None:
            self.drop_netns(self._flows[1])

    def flood(self, ns: str, count: int, rate: float = 0, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Packets, each a new flow, sent by a process of its own; `flood_rate` reads what it prints."""
        self.room_for(count)
        argv = [sys.executable, "-m", "tests.flood", str(count), *([str(rate)] if rate else [])]
        return measure.started(command_in(ns, *argv), stdout=stdout)

    def capture_file(self, packets: int) -> Path:
        """A pcap of mixed packets, made once a run."""
        path = self.scratch / f"traffic-{packets}.pcap"
        if not path.exists():
            write_traffic(path, packets)
        return path

    def close(self) -> None:
        """Take everything away."""
        try:
            self.clear()
            self._lab.close()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
            if self._knobs is not None:
                with self._resizing():
                    _MAX.write_text(self._knobs[0])
                    BUCKETS.write_text(self._knobs[1])

    def room_for(self, flows: int) -> None:
        """Raise the host's limits where this many flows do not fit; close() puts them back."""
        if self._knobs is not None or flows < int(_MAX.read_text()) // 2:
            return
        with self._resizing():
            self._knobs = _MAX.read_text().strip(), BUCKETS.read_text().strip()
            BUCKETS.write_text(str(1 << 20))
            _MAX.write_text(str(4_000_000))

    def _resizing(self) -> AbstractContextManager[None]:
        """Not while a test on this host needs the hash. A test runs the quick rows, and would wait for itself."""
        return nullcontext() if self.quick else hash_lock.held(exclusive=True)


@contextmanager
def world(quick: bool) -> Iterator[World]:
    """A World, closed at the end."""
    made = World(quick)
    try:
        yield made
    finally:
        made.close()


def flood_rate(printed: bytes) -> float:
    """Packets a second, as tests.flood says at its end."""
    found = re.search(rb"= (\d+)/s", printed)
    if found is None:
        raise RuntimeError(f"the flood ended early: {printed!r}")
    return float(found[1])


def wait_for_listener(ns: str) -> None:
    """Until somebody listens to conntrack events in the namespace."""
    poll(lambda: _listeners(ns), 20, "a listener to conntrack events")


def wait_until_read(ns: str) -> None:
    """Until no listener has anything waiting in its socket."""
    poll(lambda: not any(waiting for waiting in _listeners(ns)), 60, "listeners to have read everything")


def wait_for_capture(ns: str) -> None:
    """Until a packet socket stands in the namespace."""
    poll(lambda: len(run_in(ns, "cat", "/proc/net/packet").splitlines()) > 1, 20, "a capture")


def _listeners(ns: str) -> list[int]:
    """Bytes that wait in each netfilter netlink socket that joined groups (/proc/net/netlink: Eth 12, Groups, Rmem)."""
    rows = netlink_sockets(ns)
    return [int(row[4]) for row in rows if row[1] == "12" and int(row[3], 16) & 0b111]


def _has_shm() -> bool:
    return os.access("/dev/shm", os.W_OK)
