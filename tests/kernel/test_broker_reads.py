"""Reads with more to them: filtered dumps, one set's elements, rtnetlink, and filters on event sockets."""

from __future__ import annotations

import os
import re
import socket
import struct
from dataclasses import replace
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.nfnetlink.nftsocket import nft_set_elem_list_msg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from nettop.batch import Batch, Counter64
from nettop.broker.client import Broker
from nettop.broker.identity import can_change_ids
from nettop.broker.requests import DumpFilter, Netns, ReadRequest, RuleName, SetName, TableName
from nettop.decode.nftables.decoder import NftDecoder
from nettop.errors import BrokerError
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE
from nettop.sources.exchange import Exchange, Round, ScopedRead
from nettop.sources.netlink import Receiver
from tests.kernel.app import ROUTE_DUMPS, message_types
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.processes import App
from tests.kernel.test_broker_sockets import taken

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

SEEN_REPLY, ASSURED = 0x2, 0x4  # linux/netfilter/nf_conntrack_common.h IPS_*
FLOWS = """
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 1 --dport 53
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 2 --dport 53 --mark 0x10
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 3 --dport 53 --mark 0x1f
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 4 --dport 53 --zone 7
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 5 --dport 53 --zone 8 --mark 0x10
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 6 --dport 53 --status ASSURED
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 7 --dport 53 --status SEEN_REPLY
-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 8 --dport 53 --status SEEN_REPLY,ASSURED --mark 0x10
-s fd00::1 -d fd00::2 -p udp --sport 9 --dport 53
-s fd00::1 -d fd00::2 -p udp --sport 10 --dport 53 --status SEEN_REPLY --mark 0x10
"""


def parts(ours: socket.socket) -> list[bytes]:
    """The messages of one dump, without its end."""
    found: list[bytes] = []
    while True:
        datagram, at = ours.recv(1 << 17), 0
        while at < len(datagram):
            length, kind = struct.unpack_from("=IH", datagram, at)
            if kind == 3:  # NLMSG_DONE
                return found
            assert kind != 2, struct.unpack_from("=i", datagram, at + 16)  # NLMSG_ERROR
            found.append(datagram[at : at + length])
            at += length + 3 & ~3


def dumped(broker: Broker, ns: Netns, dump_filter: DumpFilter | None) -> set[int]:
    """The source ports of the flows in a dump."""
    sock = broker.netlink_socket(ns, NETLINK_NETFILTER)
    with taken(sock) as ours:
        broker.request(sock, ReadRequest.CONNTRACK_DUMP, dump_filter=dump_filter)
        messages = parts(ours)
    broker.release(sock)
    tuples = [
        re.search(rb"\x06\x00\x02\x00(..)\x00\x00\x06\x00\x03\x00\x00\x35", message, re.DOTALL) for message in messages
    ]
    return {int.from_bytes(found[1], "big") for found in tuples if found}


def listed(ns: str, *options: str) -> set[int]:
    """The source ports conntrack -L gives."""
    both = [run_in(ns, "conntrack", "-L", "-f", family, *options) for family in ("ipv4", "ipv6")]
    return {int(port) for text in both for port in re.findall(r"sport=(\d+) dport=53", text)}


@pytest.fixture
def marked(lab: Lab) -> str:
    """A namespace with FLOWS in it."""
    ns = lab.netns()
    for words in FLOWS.strip().splitlines():
        run_in(ns, "conntrack", "-I", *words.split(), "-t", "300")
    return ns


