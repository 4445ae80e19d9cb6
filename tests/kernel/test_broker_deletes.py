"""Deleting flows: exactly those named, of every protocol and zone, held to what conntrack lists afterwards."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.requests import DeleteFlows, FlowKey
from nettop.broker.start import start
from nettop.errors import BrokerError, NotPermitted
from nettop.linux.netlink import NETLINK_NETFILTER
from tests.kernel.app import message_types
from tests.kernel.live import sysctl
from tests.kernel.namespaces import Lab, keep_flows, run_in
from tests.kernel.test_broker_privileges import add_flows
from tests.kernel.test_broker_sockets import taken

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

ENDS = {2: ("10.0.0.1", "10.0.0.2"), 10: ("fd00::1", "fd00::2")}
ESTABLISHED = "--state ESTABLISHED"
CASES: list[tuple[int, str, int, int, int]] = [  # protocol, how conntrack is told, sport, dport, zone
    (6, f"-p tcp --sport 1 --dport 65535 {ESTABLISHED}", 1, 65535, 0),
    (17, "-p udp --sport 53 --dport 53", 53, 53, 0),
    (132, f"-p sctp --sport 5 --dport 6 --orig-vtag 1 --reply-vtag 2 {ESTABLISHED}", 5, 6, 0),
    (136, "-p udplite --sport 7 --dport 8", 7, 8, 0),
    (47, "-p gre --srckey 9 --dstkey 10", 9, 10, 0),
    (89, "-p 89", 0, 0, 0),
    (6, f"-p tcp --sport 15 --dport 2 {ESTABLISHED} --zone 7", 15, 2, 7),
    (6, f"-p tcp --sport 16 --dport 2 {ESTABLISHED} --orig-zone 8", 16, 2, 8),
    (6, f"-p tcp --sport 17 --dport 2 {ESTABLISHED} --reply-zone 9", 17, 2, 0),
]
PINGS = {
    2: (1, "-p icmp --icmp-type 8 --icmp-code 0 --icmp-id 13", 13, 8 << 8, 0),
    10: (58, "-p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 14", 14, 128 << 8, 0),
}
ALL = [(family, *case) for family, ping in PINGS.items() for case in (*CASES, ping)]


def insert(ns: str, family: int, words: str) -> None:
    src, dst = ENDS[family]
    run_in(ns, "conntrack", "-I", "-s", src, "-d", dst, *words.split(), "-t", "300")


def keys_of(rows: Iterable[tuple[int, int, str, int, int, int]]) -> list[FlowKey]:
    return [FlowKey(fam, proto, zone, *ENDS[fam], sport, dport, None) for fam, proto, _, sport, dport, zone in rows]


def lines(ns: str) -> list[str]:
    """The table as conntrack lists it, without what changes by the second."""
    both = [line for family in ("ipv4", "ipv6") for line in run_in(ns, "conntrack", "-L", "-f", family).splitlines()]
    return sorted(re.sub(r"^(\S+ +\d+) \d+", r"\1", line) for line in both)


def udp(number: int, ident: int | None = None) -> FlowKey:
    return FlowKey(2, 17, 0, "10.0.0.1", "10.0.0.2", 1000 + number, 53, ident)


@pytest.mark.parametrize("number", range(len(ALL)), ids=[f"{row[0]} {row[2]}" for row in ALL])
def test_one_flow_of_any_kind_is_deleted_and_all_others_stay(broker: Broker, lab: Lab, number: int) -> None:
    ns = lab.netns()
    for family, _, words, *_ in ALL:
        insert(ns, family, words)
    before = lines(ns)
    assert len(before) == len(ALL)
    handle = broker.netns(ns)
    key = keys_of([ALL[number]])
    assert broker.delete_flows(handle, key) == (1, 0)
    left = lines(ns)
    assert len(left) == len(before) - 1 and set(left) < set(before)
    assert broker.delete_flows(handle, key) == (0, 1)
    insert(ns, ALL[number][0], ALL[number][2])
    assert lines(ns) == before, "what was deleted is what the key named"


def test_all_kinds_at_once(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    for family, _, words, *_ in ALL:
        insert(ns, family, words)
    assert broker.delete_flows(broker.netns(ns), keys_of(ALL)) == (len(ALL), 0)
    assert lines(ns) == []


def test_a_later_flow_with_the_same_tuple_is_left_alone_when_the_id_is_known(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    add_flows(run_in, ns, 1)
    handle = broker.netns(ns)
    ident = int(re.findall(r" id=(\d+)", run_in(ns, "conntrack", "-L", "-o", "id"))[0])
    assert broker.delete_flows(handle, [udp(0, ident ^ 1)]) == (0, 1)
    assert len(lines(ns)) == 1
    assert broker.delete_flows(handle, [udp(0, ident)]) == (1, 0)
    assert lines(ns) == []


def test_another_zone_or_namespace_is_not_touched(broker: Broker, lab: Lab) -> None:
    here, elsewhere = lab.netns("a"), lab.netns("b")
    for ns in (here, elsewhere):
        add_flows(run_in, ns, 1)
        insert(ns, 2, "-p udp --sport 1000 --dport 53 --zone 3")
    assert broker.delete_flows(broker.netns(here), [replace(udp(0), zone=3)]) == (1, 0)
    assert len(lines(here)) == 1 and "zone=" not in lines(here)[0]
    assert len(lines(elsewhere)) == 2


def test_no_keys_delete_nothing(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    add_flows(run_in, ns, 3)
    assert broker.delete_flows(broker.netns(ns), []) == (0, 0)
    assert len(lines(ns)) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        *({"family": 0}, {"family": 7}, {"family": 10}, {"src": ""}, {"src": "fd00::1"}, {"dst": "10.0.0.2/8"}),
        *({"proto": 256}, {"zone": -1}, {"zone": 1 << 16}, {"sport": 1 << 16}, {"dport": -1}, {"id": 1 << 32}),
    ],
    ids=str,
)
def test_a_key_that_can_be_no_flow_is_refused_and_nothing_is_deleted(
    broker: Broker, lab: Lab, wrong: dict[str, Any]
) -> None:
    ns = lab.netns()
    add_flows(run_in, ns, 2)
    with pytest.raises(BrokerError, match="not on the list"):
        broker.delete_flows(broker.netns(ns), [udp(0), replace(udp(1), **wrong)])
    assert len(lines(ns)) == 2


def test_read_only_deletes_nothing(lab: Lab) -> None:
    ns = lab.netns()
    add_flows(run_in, ns, 1)
    with start("root", allowed=Options(read_only=True), confine=False) as broker:
        assert broker.read_only
        with pytest.raises(NotPermitted, match="--read-only"):
            broker.delete_flows(broker.netns(ns), [udp(0)])
    assert len(lines(ns)) == 1


def test_the_app_is_told_of_every_deletion_by_an_event(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    handle = broker.netns(ns)
    with taken(broker.netlink_socket(handle, NETLINK_NETFILTER, groups=(3,))) as ours:
        add_flows(run_in, ns, 2)
        assert broker.delete_flows(handle, [udp(0), udp(1)]) == (2, 0)
        assert [message_types(ours.recv(1 << 16)) for _ in range(2)] == [[0x102]] * 2  # IPCTNL_MSG_CT_DELETE


def test_thousands_of_flows_are_deleted_while_the_broker_goes_on_serving(
    broker: Broker, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b)
    run_in(
        b, "nft", "-f", "-", stdin="table ip t { chain c { type filter hook input priority 0; ct state new accept; }; }"
    )
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.99.0.1', 4000))\n"
        "for port in range(10000, 20000): s.sendto(b'', ('10.99.0.2', port))"
    )
    keep_flows(b)
    run_in(b, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=0")
    run_in(a, sys.executable, "-c", code)
    handle = broker.netns(b)
    there = int(sysctl(broker, handle, "net.netfilter.nf_conntrack_count"))
    assert there > 9_000
    keys = [FlowKey(2, 17, 0, "10.99.0.1", "10.99.0.2", 4000, port, None) for port in range(10_000, 20_000)]
    asks, between = broker._calls.call, list[Any]()

    def ask(request: Any, **more: Any) -> Any:
        answer = asks(request, **more)
        if isinstance(request, DeleteFlows):
            between.append(broker.devices(handle))
        return answer

    monkeypatch.setattr(broker._calls, "call", ask)
    assert broker.delete_flows(handle, keys) == (there, len(keys) - there)
    assert len(between) > 5 and all(between), "other calls are answered in between"
