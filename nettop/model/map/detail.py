"""The detail of a device: what it is, what follows for a packet, and its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nettop.decode.topology.objects import Device, Neighbour, Parameters, Queue
from nettop.linux.socket import AF_BRIDGE
from nettop.model.map.rows import addresses_by_device, mac_text
from nettop.model.table import CopyDetail, Line, detail_line, more
from nettop.model.topology import sysctls
from nettop.model.topology.device_words import closed_text, feeding, kind_text, label_text, peer_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.ip_words import filter_words, hook_text, ip_text, prefix_text, state_text
from nettop.model.topology.meanings import sentences
from nettop.model.topology.sysctls import SysctlRow
from nettop.model.topology.tree import PAIRS
from nettop.text.netns import enter_command
from nettop.text.units import grouped, listed, plural, rate, scaled, sparkline

_BRIDGED = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")
_MACS = 8  # learned MACs that are shown
_REASONS = {  # Documentation/networking/statistics.rst
    "rx_length_errors": "too short or too long", "rx_over_errors": "larger than a buffer", "rx_crc_errors": "damaged",
    "rx_frame_errors": "misaligned", "rx_fifo_errors": "the card was overrun",
    "rx_missed_errors": "no room: this host was too slow", "rx_nohandler": "the device is inactive in its bond or team",
    "rx_otherhost_dropped": "to the MAC of another host", "tx_aborted_errors": "given up after collisions",
    "tx_carrier_errors": "no carrier while it was sent", "tx_fifo_errors": "the card ran dry",
    "tx_heartbeat_errors": "no heartbeat of the transceiver", "tx_window_errors": "late collision",
}  # fmt: skip
_MULTICAST = ("mcast_snooping", "mcast_querier", "mcast_router")  # of a bridge; the JSON has all of them
_FUNCTIONS = 16  # virtual functions that are shown
_STATES = {0: "", 1: "not present", 2: "down", 3: "lower layer down", 4: "testing", 5: "dormant", 6: "up"}  # IF_OPER_*


@dataclass(frozen=True, slots=True)
class MapDetail(CopyDetail):
    """A namespace, or a device in it."""

    label: str  # of the namespace
    device: str = ""  # its name; "": the namespace itself
    closed: str = ""  # why the namespace cannot be entered
    here: bool = False  # it is the shown namespace


def device_detail(
    hosts: HostMap, space: NamespaceMap, device: Device, ident: int, here: bool, found: Sequence[str] = ()
) -> MapDetail:
    """Return the detail of a device; `found` are the findings about it."""
    label, link = space.namespace.label, device.link
    title: Line = (
        (link.name, "accent"),
        (f" in {label_text(label)}   {kind_text(hosts, label, device)}", "heading"),
        ("" if link.up else "   down", "warn"),
    )
    said = [detail_line("!", text, "warn") for text in found]
    said += [detail_line("packets" if not at else "", text) for at, text in enumerate(sentences(device))]
    lines = (*said, *_device_lines(hosts, space, device))
    command = " ".join((*enter_command(label), "ip", "-d", "-s", "link", "show", "dev", link.name))
    copies = (("The ip command that shows it", command), ("Its name", link.name), ("Its MAC", mac_text(link.address)))
    return MapDetail(
        ident, title, lines, copies, label, link.name, closed_text(space.namespace), here, sentences=len(lines)
    )


def _device_lines(hosts: HostMap, space: NamespaceMap, device: Device) -> Iterator[Line]:
    yield from _link_lines(hosts, space, device)
    yield from _port_lines(space, device)
    yield from _queue_lines(space, device)
    own = sysctls.rows(space.sysctls, device.link.name)
    bridged = sysctls.rows(space.sysctls) if "bridge" in (device.link.kind, device.master_kind) else []
    yield from _sysctl_lines((*own, *(row for row in bridged if _short(row) in _BRIDGED)))
    counts = device.counts
    errors = f"{grouped(counts.rx_errors)} in, {grouped(counts.tx_errors)} out"
    dropped = f"{grouped(counts.rx_dropped)} in, {grouped(counts.tx_dropped)} out"
    bad = counts.rx_errors or counts.tx_errors or counts.rx_dropped or counts.tx_dropped
    changes = device.carrier_changes
    line = (*detail_line("errors", errors, "bad" if bad else ""), *more("dropped", dropped, "bad" if bad else ""))
    yield line if changes is None else (*line, *more("carrier changes", grouped(changes)))
    reasons = [f"{_reason(name)} {grouped(count)}" for name, count in counts.reasons]
    if reasons:
        yield detail_line("reasons", ", ".join(reasons), "bad")


def _reason(name: str) -> str:
    """Return `rx crc (damaged)` of a counter of struct rtnl_link_stats64."""
    meaning = _REASONS.get(name)
    return name.removesuffix("_errors").replace("_", " ") + (f" ({meaning})" if meaning else "")


def _link_lines(hosts: HostMap, space: NamespaceMap, device: Device) -> Iterator[Line]:
    link, label = device.link, space.namespace.label
    peer = peer_text(hosts, label, device)
    facts = [f"if {link.ifindex}", f"MTU {link.mtu}", *([f"{mac_text(link.address)}"] if link.address else [])]
    if peer:
        facts.append(f"{'peer' if link.kind in PAIRS else 'on'} {peer}")
    if device.carrier is not None:
        facts.append("carrier" if device.carrier else "no carrier: nothing is connected or the other end is down")
    facts += [state for state in (_STATES.get(link.operstate, ""),) if state]
    yield detail_line("link", ", ".join(facts))
    names = [*device.altnames, *([f"“{device.alias}”"] if device.alias else [])]
    if names:
        yield detail_line("names", ", ".join(names))
    addresses = list(map(prefix_text, addresses_by_device(space).get(link.ifindex, ())))
    if addresses:
        yield (*detail_line("address", listed(addresses, 4), "address"), *more("a", "lists them", "dim"))
    if device.parameters:
        shown = (one for one in device.parameters if not one[0].startswith("mcast_") or one[0] in _MULTICAST)
        yield detail_line("kind", ", ".join(f"{name} {value}" for name, value in shown))
    for at, function in enumerate(device.functions[:_FUNCTIONS]):
        yield detail_line("" if at else "functions", _function_text(function))
    if len(device.functions) > _FUNCTIONS:
        yield detail_line("", f"… and {len(device.functions) - _FUNCTIONS} more")
    if rates := space.rates.get(link.ifindex):
        past = [*zip(*space.history.get(link.ifindex, ()), strict=True)] or [(), ()]
        ways = zip(("in", "out"), rates, past, strict=False)
        graphs = [f"{rate(value)} {way} {sparkline([*values])}".rstrip() for way, value, values in ways]
        yield detail_line("rates", f"{', '.join(graphs)}, {scaled(rates[2])} dropped/s")
    if features := space.features.get(link.ifindex):
        words = ", ".join(feature.upper() for feature in features)
        yield detail_line("offload", f"{words} on: captures here may show packets larger than the MTU")


def _function_text(function: Parameters) -> str:
    """Return `vf 0 52:54:00:09:00:04, vlan 10, spoofchk on`."""
    (_, number), (_, mac), *settings = function
    return ", ".join((f"vf {number} {mac}", *(f"{name.replace('_', ' ')} {value}" for name, value in settings)))


def _port_lines(space: NamespaceMap, device: Device) -> Iterator[Line]:
    index, master = device.link.ifindex, space.devices.get(device.link.master)
    if device.link.master:
        name = master.link.name if master else f"if {device.link.master}"
        values = ", ".join(f"{key} {value}" for key, value in device.port[:6])
        yield detail_line(device.master_kind or "master", f"port of {name}{', ' if values else ''}{values}")
    vlans = [vlan for vlan in space.vlans if vlan.ifindex == index]
    if vlans:
        texts = [f"{v.vlan}{' untagged' if v.untagged else ''}{' pvid' if v.pvid else ''}" for v in vlans]
        yield detail_line("VLANs", listed(texts, 12))
    groups = [one for one in space.groups if index in (one.ifindex, one.bridge) and not one.group.startswith("ff02::")]
    if groups:
        texts = [one.group + (f" on {space.name(one.ifindex)}" if one.bridge == index else "") for one in groups]
        yield detail_line("groups", listed([*dict.fromkeys(texts)], _MACS))
    behind = (index,) if device.link.kind != "bridge" else tuple(
        i for i, one in space.devices.items() if one.link.master == index
    )  # fmt: skip
    entries = [one for one in space.neighbours if one.family == AF_BRIDGE and one.ifindex in behind and _is_host(one)]
    if entries:
        yield detail_line("MACs", listed([_entry(space, one, len(behind) > 1) for one in entries], _MACS))


def _is_host(entry: Neighbour) -> bool:
    """Return whether an entry leads to another host: not a port's own MAC, nor a group that this host listens to."""
    return bool(entry.remote) or state_text(entry) != "permanent"


