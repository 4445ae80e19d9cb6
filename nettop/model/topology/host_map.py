"""Every namespace of the host with its devices, addresses, routes, neighbours and sysctls, kept from dumps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from nettop.batch import DumpMark, Gap
from nettop.decode.rtnetlink import Address, Route
from nettop.decode.topology import kinds, objects
from nettop.decode.topology.decoder import MapRows
from nettop.decode.topology.namespaces import NamespaceList, NamespaceSysctls
from nettop.linux.rtnetlink import TC_HOOKS, TCM_IFINDEX_MAGIC_BLOCK
from nettop.linux.socket import AF_BRIDGE
from nettop.text.sanitize import clean

_TUNS = frozenset(("tun", "macvtap", "ipvtap"))
HISTORY = 30  # rates of a device that are kept: one a second where it is shown
_MIN_RATE_NS = 100_000_000  # between two counts of a rate


@dataclass(slots=True)
class NamespaceMap:
    """One namespace. A part that was not read yet is not in `complete`: unknown is not empty."""

    namespace: objects.Namespace
    devices: dict[int, objects.Device] = field(default_factory=dict)  # by ifindex
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[objects.PolicyRule, ...] = ()
    nexthops: tuple[objects.Nexthop, ...] = ()
    neighbours: tuple[objects.Neighbour, ...] = ()  # with the entries of forwarding databases
    vlans: tuple[objects.PortVlan, ...] = ()
    groups: tuple[objects.PortGroup, ...] = ()
    queues: tuple[objects.Queue, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)  # "net.ipv4.ip_forward" → "1"
    features: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # of devices: those of gro, lro … that are on
    programs: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # of devices: those of tcx and netkit
    complete: set[str] = field(default_factory=set)  # names of these fields
    rates: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)  # in, out bytes/s; drops/s
    history: dict[int, deque[tuple[float, float]]] = field(default_factory=dict)  # the last rates, in and out
    counted_ns: int = 0  # the time of the counts of its devices
    layout_version: int = 0  # as that of HostMap, of this namespace alone

    def name(self, ifindex: int) -> str:
        """Return the name of a device; `if 7` for one that is not known."""
        device = self.devices.get(ifindex)
        return f"if {ifindex}" if device is None else device.link.name

    def neighbour(self, ifindex: int, family: int, address: int) -> objects.Neighbour | None:
        """Return the neighbour with this address on a device."""
        wanted = ifindex, family, address
        return next((one for one in self.neighbours if (one.ifindex, one.family, one.address) == wanted), None)

    def port(self, bridge: int, mac: bytes) -> objects.Device | None:
        """Return the port behind which a bridge has learned a MAC."""
        for entry in self.neighbours if mac else ():
            port = self.devices.get(entry.ifindex) if entry.address is None and entry.link_address == mac else None
            if port is not None and port.link.master == bridge:
                return port
        return None


class HostMap:
    """The model of the map's streams."""

    def __init__(self) -> None:
        self.version = 0
        self.layout_version = 0  # grows with _LAYOUT
        self.read_ns = 0  # when the newest dump was read: it advances also while the clock of the models is stopped
        self.shown: frozenset[str] = frozenset()  # labels of those of which devices are on the screen
        self.watched: Mapping[str, int] = {}  # inodes of those whose flows are shown, by the labels they were given
        self.error = ""  # that namespaces may be missing, and why
        self._of: dict[str, NamespaceMap] = {}  # by label
        self._by_inode: dict[int, NamespaceMap] = {}
        self._pending: MapRows | None = None  # rows of the dump that is coming

    def namespaces(self) -> Sequence[NamespaceMap]:
        """Return all namespaces: the one nettop was started in first, then by name, by process, by nsid."""
        return tuple(self._of.values())

    def of(self, label: str) -> NamespaceMap | None:
        """Return a namespace by its label; None: unknown."""
        return self._of.get(label)

    def label_of(self, inode: int) -> str | None:
        """Return the label of a namespace by its inode; None: unknown."""
        known = self._by_inode.get(inode)
        return known.namespace.label if known else None

    def listed(self, label: str) -> str:
        """Return the label in the list of a watched namespace, which may have been given another one (pid:812)."""
        found = None if label in self._of else self._by_inode.get(self.watched.get(label, 0))
        return label if found is None else found.namespace.label

    def peer(self, label: str, ifindex: int) -> tuple[str, int] | None:
        """Return (label, ifindex) of the other end of a veth, or of the lower device; None: unknown or none."""
        here, device = self._of.get(label), self.device((label, ifindex))
        if here is None or device is None or not device.link.lower:
            return None
        there = self.linked(label, device)
        return None if there is None else (there.namespace.label, device.link.lower)

    def linked(self, label: str, device: objects.Device) -> NamespaceMap | None:
        """Return the namespace of a device's other end or lower device, by which a tunnel's packets leave."""
        here, nsid = self._of.get(label), device.link.peer_nsid
        if here is None or nsid is None:
            return here
        return self._by_inode.get(here.namespace.nsids.get(nsid, 0))

    def device(self, place: tuple[str, int] | None) -> objects.Device | None:
        """Return the device with this label and ifindex; None: unknown."""
        space = self._of.get(place[0]) if place else None
        return space.devices.get(place[1]) if space and place else None

    def apply(self, item: NamespaceList | MapRows | NamespaceSysctls | DumpMark | Gap, netns: int, now_ns: int) -> None:
        """Apply a list of namespaces, a dump's marks and rows, or the sysctls of a namespace."""
        if isinstance(item, MapRows):
            _gather(self._pending, item)
        elif isinstance(item, DumpMark):
            rows, self._pending = self._pending, MapRows() if item.begin else None
            if not item.begin and rows is not None:
                self._end_dump(item, rows)
        elif isinstance(item, NamespaceList):
            self._list(item)
        elif isinstance(item, NamespaceSysctls):
            self._set(self._named(item.netns), "sysctls", item.values)
            self._set(self._named(item.netns), "features", item.features)
            self._set(self._named(item.netns), "programs", item.programs)

    def _named(self, label: str) -> NamespaceMap:
        """Return a namespace, which may not be listed yet."""
        label = clean(label)
        return self._of.get(label) or self._of.setdefault(label, NamespaceMap(objects.Namespace(label)))

    def _list(self, listed: NamespaceList) -> None:
        """Keep what is known of namespaces that are still there, under their labels of now."""
        self.error = f"there may be more namespaces: {listed.error}" if listed.error else ""
        if listed.error and not listed.namespaces:
            self._named("")  # it is always there
            return
        before, self._of = self._of, {}
        for one in sorted(listed.namespaces, key=_place):
            known = before.get(one.label)
            if known is None or known.namespace.inode not in (0, one.inode):
                known = self._by_inode.get(one.inode) or NamespaceMap(one)
            if known.namespace.tun_holders != one.tun_holders:
                known.devices = {number: _held(device, one) for number, device in known.devices.items()}
            self._changed(known.namespace != one, known if _identity(known.namespace) != _identity(one) else None)
            known.namespace = one
            self._of[one.label] = known
        self._by_inode = {known.namespace.inode: known for known in self._of.values()}
        if list(before) != list(self._of):
            self.version, self.layout_version = self.version + 1, self.layout_version + 1

    def _changed(self, changed: bool, of: NamespaceMap | None) -> None:
        """Note a change; `of` is the namespace whose layout has changed, if it has."""
        self.version += changed
        if changed and of is not None:
            self.layout_version += 1
            of.layout_version += 1

    def _end_dump(self, mark: DumpMark, rows: MapRows) -> None:
        """Take over the rows of a dump; those of an incomplete one only where nothing is known."""
        known = self._named(mark.netns)
        part = _PARTS.get(mark.what)
        self.read_ns = mark.ts_ns
        if part == "counts":
            self._count(known, rows, mark.ts_ns)
        elif part is not None and (mark.complete or part not in known.complete):
            self._set(known, part, self._value(known, mark.what, rows))
            if not mark.complete:
                known.complete.discard(part)

    def _value(self, known: NamespaceMap, what: str, rows: MapRows) -> object:
        if what == "map-links":
            return _devices(known, rows.devices)
        if what in ("map-neighbours", "map-fdb"):  # two dumps: one does not replace the rows of the other
            others = (one for one in known.neighbours if (one.family == AF_BRIDGE) != (what == "map-fdb"))
            return (*others, *rows.neighbours) if what == "map-fdb" else (*rows.neighbours, *others)
        if what == "map-queues":
            return tuple(dict.fromkeys(_of_devices(rows.queues)))
        return tuple(getattr(rows, _PARTS[what]))

    def _set(self, known: NamespaceMap, part: str, value: object) -> None:
        if part not in known.complete or getattr(known, part) != value:
            before = _targets(known)
            setattr(known, part, value)
            known.complete.add(part)
            self._changed(True, known if part in _LAYOUT or before != _targets(known) else None)

    def _count(self, known: NamespaceMap, rows: MapRows, ts_ns: int) -> None:
        elapsed_ns = ts_ns - known.counted_ns
        if 0 <= elapsed_ns < _MIN_RATE_NS:
            return
        rates: dict[int, tuple[float, float, float]] = {}
        changed = False
        for ifindex, counts in rows.counts:
            device = known.devices.get(ifindex)
            if device is None:
                continue
            if known.counted_ns and elapsed_ns > 0 and device.counted:
                rates[ifindex] = _rate(device.counts, counts, elapsed_ns / 1e9)
            if counts != device.counts or not device.counted:
                known.devices[ifindex] = replace(device, counts=counts, counted=True)
                changed = True
        known.counted_ns = ts_ns
        known.history = {one: known.history.get(one, deque(maxlen=HISTORY)) for one in rates}
        for ifindex, found in rates.items():
            known.history[ifindex].append(found[:2])
        if changed or rates != known.rates or any(len(set(past)) > 1 for past in known.history.values()):
            known.rates = rates
            self.version += 1


