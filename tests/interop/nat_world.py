"""A real NAT gateway between a client and a server, each a namespace, with every kind of rule that marks a flow."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from tests.kernel.namespaces import Lab, netns_path, run_in

T = TypeVar("T")

CLIENT4, GATEWAY4, SERVER4 = "10.1.0.2", "10.1.0.1", "10.2.0.2"
CLIENT6, GATEWAY6, SERVER6 = "fd01::2", "fd01::1", "fd02::2"
SILENT = 82  # the server drops SYNs to it
FTP_PORT = 21
_CLONE_NEWNET = 0x40000000  # linux/sched.h

# Ports say what a rule does, so that a step chooses its flow's fate by the port it sends to.
GATEWAY_RULES = """
table inet t {
    ct helper ftp4 { type "ftp" protocol tcp; l3proto ip; }
    ct timeout brief { protocol udp; l3proto ip; policy = { unreplied: 100, replied: 200 }; }
    chain zones { type filter hook prerouting priority raw;
        udp dport 7001 ct zone set 5
        udp dport 7002 ct original zone set 6
    }
    chain marks { type filter hook prerouting priority -150;
        tcp dport 21 ct helper set "ftp4"
        udp dport 7003 ct mark set 0x2a
        udp dport 7004 ct label set 1
        udp dport 7004 ct mark set meta length
        udp dport 7005 ct timeout set "brief"
        tcp dport 7006 ct mark set 0x6 ct label set 3
        ct state new counter
    }
    chain dstnat { type nat hook prerouting priority dstnat;
        ip daddr 10.1.0.1 tcp dport 8080 dnat ip to 10.2.0.2:80
        ip daddr 10.2.0.2 tcp dport 8081 dnat ip to 10.2.0.2:80
        ip6 daddr fd01::1 tcp dport 8080 dnat ip6 to [fd02::2]:80
        udp dport 7010 redirect to :7011
    }
    chain srcnat { type nat hook postrouting priority srcnat;
        oifname "s0" tcp dport 7006 masquerade
        oifname "s0" ip daddr 10.2.0.2 tcp dport 83 snat ip to 10.2.0.99
        oifname "s0" udp dport 7020 masquerade to :40000-50000
        oifname "s0" ip daddr 10.2.0.2 udp dport 7021 snat ip to 10.1.0.2:20000-30000
        oifname "s0" ip6 daddr fd02::2 udp dport 7022 snat ip6 to fd02::99
        oifname "s0" meta l4proto ipv6-icmp masquerade
        oifname "s0" ip daddr 10.2.0.2 icmp type echo-request masquerade
    }
}
"""
SERVER_RULES = "table inet t { chain i { type filter hook input priority 0; tcp dport 82 drop; }; }"
# Long enough that nothing ends by itself while a test compares, and so that the kernel's defaults do not matter.
TIMEOUTS = ("icmp", "icmpv6", "udp", "udp_stream", "tcp_syn_sent", "tcp_close", "tcp_last_ack", "tcp_time_wait", "gre")


class NatWorld:
    """Specs of the three namespaces; sockets are made in them from here. `lab` takes them away."""

    def __init__(self, lab: Lab) -> None:
        self.client, self.gateway, self.server = (lab.netns(name) for name in ("natc", "natg", "nats"))
        ends = (
            (self.client, "c0", (f"{GATEWAY4}/24", f"{GATEWAY6}/64"), (f"{CLIENT4}/24", f"{CLIENT6}/64")),
            (self.server, "s0", ("10.2.0.1/24", "fd02::1/64"), (f"{SERVER4}/24", f"{SERVER6}/64")),
        )
        for ns, device, ours, theirs in ends:
            lab.veth_pair(self.gateway, ns, device, "v0", ours, theirs)
            run_in(ns, "ip", "route", "add", "default", "via", ours[0].partition("/")[0])
            run_in(ns, "ip", "-6", "route", "add", "default", "via", ours[1].partition("/")[0])
        run_in(self.gateway, "ip", "address", "add", "10.2.0.99/24", "dev", "s0")
        run_in(self.gateway, "ip", "address", "add", "fd02::99/64", "dev", "s0", "nodad")
        kept = [f"net.netfilter.nf_conntrack_{name}_timeout{rest}=600" for name, rest in map(_timeout, TIMEOUTS)]
        forwards = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        told = ("net.netfilter.nf_conntrack_acct=1", "net.netfilter.nf_conntrack_timestamp=1")
        run_in(self.gateway, "sysctl", "-qw", *forwards, *told, *kept)
        run_in(self.gateway, "nft", "-f", "-", stdin=GATEWAY_RULES)
        run_in(self.server, "nft", "-f", "-", stdin=SERVER_RULES)

    def conntrack(self, *words: str, check: bool = True) -> str:
        """Run conntrack on the gateway."""
        return run_in(self.gateway, "conntrack", *words, check=check)


def _timeout(name: str) -> tuple[str, str]:
    """`tcp_close` → nf_conntrack_tcp_timeout_close."""
    protocol, _, state = name.partition("_")
    return protocol, f"_{state}" if state else ""


def inside(ns: str, make: Callable[[], T]) -> T:
    """What `make` gives (a socket, say) in a thread that has entered the namespace; usable from anywhere."""
    made: list[T] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            with open(netns_path(ns), "rb") as target:
                if ctypes.CDLL(None, use_errno=True).setns(target.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def socket_in(ns: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of that namespace, with a time limit on everything it does."""
    made = inside(ns, lambda: socket.socket(family, kind, protocol))
    made.settimeout(30)
    return made
