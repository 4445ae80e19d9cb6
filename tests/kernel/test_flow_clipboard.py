"""A flow's copied command shows, run as it is and without a shell, that flow only; its text has conntrack's flags."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from dataclasses import replace

import pytest

from nettop.batch import Counter64, DumpMark, Stream
from nettop.broker.client import Broker
from nettop.kinds import StreamKind
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.flows.clipboard import flow_text
from nettop.model.flows.table import FlowTable
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from tests.kernel.live import read_until
from tests.kernel.namespaces import Lab, keep_flows, run_in

pytestmark = pytest.mark.kernel

TRACK = "table inet t {\n chain o { type filter hook output priority -10; ct state new ct mark set 0x2a; }\n}\n"
ENDS = ("-s", "10.1.1.1", "-d", "10.1.1.2")
SIX = ("-s", "fd00::1", "-d", "fd00::2")
PORTS = ("--sport", "1", "--dport", "2")
# The same tuple in several zones, and every protocol that conntrack(8) can make an entry of.
ENTRIES = (
    ("-p", "udp", *ENDS, *PORTS),
    ("-p", "udp", *ENDS, *PORTS, "-w", "5"),
    ("-p", "udp", *ENDS, "--sport", "3", "--dport", "2", "--orig-zone", "7"),
    ("-p", "udp", *SIX, *PORTS),
    ("-p", "udp", *SIX, *PORTS, "-w", "5"),
    ("-p", "tcp", *ENDS, *PORTS, "--state", "ESTABLISHED"),
    ("-p", "tcp", *SIX, *PORTS, "--state", "SYN_SENT"),
    ("-p", "sctp", *ENDS, *PORTS, "--state", "ESTABLISHED", "--orig-vtag", "1", "--reply-vtag", "2"),
    ("-p", "udplite", *ENDS, *PORTS),
    ("-p", "gre", *ENDS, "--srckey", "3", "--dstkey", "4", "--reply-key-src", "4", "--reply-key-dst", "3"),
    ("-p", "gre", *ENDS, "--srckey", "5", "--dstkey", "6", "--reply-key-src", "6", "--reply-key-dst", "5"),
)
# What conntrack(8) cannot make: ICMP, and a protocol that conntrack knows nothing of.
SEND = """
import socket
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50)
raw.sendto(b"x" * 12, ("127.0.0.1", 0))
"""


@pytest.fixture
def table(lab: Lab, broker: Broker) -> FlowTable:
    ns = lab.netns("copy")
    run_in(ns, "nft", "-f", "-", stdin=TRACK)
    keep_flows(ns)
    for family in ("-4", "-6"):
        for _ in range(2):
            run_in(ns, "ping", family, "-c1", "127.0.0.1" if family == "-4" else "::1")
    run_in(ns, "python3", "-c", SEND)
    for entry in ENTRIES:
        run_in(ns, "conntrack", "-I", *entry, "-t", "600")
    return dumped(broker, ns)


def dumped(broker: Broker, spec: str) -> FlowTable:
    """The table of a namespace, once."""
    ns = broker.netns(spec)
    stream = Stream(1, StreamKind.NETLINK, "conntrack-dump", ns.label)
    sock = broker.netlink_socket(ns, NETLINK_NETFILTER)
    source = replace(feeds.TABLE, every_s=None, share=None).dump(stream, broker, sock, Counter64())
    try:
        items = read_until(source, lambda items: any(isinstance(i, DumpMark) and not i.begin for i in items))
    finally:
        source.close()
    engine = Engine(ns.label)
    for item in items:
        engine.apply(item, time.time_ns())
    return engine.flows


def test_the_copied_command_shows_exactly_its_flow(table: FlowTable) -> None:
    shown = {}
    for row in table.views(table.rows()):
        argv = shlex.split(flow_text(row, "conntrack"))
        done = subprocess.run([*argv, "-o", "id"], capture_output=True, encoding="utf-8", check=False)
        found = re.findall(r" id=(\d+)$", done.stdout, re.MULTILINE)
        assert found == [str(row.value("id"))], (argv, done.stdout, done.stderr)
        shown[row.value("id")] = argv
    assert len(shown) >= len(ENTRIES) + 5
    assert {argv[argv.index("conntrack") + 1] for argv in shown.values()} == {"-G", "-L"}


def test_copied_json_and_text_are_the_lines_that_the_command_prints(table: FlowTable) -> None:
    rows = table.rows()
    flows = table.views(rows)
    assert [json.loads(flow_text(flow, "json")) for flow in flows] == [*map(json.loads, table.json_lines(rows))]
    assert [flow_text(flow, "text") for flow in flows] == [*table.text_lines(rows)]


def test_text_has_the_flags_and_the_zones_of_conntracks_own_lines(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("flags")
    keep_flows(ns)
    made = ("-p", "tcp", "--sport", "1", "--dport", "2", "-t", "600", "--state")
    for source, *rest in (
        ("10.1.1.1", "ESTABLISHED", "-u", "ASSURED,SEEN_REPLY"),
        ("10.1.1.2", "SYN_SENT"),
        ("10.1.1.3", "ESTABLISHED", "-u", "SEEN_REPLY", "--orig-zone", "7"),
        ("10.1.1.4", "TIME_WAIT", "-u", "ASSURED,SEEN_REPLY", "--reply-zone", "8"),
        ("10.1.1.5", "CLOSE", "-u", "SEEN_REPLY", "-w", "9"),
    ):
        run_in(ns, "conntrack", "-I", *made, *rest, "-s", source, "-d", "10.2.2.2")
    theirs = {line.split("src=")[1].split()[0]: line for line in run_in(ns, "conntrack", "-L").splitlines()}
    table = dumped(broker, ns)
    ours = {line.split()[2].split(":")[0]: line for line in table.text_lines(table.rows())}
    assert ours.keys() == theirs.keys() and len(ours) == 5
    zone_words = {"zone-orig": "zone {} original", "zone-reply": "zone {} reply", "zone": "zone {}"}
    for source, line in ours.items():
        flags = {word for word in ("ASSURED", "UNREPLIED") if f"[{word}]" in theirs[source]}
        assert flags == {word for word in ("ASSURED", "UNREPLIED") if f" {word} " in line}, (line, theirs[source])
        zones = re.findall(r" (zone[a-z-]*)=(\d+)", theirs[source])
        found = re.findall(r" (zone \d+(?: original| reply)?) ", line)
        assert found == [zone_words[word].format(number) for word, number in zones], (line, theirs[source])