def _entry(space: NamespaceMap, entry: Neighbour, named: bool) -> str:
    device = space.devices.get(entry.ifindex)
    port = f" on {device.link.name}" if named and device else ""
    remote = f" → {ip_text(*entry.remote)}" if entry.remote else ""
    return f"{mac_text(entry.link_address)}{remote}{port} {state_text(entry)}"


def _queue_lines(space: NamespaceMap, device: Device) -> Iterator[Line]:
    queues = [queue for queue in space.queues if queue.ifindex == device.link.ifindex]
    filters = (
        filter_words(queue, space.name) or queue.kind for queue in queues if queue.filter and not _is_head(queue)
    )
    programs = [*filters, *device.programs, *space.programs.get(device.link.ifindex, ())]
    if fed := [f"{space.name(queue.ifindex)} ({verb}, {hook_text(queue)})" for queue, verb in feeding(space, device)]:
        yield detail_line("fed by", listed(fed, 4))
    if programs:
        yield detail_line("tc, XDP", listed(programs, 8), "warn")
    kinds = dict.fromkeys(queue.kind for queue in queues if not queue.filter)
    name = ", ".join(kinds) or device.qdisc
    if name:
        drops, backlog = sum(q.drops for q in queues), sum(q.backlog for q in queues)
        limited = device.queue_length and name != "noqueue"
        text = f"{name}, {plural(device.queue_length, 'packet')} at most" if limited else name
        yield (
            *detail_line("queue", text),
            *more("dropped", grouped(drops)),
            *more("waiting", f"{grouped(backlog)} bytes"),
        )


