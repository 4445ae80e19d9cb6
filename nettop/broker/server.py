"""The broker's loop: reads typed requests from the app's socket, answers them, and closes namespaces that are gone.

One thread, so that it may move between namespaces; slow calls run in child processes (children.py).
"""

from __future__ import annotations

import math
import os
import selectors
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NoReturn

from nettop.broker import (
    children,
    names,
    netlink_changes,
    output,
    privileges,
    reads,
    request_json,
    requests,
    sockets,
    sysctls,
    texts,
    wire,
)
from nettop.broker.budget import Budget
from nettop.broker.children import Answer, AnswerDeferred, Body, ChildTask, RemoteFailure, RunningRequest, start
from nettop.broker.failures import error_fields
from nettop.broker.identity import invoker
from nettop.broker.journal import Journal
from nettop.broker.namespaces import OWN, Namespaces, listed_netns
from nettop.broker.options import Options
from nettop.broker.topology import dumps
from nettop.broker.tracing import nf_log
from nettop.broker.tracing.drops import Drops
from nettop.broker.tracing.traces import Traces
from nettop.errors import BrokerError, NotPermitted
from nettop.kinds import TextKind

COMPILE_SECONDS = 8.0  # a capture filter with a host name asks DNS
OUTPUT_SECONDS = 8.0  # a network file system may hang
SEND_SECONDS = 10  # an app that reads nothing for so long (while the buffer is full) counts as gone


@dataclass(slots=True)
class DumpSocket:
    """Our copy of a netlink socket on which the app may request dumps."""

    sock: socket.socket
    netns: int
    protocol: int


