"""Sets and maps as counters: how full they are, and of their elements those that count fastest.

All elements' counters stay columns; only the fastest of each set become rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nettop.decode.nftables.elements import NEVER, Elements
from nettop.decode.nftables.keys import key_words, type_words
from nettop.decode.nftables.sets import NftSet, SetId
from nettop.linux import nf_tables as nft
from nettop.model.counters.readings import NFT_ELEMENT, NFT_SET
from nettop.model.counters.series import WRAP64, About, Reading
from nettop.text.units import duration, grouped

SHOWN = 10  # elements of one set that become rows
MOST_SETS = 50  # sets whose elements become rows
MOST_ELEMENTS = 250_000  # of a set whose elements are read (sources/nft_sets.py has the same)
_FACTORS = (np.random.default_rng().integers(1 << 32, 1 << 63, 64) << 1 | 1).astype(np.uint64)  # odd, secret


@dataclass(slots=True)
class _Course:
    """What is known of one set: the columns of its last whole dump, and the one under way."""

    about: NftSet | None = None
    parts: list[Elements] = field(default_factory=list)  # of the dump under way
    elements: Elements | None = None
    ts_ns: int = 0
    rows: int = 0  # elements that have a counter
    shown: frozenset[str] = frozenset()  # names of those that are rows of the table


@dataclass(frozen=True, slots=True)
class ElementReading:
    """A row to be: its reading now, and the one before (None: it is new), so that a rate is known at once."""

    now: Reading
    ts_ns: int
    before: Reading | None = None
    before_ns: int = 0


class SetCourses:
    """The sets of one namespace."""

    def __init__(self) -> None:
        self._sets: dict[SetId, _Course] = {}
        self._listed: dict[SetId, _Course] = {}  # of the listing under way
        self._whole = False  # that listing has a beginning
        self._read: dict[SetId, _Course] = {}  # whose elements the dump under way has told of
        self._showing: set[SetId] = set()  # those with rows
        self._gone: set[str] = set()
        self._settled: list[SetId] = []

    def settled(self) -> Iterator[Reading]:
        """The sets whose elements were read since the last call: what is said of them now."""
        settled, self._settled = self._settled, []
        for of in settled:
            course = self._sets.get(of)
            if course is not None and course.about is not None:
                yield _set_reading(of, course, course.about)

    def gone(self) -> set[str]:
        """Names of rows of elements that are to leave the table, since the last call."""
        gone, self._gone = self._gone, set()
        return gone

    def begin(self, elements: bool) -> None:
        """A listing of sets begins, or a dump of the elements of one."""
        if elements:
            self._restart()
        else:
            self._listed, self._whole = {}, True

    def take_set(self, found: NftSet) -> None:
        """A set of the listing; anonymous ones are parts of rules."""
        if found.flags & nft.NFT_SET_ANONYMOUS:
            return
        course = self._listed[found.id] = self._sets.setdefault(found.id, _Course())
        course.about = found

    def take_elements(self, of: SetId, part: Elements | None) -> None:
        """Elements of a dump under way; None: a message without any."""
        course = self._read[of] = self._sets.setdefault(of, _Course())
        if part is not None:
            course.parts.append(part)

    def end_listing(self, complete: bool) -> Iterator[Reading]:
        """How many elements the sets of a listing hold; what a whole one lacks is forgotten."""
        listed, whole, self._listed, self._whole = self._listed, self._whole and complete, {}, False
        if whole:
            for of in self._sets.keys() - listed.keys():
                self._empty(of, self._sets.pop(of))
                self._read.pop(of, None)
        for of, course in listed.items():
            if course.about is not None:
                if course.about.count == 0:
                    self._empty(of, course)
                yield _set_reading(of, course, course.about)

    def end_elements(self, complete: bool, ts_ns: int) -> Iterator[ElementReading]:
        """The fastest elements of every set whose dump was whole; those that were its rows and are not now are gone."""
        for of, course in self._read.items() if complete else ():
            found = self._settle(of, course, ts_ns)
            self._show(of, course, frozenset(each.now.name for each in found))
            self._settled.append(of)
            yield from found
        self._restart()

    def _empty(self, of: SetId, course: _Course) -> None:
        self._show(of, course, frozenset())
        course.elements, course.rows = None, 0

    def _show(self, of: SetId, course: _Course, names: frozenset[str]) -> None:
        self._gone |= course.shown - names
        course.shown = names
        if names:
            self._showing.add(of)
        else:
            self._showing.discard(of)

    def _restart(self) -> None:
        for course in self._read.values():
            course.parts = []
        self._read = {}

    def _settle(self, of: SetId, course: _Course, ts_ns: int) -> list[ElementReading]:
        before, before_ns = course.elements, course.ts_ns
        course.elements, course.ts_ns = _joined(course.parts), ts_ns
        now = course.elements
        course.rows = 0 if now is None else int(now.counted.sum())
        crowded = len(self._showing - {of}) >= MOST_SETS
        if now is None or not course.rows or crowded or course.about is None:
            return []
        return list(_fastest(of, course.about, now, ts_ns, before, before_ns))


def _joined(parts: list[Elements]) -> Elements | None:
    """All elements of a dump, a catch-all's key as long as the others'; keys of yet another length are no keys."""
    length = max((part.keys.shape[1] for part in parts), default=0)
    catchalls = [part for part in parts if not part.keys.shape[1]]
    zeros = [np.zeros((len(part), length), np.uint8) for part in catchalls]
    padded = [replace(part, keys=keys, ends=keys) for part, keys in zip(catchalls, zeros, strict=True)]
    whole = [part for part in parts if part.keys.shape[1] == length and length] + padded
    return Elements.join(whole) if whole else None


def _set_reading(of: SetId, course: _Course, about: NftSet) -> Reading:
    count = about.count
    if count is None and course.elements is not None:
        count = int((course.elements.flags & nft.NFT_SET_ELEM_INTERVAL_END == 0).sum())
    meaning = About(_set_words(course, about, count), "elements", about.size)
    return Reading(NFT_SET, " ".join(of), count, about=meaning)


def _set_words(course: _Course, about: NftSet, count: int | None) -> str:
    kind = f"map to {about.holds}" if about.holds else "set"
    words = [
        f"elements of a {'dynamic ' if about.flags & nft.NFT_SET_EVAL else ''}{kind} of {type_words(about.key_type)}"
    ]
    words += [f"timeout {duration(about.timeout_ms / 1000)}"] if about.timeout_ms else []
    words += [f"({about.comment})"] if about.comment else []
    if count is not None and count > MOST_ELEMENTS:
        words.append("too many to read their counters")
    elif course.rows:
        hidden = course.rows - len(course.shown)
        words.append(f"{grouped(course.rows)} count" + (f", {grouped(hidden)} of them not shown" if hidden else ""))
    return ", ".join(words)


def _fastest(
    of: SetId, about: NftSet, now: Elements, ts_ns: int, before: Elements | None, before_ns: int
) -> Iterator[ElementReading]:
    """The rows of the elements that counted most packets since the dump before, then those that ever did.

    Of many those that never did are no rows.
    """
    known = _known(now, before)
    grown = np.where(known >= 0, now.packets - _at(before, known, "packets"), np.uint64(0))
    fell = (known >= 0) & (_at(before, known, "packets") > now.packets)
    grown[fell] = 0
    order = np.lexsort((now.packets, grown, now.counted))[::-1][:SHOWN]
    worthy = now.counted if now.counted.sum() <= SHOWN else now.counted & (now.packets > 0)
    for row in order[worthy[order]].tolist():
        reading = _element_reading(of, about, now, row)
        place = int(known[row])
        if place < 0 or before is None or before_ns >= ts_ns:
            yield ElementReading(reading, ts_ns)
        else:
            packets, octets = int(before.packets[place]), int(before.octets[place])
            old = Reading(NFT_ELEMENT, reading.name, packets, WRAP64, octets=octets, about=reading.about)
            yield ElementReading(reading, ts_ns, old, before_ns)


def _at(before: Elements | None, known: NDArray[np.int64], name: str) -> NDArray[np.uint64]:
    if before is None or not len(before):
        return np.zeros(len(known), np.uint64)
    found: NDArray[np.uint64] = getattr(before, name)[known]
    return found


def _known(now: Elements, before: Elements | None) -> NDArray[np.int64]:
    """Which element of the dump before each is; -1: it is new, or had no counter."""
    if before is None or not len(before) or before.keys.shape[1] != now.keys.shape[1]:
        return np.full(len(now), -1, np.int64)
    if np.array_equal(now.keys, before.keys) and np.array_equal(now.flags, before.flags):
        places = np.arange(len(now), dtype=np.int64)
    else:
        old, new = _hashed(before), _hashed(now)
        order = np.argsort(old, kind="stable")
        places = order[np.minimum(np.searchsorted(old[order], new), len(old) - 1)]
        same = (before.keys[places] == now.keys).all(axis=1) & (before.flags[places] == now.flags)
        places = np.where(same, places, -1)
    return np.where((places >= 0) & before.counted[places], places, -1)


def _hashed(elements: Elements) -> NDArray[np.uint64]:
    """A 64-bit number for each key (and its kind: an interval's end may stand where another begins)."""
    mixed = elements.flags.astype(np.uint64) + np.uint64(1)
    for column in range(elements.keys.shape[1]):
        mixed = (mixed ^ elements.keys[:, column]) * _FACTORS[column % len(_FACTORS)]
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _element_reading(of: SetId, about: NftSet, now: Elements, row: int) -> Reading:
    expires = int(now.expires_ms[row])
    lasts = "" if expires == NEVER else f", expires in {duration(expires / 1000)}"
    words = About(f"packets that the element counted{lasts}", "packets")
    name = f"{' '.join(of)} {_member(about, now, row)}"
    return Reading(NFT_ELEMENT, name, int(now.packets[row]), WRAP64, octets=int(now.octets[row]), about=words)


def _member(about: NftSet, now: Elements, row: int) -> str:
    """An element in nft's words. A plain interval ends before the key that the dump has in front of it."""
    if now.flags[row] & nft.NFT_SET_ELEM_CATCHALL:
        return "*"
    key, end = now.keys[row].tobytes(), now.ends[row].tobytes()
    if about.flags & nft.NFT_SET_INTERVAL and key == end:
        over = int.from_bytes(now.keys[row - 1].tobytes(), "big") if row else 1 << 8 * len(key)
        if over > int.from_bytes(key, "big"):
            end = (over - 1).to_bytes(len(key), "big")
    return key_words(about.key_type, key, None if key == end else end)
