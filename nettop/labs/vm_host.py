"""A host of virtual machines with NAT, bridged, internal and host-only networks and a forwarded port.

nat1 ── virbr0 192.168.122.1 ─ NAT, port 2222 → nat1:22 ─┐
bridged1 ── br0 203.0.113.10 ─ eth0 of box ─────────┴── lan 203.0.113.1
internal1, internal2 ── virbr1 (no address)
hostonly1 ── virbr2 192.168.56.1 (not forwarded)
"""

from __future__ import annotations

from nettop.labs.lab import Fact, Lab, bridge, counting, pings, veth

_CONNECT = "ip netns exec lan timeout 3 bash -c '</dev/tcp/{}'"  # a TCP connection

VM_HOST = Lab(
    name="vm-host",
    look="Flows: nat1 leaves as 203.0.113.10, whose port 2222 is nat1's port 22. Map: four kinds of networks.",
    namespaces=("nat1", "bridged1", "internal1", "internal2", "hostonly1", "box", "lan"),
    opens="box",
    commands=veth("box vnet0", "nat1 eth0 192.168.122.2/24")
    + bridge("box virbr0 192.168.122.1/24", "vnet0")
    + veth("box vnet1", "bridged1 eth0 203.0.113.20/24")
    + veth("box eth0", "lan eth0 203.0.113.1/24")
    + bridge("box br0 203.0.113.10/24", "eth0", "vnet1")
    + veth("box vnet2", "internal1 eth0 10.0.0.1/24")
    + veth("box vnet3", "internal2 eth0 10.0.0.2/24")
    + bridge("box virbr1", "vnet2", "vnet3")
    + veth("box vnet4", "hostonly1 eth0 192.168.56.2/24")
    + bridge("box virbr2 192.168.56.1/24", "vnet4")
    + """
ip -n nat1 route add default via 192.168.122.1
ip -n bridged1 route add default via 203.0.113.1
ip -n hostonly1 route add default via 192.168.56.1
ip -n box route add default via 203.0.113.1
ip netns exec box sysctl -qw net.ipv4.ip_forward=1
ip netns exec box iptables -t nat -A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE
ip netns exec box iptables -t nat -A PREROUTING -d 203.0.113.10 -p tcp --dport 2222 -j DNAT --to 192.168.122.2:22
ip netns exec box iptables -N VMS
ip netns exec box iptables -A FORWARD -j VMS
ip netns exec box iptables -A VMS -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ip netns exec box iptables -A VMS -i virbr0 -o br0 -j ACCEPT -m comment --comment NAT
ip netns exec box iptables -A VMS -o virbr0 -p tcp --dport 22 -j ACCEPT -m comment --comment port-forward
ip netns exec box iptables -A VMS -o virbr0 -j REJECT
ip netns exec box iptables -A VMS -i virbr2 -j REJECT -m comment --comment host-only
"""
    + counting("box"),
    traffic="""
nat1 serve tcp 0.0.0.0 22
lan serve tcp 203.0.113.1 443
lan serve udp 203.0.113.1 53
hostonly1 serve tcp 192.168.56.2 80
internal2 serve tcp 10.0.0.2 80
nat1 every 0.5 get 203.0.113.1 443 500-20000 0
nat1 every 0.8 send 203.0.113.1 53 40 0.05 2
lan every 1 get 203.0.113.10 2222 500-5000 0
lan ping 203.0.113.20 1
bridged1 every 1 get 203.0.113.1 443 500-5000 0
internal1 every 1 get 10.0.0.2 80 500-5000 0
hostonly1 ping 203.0.113.1 1
box every 1 get 192.168.56.2 80 500-5000 0
""",
    facts=(
        *pings("nat1 203.0.113.1, lan 192.168.122.2 fails"),
        Fact(_CONNECT.format("203.0.113.10/2222")),
        Fact(_CONNECT.format("203.0.113.10/22"), fails=True),
        *pings("bridged1 203.0.113.1, lan 203.0.113.20, internal1 10.0.0.2, internal1 203.0.113.1 fails"),
        *pings("box 10.0.0.1 fails, box 192.168.56.2, hostonly1 192.168.56.1, hostonly1 203.0.113.1 fails"),
    ),
)
