"""Labs of devices stacked on others that not every kernel has: ipvlan in its three modes, bond, team and vlan."""

from __future__ import annotations

from nettop.labs.lab import Fact, Lab, counting, device, pings, veth, web

_LOOK_IPVLAN = {
    "l2": "Map: a and b have eth0's MAC address; they reach each other and the switch, not box.",
    "l3": "Chains: a and b are routed, without ARP; box's rules see what they send, not what they get.",
    "l3s": "Chains: a and b are routed, without ARP; box's rules see what they send and what they get.",
}
_ROUTED = """
ip -n a route add default dev ipvl0
ip -n b route add default dev ipvl0
ip -n switch route add 10.0.1.0/24 via 10.0.0.10
ip netns exec box iptables -A OUTPUT -s 10.0.1.0/24 -m comment --comment sent
ip netns exec box iptables -A INPUT -d 10.0.1.0/24 -m comment --comment received
"""


def _ipvlan(mode: str) -> Lab:
    l2 = mode == "l2"
    network = "10.0.0" if l2 else "10.0.1"
    children = "".join(
        f"ip -n box link add ipvl0 netns {name} link eth0 type ipvlan mode {mode}\n"
        + device(f"{name} ipvl0 {network}.{number}/24")
        for name, number in (("a", 2), ("b", 3))
    )
    received = "[1-9][0-9]*" if mode == "l3s" else "0"
    counted = (
        Fact("ip netns exec box iptables -vxnL OUTPUT", prints=r"^ *[1-9]\d* +[1-9].* sent "),
        Fact("ip netns exec box iptables -vxnL INPUT", prints=rf"^ *{received} +{received} .* received "),
    )
    return Lab(
        name=f"ipvlan-{mode}",
        look=_LOOK_IPVLAN[mode],
        namespaces=("a", "b", "box", "switch"),
        opens="box",
        commands=veth("box eth0 10.0.0.10/24", "switch eth0 10.0.0.1/24")
        + children
        + ("" if l2 else _ROUTED)
        + counting("box"),
        traffic=web("a", "switch", "10.0.0.1", "500-5000")
        + f"a ping {network}.3 1\na ping 10.0.0.10 1\nbox ping 10.0.0.1 1\n",
        facts=(
            *pings(f"a {network}.3, a 10.0.0.1, switch {network}.2, a 10.0.0.10 fails"),
            Fact("ip -n a -d link show ipvl0", prints=f"ipvlan +mode {mode} "),
            *(() if l2 else counted),
        ),
    )


IPVLANS = tuple(_ipvlan(mode) for mode in _LOOK_IPVLAN)


def _redundant(kind: str, look: str, made: str, prints: str) -> Lab:
    """Return the lab of a device over two veth pairs to a switch, of which one carries the traffic."""
    upper = f"{kind}0"
    return Lab(
        name=kind,
        look=look,
        namespaces=("box", "switch"),
        opens="box",
        commands=made
        + "".join(
            f"ip -n box link add eth{n} type veth peer name port{n} netns switch\n"
            f"ip -n box link set eth{n} master {upper}\n"
            f"ip -n box link set eth{n} up\n"
            f"ip -n switch link set port{n} up\n"
            for n in (0, 1)
        )
        + """
ip -n switch link add br0 type bridge
ip -n switch link set port0 master br0
ip -n switch link set port1 master br0
"""
        + device("switch br0 10.0.0.1/24")
        + device(f"box {upper} 10.0.0.2/24")
        + counting("box"),
        traffic=web("box", "switch", "10.0.0.1") + "box ping 10.0.0.1 1\n",
        facts=(
            *pings("box 10.0.0.1"),
            Fact(f"ip -n box -d link show {upper}", prints=prints),
            Fact("ip -n box link show eth1", prints=f"master {upper}"),
        ),
    )


BOND = _redundant(
    "bond",
    "Map: bond0 sends by its active port eth0; eth1 takes over when eth0 loses its carrier.",
    "ip -n box link add bond0 type bond mode active-backup miimon 100\n",
    "bond mode active-backup active_slave eth0 ",
)
TEAM = _redundant(
    "team",
    "Map: team0, run by teamd, sends by one of its ports, as a bond in mode active-backup does.",
    "ip -n box link add team0 type team\n"
    """ip netns exec box teamd -d -o -N -t team0 -c '{"runner": {"name": "activebackup"}}'\n""",
    "team",
)

VLAN = Lab(
    name="vlan",
    look="Packets on eth0: the frames of eth0.10 have an 802.1Q tag with VLAN 10, eth0.20's with 20.",
    namespaces=("a", "b"),
    opens="a",
    commands=veth("a eth0 10.0.0.1/24", "b eth0 10.0.0.2/24")
    + "".join(
        f"ip -n {name} link add eth0.{vlan} link eth0 type vlan id {vlan}\n"
        + device(f"{name} eth0.{vlan} 10.0.{vlan}.{number}/24")
        for name, number in (("a", 1), ("b", 2))
        for vlan in (10, 20)
    )
    + counting("a"),
    traffic=web("a", "b", "10.0.10.2") + "a ping 10.0.20.2 1\na ping 10.0.0.2 1\n",
    facts=(
        *pings("a 10.0.0.2, a 10.0.10.2, a 10.0.20.2"),
        Fact("ip -n a -d link show eth0.10", prints="vlan protocol 802.1Q id 10"),
    ),
)
