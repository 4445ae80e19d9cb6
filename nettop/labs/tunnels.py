"""Labs of devices with another end: a veth pair, a VXLAN tunnel, and tun and tap with a program behind them."""

from __future__ import annotations

from nettop.labs.lab import Fact, Lab, counting, device, pings, veth, web

VETH = Lab(
    name="veth",
    look="Map: eth0 of a and eth0 of b are a veth pair: what goes into one end comes out of the other.",
    namespaces=("a", "b"),
    opens="a",
    commands=veth("a eth0 10.0.0.1/24 fd00::1/64", "b eth0 10.0.0.2/24 fd00::2/64") + counting("a"),
    traffic=web("a", "b", "10.0.0.2")
    + """b serve udp fd00::2 443
a send fd00::2 443 900 0.1
a ping 10.0.0.2 1
b ping fd00::1 1
""",
    facts=(
        *pings("a 10.0.0.2, a fd00::2, b 10.0.0.1"),
        Fact("ip -n a -d link show eth0", prints="link-netns b"),
    ),
)

VXLAN = Lab(
    name="vxlan",
    look="Packets on eth0: each packet of 10.0.0.1 and 10.0.0.2 is inside of one to UDP port 4789, VNI 42.",
    namespaces=("a", "b"),
    opens="a",
    commands=veth("a eth0 192.0.2.1/24", "b eth0 192.0.2.2/24")
    + """
ip -n a link add vxlan42 type vxlan id 42 remote 192.0.2.2 local 192.0.2.1 dstport 4789 dev eth0
ip -n b link add vxlan42 type vxlan id 42 remote 192.0.2.1 local 192.0.2.2 dstport 4789 dev eth0
"""
    + device("a vxlan42 10.0.0.1/24")
    + device("b vxlan42 10.0.0.2/24")
    + """
ip netns exec a nft 'table ip overlay {
    chain out {
        type filter hook output priority filter;
        oifname "vxlan42" counter comment "inside"
        oifname "eth0" udp dport 4789 counter comment "outside"
    }
}'
"""
    + counting("a"),
    traffic=web("a", "b", "10.0.0.2") + "a ping 10.0.0.2 0.5\n",
    facts=(
        *pings("a 10.0.0.2, b 10.0.0.1"),
        Fact("ip -n a -d link show vxlan42", prints="vxlan id 42 remote 192.0.2.2 local 192.0.2.1 dev eth0"),
        Fact("ip netns exec a bridge fdb show dev vxlan42", prints="dst 192.0.2.2"),
        *(
            Fact("ip netns exec a nft list table ip overlay", prints=rf'packets [1-9]\d* bytes \d+ comment "{where}"')
            for where in ("inside", "outside")
        ),
    ),
)

TUN = Lab(
    name="tun",
    look="Packets: a program answers pings on the descriptors of tun0 (IP packets) and tap0 (frames, ARP).",
    namespaces=("box",),
    opens="box",
    commands="""
ip -n box tuntap add dev tun0 mode tun
ip -n box tuntap add dev tap0 mode tap
"""
    + device("box tun0 10.0.1.1/24")
    + device("box tap0 10.0.2.1/24")
    + counting("box"),
    traffic="""
box answer tun tun0
box answer tap tap0
box ping 10.0.1.2 1
box ping 10.0.2.2 0.5
""",
    facts=(
        *pings("box 10.0.1.2, box 10.0.1.254, box 10.0.2.2"),
        Fact("ip -n box neigh show 10.0.2.2", prints="lladdr 02:00:00:00:00:01"),
        Fact("ip -n box -d link show tun0", prints="tun type tun"),
        Fact("ip -n box -d link show tap0", prints="tun type tap"),
    ),
)
