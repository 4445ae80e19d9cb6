"""The default lab: two NAT gateways between two private networks, as plain data and the commands that build it.

    lan-a 192.168.1.2 ── 192.168.1.1 gw-a 100.100.100.1 ── net ── 200.200.200.1 gw-b 192.168.2.1 ── 192.168.2.2 lan-b

Gateway A rewrites the source of what leaves (SNAT, nftables); gateway B sends port 443 on to machine B
(DNAT, iptables).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nettop.errors import NettopError
from nettop.labs import isolation

NAMESPACES = ("lan-a", "gw-a", "net", "gw-b", "lan-b")

# (namespace, device, addresses) at both ends of each veth pair
LINKS = (
    (("lan-a", "eth0", ("192.168.1.2/24", "fd00:1::2/64")), ("gw-a", "eth0", ("192.168.1.1/24", "fd00:1::1/64"))),
    (("gw-a", "eth1", ("100.100.100.1/24", "fd00:100::1/64")), ("net", "eth0", ("100.100.100.2/24", "fd00:100::2/64"))),
    (("net", "eth1", ("200.200.200.2/24",)), ("gw-b", "eth1", ("200.200.200.1/24",))),
    (("gw-b", "eth0", ("192.168.2.1/24",)), ("lan-b", "eth0", ("192.168.2.2/24",))),
)
ROUTES = (
    ("lan-a", "default via 192.168.1.1"),
    ("lan-a", "default via fd00:1::1"),
    ("gw-a", "default via 100.100.100.2"),
    ("gw-a", "default via fd00:100::2"),
    ("gw-b", "default via 200.200.200.2"),
    ("lan-b", "default via 192.168.2.1"),
    ("net", "fd00:1::/64 via fd00:100::1"),
)
# Servers "on the internet"; 203.0.113.66 is what the rules of gateway A block.
INTERNET = ("198.51.100.4/32", "203.0.113.66/32", "fd00:198::4/128")

SYSCTLS = {
    "gw-a": ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"),
    "net": ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"),
    "gw-b": ("net.ipv4.ip_forward=1",),
}
ACCOUNTING = ("net.netfilter.nf_conntrack_acct=1", "net.netfilter.nf_conntrack_timestamp=1")

NFT_GATEWAY_A = """
table inet fw {
    set bad { type ipv4_addr; elements = { 203.0.113.66 } }
    chain blocked {
        ip daddr @bad counter drop comment "known bad"
        counter return
    }
    chain lan {
        ip daddr 203.0.113.0/24 counter jump blocked
        tcp dport { 21, 80, 443, 8443 } counter accept
        udp dport { 53, 443, 4500 } counter accept
        meta l4proto { icmp, ipv6-icmp } counter accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related counter accept
        iifname "eth0" counter jump lan
        ct state invalid counter drop
    }
    chain input {
        type filter hook input priority filter; policy accept;
        ct state invalid counter drop
    }
}
table ip edge {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth1" ip saddr 192.168.1.0/24 counter snat to 100.100.100.1
    }
}
"""

# Counters for the Counters view, and a helper with its expectations; each is optional: some kernels do not have it.
NFT_COUNTED_A = (
    """
table inet account {
    counter web { }
    counter names { }
    quota upload { over 2000 mbytes }
    set talkers { type ipv4_addr . ipv4_addr; size 1024; flags dynamic; }
    chain sums {
        type filter hook forward priority 10; policy accept;
        tcp dport { 80, 443 } counter name "web"
        udp dport 53 counter name "names"
        iifname "eth0" update @talkers { ip saddr . ip daddr counter }
        oifname "eth1" quota name "upload" drop
    }
}
""",
    """
