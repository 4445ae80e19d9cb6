"""The descriptors the broker hands over: they belong to the namespace asked for, and carry what was asked."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from nettop.broker import budget
from nettop.broker.budget import MAX_SOCKETS
from nettop.broker.client import Broker
from nettop.broker.requests import NetlinkSocket, Netns, ReadRequest, RouteQuestion, RuleName, SetName
from nettop.errors import BrokerError
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE
from tests.kernel.app import count_flows, message_types
from tests.kernel.namespaces import Lab, add_rules, poll, run_in
from tests.kernel.processes import children_of, forked_broker
from tests.kernel.rights import is_host_root, small_buffers
from tests.kernel.test_broker_privileges import add_flows

pytestmark = pytest.mark.kernel

NLMSG_ERROR, NLMSG_DONE = 2, 3  # linux/netlink.h
TP_STATUS_USER = 1  # linux/if_packet.h


def taken(sock: NetlinkSocket) -> socket.socket:
    ours = socket.socket(fileno=sock.fd)
    ours.settimeout(30)
    return ours


def answers(ours: socket.socket) -> list[int]:
    """The message types up to the end of one answer."""
    kinds: list[int] = []
    while not kinds or kinds[-1] not in (NLMSG_DONE, NLMSG_ERROR):
        kinds += message_types(ours.recv(1 << 17))
        if not kinds[-1:] or len(kinds) == 1:
            break
    return kinds


def test_a_dump_holds_the_flows_of_its_namespace_only(broker: Broker, lab: Lab) -> None:
    here, elsewhere = lab.netns("a"), lab.netns("b")
    add_flows(run_in, here, 7)
    add_flows(run_in, elsewhere, 2)
    for ns, flows in ((here, 7), (elsewhere, 2)):
        sock = broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER)
        with taken(sock) as ours:
            assert count_flows(broker, sock, ours) == flows
            assert count_flows(broker, sock, ours) == flows
        broker.release(sock)


@pytest.mark.parametrize("what", list(ReadRequest), ids=lambda what: what.value)
def test_every_read_is_answered_without_an_error(broker: Broker, lab: Lab, what: ReadRequest) -> None:
    ns = lab.netns()
    table = "table ip t { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { accept; }; }"
    run_in(ns, "nft", "-f", "-", stdin=table)
    (rule,) = re.findall(r"accept # handle (\d+)", run_in(ns, "nft", "-a", "list", "table", "ip", "t"))
    protocol = NETLINK_ROUTE if what.name.startswith("RTNL") else NETLINK_NETFILTER
    if what.name.startswith("IPSET"):
        run_in(ns, sys.executable, "-c", "from pyroute2 import IPSet; IPSet().create('s', stype='hash:ip')")
    sets = {ReadRequest.NFT_SET_ELEMENTS: SetName(2, "t", "s"), ReadRequest.IPSET_ELEMENTS: SetName(0, "", "s")}
    sock = broker.netlink_socket(broker.netns(ns), protocol)
    with taken(sock) as ours:
        route = RouteQuestion(socket.AF_INET, "127.0.0.1") if what is ReadRequest.RTNL_ROUTE else None
        of = (RuleName(2, "t", "c", int(rule)),) if what is ReadRequest.NFT_RULE else ()
        request, _ = broker.request(sock, what, of_set=sets.get(what), of_route=route, of=of)
        datagram = ours.recv(1 << 17)
    assert datagram[8:12] == request[8:12], "the answer has the request's sequence number"
    assert message_types(datagram)[0] != NLMSG_ERROR


def test_a_second_dump_on_a_busy_socket_is_answered_busy(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    add_rules(ns, 3_000)
    sock = broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER)
    with taken(sock) as ours:
        broker.request(sock, ReadRequest.NFT_RULES)
        second, _ = broker.request(sock, ReadRequest.NFT_RULES)
        while True:
            datagram = ours.recv(1 << 17)
            if message_types(datagram)[0] == NLMSG_ERROR:
                break
    assert struct.unpack_from("i", datagram, 16)[0] == -16
    assert datagram[8:12] == second[8:12]


def test_events_of_the_namespace_arrive(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    with taken(broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER, groups=(1, 2, 3))) as ours:
        add_flows(run_in, ns, 1)
        assert message_types(ours.recv(1 << 16)) == [0x100]  # IPCTNL_MSG_CT_NEW of the conntrack subsystem


def test_the_receive_buffer_is_as_large_as_asked_where_allowed(broker: Broker) -> None:
    with taken(broker.netlink_socket(broker.netns(""), NETLINK_ROUTE, rcvbuf=64 << 20)) as ours:
        with open("/proc/sys/net/core/rmem_max", encoding="ascii") as file:
            allowed = int(file.read())
        got = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    root = is_host_root()
    assert got == 2 * (64 << 20 if root else min(64 << 20, allowed))


def test_released_sockets_make_room_for_others(broker: Broker) -> None:
    ns = broker.netns("")
    for _ in range(MAX_SOCKETS + 5):
        sock = broker.netlink_socket(ns, NETLINK_ROUTE)
        os.close(sock.fd)
        broker.release(sock)
    with pytest.raises(BrokerError, match="no such socket"):
        broker.request(sock, ReadRequest.CONNTRACK_DUMP)


libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def room(broker: Broker, ns: Netns) -> int:
    """The bytes of receive buffers that event sockets get, asking for 512 MiB each, before all are small."""
    held: list[int] = []
    total, size = 0, 1 << 30
    try:
        while size > 1 << 20:
            sock = broker.netlink_socket(ns, NETLINK_NETFILTER, groups=(1,), rcvbuf=512 << 20)
            held.append(sock.fd)
            with socket.socket(fileno=os.dup(sock.fd)) as ours:
                size = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            total += size
    finally:
        for fd in held:
            os.close(fd)
    return total


@small_buffers
def test_all_sockets_of_an_app_share_one_budget_which_closing_them_fills_again(broker: Broker, lab: Lab) -> None:
    here, there = broker.netns(lab.netns("a")), broker.netns(lab.netns("b"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    first = room(broker, here)
    assert 0 < first <= memory // 2
    kept = broker.netlink_socket(there, NETLINK_NETFILTER, groups=(1,), rcvbuf=512 << 20)
    assert room(broker, here) < first
    os.close(kept.fd)
    assert abs(room(broker, here) - first) < 1 << 20


@small_buffers
def test_a_socket_counts_as_long_as_it_lives_wherever_it_is_hidden(broker: Broker, lab: Lab) -> None:
    """In the queue of a socketpair no list of descriptors shows it; and its namespace may be left."""
    hideouts = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    spec = lab.netns("a")
    ns, other = broker.netns(spec), broker.netns("")
    first = room(broker, other)
    hidden = broker.netlink_socket(ns, NETLINK_NETFILTER, groups=(1,), rcvbuf=512 << 20)
    socket.send_fds(hideouts[0], [b"x"], [hidden.fd])
    os.close(hidden.fd)
    assert room(broker, other) < first
    broker.leave(ns)
    assert room(broker, other) < first
    for end in hideouts:
        end.close()
    assert abs(room(broker, other) - first) < 1 << 20


def test_a_broker_without_descriptors_loses_none_and_works_again(lab: Lab) -> None:
    """At the limit, each request fails in another place, by how many are free."""
    ns = lab.netns()
    with forked_broker(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))) as broker:
        own, there, sockets = broker.netns(""), broker.netns(ns), list[NetlinkSocket]()

        def take(count: int) -> None:
            with suppress(BrokerError):
                for _ in range(count):
                    sockets.append(broker.netlink_socket(own, NETLINK_NETFILTER))
                    os.close(sockets[-1].fd)

        def ask() -> None:
            for call in (
                lambda: broker.text(own, TextKind.NFT_RULESET),
                lambda: broker.leave(broker.netns(ns, again=True)),
                lambda: broker.read_dumps([(there, [ReadRequest.RTNL_LINKS])]),
                lambda: os.close(broker.open_output("/nowhere/x.pcapng")),
                lambda: os.close(broker.packet_socket(there, "lo", block_size=4096, block_count=1).fd),
            ):
                with suppress(BrokerError):
                    call()

        def held() -> int:
            broker.namespaces()  # it has closed what it passed before
            return len(os.listdir(f"/proc/{broker.pid}/fd"))

        before = held()
        for free in range(12):
            take(100)
            for _ in range(free):
                broker.release(sockets.pop())
            ask()
        for sock in sockets:
            broker.release(sock)
        assert held() == before
        assert not children_of(broker.pid)
        broker.text(own, TextKind.NFT_RULESET)


def test_rings_beyond_the_budget_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_half_of_memory", lambda: 64 << 20)
    with forked_broker() as broker:
        ns, held = broker.netns(""), list[int]()
        try:
            with pytest.raises(BrokerError, match="no memory for 16 MiB of ring: nettop holds 48 of the 64 MiB"):
                held.extend(broker.packet_socket(ns, "lo", block_size=1 << 20, block_count=16).fd for _ in range(200))
        finally:
            for fd in held:
                os.close(fd)
        os.close(broker.packet_socket(ns, "lo", block_size=1 << 20, block_count=16).fd)


def test_a_ring_counts_while_it_is_mapped_though_its_namespace_and_its_descriptor_are_gone(
    monkeypatch: pytest.MonkeyPatch, lab: Lab
) -> None:
    monkeypatch.setattr(budget, "_half_of_memory", lambda: 64 << 20)
    with forked_broker() as broker:
        gone, spec = list[Netns](), lab.netns("a")
        broker.on_gone = lambda netns, why: gone.append(netns)
        hidden = broker.packet_socket(broker.netns(spec), "lo", block_size=1 << 20, block_count=32)
        ring = libc.mmap(None, 32 << 20, mmap.PROT_READ, mmap.MAP_SHARED, hidden.fd, 0)
        os.close(hidden.fd)
        lab.remove(spec)
        poll(lambda: gone, what="its end")
        with pytest.raises(BrokerError, match="nettop holds 32 of the 64 MiB"):
            broker.packet_socket(broker.netns(""), "lo", block_size=1 << 20, block_count=40)
        libc.munmap(ring, 32 << 20)
        os.close(broker.packet_socket(broker.netns(""), "lo", block_size=1 << 20, block_count=40).fd)


@small_buffers
def test_a_socket_counts_while_a_thread_receives_from_it_though_nothing_lists_it(broker: Broker, lab: Lab) -> None:
    """The app closes the descriptor under its thread, and the namespace, whose lists have the socket, is deleted."""
    gone, spec, other = list[Netns](), lab.netns("a"), broker.netns("")
    broker.on_gone = lambda netns, why: gone.append(netns)
    first = room(broker, other)
    hidden = broker.netlink_socket(broker.netns(spec), NETLINK_NETFILTER, groups=(1,), rcvbuf=512 << 20)
    receives = threading.Thread(target=libc.recv, args=(hidden.fd, ctypes.create_string_buffer(1), 1, 0))
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    receives.start()
    poll(lambda: in_recv(receives, hidden.fd))
    os.close(hidden.fd)
    lab.remove(spec)
    poll(lambda: gone)
    held = room(broker, other)
    signal.pthread_kill(receives.ident or 0, signal.SIGUSR1)
    receives.join()
    signal.signal(signal.SIGUSR1, before)
    assert held < first
    assert abs(room(broker, other) - first) < 1 << 20


def in_recv(thread: threading.Thread, fd: int) -> bool:
    """Whether a thread waits in a system call whose first argument is this descriptor (proc(5), syscall)."""
    with open(f"/proc/self/task/{thread.native_id}/syscall", encoding="ascii") as file:
        return file.read().split()[1:2] == [hex(fd)]


def test_the_holder_of_a_capture_socket_cannot_change_its_filter(broker: Broker) -> None:
    with taken_packets(broker) as sock:
        for option in (26, 27):  # SO_ATTACH_FILTER, SO_DETACH_FILTER
            with pytest.raises(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", 0, 0))


def taken_packets(broker: Broker) -> socket.socket:
    packets = broker.packet_socket(broker.netns(""), "lo", expression="icmp", block_size=1 << 16, block_count=4)
    return socket.socket(fileno=packets.fd)


def test_a_ring_shows_what_passes_the_filter_and_nothing_else(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b)
    packets = broker.packet_socket(
        broker.netns(b), "veth0", expression="icmp and src 10.99.0.1", block_size=1 << 16, block_count=4
    )
    assert (packets.device.name, packets.linktype) == ("veth0", 1)
    with mmap.mmap(packets.fd, packets.block_size * packets.block_count) as ring:
        run_in(a, "ping", "-c", "3", "-i", "0.2", "-W", "2", "10.99.0.2")
        poll(lambda: frames(ring, packets.block_size) == 3, what="three echo requests in the ring")
    os.close(packets.fd)


def frames(ring: mmap.mmap, block_size: int) -> int:
    """The frames in blocks the kernel has handed over (struct tpacket_block_desc)."""
    count = 0
    for block in range(0, len(ring), block_size):
        status, packets = struct.unpack_from("=II", ring, block + 8)
        count += packets if status & TP_STATUS_USER else 0
    return count


def test_snaplen_cuts_what_is_captured(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    packets = broker.packet_socket(broker.netns(ns), "lo", snaplen=60, block_size=1 << 16, block_count=2)
    with mmap.mmap(packets.fd, packets.block_size * packets.block_count) as ring:
        run_in(ns, "ping", "-c", "1", "-s", "500", "127.0.0.1")
        poll(lambda: frames(ring, packets.block_size) > 0, what="a frame in the ring")
        first = struct.unpack_from("=I", ring, 8 + 8)[0]  # offset_to_first_pkt
        snapped, length = struct.unpack_from("=II", ring, first + 12)  # struct tpacket3_hdr
    os.close(packets.fd)
    assert (snapped, length) == (60, 542)


def test_calls_from_many_threads_get_their_own_answers(broker: Broker, netns: Callable[..., str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    specs = [netns(f"m{number}") for number in range(4)]
    inodes = {spec: broker.netns(spec).inode for spec in specs}

    def ask(spec: str) -> bool:
        ns = broker.netns(spec)
        return ns.inode == inodes[spec] and [d.name for d in broker.devices(ns)] == ["lo"]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, specs * 25))
