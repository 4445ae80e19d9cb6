"""The drawing's content: a box for each namespace near the shown one, its devices, and the links between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.model.map.idents import MapIdents, same_namespace
from nettop.model.map.rows import MapRow, shown_addresses
from nettop.model.topology.device_words import about_namespace, closed_text, label_text, peer_text, remote_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.ip_words import prefix_text
from nettop.model.topology.tree import PAIRS
from nettop.text.units import plural

MOST_BOXES, MOST_ITEMS = 24, 40
_MOST_ENDS = 8  # dashed links of one device


@dataclass(frozen=True, slots=True)
class Item:
    """One device in a box. A `bridge` has its ports, items with `inside`, in a box of its own.

    A device whose lower device is in another namespace is linked to an item below that one: its `ident` is negative
    (~ that of the device), so it is no row.
    """

    ident: int
    name: str
    text: str = ""  # address, tunnel, lower device
    bridge: bool = False
    inside: bool = False
    peer: int | None = None  # the item at the other end of its link
    elsewhere: str = ""  # the other end, where that is not drawn
    finding: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """One namespace. `side` is 0 for an even number of links between it and the shown one, else 1; None: no link."""

    ident: int
    title: str
    here: bool
    items: tuple[Item, ...]
    side: int | None = None
    note: str = ""  # about devices that are not in it


@dataclass(frozen=True, slots=True)
class Scene:
    """Boxes in the order in which they are placed, and the number of namespaces without one."""

    boxes: tuple[Box, ...] = ()
    left_out: int = 0


EMPTY = Scene()


def scene_of(hosts: HostMap, rows: Sequence[MapRow], idents: MapIdents, marks: Mapping[int, int], here: str) -> Scene:
    """Return the scene of all rows of the unfolded tree: the shown namespace, those linked to it, then others."""
    spaces = {row.label: row.namespace for row in rows if row.device is None}
    of: dict[str, list[MapRow]] = {label: [] for label in spaces}
    for row in rows:
        if row.device is not None and row.device.link.arphrd != ARPHRD_LOOPBACK:
            of[row.label].append(row)
    depths = _depths(hosts, of, [here] if here in of else [])
    chosen = list(depths)[:MOST_BOXES]
    drawn = {row.ident: row for label in chosen for row in of[label][:MOST_ITEMS]}
    make = _Items(hosts, idents, marks, drawn)
    boxes = tuple(_box(make, spaces[label], of[label], depths[label], label == here) for label in chosen)
    return Scene(boxes, len(spaces) - len(chosen))


def _depths(hosts: HostMap, of: Mapping[str, Sequence[MapRow]], first: Sequence[str]) -> dict[str, int | None]:
    """Return the number of links to the first namespace of its group, nearest first; None for one without links."""
    near: dict[str, dict[str, None]] = {label: {} for label in of}
    for label, rows in of.items():
        for other in _neighbours(hosts, rows):
            near[label][other] = near.setdefault(other, {})[label] = None
    found: dict[str, int | None] = {}
    linked = [label for label in of if near[label]]
    for start in (*first, *linked):
        pending = [(start, 0)]
        for label, depth in pending:
            if label not in found and label in of:
                found[label] = depth if near[label] else None
                pending += [(other, depth + 1) for other in near[label]]
    return found | {label: None for label in of if label not in found}


def _neighbours(hosts: HostMap, rows: Iterable[MapRow]) -> Iterable[str]:
    for row in rows:
        other = _other_end(hosts, row)
        if other is not None and other[0] != row.label:
            yield other[0]


def _box(make: _Items, space: NamespaceMap, rows: Sequence[MapRow], depth: int | None, here: bool) -> Box:
    items: list[Item] = []
    bridge = False
    for row in rows[:MOST_ITEMS]:
        bridge = bridge if row.depth else False
        opens = not row.depth and row.device is not None and row.device.link.kind == "bridge" and row.children
        items += make.items(row, opens, bridge)
        bridge = bridge or opens
    label = space.namespace.label
    title = f"{label_text(label)} {about_namespace(space.namespace)}".strip()
    side = None if depth is None else depth % 2
    left_out = len(rows) - MOST_ITEMS
    none = closed_text(space.namespace) or "no device but lo"
    note = plural(left_out, "more device") if left_out > 0 else "" if items else none
    return Box(make.idents.of(label), title, here, tuple(items), side, note)


class _Items:
    """Makes the items of devices. `drawn` are the rows that get one, by ident."""

    def __init__(self, hosts: HostMap, idents: MapIdents, marks: Collection[int], drawn: Mapping[int, MapRow]) -> None:
        self._hosts, self.idents, self._marks, self._drawn = hosts, idents, marks, drawn
        self._above: dict[int, list[int]] = {}  # drawn devices in other namespaces, by their lower device
        for ident, row in drawn.items():
            lower = self._other(row)
            if lower is not None and not _is_pair(row) and not same_namespace(lower, ident):
                self._above.setdefault(lower, []).append(ident)

    def _other(self, row: MapRow) -> int | None:
        """Return the other end or lower device of a device, if it is drawn."""
        found = _other_end(self._hosts, row)
        ident = None if found is None else self.idents.of(*found)
        return ident if ident in self._drawn and ident != row.ident else None

    def items(self, row: MapRow, opens: bool, inside: bool) -> Iterable[Item]:
        """Yield the item of a device, and below it the ends of dashed links."""
        assert row.device is not None
        text, pair, other = peer_text(self._hosts, row.label, row.device), _is_pair(row), self._other(row)
        dashed = other is not None and row.ident in self._above.get(other, ())[:_MOST_ENDS]
        words = list(map(prefix_text, shown_addresses(row)[:1]))
        words += [f"┄ {text}"] if text and not (pair or dashed) else []
        remote = remote_text(row.device)
        words += [f"┄▶ {remote}"] if remote else []
        elsewhere = f"{'⇄' if pair else '┄'} {text}" if text and (pair or dashed) else ""
        peer = ~row.ident if dashed else other if pair else None
        yield Item(row.ident, row.device.link.name, " ".join(words), opens, inside, peer, elsewhere,
                   row.ident in self._marks)  # fmt: skip
        for ident in self._above.get(row.ident, ())[:_MOST_ENDS]:
            above = self._drawn[ident]
            assert above.device is not None
            yield Item(~ident, f"└┄ {above.device.link.name}", "", False, inside or opens, ident,
                       f"@ {label_text(above.label)}")  # fmt: skip


def _other_end(hosts: HostMap, row: MapRow) -> tuple[str, int] | None:
    return hosts.peer(row.label, row.device.link.ifindex) if row.device else None


def _is_pair(row: MapRow) -> bool:
    return row.device is not None and row.device.link.kind in PAIRS