@pytest.mark.parametrize(
    ("dump_filter", "expected", "options"),
    [
        (None, set(range(1, 11)), ()),
        (DumpFilter(), set(range(1, 11)), ()),
        (DumpFilter(family=2), set(range(1, 9)), None),
        (DumpFilter(family=10), {9, 10}, None),
        (DumpFilter(mark=0x10), {2, 5, 8, 10}, ("--mark", "0x10")),
        (DumpFilter(mark=0x10, mark_mask=0x10), {2, 3, 5, 8, 10}, ("--mark", "0x10/0x10")),
        (DumpFilter(mark=0), {1, 4, 6, 7, 9}, ("--mark", "0")),
        (DumpFilter(zone=7), {4}, ("--zone", "7")),
        (DumpFilter(zone=0), {1, 2, 3, 6, 7, 8, 9, 10}, ("--zone", "0")),
        (DumpFilter(zone=8, mark=0x10), {5}, ("--zone", "8", "--mark", "0x10")),
        (DumpFilter(status=ASSURED), {6, 8}, ("--status", "ASSURED")),
        (DumpFilter(status=SEEN_REPLY), {7, 8, 10}, ("--status", "SEEN_REPLY")),
        (DumpFilter(status=SEEN_REPLY | ASSURED), {8}, None),
        (DumpFilter(status=0, status_mask=SEEN_REPLY), {1, 2, 3, 4, 5, 6, 9}, ("--status", "UNREPLIED")),
        (DumpFilter(status=SEEN_REPLY, status_mask=SEEN_REPLY | ASSURED), {7, 10}, None),
        (DumpFilter(family=10, status=SEEN_REPLY, mark=0x10), {10}, None),
    ],
    ids=str,
)
def test_a_filtered_dump_has_what_conntrack_lists_with_the_same_options(
    broker: Broker, marked: str, dump_filter: DumpFilter | None, expected: set[int], options: tuple[str, ...] | None
) -> None:
    assert dumped(broker, broker.netns(marked), dump_filter) == expected
    if options is not None:
        assert listed(marked, *options) == expected


@pytest.mark.parametrize(
    "wrong",
    [{"family": -1}, {"family": 256}, {"zone": 1 << 16}, {"zone": -1}, {"mark": 1 << 32}, {"status": -1}],
    ids=str,
)
def test_numbers_that_fit_no_attribute_are_refused(broker: Broker, wrong: dict[str, int]) -> None:
    sock = broker.netlink_socket(broker.netns(""), NETLINK_NETFILTER)
    with pytest.raises(BrokerError, match="not on the list"):
        broker.request(sock, ReadRequest.CONNTRACK_DUMP, dump_filter=replace(DumpFilter(), **wrong))
    os.close(sock.fd)


@pytest.mark.parametrize(
    ("protocol", "what", "dump_filter", "of_set"),
    [
        (NETLINK_ROUTE, ReadRequest.CONNTRACK_DUMP, None, None),
        (NETLINK_NETFILTER, ReadRequest.RTNL_LINKS, None, None),
        (NETLINK_NETFILTER, ReadRequest.NFT_RULES, DumpFilter(mark=1), None),
        (NETLINK_NETFILTER, ReadRequest.CONNTRACK_DUMP, None, SetName(2, "t", "s")),
        (NETLINK_NETFILTER, ReadRequest.NFT_SET_ELEMENTS, None, None),
        (NETLINK_NETFILTER, ReadRequest.NFT_SET_ELEMENTS, None, SetName(2, "t", "")),
        (NETLINK_NETFILTER, ReadRequest.NFT_SET_ELEMENTS, None, SetName(2, "t", "a\0b")),
        (NETLINK_NETFILTER, ReadRequest.NFT_SET_ELEMENTS, None, SetName(2, "t", "é" * 128)),
        (NETLINK_NETFILTER, ReadRequest.NFT_SET_ELEMENTS, None, SetName(2, "t", "\ud800")),
    ],
)
def test_reads_that_make_no_sense_are_refused(
    broker: Broker, protocol: int, what: ReadRequest, dump_filter: DumpFilter | None, of_set: SetName | None
) -> None:
    sock = broker.netlink_socket(broker.netns(""), protocol)
    with pytest.raises(BrokerError, match="not on the list"):
        broker.request(sock, what, dump_filter=dump_filter, of_set=of_set)
    assert broker.request(sock, ReadRequest.RTNL_LINKS if protocol == NETLINK_ROUTE else ReadRequest.NFT_TABLES)[0]
    os.close(sock.fd)


