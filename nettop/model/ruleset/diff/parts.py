"""Tables, sets, their elements and objects of two states of a ruleset compared, without what the kernel counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nettop.kinds import TRACE_PREFIX
from nettop.linux import nf_tables as nft
from nettop.model.ruleset.lines import parts
from nettop.model.ruleset.picture import NFT
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import Selection
from nettop.model.ruleset.set_lines import IPSET
from nettop.model.ruleset.sets.contents import SetContents

_COUNTED = {"packets", "bytes", "used", "expires", "handle", "references"}
_NAMES = {"kind", "netns", "family", "table", "name", "set", "element", "backend"}


class Part(NamedTuple):
    """A table, set, element or object; `element` is "" unless it is one."""

    backend: str
    family: str
    table: str
    what: str
    name: str
    element: str


@dataclass(slots=True)
class Parts:
    """The parts of a state with their properties in words; names of its sets, and of those whose elements are known."""

    words: dict[Part, str] = field(default_factory=dict)
    sets: set[tuple[str, str, str]] = field(default_factory=set)
    known: set[tuple[str, str, str]] = field(default_factory=set)

    def knows(self, part: Part, has_sets: bool) -> bool:
        """Return whether this state is known to have a part of another one, or not to have it."""
        of = part.family, part.table, part.name
        if part.what not in ("set", "element"):
            return True
        if part.backend == IPSET:  # they are read only where rules use some
            return of in self.sets
        return has_sets and (part.what == "set" or of not in self.sets or of in self.known)


def parts_of(ruleset: Ruleset, shown: Selection, contents: SetContents) -> Parts:
    """Return the parts that are selected, without those of traces, and without elements that packets add."""
    made = [one for one in shown.sets if not one.flags & nft.NFT_SET_EVAL]
    ipsets = {(one.family or "", "", one.name) for one in shown.ipsets}
    found = Parts(sets={one.id for one in shown.sets} | ipsets)
    found.known = {one.id for one in made if not one.count or one.id in contents.elements} | ipsets
    for row in parts(ruleset, "", shown, contents):
        family, table, kind = row["family"] or "", row["table"] or "", row["kind"]
        name = row.get("set") or row.get("name") or table
        part = Part(row.get("backend", NFT), family, table, kind, name, row.get("element", ""))
        is_known = kind != "element" or (family, table, name) in found.known
        if is_known and not table.startswith(TRACE_PREFIX):
            found.words[part] = " ".join(_words({**row, "elements": None}))
    return found


def _words(row: dict[str, Any]) -> Iterator[str]:
    for key, value in row.items():
        if key not in _COUNTED | _NAMES and value not in (None, "", [], False):
            yield key if value is True else f"{key} {','.join(value) if isinstance(value, list) else value}"


def part_differences(before: dict[Part, str], after: dict[Part, str], netns: str) -> Iterator[dict[str, Any]]:
    """Yield each part that was added, removed or changed."""
    for part in _unequal(before, after):
        change = "removed" if part not in after else "changed" if part in before else "added"
        where = {"kind": "difference", "netns": netns, "family": part.family or None, "table": part.table or None}
        named = {"chain": None, "backend": part.backend, "what": part.what, "name": part.name}
        words = {"before": before.get(part), "after": after.get(part)}
        yield {**where, **named, "element": part.element or None, "change": change, **words}


def unified_parts(before: dict[Part, str], after: dict[Part, str], names: tuple[str, str]) -> Iterator[str]:
    """Yield the parts that differ, by table, in the form of a unified diff without context."""
    shown = None
    for part in _unequal(before, after):
        table = f"{part.family} {part.table}".strip() + f" ({part.backend})"
        if table != shown:
            shown = table
            yield from (f"--- {names[0]}: {table}", f"+++ {names[1]}: {table}")
        words = part.what, part.name, part.element
        for mark, side in (("-", before), ("+", after)):
            if part in side:
                yield mark + " ".join(filter(None, (*words, side[part])))


def _unequal(before: dict[Part, str], after: dict[Part, str]) -> list[Part]:
    """Return the parts that differ, those of a table together, a set before its elements."""
    found = [part for part in dict.fromkeys((*before, *after)) if before.get(part) != after.get(part)]
    return sorted(found, key=lambda part: (*part[:3], _ORDER.index(part.what), part.name))


_ORDER = ("table", "object", "set", "element")