_PARTS = {  # DumpMark.what → the name of the field
    "map-links": "devices",
    "map-counts": "counts",
    "map-addresses": "addresses",
    "map-routes": "routes",
    "map-rules": "rules",
    "map-nexthops": "nexthops",
    "map-neighbours": "neighbours",
    "map-fdb": "neighbours",
    "map-vlans": "vlans",
    "map-groups": "groups",
    "map-queues": "queues",
}
_LAYOUT = frozenset({"devices", "addresses", "routes", "rules", "vlans"})  # what rows and findings are made of


def _identity(one: objects.Namespace) -> tuple[object, ...]:
    return one.inode, one.nsids, one.tun_holders


def _place(one: objects.Namespace) -> tuple[int, int, str]:
    group = 0 if not one.label else 1 if one.names else 2 if one.processes else 3 if one.inode > 0 else 4
    return group, one.pid if group == 2 else 0, one.label


def _gather(pending: MapRows | None, rows: MapRows) -> None:
    if pending is not None:
        for part in fields(MapRows):
            if part.name != "errors":
                getattr(pending, part.name).extend(getattr(rows, part.name))


def _devices(known: NamespaceMap, found: Sequence[objects.Device]) -> dict[int, objects.Device]:
    """Return the devices with names in place of ifindexes, with their counts and holders."""
    names = {device.link.ifindex: device.link.name for device in found}
    devices: dict[int, objects.Device] = {}
    for device in found:
        before = known.devices.get(device.link.ifindex)
        counts, counted = (before.counts, before.counted) if before else (objects.LinkCounts(), False)
        parameters = _with_names(device.parameters, names)
        device = replace(device, parameters=parameters, port=_with_names(device.port, names))
        devices[device.link.ifindex] = _held(replace(device, counts=counts, counted=counted), known.namespace)
    return devices


