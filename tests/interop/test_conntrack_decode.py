"""What our decoder makes of the kernel's dump is what conntrack -L says of the same table."""

from __future__ import annotations

import ipaddress
import re
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from operator import eq
from typing import Any

import pytest

from nettop import columns as c
from nettop.columns import Columns, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.decode.conntrack.statistics import decode_ctstats
from nettop.linux.conntrack import IPS_NAMES, STATES
from nettop.model.expectations.expectation import Expectation, expectations_of
from tests.kernel.namespaces import Lab, have_rights, keep_flows, poll, run_in
from tests.unit.decode.netlink_bytes import batch

pytestmark = [pytest.mark.kernel, pytest.mark.interop]

DUMP = """
import socket, struct, sys
kind, flags = int(sys.argv[1]), int(sys.argv[2])
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
sock.bind((0, 0))
sock.settimeout(30)
sock.send(struct.pack("=IHHII4x", 20, kind, flags, 1, 0))
done = False
while not done:
    data, at = sock.recv(1 << 17), 0
    print(data.hex())
    while at < len(data):
        length, what = struct.unpack_from("=IH", data, at)
        done |= what in (2, 3) or flags == 1
        at += length + 3 & ~3
"""

SERVER = """
import selectors, socket
ready = selectors.DefaultSelector()
for kind, ports in ((socket.SOCK_STREAM, (21, 80, 443)), (socket.SOCK_DGRAM, (53,))):
    for port in ports:
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        ready.register(sock, selectors.EVENT_READ, kind)
held = []
while True:
    for key, _ in ready.select():
        if key.data == socket.SOCK_DGRAM:
            data, peer = key.fileobj.recvfrom(2048)
            key.fileobj.sendto(data * 2, peer)
        elif key.data == socket.SOCK_STREAM:
            held.append(key.fileobj.accept()[0])
            held[-1].sendall(b"220 hello\\r\\n")
            ready.register(held[-1], selectors.EVENT_READ, None)
        elif key.fileobj.recv(2048):
            key.fileobj.sendall(b"227 Entering Passive Mode (10,2,0,2,195,%d)\\r\\n" % (len(held) % 256))
        else:
            ready.unregister(key.fileobj)
"""

CLIENT = """
import socket, sys
held = []
for target in ("10.2.0.2", "fd02::2"):
    for port in (21, 80, 443):
        for _ in range(3):
            held.append(socket.create_connection((target, port), 30))
            held[-1].recv(50)
            if (target, port) == ("10.2.0.2", 21):
                held[-1].sendall(b"PASV\\r\\n")
                held[-1].recv(50)
    held[-1].close()
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    for _ in range(5):
        held.append(socket.socket(family, socket.SOCK_DGRAM))
        held[-1].settimeout(30)
        held[-1].sendto(b"?" * 40, (target, 53))
        held[-1].recv(100)
    held.append(socket.socket(family, socket.SOCK_DGRAM))
    held[-1].sendto(b"?", (target, 9999))
held.append(socket.create_connection(("10.1.0.1", 8443), 30))
print("ready", flush=True)
sys.stdin.read()
"""

RULES = """
table inet t {
  ct helper ftp { type "ftp" protocol tcp; }
  chain c_raw { type filter hook prerouting priority raw; tcp dport 80 ct zone set 7; tcp sport 80 ct zone set 7; }
  chain c_mark { type filter hook prerouting priority mangle; tcp dport 443 ct mark set 0x101; }
  chain c_help { type filter hook prerouting priority -10; tcp dport 21 ct helper set "ftp"; }
  chain c_dnat { type nat hook prerouting priority dstnat; meta nfproto ipv4 tcp dport 8443 dnat ip to 10.2.0.2:443; }
  chain c_snat { type nat hook postrouting priority srcnat; oifname "right" masquerade; }
}
"""

