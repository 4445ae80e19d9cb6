"""A namespace of the map as it is in the kernel, read for a test."""

from __future__ import annotations

import json
from ipaddress import ip_address

from nettop.broker.client import Broker
from nettop.broker.requests import ReadRequest
from nettop.decode.rtnetlink import decode_rtnetlink
from nettop.decode.sysctls import sysctl_values
from nettop.decode.topology.objects import Device, Namespace, Neighbour, PolicyRule
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_ROUTE
from nettop.model.topology.host_map import NamespaceMap
from tests.kernel.namespaces import run_in
from tests.kernel.test_broker_reads import parts
from tests.kernel.test_broker_sockets import taken
from tests.unit.decode.netlink_bytes import batch

TABLES = {"local": 255, "main": 254, "default": 253}
STATES = {"INCOMPLETE": 1, "REACHABLE": 2, "STALE": 4, "DELAY": 8, "PROBE": 16, "FAILED": 32, "PERMANENT": 128}


def namespace_map(broker: Broker, spec: str) -> NamespaceMap:
    """Return what the map knows of a namespace, as of now."""
    ns = broker.netns(spec)
    sock = broker.netlink_socket(ns, NETLINK_ROUTE)
    found = []
    with taken(sock) as ours:
        for what in (ReadRequest.RTNL_LINKS, ReadRequest.RTNL_ADDRESSES, ReadRequest.RTNL_ROUTES):
            broker.request(sock, what)
            found.append(decode_rtnetlink(batch(parts(ours))))
    broker.release(sock)
    names = {link.name: link.ifindex for link in found[0].links}
    return NamespaceMap(
        Namespace(spec),
        {link.ifindex: Device(link) for link in found[0].links},
        tuple(found[1].addresses),
        tuple(found[2].routes),
        rules=tuple(rule for family in (2, 10) for rule in rules(spec, family)),
        neighbours=tuple(
            Neighbour(
                names[row["dev"]],
                2 if "." in row["dst"] else 10,
                int(ip_address(row["dst"])),
                bytes.fromhex(row.get("lladdr", "").replace(":", "")),
                sum(STATES[word] for word in row["state"]),
            )
            for row in json.loads(run_in(spec, "ip", "-j", "neigh"))
        ),
        sysctls=sysctl_values(broker.text(ns, TextKind.MAP_SYSCTLS)),
    )


def rules(spec: str, family: int) -> list[PolicyRule]:
    """The policy rules as `ip rule` prints them."""
    found = []
    for line in run_in(spec, "ip", "-4" if family == 2 else "-6", "rule").splitlines():
        priority, _, words = line.partition(":\t")
        *selector, action = words.replace(" lookup ", " lookup=").split()
        name = action.partition("=")[2]
        table = TABLES[name] if name in TABLES else int(name or 0)
        found.append(PolicyRule(family, int(priority), " ".join(selector), action.replace("=", " "), table))
    return found
