"""The kind and mode of a device in a few words: `macvlan bridge on eth1`, `veth ⇄ eth0 @ lan-a`."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.decode.topology.objects import Device, Namespace, Queue
from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.tree import PAIRS
from nettop.text.units import listed

HOST = "host"  # the text of the label ""
_PORTS = {"bridge": "port", "team": "port", "bond": "slave", "vrf": "in VRF"}  # by the master's kind
_REMOTES = ("remote", "remote6", "group", "group6")
_ON = ("1", "on", "true", "yes")
_TUNNELS = ("gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit", "ip6tnl", "vti", "erspan", "geneve")


def label_text(label: str) -> str:
    """Return the name of a namespace as it is shown."""
    return label or HOST


def parameter(device: Device, *names: str) -> str:
    """Return the value of the first of these parameters of its kind that is set; "" if none is."""
    values = dict(device.parameters)
    return next((values[name] for name in names if values.get(name)), "")


def remote_text(device: Device) -> str:
    """Return the address of a tunnel's other end, or its multicast group; "": none, or no tunnel."""
    values = (value for name, value in device.parameters if name in _REMOTES)
    found = next((value for value in values if value), "") if device.link.kind != "tun" else ""  # its group is a gid
    return found if found not in ("any", "0.0.0.0", "::") else ""


def is_on(value: str) -> bool:
    """Return whether the value of a switch means on."""
    return value.lower() in _ON


def peer_text(hosts: HostMap, label: str, device: Device) -> str:
    """Return `eth0 @ lan-a` for its other end or lower device; `if 2 @ nsid 4` for one that is not known; or ""."""
    link = device.link
    found = hosts.peer(label, link.ifindex)
    other = hosts.device(found)
    if other is not None and found:
        return other.link.name + (f" @ {label_text(found[0])}" if found[0] != label else "")
    if not link.lower:
        return ""
    where = f" @ {label_text(found[0])}" if found and found[0] != label else ""
    return f"if {link.lower}{where or _nsid(link.peer_nsid)}"


def _nsid(nsid: int | None) -> str:
    return "" if nsid is None else f" @ nsid {nsid}" if nsid >= 0 else " @ an unknown namespace"


def feeding(space: NamespaceMap, device: Device) -> Iterator[tuple[Queue, str]]:
    """Yield the filters of traffic control that send packets to a device, and how: redirect or mirror."""
    for queue in space.queues:
        yield from ((queue, verb) for verb, to in queue.targets if to == device.link.ifindex)


def kind_text(hosts: HostMap, label: str, device: Device, nested: bool = False) -> str:
    """Return the kind, mode and relation of a device. A port begins with its role: `port ⇄ eth0 @ dmz-4`.

    `nested`: it is below its lower device in a tree, which is not named again.
    """
    master = hosts.device((label, device.link.master))
    role = _PORTS.get(device.master_kind or (master.link.kind if master else ""), "") if device.link.master else ""
    own = _own_text(hosts, label, device, nested)
    if not role:
        return own
    if role == "in VRF":
        return f"{own}, {role} {master.link.name if master else device.link.master}"
    return f"{role} {own.removeprefix('veth ')}" if device.link.kind == "veth" else f"{role}, {own}"


def _own_text(hosts: HostMap, label: str, device: Device, nested: bool) -> str:
    link = device.link
    kind = link.kind or ("loopback" if link.arphrd == ARPHRD_LOOPBACK else "device")
    peer = peer_text(hosts, label, device)
    if kind in PAIRS:
        return f"{kind} ⇄ {peer or 'unknown'}"
    words = [*_mode(kind, device)] if kind == "tun" else [kind, *_mode(kind, device)]
    space = hosts.of(label) if kind == "ifb" else None
    if space is not None and (fed := dict.fromkeys(space.name(queue.ifindex) for queue, _ in feeding(space, device))):
        words.append(f"← {listed([*fed], 3)}")
    if peer and kind not in _TUNNELS and not nested:
        words.append(f"on {peer}")
    elif not link.lower and link.peer_nsid is not None:  # a tunnel whose packets leave in another namespace
        there = hosts.linked(label, device)
        words.append(f"@ {label_text(there.namespace.label)}" if there else _nsid(link.peer_nsid).strip())
    text = " ".join(word for word in words if word).replace(" ,", ",")
    return f"{text}, {device.owner}" if device.owner else text


def _mode(kind: str, device: Device) -> tuple[str, ...]:
    """Return the words after the kind."""
    mode = parameter(device, "mode")
    if kind == "bridge":
        filtering = ", VLAN filtering" if is_on(parameter(device, "vlan_filtering")) else ""
        return (f", stp {'on' if is_on(parameter(device, 'stp_state')) else 'off'}{filtering}",)
    if kind == "vlan":
        return (parameter(device, "id"),)
    if kind in ("vxlan", *_TUNNELS):
        remote = remote_text(device)
        ident = "external" if parameter(device, "external") else parameter(device, "id")
        return ident, f"→ {remote}" if remote else ""
    if kind == "tun":
        return (parameter(device, "type") or kind,)
    if kind == "bond":
        active = parameter(device, "active_slave")
        return mode, f"active {active}" if active else ""
    if kind == "vrf":
        return ("table", parameter(device, "table"))
    return (mode, parameter(device, "flag") if parameter(device, "flag") != "bridge" else "")


def about_namespace(namespace: Namespace) -> str:
    """Return a container, or other names, or the command of the first process."""
    others = [name for name in namespace.names if name != namespace.label]
    return namespace.container or " ".join(others) or namespace.command


def closed_text(namespace: Namespace) -> str:
    """Return why nothing inside of a namespace is known; "" for one that can be entered."""
    if namespace.refusal:
        return f"cannot be entered: {namespace.refusal}"
    return "known by its id only: no name and no process of it is visible" if namespace.inode < 0 else ""
