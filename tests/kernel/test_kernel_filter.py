"""The filter in the kernel: on an event socket it passes exactly what it says; on dumps no less than that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, DumpMark, Gap, Item, Stream
from nettop.broker.client import Broker
from nettop.broker.requests import DumpFilter, Netns
from nettop.columns import Columns, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.kinds import StreamKind
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.fields import FlowFields
from nettop.model.kernel_filter.pushdown import kernel_filter
from nettop.pipeline import feeds
from nettop.sources.netlink import NetlinkEvents
from tests.kernel.commands import ROOT
from tests.kernel.live import read_until, records
from tests.kernel.namespaces import Lab, run_in
from tests.unit.decode.netlink_bytes import batch

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

FLOWS = (
    "-s 10.1.0.1 -d 10.2.0.1 -p udp --sport 5 --dport 53 -m 0x101 -w 2",
    "-s 10.1.0.2 -d 10.2.0.1 -p udp --sport 53 --dport 5000 -m 0x2",
    "-s 10.1.0.2 -d 10.2.0.1 -p tcp --sport 6 --dport 443 --state ESTABLISHED --src-nat 100.100.100.1",
    "-s 10.1.0.3 -d 10.2.0.1 -p tcp --sport 7 --dport 443 --state TIME_WAIT --dst-nat 192.168.7.7:8443 -u ASSURED",
    "-s fd00::1 -d fd00::2 -p tcp --sport 5 --dport 443 --state SYN_SENT",
    "-s fd00:0:0:1::1 -d 2001:db8::1 -p udp --sport 9 --dport 443 -w 3",
    "-s 10.1.0.7 -d 10.2.0.1 -p udp --sport 11 --dport 12 --orig-zone 4",
    "-s 10.1.0.8 -d 10.2.0.1 -p udp --sport 13 --dport 14 --reply-zone 5",
    "-s 10.1.0.1 -d 10.2.0.1 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 443",
    "-s 10.1.0.1 -d 10.2.0.1 -p gre --srckey 443 --dstkey 53",
    "-s 10.1.0.1 -d 10.2.0.9 -p sctp --sport 7 --dport 53 --orig-vtag 1 --reply-vtag 2 --state ESTABLISHED",
)
TRACKED = """table ip t {
  chain o { type filter hook output priority 0; ct state new; }
}
"""
EXPRESSIONS = (
    "net 10.1.0.0/30",
    "host 100.100.100.1 or 192.168.7.7",
    "rsrc 192.168.7.7:8443",
    "net fd00::/64",
    "not ip6 and not port 53",
    "port 443 or 53",
    "portrange 5000-9000",
    "osrc port 5 or odst port 5000",
    "mark 0x1/0xff",
    "mark 0",
    "zone 2 or 3",
    "zone 4",
    "zone 5",
    "zone 0 and tcp",
    "icmp or gre",
    "tcp port (443 or 53)",
    "nat none and zone <= 2",
    "snat",
    "assured and dnat",
    "not (udp or (tcp and net 10/8))",
    "src and dst net 10",
)
# With a part that is left to us.
MIXED = (
    "port 443 and established",
    "tcp and state time_wait or syn_sent and tcp",
    "udp and event new",
    "not event destroy and net 10.1.0.0/30",
    "timeout > 50 and not icmp",
)


@contextmanager
def watching(broker: Broker, ns: Netns, program: bytes, rcvbuf: int = 8 << 20) -> Iterator[NetlinkEvents]:
    opened = broker.netlink_socket(ns, NETLINK_NETFILTER, feeds.EVENTS.groups, rcvbuf, program)
    source = NetlinkEvents(Stream(1, StreamKind.NETLINK, "conntrack"), opened, Counter64())
    try:
        yield source
    finally:
        source.close()


def parsed(expression: str, kind: str = "event") -> Filter:
    wanted = parse(expression, kind)
    assert wanted is not None
    return wanted


def shown(messages: list[bytes], wanted: Filter) -> list[bytes]:
    """The messages that the display filter takes."""
    strings = Strings()
    cols = ConntrackDecoder(strings)(batch(messages)).cols
    mask = wanted.mask(FlowFields("event", cols.data, 0, strings, lambda code: ""))
    return [messages[i] for i in np.flatnonzero(mask)]


def happen(ns: str) -> None:
    """Every flow is made, changed and destroyed."""
    for number, flow in enumerate(FLOWS):
        run_in(ns, "conntrack", "-I", *flow.split(), "-t", str(20 + 10 * number))
    run_in(ns, "conntrack", "-U", "-p", "udp", "-m", "0x1", check=False)
    for family in ("ipv4", "ipv6"):
        run_in(ns, "conntrack", "-D", "-f", family, check=False)


def test_the_socket_lets_through_what_the_words_say_and_nothing_else_and_that_is_the_filter_or_more(
    broker: Broker, lab: Lab
) -> None:
    name = lab.netns()
    ns = broker.netns(name)
    with ExitStack() as stack:
        everything = stack.enter_context(watching(broker, ns, b""))
        parts = {text: kernel_filter(parsed(text)) for text in EXPRESSIONS + MIXED}
        some = {text: stack.enter_context(watching(broker, ns, part.program)) for text, part in parts.items()}
        happen(name)
        messages = records(read_until(everything, lambda items: len(records(items)) >= 2 * len(FLOWS)))
        messages += records(everything.read(1 << 20))
        for text, source in some.items():
            kernel, _, left = parts[text].summary.removeprefix("kernel: events by ").partition("; here: ")
            assert bool(left) == (text in MIXED), text
            wanted = shown(messages, parsed(kernel.partition(", dump by ")[0]))
            assert 0 < len(wanted) < len(messages), text
            got = records(read_until(source, partial(holds, len(wanted))))
            got += records(source.read(1 << 20))
            assert got == wanted, text
            assert shown(got, parsed(text)) == shown(messages, parsed(text)) != [], text


def holds(how_many: int, items: list[Item]) -> bool:
    return len(records(items)) >= how_many


def test_what_the_filter_refuses_is_not_lost(broker: Broker, lab: Lab) -> None:
    """A buffer of a few events loses thousands without the filter; behind it nothing is missing, nothing counted."""
    name = lab.netns()
    ns = broker.netns(name)
    run_in(name, "nft", "-f", "-", stdin=TRACKED)
    run_in(name, "ip", "route", "add", "local", "10.128.0.0/9", "dev", "lo")
    program = kernel_filter(parsed("host 10.128.0.7")).program
    with watching(broker, ns, b"", 4096) as all_of_them, watching(broker, ns, program, 1 << 16) as few:
        run_in(name, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.flood", "20000")
        unfiltered = read_until(all_of_them, lambda items: lost(items) > 0)
        items = read_until(few, lambda items: len(records(items)) >= 50)
        items += few.losses()
    assert lost(unfiltered) > 10_000
    assert lost(items) == 0
    assert len(records(items)) == 50


def lost(items: list[Item]) -> int:
    return sum(item.lost or 0 for item in items if isinstance(item, Gap))


def test_expectations_pass_whatever_the_filter(broker: Broker, lab: Lab) -> None:
    name = lab.netns()
    ns = broker.netns(name)
    rules = """table ip t {
      ct helper ftp { type "ftp" protocol tcp; }
      chain o { type filter hook output priority 0; tcp dport 21 ct helper set "ftp"; }
      chain i { type filter hook input priority 0; ct state established; }
    }"""
    run_in(name, "nft", "-f", "-", stdin=rules)
    with watching(broker, ns, kernel_filter(parsed("host 203.0.113.1")).program) as source:
        run_in(name, sys.executable, "-c", PASSIVE_FTP)
        got = records(read_until(source, lambda items: bool(records(items))))
    assert {message[5] for message in got} == {2}  # NFNL_SUBSYS_CTNETLINK_EXP


PASSIVE_FTP = r"""
import socket
with socket.create_server(("127.0.0.1", 21)) as server, socket.create_connection(("127.0.0.1", 21)) as client:
    there, _ = server.accept()
    there.sendall(b"220 ready\r\n")  # the helper must have seen where a line begins
    assert client.recv(100)
    client.sendall(b"PASV\r\n")
    assert there.recv(100)
    there.sendall(b"227 Entering Passive Mode (127,0,0,1,4,1)\r\n")
    assert client.recv(100)
