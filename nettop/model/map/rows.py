"""The rows of the map's tree, their cells, and what the filter and the order read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nettop.decode.rtnetlink import Address
from nettop.decode.topology.objects import Device
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.filter.fields import ListedFields
from nettop.model.table import Cell
from nettop.model.topology.device_words import about_namespace, closed_text, kind_text, label_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.ip_words import prefix_text
from nettop.model.topology.tree import lower_of
from nettop.text.address import address_text
from nettop.text.units import plural, rate, scaled, sparkline

FOLDED, UNFOLDED = "▸ ", "▾ "
_LINK_LOCAL = 0xFE80 << 112
_NAMES = 4  # devices that a folded namespace names
_TREND = 10  # rates of the sparkline
_NUMBERS = ("mtu", "rate", "drops")

Known = Callable[[str], Sequence[str]]  # of a label: "1,204 flows", "31 rules"


@dataclass(frozen=True, slots=True)
class MapRow:
    """One row: a namespace (no device), or a device in it."""

    ident: int
    namespace: NamespaceMap
    device: Device | None = None
    depth: int = 0
    children: bool = False
    last: bool = False
    folded: bool = False
    addresses: Sequence[Address] = ()  # of the device

    @property
    def label(self) -> str:
        """The label of its namespace."""
        return self.namespace.namespace.label

    @property
    def on_lower(self) -> bool:
        """True if it is below its lower device in the tree."""
        device = self.device
        return bool(device and self.depth and device.link.master not in self.namespace.devices and lower_of(device))


def addresses_by_device(namespace: NamespaceMap) -> dict[int, list[Address]]:
    """Return the addresses of each device: IPv4 first, link-local ones last."""
    found: dict[int, list[Address]] = {}
    for address in sorted(namespace.addresses, key=lambda a: (a.family != AF_INET, _is_link_local(a))):
        found.setdefault(address.ifindex, []).append(address)
    return found


def shown_addresses(row: MapRow) -> list[Address]:
    """Return the addresses of a row without those of the link, which every device has."""
    return [address for address in row.addresses if not _is_link_local(address)]


def _is_link_local(address: Address) -> bool:
    return address.family == AF_INET6 and address.address >> 118 << 118 == _LINK_LOCAL


def mac_text(address: bytes) -> str:
    """Return `52:54:00:09:00:04`; an address of 4 or 16 bytes is that of a tunnel."""
    if len(address) in (4, 16):
        return address_text(AF_INET if len(address) == 4 else 0, int.from_bytes(address[:8], "big"),
                            int.from_bytes(address[-8:], "big"))  # fmt: skip
    return address.hex(":")


class RowCells:
    """Makes the cells of rows. `here` is the label of the shown namespace, `marks` counts the findings of an ident."""

    def __init__(self, hosts: HostMap, here: str, known: Known, marks: Mapping[int, int]) -> None:
        self._hosts, self._here, self._known, self._marks = hosts, here, known, marks

    def cells(self, row: MapRow, flat: bool = False) -> dict[str, Cell]:
        """Return the cells of a row by column; `flat`: a device's name has its namespace before it."""
        if row.device is None:
            return self._namespace_cells(row)
        link = row.device.link
        found = row.namespace.rates.get(link.ifindex)
        names = label_text(row.label) + " " if flat else indent(row)
        addresses = shown_addresses(row)
        first = prefix_text(addresses[0]) if addresses else ""
        more = f" +{len(addresses) - 1}" if len(addresses) > 1 else ""
        state = "" if link.up else "down, "
        return {
            "name": (names + link.name, "accent" if link.up else "dim"),
            "address": (first + more, "address"),
            "kind": (
                state + kind_text(self._hosts, row.label, row.device, not flat and row.on_lower),
                "" if link.up else "dim",
            ),
            "mac": (mac_text(link.address), "dim"),
            "mtu": (str(link.mtu), "number"),
            "mark": self._mark(row.ident),
            "trend": (sparkline([sum(one) for one in row.namespace.history.get(link.ifindex, ())][-_TREND:]), "good"),
            **_rates(found),
        }

    def _mark(self, ident: int) -> Cell:
        return ("!" if self._marks.get(ident) else "", "warn")

    def _namespace_cells(self, row: MapRow) -> dict[str, Cell]:
        about = row.namespace.namespace
        here = ["◀ here"] if about.label == self._here else []
        folded = f"   {plural(len(row.namespace.devices), 'device')}" if row.folded else ""
        return {
            "name": (_fold(row) + label_text(about.label), "heading"),
            "address": (" ".join((*here, about_namespace(about))).rstrip(), "heading" if here else "comment"),
            "kind": (", ".join(self._facts(row)) + folded, "warn" if closed_text(about) else "dim"),
            "mark": self._mark(row.ident),
        }

    def _facts(self, row: MapRow) -> list[str]:
        about, sysctls = row.namespace.namespace, row.namespace.sysctls
        if closed := closed_text(about):
            return [closed]
        facts = [plural(about.processes, "process", "processes")] if about.processes else []
        if sysctls.get("net.ipv4.ip_forward") == "1":
            facts.append("forwarding")
        elif sysctls.get("net.ipv6.conf.all.forwarding") == "1":
            facts.append("forwarding of IPv6")
        return [*facts, *self._known(row.label)] or ["no process"]


