"""Namespaces, veth pairs and processes in them, made for a test and taken away after it; and the one wait loop."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from nettop.broker import privileges
from tests.kernel.rights import can_name_namespaces

T = TypeVar("T")
TRACKING = "table inet t { chain o { type filter hook output priority 0; ct state new counter; }; }"
DEADLINE_S = 30.0  # for what takes far less: a machine that is busy with other things fails no test


def poll(condition: Callable[[], T], deadline_s: float = DEADLINE_S, what: str = "") -> T:
    """The first true value of `condition`, asked every 10 ms; fails the test after `deadline_s` seconds."""
    never, end = threading.Event(), time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() >= end:
            raise AssertionError(f"not within {deadline_s} s: {what or condition}")
        never.wait(0.01)
    return value


def settled(differences: Callable[[], list[str]], deadline_s: float = DEADLINE_S) -> list[str]:
    """What is left of the differences once everything is quiet: nothing, or those of the last look."""
    last: list[str] = []

    def nothing() -> bool:
        last[:] = differences()
        return not last

    try:
        poll(nothing, deadline_s)
    except AssertionError:
        return last
    return []


def netlink_sockets(ns: str) -> list[list[str]]:
    """The rows of /proc/net/netlink (sk Eth Pid Groups Rmem …), one a socket: while the kernel's hash table grows it
    may list one twice."""
    rows = (line.split() for line in run_in(ns, "cat", "/proc/net/netlink").splitlines()[1:])
    return list({row[-1]: row for row in rows}.values())


def have_rights() -> bool:
    """Whether namespaces can be made here: as root, or inside `unshare -Urn`."""
    return privileges.NET_ADMIN in privileges.effective_capabilities()


def netns_path(ns: str) -> str:
    """The file of the namespace that a spec (as nettop takes it: name, pid:N, path, or "") names."""
    if ns.startswith("pid:"):
        return f"/proc/{ns[4:]}/ns/net"
    if not ns:
        return "/proc/self/ns/net"
    return ns if "/" in ns else f"/run/netns/{ns}"


def command_in(ns: str, *argv: str) -> list[str]:
    """`argv` as a command that runs in the namespace."""
    return ["nsenter", f"--net={netns_path(ns)}", "--", *argv]


def run_in(ns: str, *argv: str, stdin: str | None = None, check: bool = True, encoding: str = "utf-8") -> str:
    """Run a command in the namespace; returns its stdout. A failure fails the test with stderr."""
    command = command_in(ns, *argv)
    done = subprocess.run(command, input=stdin, capture_output=True, encoding=encoding, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{argv} in {ns!r}: {done.stderr}"
    return done.stdout


def add_rules(ns: str, count: int) -> None:
    """Fill the chain `c` of the table `ip t` with rules, in batches that fit an unprivileged send buffer."""
    run_in(ns, "nft", "-f", "-", stdin="add table ip t\nadd chain ip t c\n")
    for first in range(0, count, 300):
        ports = range(first, min(first + 300, count))
        rules = "".join(f"add rule ip t c tcp dport {port} counter accept\n" for port in ports)
        run_in(ns, "nft", "-f", "-", stdin=rules)


def never_answered(lab: Lab, name: str) -> str:
    """A namespace whose packets to 10/8 are tracked, go into a veth and are never answered."""
    ns, other = lab.netns(name), lab.netns(f"{name}b")
    for one in (ns, other):
        run_in(one, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    lab.veth_pair(ns, other, addresses_a=("10.0.0.1/8",), addresses_b=())
    run_in(ns, "ip", "link", "set", "veth0", "arp", "off")
    run_in(ns, "nft", "-f", "-", stdin=TRACKING)
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=600")
    return ns


def keep_flows(ns: str) -> None:
    """Flows of the namespace last ten minutes, in whatever state: none ends by itself while a test compares."""
    run_in(ns, "sh", "-c", "for f in /proc/sys/net/netfilter/nf_conntrack_*_timeout*; do echo 600 > $f; done")


class Lab:
    """What one test has made; close() takes all of it away."""

    def __init__(self) -> None:
        self.named = can_name_namespaces()
        self._names: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def netns(self, name: str = "a") -> str:
        """A new namespace with lo up; returns its spec: `nt-<pid>-<name>`, or `pid:N` where it has no name."""
        if self.named:
            spec = f"nt-{os.getpid()}-{name}"
            subprocess.run(["ip", "netns", "add", spec], check=True)
            self._names.append(spec)
        else:
            holder = self._spawn(["unshare", "--net", "sleep", "infinity"])
            poll(lambda: _inode(f"pid:{holder.pid}") != _inode(""), what="the namespace's process")
            spec = f"pid:{holder.pid}"
        run_in(spec, "ip", "link", "set", "lo", "up")
        return spec

    def remove(self, spec: str) -> None:
        """Take a namespace away before the test ends."""
        if spec in self._names:
            subprocess.run(["ip", "netns", "del", spec], check=True)
            self._names.remove(spec)
        else:
            for process in [p for p in self._processes if spec == f"pid:{p.pid}"]:
                process.kill()
                process.wait()

    def veth_pair(
        self,
        a: str,
        b: str,
        name_a: str = "veth0",
        name_b: str = "veth0",
        addresses_a: tuple[str, ...] = ("10.99.0.1/24",),
        addresses_b: tuple[str, ...] = ("10.99.0.2/24",),
    ) -> tuple[str, str]:
        """A veth pair between two namespaces, up and with addresses; returns the two device names."""
        ends = ["name", name_b, "netns", b.removeprefix("pid:")]
        run_in(a, "ip", "link", "add", name_a, "type", "veth", "peer", *ends)
        for ns, name, addresses in ((a, name_a, addresses_a), (b, name_b, addresses_b)):
            for address in addresses:
                extra = ["nodad"] if ":" in address else []
                run_in(ns, "ip", "address", "add", address, "dev", name, *extra)
            run_in(ns, "ip", "link", "set", name, "up")
        return name_a, name_b

    def spawn_in(self, ns: str, *argv: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A process in the namespace, killed when the test ends."""
        return self._spawn(command_in(ns, *argv), stdout)

    def close(self) -> None:
        """Kill the processes and delete the namespaces of this test."""
        for process in self._processes:
            process.kill()
            process.wait()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def _spawn(self, argv: list[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process


def _inode(spec: str) -> int | None:
    try:
        return os.stat(netns_path(spec)).st_ino
    except OSError:
        return None
