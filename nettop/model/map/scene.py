"""The drawing's content: a box for each namespace near the shown one, its devices, and the links between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.model.map.idents import MapIdents
from nettop.model.map.rows import MapRow, prefix_text, shown_addresses
from nettop.model.topology.device_words import about_namespace, closed_text, label_text, parameter, peer_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.tree import PAIRS
from nettop.text.units import plural

MOST_BOXES, MOST_ITEMS = 24, 40


@dataclass(frozen=True, slots=True)
class Item:
    """One device in a box. A `bridge` has its ports, items with `inside`, in a box of its own."""

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
    drawn = {row.ident for label in chosen for row in of[label][:MOST_ITEMS]}
    boxes = tuple(_box(hosts, spaces[label], of[label], depths[label], drawn, idents, marks, here) for label in chosen)
    return Scene(boxes, len(spaces) - len(chosen))


def _depths(hosts: HostMap, of: Mapping[str, Sequence[MapRow]], first: Sequence[str]) -> dict[str, int | None]:
    """Return the number of links to the first namespace of its group, nearest first; None for one without links."""
    near = {label: list(_neighbours(hosts, rows)) for label, rows in of.items()}
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
        other = hosts.peer(row.label, row.device.link.ifindex) if row.device else None
        if other is not None and other[0] != row.label:
            yield other[0]


def _box(
    hosts: HostMap, space: NamespaceMap, rows: Sequence[MapRow], depth: int | None, drawn: set[int],
    idents: MapIdents, marks: Mapping[int, int], here: str,
) -> Box:  # fmt: skip
    items, bridge = [], False
    for row in rows[:MOST_ITEMS]:
        bridge = bridge if row.depth else False
        opens = not row.depth and row.device is not None and row.device.link.kind == "bridge" and row.children
        items.append(_item(hosts, row, opens, bridge, drawn, idents, marks))
        bridge = bridge or opens
    label = space.namespace.label
    title = f"{label_text(label)} {about_namespace(space.namespace)}".strip()
    side = None if depth is None else depth % 2
    left_out = len(rows) - MOST_ITEMS
    none = closed_text(space.namespace) or "no device but lo"
    note = plural(left_out, "more device") if left_out > 0 else "" if items else none
    return Box(idents.of(label), title, label == here, tuple(items), side, note)


def _item(
    hosts: HostMap, row: MapRow, opens: bool, inside: bool, drawn: set[int], idents: MapIdents, marks: Mapping[int, int]
) -> Item:
    assert row.device is not None
    link = row.device.link
    other = hosts.peer(row.label, link.ifindex)
    peer = idents.of(*other) if other is not None else None
    pair = link.kind in PAIRS
    text = peer_text(hosts, row.label, row.device)
    remote = parameter(row.device, "remote", "remote6", "group", "group6")
    addresses = shown_addresses(row)
    words = [prefix_text(a.family, a.address, a.length) for a in addresses[:1]]
    words += [f"┄ {text}"] if text and not pair else []
    words += [f"┄▶ {remote}"] if remote not in ("", "any") else []
    is_drawn = pair and peer in drawn and peer != row.ident
    elsewhere = f"⇄ {text}" if pair and text else ""
    return Item(row.ident, link.name, " ".join(words), opens, inside, peer if is_drawn else None, elsewhere,
                bool(marks.get(row.ident)))  # fmt: skip
