"""The sets that are open below their rules: the elements that were read of each, page by page, as rows of the table."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np

from nettop.decode.ipset import IpSet, IpSetElement
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.members import rows_of, value_of
from nettop.decode.nftables.sets import NftSet
from nettop.model.ruleset.picture import Picture, RuleView
from nettop.model.ruleset.rule_tree import ELSEWHERE, OPENED, RuleRow, SetPlace
from nettop.model.ruleset.set_lines import Row, element_keys, ipset_element_keys, ipset_row, set_line, set_row
from nettop.model.ruleset.sets.contents import SetRef, ipsets_of, sets_of
from nettop.model.ruleset.words import verdict_role
from nettop.model.table import Cell
from nettop.text.units import clock, duration, grouped, remaining, scaled

PAGE = 1000  # elements that are read at a time
_FIRST_IDENT = 2 << 40  # above those of chains and headings
_MAX_SHOWN = (1 << 20) - 2  # elements of one set that have an ident
_TITLE = -1
_VERDICTS = frozenset(("accept", "drop", "continue", "return", "queue"))  # of an element that leads to no chain


@dataclass(frozen=True, slots=True)
class SetPage:
    """The elements of a set that were read: all of a small set in the order of their keys, else the kernel's first."""

    of: NftSet | IpSet | None  # None: it is not known
    elements: Elements | list[IpSetElement] | None = None
    more: bool = False  # the set has more
    interrupted: bool = False  # it changed meanwhile
    ts_ns: int = 0  # when they were read
    error: str = ""  # the reason why they could not be read

    def __len__(self) -> int:
        return 0 if self.elements is None else len(self.elements)

    def keys(self, at: int) -> Row:
        """Return the keys of an element, as in JSON."""
        if isinstance(self.of, NftSet) and isinstance(self.elements, Elements):
            return element_keys(self.of, self.elements, at)
        assert isinstance(self.elements, list)
        return ipset_element_keys(self.elements[at])

    def target(self, at: int) -> str:
        """Return the chain that an element of a verdict map leads to; "": none."""
        if not isinstance(self.of, NftSet) or not isinstance(self.elements, Elements):
            return ""
        value = value_of(self.of, self.elements, at)
        return value.target if value is not None else ""


def page_of(of: NftSet | IpSet | None, found: Elements | list[IpSetElement] | None, count: int, more: bool) -> SetPage:
    """Return the page of the first `count` elements, without those that only end an interval. `more`: not all came."""
    if isinstance(found, Elements):
        keys, rows = found.keys, rows_of(found)
        more = more or len(rows) > count
        if not more:
            rows.sort(key=lambda row: keys[row].tobytes())  # a hash has an order of its own
        return SetPage(of, found.rows(np.array(rows[:count], np.int64)), more)
    return SetPage(of, found and found[:count], more or len(found or ()) > count)


