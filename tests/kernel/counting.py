"""A namespace in which everything counts that nft can, and what nft and nettop say of it."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from nettop.broker.client import Broker
from nettop.linux.netlink import NETLINK_NETFILTER
from tests.kernel.commands import rows
from tests.kernel.namespaces import Lab, run_in

RULES = """table inet t {
  counter total { comment "every packet" }
  counter idle { }
  quota left { until 1 mbytes used 100 bytes }
  quota small { over 300 bytes }
  limit slow { rate 400/minute burst 7 packets }
  limit wide { rate over 1 mbytes/second burst 2 kbytes }
  set pairs { type ipv4_addr . inet_service; size 1000; flags dynamic,timeout; counter; timeout 1h; }
  set nets { type ipv4_addr; flags interval; counter; elements = { 127.0.0.0/8, 192.168.1.1-192.168.1.7 } }
  set both { type ipv4_addr . inet_proto . inet_service; flags interval; counter
             elements = { 127.0.0.0/8 . udp . 9-19, 10.0.0.0/8 . tcp . 80 } }
  set six { type ipv6_addr; flags interval; elements = { fd00::/8, fe80::1 } }
  set names { type ifname; counter; elements = { "lo", "eth7" } }
  set seen { type ipv4_addr; flags dynamic; }
  map verdicts { type ipv4_addr : verdict; counter; elements = { 127.0.0.1 : accept } }
  map ports { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1 } }
  chain o { type filter hook output priority 0
    counter name total; quota name small; quota name left; limit name slow
    meta l4proto udp add @pairs { ip daddr . udp dport }
    ip daddr @nets; ip daddr . meta l4proto . th dport @both; oifname @names
    add @seen { ip saddr counter }; ip daddr vmap @verdicts
  }
}
"""


SEND = "import socket as s; u = s.socket(2, 2); [u.sendto(b'x', ('127.0.0.1', 9 + n)) for n in range(4)]"


def counting_namespace(lab: Lab) -> str:
    """A namespace with all that nft can count, and traffic through it."""
    ns = lab.netns("a")
    run_in(ns, "ip", "link", "set", "lo", "up")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, "ping", "-c", "3", "-i", "0.01", "127.0.0.1")
    run_in(ns, "python3", "-c", SEND)
    return ns


def listed(ns: str, what: str) -> list[dict[str, Any]]:
    """`nft -j list WHAT`."""
    answer = json.loads(run_in(ns, "nft", "-j", "list", what))["nftables"]
    return [body for entry in answer for kind, body in entry.items() if kind != "metainfo"]


def found(ns: str, *groups: str) -> dict[tuple[str, str], dict[str, Any]]:
    """`nettop counters --json` of these groups."""
    options = [word for group in groups for word in ("--group", group)]
    return {(row["group"], row["name"]): row for row in rows("counters", "--netns", ns, *options) if row["cpu"] is None}


def nfacct(broker: Broker, ns: str, name: str, quota: int = 0, flags: int = 0) -> None:
    """NFNL_MSG_ACCT_NEW (linux/netfilter/nfnetlink_acct.h): no tool is needed."""
    more = nla(5, struct.pack("!I", flags)) + nla(6, struct.pack("!Q", quota)) if flags else b""
    data = struct.pack("!BBH", 0, 0, 0) + nla(1, name.encode() + b"\0") + more
    acknowledged(broker, ns, 7 << 8, data).close()


def acknowledged(broker: Broker, ns: str, kind: int, data: bytes) -> socket.socket:
    """A netlink socket in the namespace, on which a message (nfgenmsg and attributes) was acknowledged."""
    opened = broker.netlink_socket(broker.netns(ns), NETLINK_NETFILTER)
    sock = socket.socket(fileno=opened.fd)
    sock.setblocking(True)
    sock.settimeout(30)
    sock.send(struct.pack("=IHHII", 16 + len(data), kind, 0x5, 1, 0) + data)  # NLM_F_REQUEST, NLM_F_ACK
    assert struct.unpack_from("=i", sock.recv(4096), 16)[0] == 0
    return sock


def nla(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def bind(group: int, command: bytes) -> bytes:
    """NFULNL_CFG_CMD_BIND, NFQNL_CFG_CMD_BIND (linux/netfilter/nfnetlink_log.h, nfnetlink_queue.h)."""
    return struct.pack("!BBH", 0, 0, group) + nla(1, command)