table ip helped {
    ct helper ftp { type "ftp" protocol tcp; }
    chain pre {
        type filter hook prerouting priority filter; policy accept;
        tcp dport 21 ct helper set "ftp"
    }
}
""",
)

# One rule a line, as after `iptables`.
IPTABLES_GATEWAY_A = """
-t mangle -A FORWARD -p tcp --dport 443 -j CONNMARK --set-mark 0x1
-t mangle -A POSTROUTING -o eth1 -m comment --comment leaves -j ACCEPT
"""
LEGACY_GATEWAY_A = """
-t raw -A PREROUTING -i eth0 -p icmp -j ACCEPT
-t raw -A PREROUTING -i eth1 -s 192.168.0.0/16 -j DROP
"""
IPTABLES_GATEWAY_B = """
-t nat -A PREROUTING -d 200.200.200.1 -p tcp --dport 443 -j DNAT --to-destination 192.168.2.2:443
-P FORWARD DROP
-N dmz
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth1 -d 192.168.2.0/24 -j dmz
-A dmz -p tcp --dport 443 -m comment --comment webserver -j ACCEPT
-A dmz -j REJECT --reject-with icmp-port-unreachable
"""


# Debian gives ordinary users no sbin directories on their PATH.
_TOOLS = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"}


def _run(argv: Sequence[str], text: str | None = None, optional: bool = False) -> bool:
    result = subprocess.run(argv, env=_TOOLS, input=text, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode and not optional:
        raise NettopError(f"the lab cannot be built: {' '.join(argv)}", result.stderr.strip().splitlines()[-1][:200])
    return result.returncode == 0


def _inside(name: str, *argv: str, text: str | None = None, optional: bool = False) -> bool:
    return _run(["ip", "netns", "exec", name, *argv], text, optional)


def _sysctls(name: str, settings: Sequence[str]) -> None:
    """Write sysctls of a namespace. Without sysctl(8): a minimal system does not have it."""
    with isolation.inside_netns(name):
        for setting in settings:
            key, value = setting.split("=")
            try:
                Path("/proc/sys", *key.split(".")).write_text(value)
            except OSError as error:
                raise NettopError(f"the lab cannot set {key} in {name}", str(error.strerror)) from error


def _links() -> None:
    for (ns_a, device_a, addresses_a), (ns_b, device_b, addresses_b) in LINKS:
        _run(["ip", "-n", ns_a, "link", "add", device_a, "type", "veth", "peer", "name", device_b, "netns", ns_b])
        for name, device, addresses in ((ns_a, device_a, addresses_a), (ns_b, device_b, addresses_b)):
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                _run(["ip", "-n", name, "addr", "add", address, "dev", device, *nodad])
            _run(["ip", "-n", name, "link", "set", device, "up"])
    for address in INTERNET:
        _run(["ip", "-n", "net", "addr", "add", address, "dev", "lo"])
    for name, route in ROUTES:
        _run(["ip", "-n", name, "route", "add", *route.split()])


def _rules() -> None:
    for name in ("gw-a", "gw-b"):
        _sysctls(name, ACCOUNTING)
    _inside("gw-a", "nft", "-f", "-", text=NFT_GATEWAY_A)
    for table in NFT_COUNTED_A:
        _inside("gw-a", "nft", "-f", "-", text=table, optional=True)
    _iptables("gw-a", "iptables", IPTABLES_GATEWAY_A)
    _iptables("gw-a", "iptables-legacy", LEGACY_GATEWAY_A, optional=True)  # no ip_tables: two backends then
    _iptables("gw-b", "iptables", IPTABLES_GATEWAY_B)


def _iptables(name: str, tool: str, rules: str, optional: bool = False) -> None:
    for rule in rules.strip().splitlines():
        _inside(name, tool, *rule.split(), optional=optional)


def build() -> None:
    """Build the lab in the (private) namespaces of this process. NettopError names the step that failed."""
    for tool in ("ip", "nft", "iptables"):
        if shutil.which(tool, path=_TOOLS["PATH"]) is None:
            raise NettopError(f"the lab needs {tool}", "install iproute2, nftables and iptables")
    for name in NAMESPACES:
        _run(["ip", "netns", "add", name])
        _run(["ip", "-n", name, "link", "set", "lo", "up"])
    _links()
    for name, settings in SYSCTLS.items():
        _sysctls(name, settings)
    _rules()
