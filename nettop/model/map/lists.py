"""The lists of a namespace or a device, as ip(8) prints them: addresses, routes, nexthops, rules …; and sysctls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nettop.batch import Array
from nettop.decode.rtnetlink import Address, Route
from nettop.decode.topology.objects import Neighbour, Nexthop, PolicyRule
from nettop.linux.socket import AF_INET6
from nettop.model.filter.fields import ListedFields
from nettop.model.map.table import MapTable
from nettop.model.table import Cell, Column, CopyDetail, Line, Row, Snapshot, SortKey, ViewSpec, detail_line
from nettop.model.topology import ip_words, sysctls
from nettop.model.topology.device_words import closed_text, label_text
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.sysctls import SysctlRow
from nettop.model.window import Match, OrderCache, value_keys
from nettop.text.units import plural

LISTS = ("addresses", "routes", "rules", "neighbours", "sysctls")
_SINGULAR = {
    "addresses": "address", "routes": "route", "rules": "policy rule", "neighbours": "neighbour", "sysctls": "sysctl",
}  # fmt: skip
_PLURAL = {"rules": "policy rules"}
_NEXTHOP = "nexthop"

Entry = Address | Route | Nexthop | PolicyRule | Neighbour | SysctlRow


@dataclass(slots=True)
class _Listed:
    """The entries of one list, and what the filter and the order read of them."""

    space: NamespaceMap
    entries: Sequence[Entry]

    def device(self, entry: Entry) -> str:
        """Return the name of its device; of a route that of the first hop."""
        if isinstance(entry, PolicyRule | SysctlRow):
            return entry.device if isinstance(entry, SysctlRow) else ""
        index = (entry.hops[0].ifindex if entry.hops else 0) if isinstance(entry, Route) else entry.ifindex
        return self.space.name(index) if index else ""

    def words(self, entry: Entry) -> str:
        """Return the entry in the words of ip(8)."""
        return _WORDS[type(entry)](entry, self.space.name)

    def address(self, entry: Entry) -> str:
        """Return its address or the network that it leads to."""
        if isinstance(entry, Route):
            return ip_words.ip_text(entry.family, entry.destination)
        if isinstance(entry, Nexthop):
            return ip_words.ip_text(*entry.gateway) if entry.gateway else ""
        if isinstance(entry, PolicyRule | SysctlRow) or entry.address is None:
            return ""
        return ip_words.ip_text(entry.family, entry.address)


def where_text(entry: Entry) -> str:
    """Return the scope, the table (`main IPv6` of a policy rule), state or kind; of a sysctl `default` or `changed`."""
    if isinstance(entry, SysctlRow):
        return "changed" if entry.changed else "default" if entry.default else ""
    if isinstance(entry, Address):
        return ip_words.scope_text(entry.scope)
    if isinstance(entry, Neighbour):
        return ip_words.state_text(entry)
    if isinstance(entry, Nexthop):
        return _NEXTHOP
    family = " IPv6" if isinstance(entry, PolicyRule) and entry.family == AF_INET6 else ""
    return f"{ip_words.table_text(entry.table)}{family}"


def sysctl_words(row: SysctlRow) -> str:
    """Return `net.ipv4.ip_forward = 1   forwarding …: packets to other hosts are routed on`."""
    effective = f", {row.in_effect} in effect" if row.in_effect != row.value else ""
    effect = f": {row.effect}" if row.effect else ""
    return f"{row.name} = {row.value or '–'}{f' {row.unit}' if row.unit else ''}{effective}   {row.meaning}{effect}"


_WORDS: dict[type, Callable[[Any, ip_words.Name], str]] = {
    Address: ip_words.address_words,
    Route: ip_words.route_words,
    Nexthop: ip_words.nexthop_words,
    Neighbour: ip_words.neighbour_words,
    PolicyRule: lambda rule, _: ip_words.rule_words(rule),
    SysctlRow: lambda row, _: sysctl_words(row),
}


class MapLists:
    """The table model of the lists. ViewSpec.group is one of LISTS, ViewSpec.scope the ident of a row of the map.

    Of a device only its own entries are listed. Rows are made for the window only, so a list may be long.
    """

    columns = (
        Column("device", "DEVICE", 8, preferred_width=12, grow=1, max_width=16),
        Column("where", "TABLE / STATE", 13, rank=1, max_width=16),
        Column("words", "AS ip, sysctl PRINT IT", 30, preferred_width=60, grow=4, sortable=False),
    )
    default_columns = ("device", "where", "words")
    default_sort: tuple[SortKey, ...] = ()

    def __init__(self, table: MapTable) -> None:
        self._table = table
        self._orders = OrderCache(self._match)
        self._listed: _Listed | None = None
        self._of: dict[int, Entry] = {}  # by ident

    @property
    def version(self) -> int:
        """The version, which grows whenever the list may look different."""
        return self._table.version

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        space, ifindex = self._place(spec) or (None, 0)
        entries = () if space is None else _entries(space, spec.group or LISTS[0], ifindex)
        if space is None or self._listed is None or entries != self._listed.entries:
            self._of = {_ident(entry): entry for entry in entries}
        self._listed = None if space is None else _Listed(space, entries)
        found, idents = list(self._of.values()), np.array(list(self._of), np.int64)
        if spec.filter is not None and self._listed is not None:
            mask = spec.filter.mask(_fields(self._listed, found))
            found, idents = [entry for entry, hit in zip(found, mask, strict=True) if hit], idents[mask]
        return Match(idents, lambda: value_keys(spec.sort, lambda key: [self._cell(key, entry) for entry in found]))

    def _place(self, spec: ViewSpec) -> tuple[NamespaceMap, int] | None:
        return None if spec.scope is None else self._table.place(spec.scope)

    def _cell(self, key: str, entry: Entry) -> Any:
        return where_text(entry) if key == "where" else self._listed.device(entry) if self._listed else ""

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window of entries that spec describes."""
        order = self._orders.current(spec, now_ns, self.version)
        rows = lambda idents: self._rows(idents, spec)  # noqa: E731
        return order.snapshot(spec, rows, len(self._of), self._notes(spec), self.version, totals=self._title(spec))

    def _rows(self, idents: Array, spec: ViewSpec) -> Iterator[Row]:
        if (listed := self._listed) is None:
            return
        for ident in idents.tolist():
            entry = self._of[ident]
            cells: dict[str, Cell] = {
                "device": (listed.device(entry), "accent"),
                "where": (where_text(entry), "warn" if where_text(entry) == "changed" else "dim"),
                "words": (listed.words(entry), ""),
            }
            yield Row.of(ident, [cells.get(key, ("", "")) for key in spec.columns])

    def _title(self, spec: ViewSpec) -> Line:
        """Return `3 addresses of eth0 in gw-a`."""
        if (place := self._place(spec)) is None:
            return ()
        space, ifindex = place
        name = label_text(space.namespace.label)
        what = spec.group or LISTS[0]
        of = f"{space.devices[ifindex].link.name} in {name}" if ifindex and what != "rules" else name
        shared = sum(isinstance(entry, Nexthop) for entry in self._of.values())
        count = plural(len(self._of) - shared, _SINGULAR[what], _PLURAL.get(what, what))
        return ((f"{count}{f' and {plural(shared, _NEXTHOP)}' if shared else ''} of {of}", "heading"),)

    def _notes(self, spec: ViewSpec) -> tuple[Line, ...]:
        what, place = spec.group or LISTS[0], self._place(spec)
        if place is None:
            return ((("Nothing is under the cursor.", "dim"),),)
        space, ifindex = place
        if closed := closed_text(space.namespace):
            return (((f"Not known: this namespace {closed}", "warn"),),)
        if what not in space.complete:
            return (((f"The {what} have not been read yet.", "dim"),),)
        return (((f"No {_PLURAL.get(what, what)} {'of this device' if ifindex else 'in this namespace'}.", "dim"),),)

    def detail(self, ident: int, now_ns: int) -> CopyDetail | None:
        """Return the entry, with its words to copy."""
        entry, listed = self._of.get(ident), self._listed
        if entry is None or listed is None:
            return None
        words = listed.words(entry)
        lines = [detail_line("in full", words)]
        lines += [detail_line(_NEXTHOP, listed.words(one)) for one in _nexthops(listed.space, entry)]
        return CopyDetail(ident, ((words, "heading"),), tuple(lines), (("The line", words),), sentences=len(lines))