"""


@pytest.mark.parametrize(
    "expression",
    [
        "zone 2",
        "zone 4",
        "zone 5",
        "zone 0",
        "mark 0x1/0xff",
        "mark 0x101",
        "assured",
        "unreplied and not nat",
        "ip6",
        "not nat and zone 3",
        "snat",
    ],
)
def test_a_filtered_dump_has_every_flow_that_matches_and_fewer_others(
    broker: Broker, lab: Lab, expression: str
) -> None:
    name = lab.netns()
    ns = broker.netns(name)
    for flow in FLOWS:
        run_in(name, "conntrack", "-I", *flow.split(), "-t", "100")
    dump_filter = kernel_filter(parsed(expression, "flow")).dump
    assert dump_filter is not None
    everything, some = (dumped(broker, ns, one) for one in (None, dump_filter))
    assert len(everything) == len(FLOWS)
    assert keys(shown(some, parsed(expression))) == keys(shown(everything, parsed(expression)))
    assert len(some) < len(everything)


def dumped(broker: Broker, ns: Netns, dump_filter: DumpFilter | None) -> list[bytes]:
    """The messages of a complete dump: the hash may be resized meanwhile, and then there is another."""
    opened = broker.netlink_socket(ns, NETLINK_NETFILTER)
    feed = replace(feeds.TABLE, every_s=None, share=None)
    source = feed.dump(feed.new_stream(2, ns.label), broker, opened, Counter64(), dump_filter)
    try:
        items = read_until(source, lambda items: any(isinstance(item, DumpMark) and item.complete for item in items))
    finally:
        source.close()
    begins = [i for i, item in enumerate(items) if isinstance(item, DumpMark) and item.begin]
    return [one for item in items[begins[-1] :] if isinstance(item, Batch) for one in split(item)]


def split(item: Batch) -> list[bytes]:
    found = []
    for i in range(len(item)):
        record, at = item.record(i), 0
        while at + 16 <= len(record):
            length, kind = np.frombuffer(record, np.uint32, 1, at)[0], np.frombuffer(record, np.uint16, 1, at + 4)[0]
            if kind == 0x100:
                found.append(record[at : at + int(length)])
            at += int(length) + 3 & ~3
    return found


def keys(messages: list[bytes]) -> set[tuple[int, ...]]:
    cols: Columns = ConntrackDecoder(Strings())(batch(messages)).cols
    names = ("family", "proto", "osrc_lo", "odst_lo", "osport", "odport")
    return set(zip(*(cols[name].tolist() for name in names), strict=True)) if len(cols) else set()
