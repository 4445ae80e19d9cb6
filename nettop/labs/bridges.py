"""Labs of bridges: one with MASQUERADE, and one whose ports need hairpin mode."""

from __future__ import annotations

from nettop.labs.lab import Fact, Lab, bridge, counting, pings, veth, web

BRIDGE = Lab(
    name="bridge",
    look="Flows: a and b leave as 198.51.100.1 (MASQUERADE); what they send to each other is bridged.",
    namespaces=("a", "b", "box", "net"),
    opens="box",
    commands=veth("box veth-a", "a eth0 10.0.0.2/24")
    + veth("box veth-b", "b eth0 10.0.0.3/24")
    + bridge("box br0 10.0.0.1/24", "veth-a", "veth-b")
    + veth("box eth0 198.51.100.1/24", "net eth0 198.51.100.4/24")
    + """
ip -n a route add default via 10.0.0.1
ip -n b route add default via 10.0.0.1
ip -n box route add default via 198.51.100.4
ip netns exec box sysctl -qw net.ipv4.ip_forward=1
ip netns exec box iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -o eth0 -j MASQUERADE
ip netns exec box iptables -P FORWARD DROP
ip netns exec box iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ip netns exec box iptables -A FORWARD -i br0 -j ACCEPT
"""
    + counting("box"),
    traffic="""
net serve tcp 198.51.100.4 443
net serve udp 198.51.100.4 53
a wait 198.51.100.4 443
a every 0.5 get 198.51.100.4 443 500-20000 0
a every 30 get 198.51.100.4 443 3000000 100000
a ping 10.0.0.3 1
b every 0.7 send 198.51.100.4 53 40 0.05 2
b ping 198.51.100.4 1
""",
    facts=(
        *pings("a 10.0.0.3, a 198.51.100.4, net 10.0.0.2 fails"),
        Fact("ip netns exec box bridge link show dev veth-a", prints="master br0 state forwarding"),
    ),
)


def _isolated_pair(access: str, core_port: str, one: str, other: str, network: str) -> str:
    """Return the commands for two namespaces on isolated ports of a bridge, whose uplink is a port of the core.

    It forgets addresses at once, so all frames go up, and only what the core sends back comes to the other one.
    """
    return (
        veth(f"switch port-{one}", f"{one} eth0 {network}.1/24")
        + veth(f"switch port-{other}", f"{other} eth0 {network}.2/24")
        + veth(f"switch up-{access}", f"switch {core_port}")
        + bridge(f"switch {access}", f"port-{one}", f"port-{other}", f"up-{access}", options=" ageing_time 0")
        + f"ip netns exec switch bridge link set dev port-{one} isolated on\n"
        + f"ip netns exec switch bridge link set dev port-{other} isolated on\n"
    )


HAIRPIN = Lab(
    name="hairpin",
    look="Map: port core1 is in hairpin mode, so a reaches b; core2 is not, so c does not reach d.",
    namespaces=("a", "b", "c", "d", "switch"),
    opens="switch",
    commands="ip netns exec switch sysctl -qw net.ipv4.conf.all.arp_ignore=1\n"  # core alone answers for its addresses
    + _isolated_pair("access1", "core1", "a", "b", "10.0.1")
    + _isolated_pair("access2", "core2", "c", "d", "10.0.2")
    + bridge("switch core 10.0.1.254/24 10.0.2.254/24", "core1", "core2")
    + "ip netns exec switch bridge link set dev core1 hairpin on\n"
    + counting("switch"),
    traffic=web("a", "b", "10.0.1.2", "500-5000")
    + """a ping 10.0.1.2 1
a ping 10.0.1.254 1
c ping 10.0.2.2 1
c ping 10.0.2.254 1
""",
    facts=(
        *pings("a 10.0.1.2, a 10.0.1.254, c 10.0.2.2 fails, c 10.0.2.254"),
        Fact("ip netns exec switch bridge -d link show dev core1", prints="hairpin on"),
        Fact("ip netns exec switch bridge -d link show dev core2", prints="hairpin off"),
    ),
)
