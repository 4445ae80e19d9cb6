"""The app's only interface to the broker: typed calls with deadlines that return descriptors or small values."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from nettop.broker import requests, wire
from nettop.broker.calls import ENDED, EXIT_SECONDS, Answer, Calls
from nettop.broker.children import OUTPUT_LIMIT
from nettop.broker.confinement.own_namespace import Child
from nettop.broker.requests import (
    CaptureDevice,
    CounterName,
    DumpFilter,
    FlowKey,
    NetlinkSocket,
    Netns,
    PacketMatch,
    PacketSocket,
    ReadRequest,
    RouteQuestion,
    RuleName,
    SetName,
    SetSysctl,
    TableName,
)
from nettop.broker.topology import containers
from nettop.errors import BrokerError, NettopError, NotPermitted
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE
from nettop.text.units import listed

SLOW_CALL_SECONDS = 20.0  # the broker ends a child after 15 s and reports it


class Broker:
    """A running broker. Thread-safe; calls raise BrokerError, NotPermitted or FilterError.

    `on_gone` is called on the client's reader thread with every namespace that went away: its name or last process is
    gone, or (all that were open) the broker ended. The app then closes what it has open there.
    """

    def __init__(
        self, sock: socket.socket, hello: dict[str, Any], *, process: subprocess.Popen[bytes] | Child | None = None
    ) -> None:
        """Use a socket on which the broker has sent its hello."""
        self.on_gone: Callable[[Netns, str], None] | None = None
        self.pid = int(hello["pid"])
        self.read_only = bool(hello["read_only"])
        self.capabilities = frozenset(int(bit) for bit in hello["capabilities"])
        self._process = process
        self._lock = threading.Lock()
        self._open: dict[int, Netns] = {}
        self._calls = Calls(sock, self._on_message, self._on_end)

    @property
    def ended(self) -> bool:
        """True once the broker has ended: every call raises."""
        return self._calls.ended

    def netns(self, spec: str, again: bool = False) -> Netns:
        """Return the namespace of a spec; the same one gives the same handle again, except with `again`.

        It is "" (where the broker was started), a name in /run/netns, "pid:N", a path, or a container's name or id.
        """
        try:
            body, _ = self._calls.call(requests.GetNetns(_resolve_self(spec), again))
        except BrokerError as unknown:
            body = self._of_container(spec, again, unknown)
        return self._opened(body)

    def _opened(self, body: dict[str, Any]) -> Netns:
        netns = Netns(**body)
        with self._lock:
            self._open[netns.handle] = netns
        return netns

    def _of_container(self, word: str, again: bool, unknown: BrokerError) -> dict[str, Any]:
        """Return the answer for the namespace of a container; raises `unknown` if there is none of that name or id."""
        if isinstance(unknown, NotPermitted) or "/" in word or ":" in word or self.ended:
            raise unknown
        found = containers.specs_of(self.text(Netns(0, "", 0), TextKind.NAMESPACES), word)
        if len(found) > 1:
            raise BrokerError(f"{word!r} is several containers", f"give the id of one: {listed([*found.values()])}")
        if not found:
            raise unknown
        body, _ = self._calls.call(requests.GetNetns(next(iter(found)), again))
        return {**body, "label": word}

    def is_start_netns(self, ns: Netns) -> bool:
        """Return True for the namespace where the broker was started, by any name."""
        return ns.inode == self.netns("").inode

    def namespaces(self) -> tuple[list[str], list[int]]:
        """Return the names in /run/netns, and the inodes of the namespaces of processes, sorted.

        This is cheap, and changes when one of them comes or goes; TextKind.NAMESPACES is the whole list.
        """
        body, _ = self._calls.call(requests.ListNetns())
        return body["names"], body["inodes"]

    def leave(self, ns: Netns) -> None:
        """Close the broker's descriptors of a namespace: dump sockets, the namespace itself."""
        with self._lock:
            self._open.pop(ns.handle, None)
        self._calls.call(requests.LeaveNetns(ns.handle))

    def devices(self, ns: Netns) -> list[CaptureDevice]:
        """Return the devices of a namespace, by ifindex."""
        body, _ = self._calls.call(requests.GetDevices(ns.handle))
        return [CaptureDevice(**device) for device in body["devices"]]

    def packet_socket(
        self,
        ns: Netns,
        device: str,
        *,
        expression: str = "",
        snaplen: int = 262144,
        block_size: int = 1 << 20,
        block_count: int = 64,
    ) -> PacketSocket:
        """Return a capturing socket on a device, filtered by libpcap's `expression`. The caller closes its fd."""
        request = requests.OpenPacketSocket(ns.handle, device, expression, snaplen, block_size, block_count)
        body, fds = self._calls.call(request, seconds=SLOW_CALL_SECONDS, fds=1)
        opened = CaptureDevice(**body["device"])
        linktype, filtered = int(body["linktype"]), bool(body["filtered"])
        return PacketSocket(fds[0], opened, linktype, block_size, block_count, snaplen, filtered)

    def netlink_socket(
        self, ns: Netns, protocol: int, groups: tuple[int, ...] = (), rcvbuf: int = 8 << 20, program: bytes = b""
    ) -> NetlinkSocket:
        """Return a netlink socket in the namespace. The caller closes its fd; one without groups also needs release().

        `program` (struct sock_filter[]; it sees each message from its nlmsghdr on) is attached before the groups are
        joined. Messages it refuses are neither received nor counted as lost.
        """
        request = requests.OpenNetlinkSocket(ns.handle, protocol, tuple(groups), rcvbuf, program)
        body, fds = self._calls.call(request, fds=1)
        return NetlinkSocket(fds[0], body["socket"], protocol, ns)

    def listen(self, specs: Sequence[str], groups: tuple[int, ...], rcvbuf: int) -> list[tuple[Netns, int] | None]:
        """Open each namespace once more, with a socket of these rtnetlink groups in it.

        Return namespaces and descriptors, which the caller closes; None where one cannot be opened.
        """
        found = self._calls.each([requests.GetNetns(_resolve_self(spec), again=True) for spec in specs])
        opened = [None if isinstance(one, NettopError) else self._opened(one[0]) for one in found]
        asked = [netns for netns in opened if netns is not None]
        sockets = [requests.OpenNetlinkSocket(one.handle, NETLINK_ROUTE, groups, rcvbuf, b"") for one in asked]
        fds = dict[int, int]()
        for netns, answer in zip(asked, self._calls.each(sockets, fds=1), strict=True):
            if isinstance(answer, NettopError):
                self.leave(netns)
            else:
                fds[netns.handle] = answer[1][0]
        return [None if one is None or one.handle not in fds else (one, fds[one.handle]) for one in opened]

    def read_dumps(self, many: Sequence[tuple[Netns, Sequence[ReadRequest]]]) -> Iterator[tuple[bytes, int] | None]:
        """Yield what topology.dumps.read_dumps() returns in each namespace, and its cost in ns; None: it failed."""
        asked = [requests.ReadDumps(netns.handle, tuple(reads)) for netns, reads in many]
        yield from map(_content, self._calls.each(asked, fds=1))

    def texts(self, spaces: Sequence[Netns], kind: TextKind) -> Iterator[tuple[bytes, int] | None]:
        """Yield a text of each namespace, and the processor time in ns that it took; None: there is none."""
        asked = [requests.GetText(netns.handle, kind, "") for netns in spaces]
        yield from map(_content, self._calls.each(asked, seconds=SLOW_CALL_SECONDS, fds=1))

    def request(
        self,
        sock: NetlinkSocket,
        read: ReadRequest,
        *,
        dump_filter: DumpFilter | None = None,
        of_set: SetName | None = None,
        of_route: RouteQuestion | None = None,
        of_table: TableName | None = None,
        of: tuple[RuleName, ...] = (),
    ) -> tuple[bytes, int]:
        """Have the broker send a read on a socket without groups.

        Return the request's bytes, and the ns of the processor that it took: the kernel begins a dump in it.

        `dump_filter` is for CONNTRACK_DUMP only, `of_table` for NFT_RULES; the read of one set, of one route or of
        single rules needs `of_set`, `of_route` or `of`. The answers arrive at sock.fd. A busy socket answers a second
        dump with error -16 (EBUSY).
        """
        body, _ = self._calls.call(requests.SendRead(sock.handle, read, dump_filter, of_set, of_route, of_table, of))
        return bytes.fromhex(body["bytes"]), int(body["cost_ns"])

    def release(self, sock: NetlinkSocket) -> None:
        """Close the broker's copy of a netlink socket (the caller closes sock.fd itself)."""
        if sock.handle:
            self._calls.call(requests.ReleaseSocket(sock.handle))

    def text(self, ns: Netns, kind: TextKind) -> bytes:
        """Return a text snapshot as its tool printed it (any bytes); b"" when there is nothing of that kind."""
        return self.text_cost(ns, kind)[0]

    def text_cost(self, ns: Netns, kind: TextKind, part: str = "") -> tuple[bytes, int]:
        """Return a text snapshot, or `part` of it, and the processor time in ns that it took, with that of its tool."""
        body, fds = self._calls.call(requests.GetText(ns.handle, kind, part), seconds=SLOW_CALL_SECONDS, fds=1)
        return wire.read_memfd(fds[0], OUTPUT_LIMIT), int(body["cost_ns"])

    def open_sysctl(self, ns: Netns, name: str) -> int:
        """Return a descriptor of a sysctl ("net.netfilter.nf_conntrack_count").

        Each pread from 0 returns its current value. The caller closes it. BrokerError: there is none of that name.
        """
        _, fds = self._calls.call(requests.OpenSysctl(ns.handle, name), fds=1)
        return fds[0]

    def open_output(self, path: str) -> int:
        """Return a descriptor of the new file `path`, which belongs to the invoking user; the caller closes it."""
        _, fds = self._calls.call(requests.OpenOutput(os.path.abspath(path)), seconds=SLOW_CALL_SECONDS, fds=1)
        return fds[0]

    def resolve(self, query: requests.ResolveName) -> str | None:
        """Return the name of an address or a service; None: there is none, or no answer."""
        try:
            body, _ = self._calls.call(query, seconds=SLOW_CALL_SECONDS)
        except BrokerError:
            return None
        return str(body["name"]) or None

    def trace_log(self, ns: Netns, rcvbuf: int = 8 << 20) -> NetlinkSocket:
        """Return a socket that receives the trace records of iptables-legacy, until the next trace has ended.

        The caller closes its fd. BrokerError: another program reads them. Refused under --read-only.
        """
        _, fds = self._calls.call(requests.OpenTraceLog(ns.handle, rcvbuf), fds=1)
        return NetlinkSocket(fds[0], 0, NETLINK_NETFILTER, ns)

    def start_trace(
        self,
        ns: Netns,
        matches: tuple[PacketMatch, ...],
        *,
        per_second: int = 50,
        seconds: int = 600,
        bridge: bool = False,
        ingress: bool = False,
    ) -> tuple[int, str]:
        """Mark matching packets of a namespace for tracing. Return the trace's number and the name of its table.

        `bridge` and `ingress` mark there, too, each in a table of that name. The tables are gone after `seconds`, with
        stop_trace(), and with the broker.
        """
        body, _ = self._calls.call(requests.StartTrace(ns.handle, matches, per_second, seconds, bridge, ingress))
        return int(body["trace"]), str(body["table"])

    def stop_trace(self, trace: int) -> tuple[int, int] | None:
        """End a trace; its table is gone when this returns.

        Return how many packets it matched, and how many of them were marked: the others were over the limit. None if
        that was not read.
        """
        body, _ = self._calls.call(requests.StopTrace(trace))
        return None if body["matched"] is None else (int(body["matched"]), int(body["marked"]))

    def change(self, change: SetSysctl) -> SetSysctl:
        """Set a sysctl; return the request that undoes it. Refused with NotPermitted under --read-only."""
        body, _ = self._calls.call(change)
        return SetSysctl(change.netns, change.name, body["before"])

    def delete_flows(self, ns: Netns, keys: Sequence[FlowKey]) -> tuple[int, int]:
        """Delete conntrack entries; returns how many were deleted, and how many were gone already.

        They are sent in chunks of MAX_FLOWS, so that other calls get their turn; after an error, earlier chunks stay
        deleted. Refused with NotPermitted under --read-only.
        """
        deleted = gone = 0
        for first in range(0, len(keys), requests.MAX_FLOWS):
            chunk = tuple(keys[first : first + requests.MAX_FLOWS])
            body, _ = self._calls.call(requests.DeleteFlows(ns.handle, chunk))
            deleted, gone = deleted + body["deleted"], gone + body["gone"]
        return deleted, gone

    def reset_counter(self, ns: Netns, name: CounterName) -> None:
        """Set a named counter or quota of nftables, or an nfacct object, to zero. NotPermitted under --read-only."""
        self._calls.call(requests.ResetCounter(ns.handle, name))

    def end(self) -> None:
        """End the broker without waiting for it, as close() does; further calls raise."""
        self.on_gone = None
        self._calls.end()

    def close(self) -> None:
        """End the broker and wait for it; further calls raise."""
        self.end()
        self._calls.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        if "gone" in message:
            self._report_gone(Netns(**message["gone"]), str(message.get("why", "")))

    def _on_end(self) -> None:
        with self._lock:
            namespaces = list(self._open.values())
        for netns in namespaces:
            self._report_gone(netns, ENDED)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)

    def _report_gone(self, netns: Netns, reason: str) -> None:
        with self._lock:
            self._open.pop(netns.handle, None)
        on_gone = self.on_gone  # close() unsets it, on another thread
        if on_gone is not None:
            on_gone(netns, reason)


def _content(answer: Answer | NettopError) -> tuple[bytes, int] | None:
    if isinstance(answer, NettopError):
        return None
    body, fds = answer
    return wire.read_memfd(fds[0], OUTPUT_LIMIT), int(body["cost_ns"])


def _resolve_self(spec: str) -> str:
    """Return the spec with absolute paths: /proc/self is the app, not the broker."""
    for prefix in ("/proc/self/", "/proc/thread-self/"):
        if spec.startswith(prefix):
            return f"/proc/{os.getpid()}/{spec.removeprefix(prefix)}"
    return os.path.abspath(spec) if "/" in spec else spec