@pytest.mark.parametrize(
    ("what", "scope"),
    [
        (ReadRequest.NFT_CHAINS, {"of_table": TableName(2, "t")}),
        (ReadRequest.NFT_RULES, {"of_table": TableName(2, "")}),
        (ReadRequest.NFT_RULES, {"of_table": TableName(256, "t")}),
        (ReadRequest.NFT_RULES, {"of_table": TableName(2, "t" * 256)}),
        (ReadRequest.NFT_RULES, {"of": (RuleName(2, "t", "c", 1),)}),
        (ReadRequest.NFT_RULE, {}),
        (ReadRequest.NFT_RULE, {"of": (RuleName(2, "t", "", 1),)}),
        (ReadRequest.NFT_RULE, {"of": (RuleName(2, "t", "c", -1),)}),
        (ReadRequest.NFT_RULE, {"of": (RuleName(2, "t", "c", 1 << 64),)}),
        (ReadRequest.NFT_RULE, {"of": tuple(RuleName(2, "t", "c", handle) for handle in range(300))}),
    ],
)
def test_rules_that_cannot_be_named_are_refused(broker: Broker, what: ReadRequest, scope: dict[str, Any]) -> None:
    sock = broker.netlink_socket(broker.netns(""), NETLINK_NETFILTER)
    with pytest.raises(BrokerError, match="not on the list"):
        broker.request(sock, what, **scope)
    os.close(sock.fd)