def indent(row: MapRow) -> str:
    """Return the blanks and the branch before the name of a device."""
    if not row.depth:
        return f"  {_fold(row)}"
    branch = "└ " if row.last else "├ "
    return f"{'  ' * (row.depth + 1)}{branch}{_fold(row) if row.children else ''}"


def _fold(row: MapRow) -> str:
    return (FOLDED if row.folded else UNFOLDED) if row.children else "  "


def _rates(found: tuple[float, float, float] | None) -> dict[str, Cell]:
    if found is None:
        return {key: ("–", "dim") for key in ("in", "out", "drops")}
    received, sent, dropped = found
    return {
        "in": (rate(received), "number" if received else "dim"),
        "out": (rate(sent), "number" if sent else "dim"),
        "drops": (scaled(dropped), "bad" if dropped else "dim"),
    }


def value(key: str, row: MapRow, kind: str) -> Any:
    """Return what a column is sorted by."""
    assert row.device is not None
    link = row.device.link
    if key in ("in", "out", "drops"):
        found = row.namespace.rates.get(link.ifindex)
        return None if found is None else found[("in", "out", "drops").index(key)]
    if key == "address":
        addresses = shown_addresses(row)
        return (addresses[0].family, addresses[0].address) if addresses else None
    return {"name": link.name, "mtu": link.mtu, "mac": link.address or None}.get(key, kind)


def fields(rows: Sequence[MapRow], hosts: HostMap) -> ListedFields:
    """Return the columns of the rows for the display filter."""

    def numbers(name: str) -> list[float | None] | None:
        return [_number(name, row) for row in rows] if name in _NUMBERS else None

    def texts(name: str) -> list[str] | None:
        return ["\0".join(_texts(name, row, hosts)) for row in rows]

    return ListedFields(len(rows), numbers, texts)


def _number(name: str, row: MapRow) -> float | None:
    if row.device is None:
        return None
    if name == "mtu":
        return row.device.link.mtu
    found = row.namespace.rates.get(row.device.link.ifindex)
    return None if found is None else found[2] if name == "drops" else found[0] + found[1]


def _texts(name: str, row: MapRow, hosts: HostMap) -> Iterable[str]:
    about = row.namespace.namespace
    if name == "netns":
        return dict.fromkeys((label_text(about.label), *about.names))
    if row.device is None:
        own = (label_text(about.label), *about.names, about.container, about.command, closed_text(about))
        return own if name == "any" else ()
    return _device_texts(name, row, row.device, hosts)


def _device_texts(name: str, row: MapRow, device: Device, hosts: HostMap) -> Iterable[str]:
    link = device.link
    names = (link.name, *device.altnames)
    if name == "device":
        return names
    if name == "mac":
        return (mac_text(link.address),)
    if name == "kind":
        return link.kind, *(() if device.master_kind != "bridge" else ("port",))
    shown = list(map(prefix_text, row.addresses))
    if name == "address":
        return [text.partition("/")[0] for text in shown]
    words = kind_text(hosts, row.label, device)
    state = "up" if link.up else "down"
    return *names, device.alias, state, words, mac_text(link.address), *shown, *_texts("netns", row, hosts)