def _is_head(queue: Queue) -> bool:
    """Return whether a filter is only the head of others: that of a classifier, or a hash table of u32."""
    return not queue.handle & (0xFFF if queue.kind == "u32" else ~0)


def namespace_detail(space: NamespaceMap, ident: int, here: bool, found: Sequence[str] = ()) -> MapDetail:
    """Return the detail of a namespace; `found` are the findings about it."""
    about = space.namespace
    title: Line = ((label_text(about.label), "heading"), ("   here" if here else "", "dim"))
    command = " ".join((*enter_command(about.label), "ip", "-d", "addr"))
    copies = (("The command that shows its addresses", command), ("Its name for --netns", about.label))
    said = [detail_line("!", text, "warn") for text in found]
    lines = (*said, *_namespace_lines(space))
    return MapDetail(ident, title, lines, copies, about.label, "", closed_text(about), here, sentences=len(lines))


def _namespace_lines(space: NamespaceMap) -> Iterator[Line]:
    about = space.namespace
    if closed := closed_text(about):
        yield detail_line("state", closed, "warn")
        yield detail_line(
            "", "nettop enters every namespace when it starts with sudo, or as root outside of a container"
        )
    names = [*(name for name in about.names), *about.mounts]
    if names:
        yield detail_line("names", listed(names, 8))
    if about.container:
        yield detail_line("container", about.container)
    if about.processes:
        yield detail_line("processes", f"{grouped(about.processes)}, the first is {about.command}".removesuffix(" "))
    if about.inode > 0:
        yield detail_line("inode", str(about.inode))
    counts = {"addresses": "a", "routes": "o", "rules": "u", "neighbours": "e"}
    for what, key in counts.items():
        if what in space.complete:
            yield (
                *detail_line("neigh" if what == "neighbours" else what, f"{len(getattr(space, what)):,}", "number"),
                *more(key, "lists them", "dim"),
            )
    yield from _sysctl_lines(sysctls.rows(space.sysctls))


def _short(row: SysctlRow) -> str:
    return row.name.rpartition(".")[2]


def _sysctl_lines(rows: Iterable[SysctlRow]) -> Iterator[Line]:
    """Yield the sysctls that are not as the kernel sets them, and those that decide what iptables sees of bridges."""
    shown = [row for row in rows if row.changed or _short(row) in _BRIDGED]
    names = Counter(_short(row) for row in shown)
    for at, row in enumerate(shown):
        family = f"{row.name[4:8].replace('ip', 'IP')} " if names[_short(row)] > 1 else ""
        value = f"{family}{_short(row)} {row.in_effect}{f': {row.effect}' if row.effect else ''}"
        yield detail_line("" if at else "sysctl", value)
    if shown:
        yield ((" " * 12, ""), ("v", "key"), (" lists all", "dim"))