INSERTED = [
    "-s 10.7.0.1 -d 10.7.0.2 -p gre --srckey 5 --dstkey 6",
    "-s 10.7.0.1 -d 10.7.0.2 -p sctp --sport 5 --dport 6 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
    "-s 10.7.0.1 -d 10.7.0.2 -p udplite --sport 8 --dport 9 -u ASSURED,SEEN_REPLY",
    "-s 10.7.0.1 -d 10.7.0.2 -p 50",
    "-s 10.7.0.1 -d 10.7.0.3 -p tcp --sport 1 --dport 2 --state SYN_SENT -w 11 -m 0xffffffff",
    "-s 10.7.0.1 -d 10.7.0.3 -p tcp --sport 3 --dport 2 --state ESTABLISHED --orig-zone 4",
    "-s fd07::1 -d fd07::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7",
    "-s fd07::1 -d fd07::3 -p udp --sport 3 --dport 2 --reply-zone 6",
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """The namespace of a NAT gateway between a client and a server that have talked over TCP, UDP and ICMP."""
    if not have_rights() or shutil.which("conntrack") is None:
        pytest.skip("needs root or `unshare -Urn`, and conntrack")
    lab = Lab()
    try:
        yield _talking(lab)
    finally:
        lab.close()


def _talking(lab: Lab) -> str:
    client, gw, server = lab.netns("ctc"), lab.netns("ctg"), lab.netns("cts")
    lab.veth_pair(client, gw, "wire", "left", ("10.1.0.2/24", "fd01::2/64"), ("10.1.0.1/24", "fd01::1/64"))
    lab.veth_pair(gw, server, "right", "wire", ("10.2.0.1/24", "fd02::1/64"), ("10.2.0.2/24", "fd02::2/64"))
    for ns, via in ((client, "10.1.0.1"), (client, "fd01::1"), (server, "10.2.0.1"), (server, "fd02::1")):
        run_in(ns, "ip", "route", "add", "default", "via", via)
    acct = [f"net.netfilter.nf_conntrack_{name}=1" for name in ("acct", "timestamp")]
    run_in(gw, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", *acct)
    keep_flows(gw)
    run_in(gw, "nft", "-f", "-", stdin=RULES)
    lab.spawn_in(server, sys.executable, "-c", SERVER)
    poll(lambda: run_in(server, "ss", "-Hlntu").count("\n") >= 4, what="the server listens")
    for target in ("10.2.0.2", "fd02::2"):
        poll(lambda target=target: "1 received" in run_in(client, "ping", "-c1", "-W1", target, check=False))
    lab.spawn_in(client, sys.executable, "-c", CLIENT.replace("sys.stdin.read()", "import signal; signal.pause()"))
    poll(lambda: "dport=8443" in run_in(gw, "conntrack", "-L"), what="the client has talked")
    for flow in INSERTED:
        run_in(gw, "conntrack", "-I", *flow.split(), "-t", "600")
    return gw


def dump(ns: str, kind: int = 0x101, flags: int = 0x301) -> list[bytes]:
    """The datagrams of a dump (or of one answer), as the kernel sent them."""
    return [bytes.fromhex(line) for line in run_in(ns, sys.executable, "-c", DUMP, str(kind), str(flags)).split()]


def our_flows(ns: str) -> dict[str, dict[str, Any]]:
    """Our decode of a dump, by id."""
    strings = Strings()
    decoded = ConntrackDecoder(strings)(batch(dump(ns)))
    assert not len(decoded.errors)
    rows = (_our_row(decoded.cols, i, strings) for i in range(len(decoded.cols)))
    return {row["id"]: row for row in rows}


def _our_row(cols: Columns, i: int, strings: Strings) -> dict[str, Any]:
    have = int(cols["have"][i])

    def value(name: str, bit: int) -> int | None:
        column = cols.get(name)
        return int(column[i]) if have & bit and column is not None else None

    row = {name: value(name, bit) for name, bit in PLAIN.items()}
    for side, ports, count in (("o", c.HAVE_OPORTS, c.HAVE_OCOUNT), ("r", c.HAVE_RPORTS, c.HAVE_RCOUNT)):
        for end in ("src", "dst"):
            row[f"{side}{end}"] = _address(cols, i, f"{side}{end}")
            row[f"{side}{end[0]}port"] = value(f"{side}{end[0]}port", ports)
        row |= {f"{side}{name}": value(f"{side}{name}", count) for name in ("packets", "bytes")}
    row["proto"] = int(cols["proto"][i])
    names = STATES.get(row["proto"])
    row["state"] = names[int(cols["state"][i])] if names and have & c.HAVE_STATE else None
    row["flags"] = {name for bit, name in enumerate(IPS_NAMES) if int(cols["status"][i]) >> bit & 1}
    row["helper"] = strings[value("helper", c.HAVE_HELPER) or 0].decode() or None
    zoned = have & (c.HAVE_ZONE_ORIG_ONLY | c.HAVE_ZONE_REPLY_ONLY)
    row["zone_of"] = {0: "both", c.HAVE_ZONE_ORIG_ONLY: "original", c.HAVE_ZONE_REPLY_ONLY: "reply"}[zoned]
    return row


PLAIN = {"id": c.HAVE_ID, "timeout": c.HAVE_TIMEOUT, "mark": c.HAVE_MARK, "zone": c.HAVE_ZONE, "use": c.HAVE_USE}


def _address(cols: Columns, i: int, name: str) -> str:
    low, high = int(cols[f"{name}_lo"][i]), cols.get(f"{name}_hi")
    if cols["family"][i] == 2:
        return str(ipaddress.IPv4Address(low))
    return str(ipaddress.IPv6Address(int(high[i]) << 64 | low if high is not None else low))


def their_flows(ns: str) -> dict[int, dict[str, Any]]:
    """What conntrack says, by id."""
    found: dict[int, dict[str, Any]] = {}
    for family in ("ipv4", "ipv6"):
        for flow in ET.fromstring(run_in(ns, "conntrack", "-L", "-f", family, "-o", "xml,id")).iter("flow"):
            row = _their_row({meta.attrib["direction"]: meta for meta in flow.iter("meta")})
            found[row["id"]] = row
        _refine(found, run_in(ns, "conntrack", "-L", "-f", family, "-o", "id"))
    return found


def _their_row(metas: dict[str, ET.Element]) -> dict[str, Any]:
    alone = metas["independent"]
    row: dict[str, Any] = {name: _number(alone, name) for name in ("id", "timeout", "mark", "zone", "use")}
    row |= {"zone_of": "both", "state": alone.findtext("state")}
    row["flags"] = {name for name in ("assured", "unreplied") if alone.find(name) is not None}
    for direction, side in (("original", "o"), ("reply", "r")):
        meta = metas[direction]
        row |= {f"{side}{end}": meta.findtext(f"layer3/{end}") for end in ("src", "dst")}
        row |= {f"{side}{name}": _number(meta, f"counters/{name}") for name in ("packets", "bytes")}
        for name, key in (("sport", "srckey"), ("dport", "dstkey")):
            port, gre = meta.findtext(f"layer4/{name}"), meta.findtext(f"layer4/{key}")
            row[f"{side}{name}"] = int(port) if port else int(gre, 16) if gre else None
        row["proto"] = int(meta.find("layer4").attrib["protonum"])  # type: ignore[union-attr]
        if (zone := _number(meta, "zone")) is not None:
            row |= {"zone": zone, "zone_of": direction}
    return row


def _refine(found: dict[int, dict[str, Any]], text: str) -> None:
    """The plain text has what the XML lacks (ICMP's numbers, helpers) or has wrong (SCTP's state by TCP's names)."""
    for line in text.splitlines():
        words = line.split()
        pairs = [word.split("=") for word in words if "=" in word]
        row = found[int(dict(pairs)["id"])]  # the last one: ICMP has ids of its own before it
        if words[0] in ("icmp", "icmpv6"):
            kinds, codes, ids = ([int(value) for name, value in pairs if name == key] for key in ("type", "code", "id"))
            for side, kind, code, number in zip("or", kinds, codes, ids, strict=False):
                row |= {f"{side}sport": number, f"{side}dport": kind << 8 | code}
        row["helper"] = dict(pairs).get("helper")
        if row["proto"] in STATES:
            row["state"] = words[3]


def _number(element: ET.Element, name: str) -> int | None:
    text = element.findtext(name)
    return None if text is None else int(text)


def _comparable(row: dict[str, Any], ours: bool) -> dict[str, Any]:
    """Without what differs by nature: seconds that pass, use counts, and the flags that conntrack does not print."""
    flags = row["flags"]
    kept = {name: value for name, value in row.items() if name not in ("timeout", "use", "flags")}
    kept["assured"] = "assured" in flags
    kept["unreplied"] = "seen_reply" not in flags if ours else "unreplied" in flags
    kept["state"] = row["state"].lower() if row["state"] else None
    return kept


def test_a_nat_gateways_table_decodes_to_what_conntrack_lists(gateway: str) -> None:
    def tables() -> tuple[dict[Any, Any], dict[Any, Any]]:
        began = time.monotonic()
        ours, theirs = our_flows(gateway), their_flows(gateway)
        most = 2 + time.monotonic() - began
        close = all(abs(row["timeout"] - theirs[key]["timeout"]) <= most for key, row in ours.items() if key in theirs)
        assert close, "timeouts differ"
        return (
            {key: _comparable(row, ours=True) for key, row in ours.items()},
            {key: _comparable(row, ours=False) for key, row in theirs.items()},
        )

    with suppress(AssertionError):  # the last packets of the traffic may pass between the two dumps
        poll(lambda: eq(*tables()))
    ours, theirs = tables()
    assert ours == theirs
    _holds_what_the_test_is_about(list(ours.values()))


def _holds_what_the_test_is_about(rows: list[dict[str, Any]]) -> None:
    """Guards the test itself: the table has every kind of flow that it claims to compare."""
    assert {row["proto"] for row in rows} >= {1, 6, 17, 47, 50, 58, 132, 136}
    assert {row["state"] for row in rows} >= {"established", "syn_sent", None}
    assert {row["zone"] for row in rows} >= {None, 7, 11, 4, 6}
    assert {row["mark"] for row in rows} >= {0, 0x101, 0xFFFFFFFF}
    assert {row["helper"] for row in rows} >= {None, "ftp"}
    assert any(row["odst"] == "10.1.0.1" and row["rsrc"] == "10.2.0.2" for row in rows), "DNAT"
    assert any(row["osrc"] == "fd01::2" and row["rdst"] == "fd02::1" for row in rows), "masquerade of IPv6"
    assert any(row["obytes"] for row in rows), "accounting"
    assert any(row["unreplied"] for row in rows)


def test_statistics_are_what_conntrack_prints(gateway: str) -> None:
    stats = decode_ctstats(batch([*dump(gateway, 0x104), *dump(gateway, 0x105, 1)]))
    printed = run_in(gateway, "conntrack", "-S").splitlines()
    assert len(stats.cpus) == len(printed)
    for cpu, line in zip(stats.cpus, printed, strict=True):
        pairs = dict(word.split("=") for word in line.split())
        named = {name.replace("chaintoolong", "chain_toolong"): int(value) for name, value in pairs.items()}
        assert {name: getattr(cpu, name) for name in named} == named
    table = stats.tables[0]
    assert table.entries == len(our_flows(gateway))
    assert table.max_entries == int(run_in(gateway, "sysctl", "-n", "net.netfilter.nf_conntrack_max"))


def test_expectations_of_ftp_are_what_conntrack_lists(gateway: str) -> None:
    strings = Strings()
    found = expectations_of(ConntrackDecoder(strings)(batch(dump(gateway, 0x201))).expect, 0, strings)
    printed = run_in(gateway, "conntrack", "-L", "expect").splitlines()
    assert len(found) == len(printed) == 3
    assert {one.helper for one in found} == {b"ftp"}
    assert sorted(_expectation_words(one) for one in found) == sorted(
        re.findall(r"(?:\w+-)?(?:proto|src|dst|sport|dport)=([^ ]+)", line) for line in printed
    )


def _expectation_words(one: Expectation) -> list[str]:
    """In conntrack's order: protocol and tuple, mask, master; each two addresses and two ports."""
    words = [str(one.expected.proto)] if one.expected else []
    for part in (one.expected, one.mask, one.master):
        assert part is not None
        words += [str(ipaddress.ip_address(part.src)), str(ipaddress.ip_address(part.dst))]
        words += [str(part.sport), str(part.dport)]
    return words


def test_events_of_a_flow_tell_its_beginning_and_its_end(gateway: str) -> None:
    """conntrack -E prints the same events; ours come from a listening socket of the same namespace."""
    raw = run_in(gateway, sys.executable, "-c", LISTEN)
    strings = Strings()
    decoded = ConntrackDecoder(strings)(batch([bytes.fromhex(line) for line in raw.split()]))
    assert not len(decoded.errors)
    ours = [
        (int(event), _address(decoded.cols, i, "osrc"), int(decoded.cols["osport"][i]))
        for i, event in enumerate(decoded.cols["event"])
    ]
    expected = [(event, "10.8.0.1", 4242) for event in (c.EVENT_NEW, c.EVENT_UPDATE, c.EVENT_DESTROY)]
    assert [event for event in ours if event[1] == "10.8.0.1"] == expected


LISTEN = """
import socket, subprocess
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
sock.bind((0, 0))
sock.settimeout(30)
for group in (1, 2, 3):
    sock.setsockopt(270, 1, group)
flow = "-s 10.8.0.1 -d 10.8.0.2 -p udp --sport 4242 --dport 9".split()
for command in (["-I", *flow, "-t", "60"], ["-U", *flow, "-m", "9"], ["-D", *flow]):
    subprocess.run(["conntrack", *command], check=True, capture_output=True)
for _ in range(3):
    print(sock.recv(1 << 16).hex())
"""
