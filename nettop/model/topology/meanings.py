"""The kinds and modes of devices, and what follows for a packet: one table of sentences."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.decode.topology.objects import Device
from nettop.model.topology.device_words import is_on, parameter

# By kind, then by value of the parameter that decides ("": any value).
_MODES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "macvlan": (("mode",), {
        "bridge": "Children of the same lower device reach each other directly; none reaches the lower device's own "
        "address, nor is reached from it.",
        "private": "Children do not reach each other, not even through an outside switch; nor the lower device's own "
        "address.",
        "vepa": "Children reach each other only through an outside switch that sends frames back (hairpin, 802.1Qbg); "
        "none reaches the lower device's own address.",
        "passthru": "One child only: it takes all frames of the lower device and may change its MAC.",
        "source": "Only frames from listed source MACs reach this child.",
    }),
    "ipvlan": (("mode",), {
        "l2": "All children share the lower device's MAC and are told apart by address; ARP and broadcasts reach "
        "all of them. None reaches the lower device's own address.",
        "l3": "One MAC; routed in the lower device's namespace: no ARP, no broadcast or multicast is received, and "
        "conntrack there does not follow incoming packets.",
        "l3s": "As L3 mode (no broadcast or multicast), but incoming packets pass the hooks and conntrack of the lower "
        "device's namespace.",
    }),
    "bond": (("mode",), {
        "balance-rr": "Packets leave by each slave in turn: one flow may be reordered.",
        "active-backup": "Only the active slave carries packets; a capture on a backup shows almost none.",
        "balance-xor": "The slave is chosen by a hash of the addresses: a flow stays on one.",
        "broadcast": "Every packet leaves by all slaves: the peer receives copies.",
        "802.3ad": "LACP: the slave is chosen by a hash, only among those that the switch aggregates.",
        "balance-tlb": "Outgoing flows are spread by load; incoming packets arrive on the active slave.",
        "balance-alb": "Flows are spread both ways; ARP replies are rewritten so that peers use several slaves' MACs.",
    }),
    "netkit": (("mode",), {
        "l2": "A pair like veth: what enters one end leaves the other; a BPF program at each end decides.",
        "l3": "A pair without ARP and MACs: IP packets only; a BPF program at each end decides.",
    }),
}  # fmt: skip
_MODES["macvtap"], _MODES["ipvtap"] = _MODES["macvlan"], _MODES["ipvlan"]
_KINDS = {
    "veth": "A pair: what is sent into one end arrives at the other. Between namespaces neither a packet's mark nor "
    "its conntrack entry crosses it.",
    "bridge": "Frames are forwarded between the ports by MAC; packets for the bridge's own MAC enter this host's stack "
    "on the bridge device.",
    "vlan": "Packets leave the lower device tagged; a capture there shows the tag, here it is gone.",
    "vxlan": "Frames are sent inside UDP packets, 50 bytes larger (70 over IPv6): the MTU must be smaller by that.",
    "geneve": "Frames are sent inside UDP packets, at least 50 bytes larger: the MTU must be smaller by that.",
    "gre": "IP packets are sent inside GRE, 24 bytes larger or more: the MTU must be smaller by that.",
    "ipip": "IPv4 packets are sent inside IPv4, 20 bytes larger: the MTU must be smaller by that.",
    "sit": "IPv6 packets are sent inside IPv4, 20 bytes larger: the MTU must be smaller by that.",
    "wireguard": "Packets are encrypted into UDP, 60 bytes larger (80 over IPv6), to the peer whose allowed IPs hold "
    "the destination; others are dropped.",
    "dummy": "What is routed here is dropped; it keeps an address up.",
    "ifb": "Packets come only by a redirect of tc, so that incoming ones can be shaped.",
    "vrf": "Routes of its ports are in a table of its own; sockets see only packets of the VRF that they are bound to.",
    "macsec": "Frames are authenticated and encrypted, 32 bytes larger; frames without a valid tag are dropped.",
    "nlmon": "Copies of netlink messages of this namespace, for captures.",
}
_TUN = {
    "tun": "IP packets are read and written by a program; without a reader they are dropped.",
    "tap": "Ethernet frames are read and written by a program; without a reader they are dropped.",
}
_STATES = {
    "disabled": "No frame passes this port.",
    "blocking": "Spanning tree blocks this port: only BPDUs pass.",
    "listening": "Spanning tree has not opened this port yet: no frame passes.",
    "learning": "Spanning tree has not opened this port yet: MACs are learned, no frame is forwarded.",
}
# Switches of a bridge port, by the value that has a consequence.
_PORT = (
    ("hairpin", True, "Hairpin: frames may leave by the port that they came in by."),
    ("isolated", True, "Isolated: no frame passes between this port and other isolated ones."),
    ("learning", False, "No MACs are learned here: frames to hosts behind it are flooded, or need static entries."),
    ("flood", False, "Frames to unknown MACs do not leave by this port."),
    ("bcast_flood", False, "Broadcasts do not leave by this port: ARP requests neither."),
    ("mcast_flood", False, "Multicasts to unknown groups do not leave by this port."),
    ("guard", True, "BPDU guard: a BPDU that arrives shuts the port."),
    ("root_block", True, "The port never becomes the root port."),
    ("locked", True, "Locked: frames from MACs without an entry are dropped."),
    ("neigh_suppress", True, "ARP and neighbour solicitations are answered by the bridge and not flooded."),
)


def sentences(device: Device) -> Iterator[str]:
    """Yield what the kind, the mode and the state as a port mean for a packet."""
    kind = device.link.kind
    names, modes = _MODES.get(kind, ((), {}))
    by_type = _TUN.get(parameter(device, "type")) if kind == "tun" else _KINDS.get(kind)
    text = modes.get(parameter(device, *names)) or by_type
    if text:
        yield text
    flag = parameter(device, "flag", "flags")
    if kind.startswith("ipv") and flag == "private":
        yield "Private: children do not reach each other."
    if kind.startswith("ipv") and flag == "vepa":
        yield "VEPA: children reach each other only through an outside switch that sends frames back."
    if kind == "bridge" and is_on(parameter(device, "vlan_filtering")):
        yield "VLAN filtering: a frame passes only between ports of its VLAN."
    yield from _port(device)


def _port(device: Device) -> Iterator[str]:
    if device.master_kind == "bridge":
        values = dict(device.port)
        if text := _STATES.get(values.get("state", "")):
            yield text
        yield from (text for name, on, text in _PORT if name in values and is_on(values[name]) == on)
    elif device.master_kind == "bond":
        yield "A slave: packets are sent and received as the bond's."
