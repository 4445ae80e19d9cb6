"""Setting counters to zero: exactly the one named, held to what nft and the kernel say afterwards."""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.requests import CounterName, Netns, ReadRequest
from nettop.broker.start import start
from nettop.errors import BrokerError, NotPermitted
from nettop.linux.netlink import NETLINK_NETFILTER
from tests.kernel.namespaces import Lab, run_in
from tests.kernel.test_broker_reads import parts
from tests.kernel.test_broker_sockets import taken

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

OBJECTS = "counter c {{ packets {0} bytes {1}; }}; quota q {{ over 1000 bytes used {0} bytes; }};"
TABLES = "table ip t {{ {0} }}; table inet t {{ {0} }}; table ip other {{ {0} }}".format(OBJECTS.format(5, 500))


@pytest.fixture
def counted(lab: Lab) -> str:
    """A namespace with a counter `c` and a quota `q` in each of three tables, none of them zero."""
    ns = lab.netns()
    run_in(ns, "nft", "-f", "-", stdin=TABLES)
    return ns


def values(ns: str) -> dict[tuple[str, str, str], int]:
    """(family, table, object) to packets or used bytes, as nft says."""
    found: dict[tuple[str, str, str], int] = {}
    for kind, what in (("counters", "packets"), ("quotas", "used")):
        listed: list[dict[str, Any]] = json.loads(run_in(ns, "nft", "-j", "list", kind))["nftables"]
        for entry in (entry.get(kind.rstrip("s")) for entry in listed):
            if entry:
                found[entry["family"], entry["table"], entry["name"]] = entry[what]
    return found


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (CounterName("nft-counter", 2, "t", "c"), ("ip", "t", "c")),
        (CounterName("nft-counter", 1, "t", "c"), ("inet", "t", "c")),
        (CounterName("nft-quota", 2, "other", "q"), ("ip", "other", "q")),
    ],
    ids=str,
)
def test_the_named_one_is_zero_and_all_others_stay(
    broker: Broker, counted: str, name: CounterName, key: tuple[str, str, str]
) -> None:
    before = values(counted)
    assert len(before) == 6 and all(before.values())
    broker.reset_counter(broker.netns(counted), name)
    assert values(counted) == {**before, key: 0}
    broker.reset_counter(broker.netns(counted), name)


@pytest.mark.parametrize(
    "name",
    [
        CounterName("nft-counter", 2, "t", "no-such"),
        CounterName("nft-counter", 2, "no-such", "c"),
        CounterName("nft-counter", 10, "t", "c"),
        CounterName("nft-counter", 2, "t", "q"),
        CounterName("nfacct", 0, "", "no-such"),
    ],
    ids=str,
)
def test_one_that_is_not_there_is_named(broker: Broker, counted: str, name: CounterName) -> None:
    before = values(counted)
    with pytest.raises(BrokerError, match=f"there is no {name.group} '{name.name}'"):
        broker.reset_counter(broker.netns(counted), name)
    assert values(counted) == before


@pytest.mark.parametrize(
    "name",
    [
        CounterName("nft-limit", 2, "t", "l"),
        CounterName("nft-counter", 2, "", "c"),
        CounterName("nft-counter", 2, "t", ""),
        CounterName("nft-counter", 256, "t", "c"),
        CounterName("nft-counter", 2, "t", "a\0b"),
        CounterName("nft-counter", 2, "t", "c" * 256),
        CounterName("nfacct", 0, "", "a" * 32),
        CounterName("nfacct", 2, "", "a"),
        CounterName("nfacct", 0, "t", "a"),
        CounterName("nfacct", 0, "", ""),
    ],
    ids=str,
)
def test_what_cannot_be_set_to_zero_is_refused(broker: Broker, counted: str, name: CounterName) -> None:
    with pytest.raises(BrokerError, match="not on the list"):
        broker.reset_counter(broker.netns(counted), name)


def test_read_only_resets_nothing(counted: str) -> None:
    before = values(counted)
    with (
        start("root", allowed=Options(read_only=True), confine=False) as broker,
        pytest.raises(NotPermitted, match="--read-only"),
    ):
        broker.reset_counter(broker.netns(counted), CounterName("nft-counter", 2, "t", "c"))
    assert values(counted) == before


def test_an_nfacct_object_is_set_to_zero(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    handle = broker.netns(ns)
    for name, packets in (("web", 7), ("mail", 9)):
        add_accounting(ns, name, packets)
    assert accounted(broker, handle) == {"web": 7, "mail": 9}
    broker.reset_counter(handle, CounterName("nfacct", 0, "", "web"))
    assert accounted(broker, handle) == {"web": 0, "mail": 9}


NEW_ACCT = """
import socket, struct, sys
def attribute(kind, payload): return struct.pack("=HH", 4 + len(payload), kind) + payload + b"\\0" * (-len(payload) % 4)
body = struct.pack("=BBH", 0, 0, 0) + attribute(1, sys.argv[1].encode() + b"\\0")
body += attribute(2, struct.pack("!Q", int(sys.argv[2]))) + attribute(3, struct.pack("!Q", 100))
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
sock.send(struct.pack("=IHHII", 16 + len(body), 7 << 8, 0x405, 1, 0) + body)  # NFNL_MSG_ACCT_NEW, CREATE ACK
sys.exit(-struct.unpack_from("=16xi", sock.recv(4096))[0])
"""


def add_accounting(ns: str, name: str, packets: int) -> None:
    run_in(ns, sys.executable, "-c", NEW_ACCT, name, str(packets))


def accounted(broker: Broker, ns: Netns) -> dict[str, int]:
    """The packets of each nfacct object."""
    sock = broker.netlink_socket(ns, NETLINK_NETFILTER)
    with taken(sock) as ours:
        broker.request(sock, ReadRequest.NFACCT)
        messages = parts(ours)
    broker.release(sock)
    return dict(_name_and_packets(message) for message in messages)


def _name_and_packets(message: bytes) -> tuple[str, int]:
    found: dict[int, bytes] = {}
    at = 20
    while at < len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        found[kind] = message[at + 4 : at + length]
        at += length + 3 & ~3
    return found[1].rstrip(b"\0").decode(), int.from_bytes(found[2], "big")
