"""Labs of macvlan, one for each mode, and of macvtap: devices on eth0 of a host, whose other end is a port of a switch.

a mv0 ─┐
       ├─ box eth0 10.0.0.10 ── port, switch br0 10.0.0.1
b mv0 ─┘
"""

from __future__ import annotations

from nettop.labs.lab import Fact, Lab, bridge, counting, device, pings, veth, web


def _child(name: str, address: str, mode: str, kind: str = "macvlan", lower: str = "eth0") -> str:
    made = f"ip -n box link add mv0 netns {name} link {lower} type {kind} mode {mode}\n"
    return made + device(f"{name} mv0 {address}/24")


_SWITCH = veth("box eth0 10.0.0.10/24", "switch port") + bridge("switch br0 10.0.0.1/24", "port")
_TRAFFIC = (
    web("a", "switch", "10.0.0.1", "500-5000")
    + """a ping 10.0.0.1 1
a ping 10.0.0.10 1
box ping 10.0.0.1 1
box every 1 get 10.0.0.1 80 500-5000 0
"""
)


def _two_children(mode: str, look: str, reaches_b: bool, kind: str = "macvlan") -> Lab:
    """Return the lab of a mode in which neither child reaches the address of the device below it."""
    return Lab(
        name=kind if kind == "macvtap" else f"macvlan-{mode}",
        look=look,
        namespaces=("a", "b", "box", "switch"),
        opens="box",
        commands=_SWITCH + _child("a", "10.0.0.2", mode, kind) + _child("b", "10.0.0.3", mode, kind) + counting("box"),
        traffic=f"{_TRAFFIC}a ping 10.0.0.3 1\n",
        facts=(
            *pings(f"a 10.0.0.1, box 10.0.0.1, a 10.0.0.3{'' if reaches_b else ' fails'}"),
            *pings(f"b 10.0.0.2{'' if reaches_b else ' fails'}, a 10.0.0.10 fails, box 10.0.0.2 fails"),
            Fact("ip -n a -d link show mv0", prints=f"{kind} mode {mode}"),
        ),
    )


PRIVATE = _two_children(
    "private",
    "Packets on eth0: nobody answers a's ARP requests for b and for box; the switch answers.",
    reaches_b=False,
)
BRIDGE = _two_children(
    "bridge", "Packets on eth0: a reaches b inside of box, but not 10.0.0.10, eth0's own address.", reaches_b=True
)
MACVTAP = _two_children(
    "bridge",
    "Map: no program reads /dev/tapN, so a macvtap acts as a macvlan: a reaches b, but not box.",
    reaches_b=True,
    kind="macvtap",
)

VEPA = Lab(
    name="macvlan-vepa",
    look="Packets on eth0: frames from a to b leave and come back (hairpin port); on eth1 they do not.",
    namespaces=("a", "b", "c", "d", "box", "switch"),
    opens="box",
    commands=_SWITCH
    + "ip netns exec switch bridge link set dev port hairpin on\n"
    + "ip netns exec box sysctl -qw net.ipv4.conf.all.arp_ignore=1\n"  # else eth1 answers for eth0's address, too
    + veth("box eth1", "switch port1")
    + "ip -n switch link set port1 master br0\n"
    + _child("a", "10.0.0.2", "vepa")
    + _child("b", "10.0.0.3", "vepa")
    + _child("c", "10.0.0.4", "vepa", lower="eth1")
    + _child("d", "10.0.0.5", "vepa", lower="eth1")
    + counting("box"),
    traffic=f"{_TRAFFIC}a ping 10.0.0.3 1\nc ping 10.0.0.5 1\nc ping 10.0.0.1 1\n",
    facts=(
        *pings("a 10.0.0.1, a 10.0.0.3, b 10.0.0.2, a 10.0.0.10"),
        *pings("c 10.0.0.1, c 10.0.0.2, c 10.0.0.5 fails, d 10.0.0.4 fails"),
        Fact("ip -n a -d link show mv0", prints="macvlan mode vepa"),
        Fact("ip netns exec switch bridge -d link show dev port", prints="hairpin on"),
        Fact("ip netns exec switch bridge -d link show dev port1", prints="hairpin off"),
    ),
)

PASSTHRU = Lab(
    name="macvlan-passthru",
    look="Map: eth0's one child has its MAC address and gets all its frames: box itself is cut off.",
    namespaces=("a", "box", "switch"),
    opens="a",
    commands=_SWITCH + _child("a", "10.0.0.2", "passthru") + counting("a"),
    traffic=f"{_TRAFFIC}switch ping 10.0.0.2 1\n",
    facts=(
        *pings("a 10.0.0.1, a 10.0.0.10 fails, box 10.0.0.1 fails, switch 10.0.0.10 fails"),
        Fact("ip -n a -d link show mv0", prints="macvlan mode passthru"),
        Fact("ip -n box link add second link eth0 type macvlan mode passthru", fails=True),
    ),
)
