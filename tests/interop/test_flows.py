"""20,000 mixed flows, of both families, rewritten and not: `nettop flows` says what `conntrack -L` says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nettop.batch import DumpMark
from nettop.recording.reader import open_reader
from tests.kernel.commands import ROOT, rows, running, size_of
from tests.kernel.namespaces import Lab, keep_flows, poll, run_in

pytestmark = pytest.mark.kernel

FLOWS = 20_000
RULES = """
table inet t {
    chain o { type filter hook output priority 0; ct state new ct mark set 0x2a; }
    chain d { type nat hook output priority -100;
        udp dport 1001 ip daddr 10.0.0.0/8 dnat ip to 10.9.9.9:53
        udp dport 1002 ip6 daddr fd00:9::/32 dnat ip6 to [fd00:9::5]:53
    }
    chain s { type nat hook postrouting priority 100; udp dport 1003 ip daddr 10.0.0.0/8 snat ip to 10.0.0.77; }
}
"""
SEND6 = """
import socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind(("::", 5555))
for n in range(2000):
    sock.sendto(b"six", (f"fd00:9::{n // 40 + 16:x}", 1000 + n % 40))
"""


@pytest.fixture(scope="module")
def busy() -> Iterator[str]:
    """A namespace with all these flows, that sends into a veth whose other end is silent."""
    lab = Lab()
    try:
        ns, other = lab.netns("mix"), lab.netns("mixed")
        lab.veth_pair(ns, other, addresses_a=("10.0.0.1/8", "10.0.0.77/8", "fd00:9::1/32"), addresses_b=())
        run_in(ns, "ip", "link", "set", "veth0", "arp", "off")
        run_in(ns, "nft", "-f", "-", stdin=RULES)
        settings = ("acct=1", "timestamp=1")
        run_in(ns, "sysctl", "-qw", *(f"net.netfilter.nf_conntrack_{one}" for one in settings))
        keep_flows(ns)
        run_in(ns, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.flood", str(FLOWS - 2000))
        run_in(ns, sys.executable, "-c", SEND6)
        run_in(ns, "ping", "-c2", "-i0.01", "127.0.0.1")
        run_in(ns, "ping", "-c1", "-6", "::1")
        yield ns
    finally:
        lab.close()


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What one flow has: of 20,000 every twentieth time two share an id."""
    return row["id"], row["src"], row["dst"], row["dport"] if row["proto"] == "udp" else None


def listed(ns: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What conntrack lists, by key, in the contract's keys."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for family in ("ipv4", "ipv6"):
        text = run_in(ns, "conntrack", "-L", "-f", family, "-o", "xml,id,timestamp")
        for flow in ElementTree.fromstring(text[text.index("<conntrack") :]):
            row = described(flow, family)
            found[key_of(row)] = row
    return found


def described(flow: ElementTree.Element, family: str) -> dict[str, Any]:
    original, reply, independent = (part for part in flow if part.tag == "meta")
    first, second = direction(original), direction(reply)
    return {
        "family": family,
        "proto": next(original.iter("layer4")).get("protoname"),
        **first,
        **{f"reply_{name}": value for name, value in second.items() if not name.startswith("icmp")},
        "mark": int(independent.findtext("mark") or 0),
        "id": int(independent.findtext("id") or 0),
    }


def direction(meta: ElementTree.Element) -> dict[str, Any]:
    def number(path: str) -> int | None:
        text = meta.findtext(path)
        return None if text is None else int(text)

    return {
        "src": meta.findtext("layer3/src"),
        "dst": meta.findtext("layer3/dst"),
        "sport": number("layer4/sport"),
        "dport": number("layer4/dport"),
        "packets": number("counters/packets"),
        "bytes": number("counters/bytes"),
    }


def test_every_field_of_every_flow_is_what_conntrack_lists(busy: str) -> None:
    wanted = listed(busy)
    found = {key_of(row): row for row in rows("flows", "--netns", busy)}
    assert len(wanted) >= FLOWS
    assert found.keys() == wanted.keys()
    wrong = {
        (key, name): (value, found[key].get(name))
        for key, row in wanted.items()
        for name, value in row.items()
        if name != "proto" and value != found[key].get(name)
    }
    assert not wrong, dict(list(wrong.items())[:5])


def test_rewritten_flows_are_called_by_what_was_rewritten(busy: str) -> None:
    """Also where the kernel chose another port, since many flows were sent on to one address."""
    flows = listed(busy).values()
    ends = {"snat": ("src", "sport", "reply_dst", "reply_dport"), "dnat": ("dst", "dport", "reply_src", "reply_sport")}
    for kind, (host, port, seen_host, seen_port) in ends.items():
        wanted = {key_of(row) for row in flows if (row[host], row[port]) != (row[seen_host], row[seen_port])}
        assert len(wanted) > 300
        assert {key_of(row) for row in rows("flows", "--netns", busy, "--filter", kind)} == wanted


def has_table(path: Path) -> bool:
    """Whether a complete dump is in the recording by now."""
    if not size_of(path):
        return False
    reader = open_reader(str(path))
    try:
        return any(isinstance(item, DumpMark) and item.what == "conntrack" and item.complete for item in reader)
    finally:
        reader.close()


def test_a_recording_of_them_lists_the_same(busy: str, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    with running("record", "--netns", busy, "-i", "lo", "-w", str(path)) as recording:
        poll(lambda: has_table(path), what="the table in the recording")
        recording.signal()
        code, _, err = recording.end()
    assert code == 0, err
    keys = ("id", "src", "dst", "sport", "dport", "reply_src", "reply_dst", "reply_dport", "packets", "bytes", "mark")

    def told(found: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
        return {tuple(row[key] for key in keys if key in row) for row in found}

    assert told(rows("flows", "-r", str(path))) == told(rows("flows", "--netns", busy))