class OpenedSets:
    """The elements read of the sets below rules. The ident of a row identifies the rule, the set and the element."""

    def __init__(self) -> None:
        self.pages: dict[SetRef, SetPage] = {}
        self.version = 0  # grows with what is known
        self._numbers: dict[tuple[int, SetRef], int] = {}  # of a rule (ident) and a set that it uses
        self._keys: list[tuple[int, SetRef]] = []

    def put(self, ref: SetRef, page: SetPage) -> None:
        """Show these elements of a set from now on."""
        self.pages[ref] = page
        self.version += 1

    def rule_of(self, ident: int) -> int:
        """Return the ident of the rule that a row is below; of other rows their own."""
        key = self._key(ident)
        return ident if key is None else key[0]

    def place(self, ident: int) -> SetPlace | None:
        """Return the place that has this ident; None: it is another row."""
        key = self._key(ident)
        return None if key is None else SetPlace(ident, key[1], (-ident - _FIRST_IDENT & (1 << 20) - 1) + _TITLE)

    def _key(self, ident: int) -> tuple[int, SetRef] | None:
        number = -ident - _FIRST_IDENT >> 20
        return self._keys[number] if 0 <= number < len(self._keys) else None

    def wanted(self, ident: int, picture: Picture) -> list[tuple[SetRef, int]]:
        """Return what to read when a row is opened: the first page of the sets of a rule, or the next one of a set."""
        place = self.place(ident)
        if place is not None:
            return [(place.ref, min(place.at + PAGE, _MAX_SHOWN))]
        rule = next((rule for rule in picture.rules if rule.ident == ident), None)
        return [] if rule is None else [(ref, PAGE) for ref in refs_of(picture, rule)]

    def rows(self, picture: Picture, rule: RuleRow, view: RuleView, folded: Container[int]) -> Iterator[RuleRow]:
        """Yield the rows of the sets that a rule uses: titles, the elements that were read, and whether there are more.

        Those of the titles in `folded` have no elements.
        """
        for ref in refs_of(picture, view):
            title = self._ident(view.ident, ref, _TITLE)
            page = self.pages.get(ref)
            rest = () if page is None or title in folded else range(len(page) + page.more)
            for at in (_TITLE, *rest):
                place = SetPlace(self._ident(view.ident, ref, at), ref, at)
                yield rule._replace(depth=rule.depth + 1, place=place)

    def _ident(self, rule: int, ref: SetRef, at: int) -> int:
        number = self._numbers.get((rule, ref))
        if number is None:
            number = self._numbers[rule, ref] = len(self._keys)
            self._keys.append((rule, ref))
        return -(_FIRST_IDENT + (number << 20) + at - _TITLE)

    def target(self, place: SetPlace) -> str:
        """Return the chain that an element leads to; "": none."""
        page = self.pages.get(place.ref)
        return page.target(place.at) if page is not None and 0 <= place.at < len(page) else ""

    def reads(self, place: SetPlace) -> bool:
        """Return whether Enter on a row reads the next page."""
        page = self.pages.get(place.ref)
        return page is not None and place.at == len(page)

    def cells(self, row: RuleRow, place: SetPlace, folded: bool, now_ns: int) -> dict[str, Cell]:
        """Return the cells of a row: counters in their columns, the element with its value and times as the rule."""
        page, indent = self.pages.get(place.ref), "  " * (row.depth - 1)
        if place.at == _TITLE or page is None:
            return {"number": (f"{indent}{ELSEWHERE if folded else OPENED}{self._title(place.ref)}", "heading")}
        if place.at == len(page):
            return {"number": (f"{indent}  … Enter reads the next {grouped(PAGE)} elements", "heading")}
        keys = page.keys(place.at)
        verdict, _, target = (keys["value"] or "").partition(" ")
        of_map = page.target(place.at) or verdict in _VERDICTS
        value = f" : {keys['value']}" if keys["value"] and not of_map else ""
        cells = {"rule": (f"{indent}  {keys['element']}{value}{_times(keys, now_ns - page.ts_ns)}", "")}
        if of_map:
            cells["verdict"] = (f"→ {target}" if target else verdict, verdict_role(verdict))
        if keys["packets"] is not None:
            role = "number" if keys["packets"] else "dim"
            cells |= {"packets": (scaled(keys["packets"]), role), "bytes": (scaled(keys["bytes"]), role)}
        return cells

    def whole(self, place: SetPlace, now_ns: int) -> str:
        """Return a row in full: the title of its set, or the element."""
        page, name = self.pages.get(place.ref), _name(place.ref)
        if page is None or not 0 <= place.at < len(page):
            return self._title(place.ref)
        keys = page.keys(place.at)
        value = f" : {keys['value']}" if keys["value"] else ""
        counted = f"   packets {keys['packets']} bytes {keys['bytes']}" if keys["packets"] is not None else ""
        timeout = f"   timeout {duration(keys['timeout'])}" if keys["timeout"] else ""
        return f"{name}   {keys['element']}{value}{counted}{timeout}{_times(keys, now_ns - page.ts_ns)}"

    def _title(self, ref: SetRef) -> str:
        """Return `@bad   set of ipv4_addr   4,211 elements   the first 1,000, read 12:04:31`."""
        page = self.pages.get(ref)
        if page is None or page.of is None:
            return f"{_name(ref)}   {'is being read …' if page is None else page.error or 'empty'}"
        of = page.of
        line = set_line(_name(ref), ipset_row(of) if isinstance(of, IpSet) else set_row(of))
        part = f"the first {grouped(len(page))}, " if page.more else ""
        changed = ", changed meanwhile: some may be missing" if page.interrupted else ""
        return f"{line}   {part}read {clock(page.ts_ns)}{changed}"


def _name(ref: SetRef) -> str:
    return f"ipset {ref}" if isinstance(ref, str) else f"@{ref[2]}"


def _times(keys: Row, age_ns: int) -> str:
    """Return `   59m12 left   /* web */`: the time and the comment of an element that was read so long ago."""
    left = None if keys["expires"] is None else keys["expires"] - age_ns / 1e9
    text = "" if left is None else f"   {remaining(left)} left" if left > 0 else "   expired"
    return text + (f"   /* {keys['comment']} */" if keys["comment"] else "")


def refs_of(picture: Picture, rule: RuleView) -> list[SetRef]:
    """Return the named sets, maps and IP sets that a rule uses."""
    chain = picture.chains[rule.chain]
    return [*((chain.family, chain.table, name) for name in sets_of(rule.raw, None)), *ipsets_of(rule.text)]