class Server:
    """Serves one app until its socket closes."""

    def __init__(
        self,
        sock: socket.socket,
        options: Options,
        served: Collection[type[Any]] = requests.ALL,
        symbols: int | None = None,
    ) -> None:
        """Answer requests of the classes `served` at the other end of `sock`. `symbols`: an open /proc/kallsyms."""
        sock.settimeout(SEND_SECONDS)
        self._sock = sock
        self._options = options
        self._namespaces = Namespaces()
        self._journal = Journal()
        self._sockets: dict[int, DumpSocket] = {}
        self._running: dict[int, RunningRequest] = {}  # by pidfd
        self._next_socket = 1
        self._sequence = int(time.time()) & 0x7FFF_FFFF
        self._alive = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ, self._on_message)
        self._selector.register(self._namespaces, selectors.EVENT_READ, self._on_owner_change)
        self._budget = Budget()
        self._drops = Drops(self._budget, self._selector, symbols)
        self._traces = Traces(self._drops)
        self._texts = texts.PROC | {TextKind.DROPS: self._drops.listing, TextKind.DROP_RECORDS: self._drops.records}
        app = wire.peer(sock)
        self._tools = texts.TOOLS | {TextKind.NAMESPACES: texts.namespaces((os.getpid(), app))}
        self._watch(app)
        self._handlers = self._table()
        self._served = frozenset(served)

    def _table(self) -> dict[type[Any], Callable[[int, Any], Answer]]:
        """Return the method that answers each class of requests."""
        return {
            requests.GetNetns: self._get_netns,
            requests.ListNetns: self._list_netns,
            requests.LeaveNetns: self._leave_netns,
            requests.GetDevices: self._get_devices,
            requests.OpenPacketSocket: self._open_packet_socket,
            requests.OpenNetlinkSocket: self._open_netlink_socket,
            requests.SendRead: self._send_read,
            requests.ReadDumps: self._read_dumps,
            requests.ReleaseSocket: self._release_socket,
            requests.GetText: self._get_text,
            requests.OpenSysctl: self._open_sysctl,
            requests.OpenOutput: self._open_output,
            requests.ResolveName: self._resolve_name,
            requests.SetSysctl: self._set_sysctl,
            requests.DeleteFlows: self._delete_flows,
            requests.ResetCounter: self._reset_counter,
            requests.OpenTraceLog: self._open_trace_log,
            requests.StartTrace: self._start_trace,
            requests.StopTrace: self._stop_trace,
        }

    def serve(self, hello: Body) -> None:
        """Say hello, then answer until the app's end closes; children that still run are ended."""
        self._send({"hello": hello})
        while self._alive:
            for key, _ in self._selector.select(self._wait_seconds()):
                key.data()
            self._kill_overdue_children()
            self._traces.expire()
            if (self._namespaces.next_look() or math.inf) <= time.monotonic():
                self._on_owner_change()
        for running in self._running.values():
            running.child.kill("the app ended")

    def _watch(self, app: int) -> None:
        """End when the app ends, even if another process holds its end of the socket."""
        if not app:  # it is in another PID namespace, whose processes end with it
            return
        try:
            self._selector.register(os.pidfd_open(app), selectors.EVENT_READ, self._end)
        except ProcessLookupError:
            self._end()

    def _end(self) -> None:
        self._alive = False

    def _on_message(self) -> None:
        try:
            received = wire.receive(self._sock, allow_fds=False)
        except BrokerError as error:
            self._refuse(0, error)
            return
        except OSError:
            received = None
        if received is None:
            self._alive = False
            return
        message = received[0]
        request_id = message.get("id")
        self._answer(request_id if type(request_id) is int else 0, message)

    def _answer(self, request_id: int, message: Body) -> None:
        try:
            request = request_json.from_json(message)
            if type(request) not in self._served:
                raise BrokerError(f"not on the list: {type(request).__name__}")
        except BrokerError as error:
            self._refuse(request_id, error)
            return
        self._reply(request_id, lambda: self._handlers[type(request)](request_id, request))

    def _reply(self, request_id: int, make: Callable[[], Answer]) -> None:
        try:
            body, fds = make()
        except AnswerDeferred:
            return
        except Exception as error:  # no request may end the broker
            fields = error.fields() if isinstance(error, RemoteFailure) else error_fields(error)
            self._send({"id": request_id, "error": fields})
            return
        try:
            self._send({"id": request_id, "body": body}, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _refuse(self, request_id: int, error: BrokerError) -> None:
        self._journal.refused(error.message)
        self._send({"id": request_id, "error": error_fields(error)})

    def _send(self, message: Body, fds: tuple[int, ...] = ()) -> None:
        try:
            wire.send(self._sock, message, fds)
        except OSError:
            self._alive = False

    # Handlers: each gets the request's id and the request, and returns the answer's body and descriptors.

    def _get_netns(self, _id: int, request: requests.GetNetns) -> Answer:
        return asdict(self._namespaces.open(request.spec, request.again)), ()

    def _leave_netns(self, _id: int, request: requests.LeaveNetns) -> Answer:
        self._close_netns(request.netns, "left")
        return {}, ()

    def _list_netns(self, _id: int, request: requests.ListNetns) -> Answer:
        return listed_netns(), ()

    def _get_devices(self, _id: int, request: requests.GetDevices) -> Answer:
        with self._namespaces.inside(request.netns):
            return {"devices": [asdict(device) for device in sockets.devices()]}, ()

    def _open_packet_socket(self, request_id: int, request: requests.OpenPacketSocket) -> Answer:
        sockets.check_packet_request(request)
        if not request.expression.strip():
            return self._packet_socket(request, b"")
        with self._namespaces.inside(request.netns):
            device = sockets.device(request.device)

        def open_filtered(memfd: int) -> Answer:
            return self._packet_socket(request, wire.read_memfd(memfd, wire.MAX_LONG))

        rights = frozenset({privileges.NET_RAW, privileges.NET_ADMIN})
        compiled = partial(sockets.write_program, device, request)
        task = ChildTask("the capture filter", compiled, self._fd(request.netns), COMPILE_SECONDS, rights)
        self._start(request_id, request.netns, task, open_filtered)

    def _packet_socket(self, request: requests.OpenPacketSocket, program: bytes) -> Answer:
        ring = request.block_size * request.block_count
        self._budget.check(ring)
        with self._namespaces.inside(request.netns):
            device = sockets.device(request.device)
            sock, filtered = sockets.packet_socket(device, request, program)
        self._budget.add(sock.fileno(), ring)
        body = {"device": asdict(device), "linktype": sockets.linktype(device), "filtered": filtered}
        return body, (sock.detach(),)

    def _open_netlink_socket(self, _id: int, request: requests.OpenNetlinkSocket) -> Answer:
        buffer = self._budget.buffer_size(request.rcvbuf)
        with self._namespaces.inside(request.netns):
            sock = sockets.netlink_socket(request, buffer)
        self._budget.add(sock.fileno(), sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        if request.groups:  # a dump never goes through an event socket: no copy is needed here
            return {"socket": 0}, (sock.detach(),)
        passed = os.dup(sock.fileno())
        handle = self._next_socket
        self._next_socket += 1
        self._sockets[handle] = DumpSocket(sock, request.netns, request.protocol)
        return {"socket": handle}, (passed,)

    def _send_read(self, _id: int, request: requests.SendRead) -> Answer:
        dump_socket = self._sockets.get(request.socket)
        if dump_socket is None:
            raise BrokerError("no such socket", "it was released, has event groups, or its namespace is gone")
        self._sequence = self._sequence + 1 & 0x7FFF_FFFF
        message = reads.read_bytes(request, dump_socket.protocol, self._sequence)
        with self._namespaces.inside(dump_socket.netns):  # some subsystems use the sender's namespace
            began = time.thread_time_ns()
            dump_socket.sock.sendto(message, (0, 0))
            cost_ns = time.thread_time_ns() - began
        return {"bytes": message.hex(), "cost_ns": cost_ns}, ()

    def _read_dumps(self, _id: int, request: requests.ReadDumps) -> Answer:
        began = time.thread_time_ns()
        with self._namespaces.inside(request.netns):
            found = dumps.read_dumps(request.reads)
        return {"cost_ns": time.thread_time_ns() - began}, (wire.sealed_memfd("nettop-dumps", found),)

    def _release_socket(self, _id: int, request: requests.ReleaseSocket) -> Answer:
        dump_socket = self._sockets.pop(request.socket, None)
        if dump_socket is not None:
            dump_socket.sock.close()
        return {}, ()

    def _get_text(self, request_id: int, request: requests.GetText) -> Answer:
        if request.what in self._texts:
            with self._namespaces.inside(request.netns):
                began = time.thread_time_ns()
                found = self._texts[request.what]()
                cost_ns = time.thread_time_ns() - began
                return {"cost_ns": cost_ns}, (wire.sealed_memfd("nettop-text", found),)
        tool = self._tools[request.what]
        with self._namespaces.inside(request.netns):
            if tool.names and not texts.has_tables(tool.names):
                return {"cost_ns": 0}, (wire.sealed_memfd("nettop-text", b""),)
        netns = None if tool.of_host else self._fd(request.netns)
        run = partial(tool.run, request.part) if request.part else tool.run
        task = ChildTask(request.what.value, run, netns, texts.SECONDS, tool.capabilities, tool.gid)
        self._start(request_id, request.netns, task, lambda memfd: ({}, (memfd,)))

    def _open_sysctl(self, _id: int, request: requests.OpenSysctl) -> Answer:
        with self._namespaces.inside(request.netns):
            return {}, (sysctls.open_to_read(request.name),)

    def _open_output(self, request_id: int, request: requests.OpenOutput) -> Answer:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def open_as_invoker() -> None:
            socket.send_fds(theirs, [b"fd"], [output.open_for_app(request.path, self._options)])

        def receive_descriptor(memfd: int) -> Answer:
            os.close(memfd)
            with ours:
                return {}, tuple(socket.recv_fds(ours, 16, 1)[1])

        task = ChildTask("open", open_as_invoker, None, OUTPUT_SECONDS, account=invoker(), channel=theirs)
        with theirs:
            self._start(request_id, OWN, task, receive_descriptor)

    def _resolve_name(self, request_id: int, request: requests.ResolveName) -> Answer:
        task = ChildTask("a name", lambda: names.print_name(request), None, names.SECONDS)

        def answer(memfd: int) -> Answer:
            return {"name": wire.read_memfd(memfd, names.MAX_NAME).decode(errors="replace")}, ()

        self._start(request_id, OWN, task, answer)

    def _set_sysctl(self, _id: int, request: requests.SetSysctl) -> Answer:
        self._check_may_change(f"{request.name} is not set")
        with self._namespaces.inside(request.netns):
            return {"before": sysctls.change(request.name, request.value)}, ()

    def _delete_flows(self, _id: int, request: requests.DeleteFlows) -> Answer:
        self._check_may_change("no flow is deleted")
        with self._namespaces.inside(request.netns):
            deleted, gone = netlink_changes.delete_flows(request.flows)
        return {"deleted": deleted, "gone": gone}, ()

    def _reset_counter(self, _id: int, request: requests.ResetCounter) -> Answer:
        self._check_may_change(f"{request.counter.name} is not set to zero")
        with self._namespaces.inside(request.netns):
            netlink_changes.reset_counter(request.counter)
        return {}, ()

    def _open_trace_log(self, _id: int, request: requests.OpenTraceLog) -> Answer:
        self._check_may_change("nothing is traced")
        buffer = self._budget.buffer_size(request.rcvbuf)
        with self._namespaces.inside(request.netns):
            sock, log = nf_log.bind(buffer), nf_log.TraceLog()
        self._traces.switch_log(request.netns, log)
        self._budget.add(sock.fileno(), sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        return {}, (sock.detach(),)

    def _start_trace(self, _id: int, request: requests.StartTrace) -> Answer:
        self._check_may_change("nothing is traced")
        with self._namespaces.inside(request.netns):
            return self._traces.start(request), ()

    def _stop_trace(self, _id: int, request: requests.StopTrace) -> Answer:
        return self._traces.stop(request.trace), ()

    def _check_may_change(self, refused: str) -> None:
        if self._options.read_only:
            raise NotPermitted(refused, "nettop runs with --read-only")

    def _fd(self, handle: int) -> int | None:
        return None if handle == OWN else self._namespaces.fd(handle)

    def _start(self, request_id: int, netns: int, task: ChildTask, make_answer: Callable[[int], Answer]) -> NoReturn:
        children.check_room([running.child for running in self._running.values()], task.name)
        child = start(task)
        self._running[child.pidfd] = RunningRequest(child, request_id, netns, make_answer)
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_child_end(child.pidfd))
        raise AnswerDeferred

    def _on_child_end(self, pidfd: int) -> None:
        running = self._running.pop(pidfd, None)
        if running is None:
            return
        self._selector.unregister(pidfd)

        def answer() -> Answer:
            body, fds = running.make_answer(running.child.outcome())
            return {**body, "cost_ns": running.child.cost_ns}, fds

        self._reply(running.id, answer)

    def _wait_seconds(self) -> float | None:
        ends = [running.child.deadline for running in self._running.values()]
        ends += [end for end in (self._traces.next_end(), self._namespaces.next_look()) if end is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _kill_overdue_children(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if running.child.deadline <= now:
                running.child.deadline, running.child.overdue = now + 1.0, running.child.overdue + 1
                running.child.kill("it took too long and was ended")

    def _on_owner_change(self) -> None:
        pids = frozenset(running.child.pid for running in self._running.values())
        for netns in self._namespaces.orphaned(pids):
            self._close_netns(netns.handle, "the namespace is gone")
            self._send({"gone": asdict(netns), "why": "the namespace is gone"})

    def _close_netns(self, handle: int, reason: str) -> None:
        for socket_handle in [key for key, dump_socket in self._sockets.items() if dump_socket.netns == handle != OWN]:
            self._sockets.pop(socket_handle).sock.close()
        for running in self._running.values():
            if running.netns == handle != OWN:
                running.child.kill(reason)
        self._traces.leave(handle)
        self._namespaces.close(handle)