def _entries(space: NamespaceMap, what: str, ifindex: int) -> Sequence[Entry]:
    """Return the entries of a list, of a device only its own."""
    if what == "rules":
        return space.rules
    if what == "sysctls":
        return sysctls.rows(space.sysctls, space.devices[ifindex].link.name if ifindex else "")
    if what == "routes":
        if not ifindex:
            return (*space.routes, *space.nexthops)
        shared = (one for one in space.nexthops if one.ifindex == ifindex)
        return (*(one for one in space.routes if any(hop.ifindex == ifindex for hop in one.hops)), *shared)
    found: Sequence[Address | Neighbour] = space.addresses
    if what == "neighbours":
        found = tuple(one for one in space.neighbours if ip_words.is_printed(one))
    return [entry for entry in found if entry.ifindex == ifindex] if ifindex else found


def _nexthops(space: NamespaceMap, entry: Entry) -> list[Nexthop]:
    """Return the nexthop object of a route, and the members of a group."""
    known = {one.id: one for one in space.nexthops}
    own = known.get(entry.nexthop) if isinstance(entry, Route) else None
    group = entry if isinstance(entry, Nexthop) else own
    members = [known[ident] for ident, _ in group.group if ident in known] if group else []
    return [own, *members] if own else members


def _ident(entry: Entry) -> int:
    """Return a number that stays while the entry is the same."""
    return hash(entry) & (1 << 62) - 1


def _fields(listed: _Listed, entries: Sequence[Entry]) -> ListedFields:
    reads: dict[str, Callable[[Entry], str]] = {
        "any": listed.words,
        "device": listed.device,
        "address": listed.address,
        "netns": lambda entry: label_text(listed.space.namespace.label),
        "mac": lambda entry: entry.link_address.hex(":") if isinstance(entry, Neighbour) else "",
    }

    def texts(name: str) -> list[str] | None:
        return [reads[name](entry) for entry in entries] if name in reads else None

    return ListedFields(len(entries), lambda name: None, texts)
