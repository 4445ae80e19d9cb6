"""An app in a process of its own: starts a broker as told, prints what it sees as JSON lines, ends with its stdin.

python -m tests.kernel.app '{"mode": "root", "netns": "nt-1-a", "do": ["whoami", "dump"]}'
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from typing import Any

from nettop.broker.client import Broker
from nettop.broker.options import Options, for_app
from nettop.broker.requests import NetlinkSocket, Netns, ReadRequest, SetName
from nettop.broker.start import Mode, broker_command, launch, start
from nettop.errors import NettopError
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE

ROUTE_DUMPS = [what for what in ReadRequest if what.name.startswith("RTNL") and what is not ReadRequest.RTNL_ROUTE]


def main(plan: dict[str, Any]) -> int:
    mode: Mode = plan.get("mode", "root")
    named = plan.get("write", plan.get("path", ""))
    options = for_app(read_only=plan.get("read_only", False), write=named, force=plan.get("force", False))
    try:
        broker = start_in_userns(options) if plan.get("userns") else start(mode, allowed=options)
    except NettopError as error:
        say("error", type=type(error).__name__, text=str(error), code=error.exit_code)
        return error.exit_code
    broker.on_gone = lambda netns, why: say("gone", label=netns.label, why=why)
    netns = broker.netns(plan.get("netns", ""))
    say("ready", pid=os.getpid(), broker=broker.pid)
    for what in plan.get("do", []):
        DEEDS[what](broker, netns, plan)
    sys.stdin.read()
    broker.close()
    return 0


def start_in_userns(allowed: Options | None = None, *, confine: bool = True) -> Broker:
    """A broker that is root of new user and network namespaces: needs no privileges, sees only what is in them."""
    inside = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    command = broker_command(allowed or Options())
    return launch([*inside, *command], confine=confine)


def say(what: str, **fields: object) -> None:
    os.write(1, json.dumps({"what": what, **fields}).encode() + b"\n")  # one write: two threads say things


def whoami(_broker: Broker, _netns: Netns, _plan: dict[str, Any]) -> None:
    say("whoami", uids=os.getresuid(), gids=os.getresgid(), groups=os.getgroups())


def dump(broker: Broker, netns: Netns, _plan: dict[str, Any]) -> None:
    """Receive a conntrack dump whose request the broker sent, and fail to ask for one ourselves."""
    sock = broker.netlink_socket(netns, NETLINK_NETFILTER)
    with socket.socket(fileno=os.dup(sock.fd)) as ours:
        ours.settimeout(30)
        count = count_flows(broker, sock, ours)
        try:
            ours.sendto(broker.request(sock, ReadRequest.CONNTRACK_STATS)[0], (0, 0))
        except PermissionError:
            refused = True
        else:
            refused = own_request_refused(ours)
    say("dump", flows=count, own_request_refused=refused)


def count_flows(broker: Broker, sock: NetlinkSocket, ours: socket.socket) -> int:
    broker.request(sock, ReadRequest.CONNTRACK_DUMP)
    return count_messages(ours)


def count_messages(ours: socket.socket) -> int:
    """The messages of one dump, to its end."""
    count = 0
    while True:
        for kind in message_types(ours.recv(1 << 17)):
            if kind == 3:  # NLMSG_DONE
                return count
            count += 1


def reads(broker: Broker, netns: Netns, plan: dict[str, Any]) -> None:
    """The length, in messages and bytes, of every rtnetlink dump; and of a set's elements."""
    wanted: list[tuple[int, ReadRequest, SetName | None]]
    wanted = [(NETLINK_ROUTE, what, None) for what in ROUTE_DUMPS]
    wanted += [(NETLINK_NETFILTER, ReadRequest.NFT_SET_ELEMENTS, SetName(*plan["set"]))]
    counts = {}
    for protocol, what, of_set in wanted:
        sock = broker.netlink_socket(netns, protocol)
        with socket.socket(fileno=sock.fd) as ours:
            ours.settimeout(30)
            broker.request(sock, what, of_set=of_set)
            counts[what.value] = count_messages(ours)
    say("reads", counts=counts, uids=os.getresuid())


def own_request_refused(ours: socket.socket) -> bool:
    """Whether an answer is -EPERM (the kernel says so in an NLMSG_ERROR)."""
    for _ in range(2):
        datagram = ours.recv(1 << 16)
        if datagram[4:6] == b"\2\0" and struct.unpack_from("i", datagram, 16)[0] == -1:
            return True
    return False


def message_types(datagram: bytes) -> list[int]:
    kinds, at = [], 0
    while at < len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, at)
        kinds.append(kind)
        at += (length + 3) & ~3
    return kinds


def capture(broker: Broker, netns: Netns, plan: dict[str, Any]) -> None:
    """Hold a capture of a device; a packet socket that the app may use without any privilege."""
    import mmap

    sock = broker.packet_socket(netns, plan.get("device", "lo"), expression="icmp", block_size=1 << 16, block_count=4)
    with mmap.mmap(sock.fd, sock.block_size * sock.block_count) as ring:
        say("capture", size=len(ring), linktype=sock.linktype)


def listing(broker: Broker, netns: Netns, _plan: dict[str, Any]) -> None:
    try:
        say("listing", length=len(broker.text(netns, TextKind.NFT_RULESET)))
    except NettopError as error:
        say("listing", error=str(error))


def output(broker: Broker, _netns: Netns, plan: dict[str, Any]) -> None:
    try:
        fd = broker.open_output(plan["path"])
    except NettopError as error:
        say("output", error=str(error))
    else:
        os.write(fd, b"recorded")
        os.close(fd)
        say("output", error="")


def attack(broker: Broker, netns: Netns, plan: dict[str, Any]) -> None:
    """Be hostile after the start: to the host, and to the sockets that the broker passed."""
    from tests.kernel import hostile

    events = broker.netlink_socket(netns, NETLINK_NETFILTER, groups=(1, 2, 3))
    ring = broker.packet_socket(netns, "lo", block_size=1 << 16, block_count=4)
    every = hostile.deeds(os.getppid(), plan["folder"], plan["victim"]) | hostile.deeds_on(events.fd, ring.fd)
    say("attack", outcomes={name: hostile.outcome(deed) for name, deed in every.items()})


DEEDS = {deed.__name__: deed for deed in (whoami, dump, capture, listing, output, reads, attack)}

if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