def _targets(known: NamespaceMap) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
    return [(queue.ifindex, queue.targets) for queue in known.queues if queue.targets]


def _of_devices(queues: Sequence[objects.Queue]) -> Iterator[objects.Queue]:
    """Yield the queues and filters; filters that devices share, at each of these."""
    places: dict[int, list[tuple[int, int]]] = {}  # ifindex and hook of each block
    for queue in queues:
        for block, hook in zip(queue.blocks, TC_HOOKS, strict=True):
            if block:
                places.setdefault(block, []).append((queue.ifindex, hook))
    for queue in queues:
        if queue.ifindex == TCM_IFINDEX_MAGIC_BLOCK:
            yield from (replace(queue, ifindex=of, parent=hook) for of, hook in places.get(queue.parent, ()))
        else:
            yield queue


def _with_names(parameters: objects.Parameters, names: Mapping[int, str]) -> objects.Parameters:
    if not any(name in kinds.DEVICES for name, _ in parameters):
        return parameters
    return tuple(
        (name, names.get(int(value), f"if {value}") if name in kinds.DEVICES and value.isdecimal() else value)
        for name, value in parameters
        if name not in kinds.DEVICES or value != "0"
    )


def _held(device: objects.Device, namespace: objects.Namespace) -> objects.Device:
    """Return a tun, tap or macvtap with the process that holds it, or its user."""
    if device.link.kind not in _TUNS:
        return device
    holders = namespace.tun_holders
    holder = holders.get(device.link.name) or holders.get(str(device.link.ifindex))
    user = dict(device.parameters).get("user")
    return replace(device, owner=holder or (f"uid {user}" if user else ""))


def _rate(before: objects.LinkCounts, now: objects.LinkCounts, seconds: float) -> tuple[float, float, float]:
    dropped = now.rx_dropped + now.tx_dropped - before.rx_dropped - before.tx_dropped
    counted = (now.rx_bytes - before.rx_bytes, now.tx_bytes - before.tx_bytes, dropped)
    received, sent, lost = (max(0.0, count / seconds) for count in counted)
    return received, sent, lost