def test_the_rules_of_one_table_and_single_ones_are_those_that_nft_lists(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    tables = "".join(f"add table ip {name}\nadd chain ip {name} c\n" for name in ("t", "other"))
    run_in(ns, "nft", "-f", "-", stdin=tables)
    for first in range(1, 1_001, 250):  # the buffers of a user namespace are small
        both = "add rule ip t c tcp dport {} counter\nadd rule ip other c drop\n"
        run_in(ns, "nft", "-f", "-", stdin="".join(both.format(port) for port in range(first, first + 250)))
    handle = broker.netns(ns)
    listed = [
        int(found)
        for found in re.findall(r"# handle (\d+)$", run_in(ns, "nft", "-a", "list", "chain", "ip", "t", "c"), re.M)
    ]
    of_table = rule_handles(broker, handle, ReadRequest.NFT_RULES, of_table=TableName(2, "t"))
    assert of_table == listed[1:], "the first is the handle of the chain"
    asked = [listed[at] for at in (500, 3, 999)]
    run_in(ns, "nft", "delete", "rule", "ip", "t", "c", "handle", str(asked[-1]))
    named = tuple(RuleName(2, "t", "c", one) for one in asked)
    assert rule_handles(broker, handle, ReadRequest.NFT_RULE, of=named) == asked[:2], "the last one is gone"
    assert rule_handles(broker, handle, ReadRequest.NFT_RULES, of_table=TableName(10, "t")) == []


def rule_handles(broker: Broker, ns: Netns, what: ReadRequest, **scope: Any) -> list[int]:
    """The handles of the rules in the answers, which end as a source's do."""
    sock = broker.netlink_socket(ns, NETLINK_NETFILTER)
    receiver = Receiver(1, sock, Counter64())
    exchange = Exchange(1, broker, sock, receiver, Counter64())
    items = exchange.begin(Round("rules", (ScopedRead(what, **scope),)))
    poll(lambda: items.extend(exchange.read(1 << 20)) or not exchange.active, what="the end of the answers")
    exchange.close()
    receiver.close()
    broker.release(sock)
    decode = NftDecoder()
    return [
        rule.handle
        for item in items
        if isinstance(item, Batch)
        for block in decode(item).blocks
        for rule in block.rules
    ]


def test_the_elements_are_those_of_the_named_set(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    many = ", ".join(f"10.0.{n // 256}.{n % 256}" for n in range(3000))
    ours = f"set s {{ type ipv4_addr; counter; elements = {{ {many} }}; }};"
    ports = "set u { type inet_service; elements = { 80 }; };"
    others = "table ip6 t { set s { type mark; }; }"
    run_in(ns, "nft", "-f", "-", stdin=f"table ip t {{ {ours} {ports} }}; {others}")
    handle = broker.netns(ns)
    found = {name: elements(broker, handle, SetName(*name)) for name in ((2, "t", "s"), (2, "t", "u"), (10, "t", "s"))}
    assert {name: len(keys) for name, keys in found.items()} == {
        (2, "t", "s"): 3000,
        (2, "t", "u"): 1,
        (10, "t", "s"): 0,
    }
    assert found[2, "t", "u"] == {(80).to_bytes(2, "big")}
    assert found[2, "t", "s"] == {bytes((10, 0, n // 256, n % 256)) for n in range(3000)}


def elements(broker: Broker, ns: Netns, of_set: SetName) -> set[bytes]:
    """The keys of a set, as pyroute2 decodes them."""
    sock = broker.netlink_socket(ns, NETLINK_NETFILTER)
    with taken(sock) as ours:
        broker.request(sock, ReadRequest.NFT_SET_ELEMENTS, of_set=of_set)
        messages = parts(ours)
    broker.release(sock)
    keys = set()
    for message in messages:
        decoded = nft_set_elem_list_msg(message)
        decoded.decode()
        for element in decoded.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS") or ():
            keys.add(element.get_nested("NFTA_SET_ELEM_KEY", "NFTA_DATA_VALUE"))
    return keys


def test_a_set_that_is_not_there_is_an_error_of_the_kernel(broker: Broker, lab: Lab) -> None:
    sock = broker.netlink_socket(broker.netns(lab.netns()), NETLINK_NETFILTER)
    with taken(sock) as ours:
        broker.request(sock, ReadRequest.NFT_SET_ELEMENTS, of_set=SetName(2, "no", "such"))
        datagram = ours.recv(1 << 16)
    kind, number = struct.unpack_from("=4xH10xi", datagram)
    assert (kind in (2, 3), number) == (True, -2)  # ENOENT


def test_rtnetlink_reads_give_the_links_addresses_and_routes_of_the_namespace(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b, addresses_a=("10.99.0.1/24", "fd99::1/64"))
    run_in(a, "sh", "-c", "for n in $(seq 0 255); do echo route add 10.$n.0.0/16 via 10.99.0.2; done | ip -batch -")
    run_in(a, "ip", "route", "add", "10.1.2.3/32", "dev", "veth0", "table", "77")
    handle = broker.netns(a)
    links = [decoded(ifinfmsg, part) for part in read(broker, handle, ReadRequest.RTNL_LINKS)]
    assert {link.get_attr("IFLA_IFNAME") for link in links} == names_in(a, "link")
    addresses = [decoded(ifaddrmsg, part) for part in read(broker, handle, ReadRequest.RTNL_ADDRESSES)]
    assert {"10.99.0.1", "fd99::1", "127.0.0.1", "::1"} <= {one.get_attr("IFA_ADDRESS") for one in addresses}

    def both() -> tuple[list[bytes], list[str]]:
        told = run_in(a, "ip", "-o", "route", "show", "table", "all").splitlines()
        return read(broker, handle, ReadRequest.RTNL_ROUTES), told

    found, _ = poll(lambda: pair if len(set(map(len, (pair := both())))) == 1 else None, what="IPv6's own have come")
    routes = [decoded(rtmsg, part) for part in found]
    assert len(routes) > 256
    assert ("10.1.2.3", 77) in {(route.get_attr("RTA_DST"), route.get_attr("RTA_TABLE")) for route in routes}


def test_an_app_without_rights_receives_these_dumps_whole(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    for ns in (a, b):  # IPv6's own routes come at their leisure
        run_in(ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    lab.veth_pair(a, b)
    routes = "for n in $(seq 0 999); do echo route add 10.$((n / 256)).$((n % 256)).0/24 via 10.99.0.2; done"
    addresses = "for n in $(seq 0 599); do echo address add 10.98.$((n / 256)).$((n % 256))/32 dev veth0; done"
    run_in(a, "sh", "-c", f"( {routes}; {addresses} ) | ip -batch -")
    many = ", ".join(f"10.0.{n // 256}.{n % 256}" for n in range(3000))
    run_in(a, "nft", "-f", "-", stdin=f"table ip t {{ set s {{ type ipv4_addr; elements = {{ {many} }}; }}; }}")
    handle = broker.netns(a)
    expected = {what.value: len(read(broker, handle, what)) for what in ROUTE_DUMPS}
    assert expected["rtnl-routes"] > 1_600 and expected["rtnl-addresses"] > 600
    with App({"netns": a, "do": ["reads"], "set": (2, "t", "s")}) as app:
        app.expect("ready")
        found = app.expect("reads")
    elements = found["counts"].pop("nft-set-elements")
    assert found["counts"] == expected
    assert elements > 1, "as many datagrams as the elements need"
    if can_change_ids():
        assert found["uids"] == [65534] * 3


def decoded(kind: type, part: bytes) -> IPRoute:
    message = kind(part)
    message.decode()
    return message


def read(broker: Broker, ns: Netns, what: ReadRequest) -> list[bytes]:
    sock = broker.netlink_socket(ns, NETLINK_ROUTE)
    with taken(sock) as ours:
        broker.request(sock, what)
        found = parts(ours)
    broker.release(sock)
    return found


def names_in(ns: str, what: str) -> set[str]:
    return {line.split()[1].rstrip(":").partition("@")[0] for line in run_in(ns, "ip", "-o", what).splitlines()}


def only_type(kind: int) -> bytes:
    """cBPF: messages of that nlmsg_type only (loads are big-endian, the header is in host order)."""
    swapped = int.from_bytes(kind.to_bytes(2, "little"), "big")
    program = [(0x28, 0, 0, 4), (0x15, 0, 1, swapped), (0x06, 0, 0, 0xFFFF_FFFF), (0x06, 0, 0, 0)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def test_a_filter_on_an_event_socket_keeps_out_what_it_refuses_without_calling_it_lost(
    broker: Broker, lab: Lab
) -> None:
    ns = lab.netns()
    opened = broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER, groups=(1, 2, 3), program=only_type(0x102))
    with taken(opened) as ours:
        for port in range(20):
            ends = ("-s", "10.0.0.1", "-d", "10.0.0.2", "-p", "udp", "--sport", str(port + 1), "--dport", "53")
            run_in(ns, "conntrack", "-I", *ends, "-t", "300")
        run_in(ns, "conntrack", "-F")
        kinds = [message_types(ours.recv(1 << 16)) for _ in range(20)]
        assert kinds == [[0x102]] * 20  # IPCTNL_MSG_CT_DELETE, and no IPCTNL_MSG_CT_NEW
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1 << 16)
        meminfo = struct.unpack("=9I", ours.getsockopt(socket.SOL_SOCKET, 55, 36))  # SO_MEMINFO
        assert meminfo[8] == 0  # SK_MEMINFO_DROPS


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (b"\x06\0\0", "no BPF program"),
        (only_type(1) * 1025, "not on the list"),
        (only_type(1) * 8192, "more than 131072 bytes"),
        (struct.pack("HBBI", 0xFFFF, 0, 0, 0), "Invalid argument"),
        (struct.pack("HBBI", 0x05, 0, 0, 9), "Invalid argument"),
    ],
    ids=["cut", "long", "very long", "unknown instruction", "jump out"],
)
def test_what_is_no_program_is_refused(broker: Broker, program: bytes, says: str) -> None:
    with pytest.raises(BrokerError, match=says):
        broker.netlink_socket(broker.netns(""), NETLINK_NETFILTER, groups=(1,), program=program)
    assert broker.devices(broker.netns(""))


def test_the_longest_program_there_can_be_is_taken(broker: Broker) -> None:
    accept_all = struct.pack("HBBI", 0x06, 0, 0, 0xFFFF_FFFF)
    sock = broker.netlink_socket(broker.netns(""), NETLINK_NETFILTER, groups=(1,), program=accept_all * 4096)
    os.close(sock.fd)
