"""Sets and maps as counters: the use of each, and its elements that count fastest.

The counters of all elements are kept as columns; only the fastest of each set become rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nettop.decode.nftables.elements import NEVER, Elements
from nettop.decode.nftables.keys import type_text
from nettop.decode.nftables.members import closed, member_text
from nettop.decode.nftables.sets import NftSet, SetId
from nettop.linux import nf_tables as nft
from nettop.model.counters.readings import NFT_ELEMENT, NFT_SET
from nettop.model.counters.series import WRAP64, About, Reading
from nettop.text.units import duration, grouped, remaining

MAX_ELEMENT_ROWS = 10  # elements of one set that become rows
MAX_SETS = 50  # sets whose elements become rows
MAX_ELEMENTS = 250_000  # of one set: sources/nft_sets.py reads the elements of no larger set
_FACTORS = (np.random.default_rng().integers(1 << 32, 1 << 63, 64) << 1 | 1).astype(np.uint64)  # odd, secret


@dataclass(slots=True)
class _SetState:
    """One set: its elements of the last complete dump, and those of the dump in progress."""

    about: NftSet | None = None
    parts: list[Elements] = field(default_factory=list)  # of the dump in progress
    elements: Elements | None = None
    ts_ns: int = 0
    rows: int = 0  # elements that have a counter
    shown: frozenset[str] = frozenset()  # names of those that are rows of the table


@dataclass(frozen=True, slots=True)
class ElementReading:
    """The reading of an element and the one before (None: it is new), so that its rate is known at once."""

    now: Reading
    ts_ns: int
    before: Reading | None = None
    before_ns: int = 0


class SetCounters:
    """The sets of one namespace. Listings and dumps of elements are applied between begin and end."""

    def __init__(self) -> None:
        self._sets: dict[SetId, _SetState] = {}
        self._listed: dict[SetId, _SetState] = {}  # of the listing in progress
        self._begun = False  # the beginning of that listing was seen
        self._read: dict[SetId, _SetState] = {}  # with elements in the dump in progress
        self._with_rows: set[SetId] = set()  # sets with rows in the table
        self._removed: set[str] = set()
        self._completed: list[SetId] = []

    def completed(self) -> Iterator[Reading]:
        """Yield a reading of each set whose elements were read since the last call, for its new description."""
        completed, self._completed = self._completed, []
        for set_id in completed:
            state = self._sets.get(set_id)
            if state is not None and state.about is not None:
                yield _set_reading(set_id, state, state.about)

    def removed(self) -> set[str]:
        """Return and forget the names of element rows to remove from the table."""
        removed, self._removed = self._removed, set()
        return removed

    def begin(self, elements: bool) -> None:
        """Begin a listing of sets, or a dump of the elements of some."""
        if elements:
            self._restart()
        else:
            self._listed, self._begun = {}, True

    def add_set(self, found: NftSet) -> None:
        """Add a set of the listing. Anonymous sets are parts of rules and ignored."""
        if found.flags & nft.NFT_SET_ANONYMOUS:
            return
        state = self._listed[found.id] = self._sets.setdefault(found.id, _SetState())
        state.about = found

    def add_elements(self, set_id: SetId, part: Elements | None) -> None:
        """Add elements of the dump in progress; None: a message without any."""
        state = self._read[set_id] = self._sets.setdefault(set_id, _SetState())
        if part is not None:
            state.parts.append(part.without_values())

    def end_listing(self, complete: bool) -> Iterator[Reading]:
        """Yield the number of elements of each listed set; sets that a complete listing does not have are removed."""
        listed, begun, self._listed, self._begun = self._listed, self._begun, {}, False
        if begun and complete:
            for set_id in self._sets.keys() - listed.keys():
                self._empty(set_id, self._sets.pop(set_id))
                self._read.pop(set_id, None)
        for set_id, state in listed.items():
            if state.about is not None:
                if state.about.count == 0:
                    self._empty(set_id, state)
                yield _set_reading(set_id, state, state.about)

    def end_elements(self, complete: bool, ts_ns: int) -> Iterator[ElementReading]:
        """Yield the fastest elements of every set of a complete dump. Rows of other elements are removed."""
        for set_id, state in self._read.items() if complete else ():
            found = self._complete(set_id, state, ts_ns)
            self._set_rows(set_id, state, frozenset(each.now.name for each in found))
            self._completed.append(set_id)
            yield from found
        self._restart()

    def _empty(self, set_id: SetId, state: _SetState) -> None:
        self._set_rows(set_id, state, frozenset())
        state.elements, state.rows = None, 0

    def _set_rows(self, set_id: SetId, state: _SetState, names: frozenset[str]) -> None:
        self._removed |= state.shown - names
        state.shown = names
        if names:
            self._with_rows.add(set_id)
        else:
            self._with_rows.discard(set_id)

    def _restart(self) -> None:
        for state in self._read.values():
            state.parts = []
        self._read = {}

    def _complete(self, set_id: SetId, state: _SetState, ts_ns: int) -> list[ElementReading]:
        before, before_ns = state.elements, state.ts_ns
        state.elements, state.ts_ns = Elements.whole(state.parts), ts_ns
        if state.elements is not None and state.about is not None:
            state.elements = closed(state.about, state.elements)
        now = state.elements
        state.rows = 0 if now is None else int(now.counted.sum())
        too_many = len(self._with_rows - {set_id}) >= MAX_SETS
        if now is None or not state.rows or too_many or state.about is None:
            return []
        return list(_fastest(set_id, state.about, now, ts_ns, before, before_ns))


def _set_reading(set_id: SetId, state: _SetState, about: NftSet) -> Reading:
    count = about.count
    if count is None and state.elements is not None:
        count = int((state.elements.flags & nft.NFT_SET_ELEM_INTERVAL_END == 0).sum())
    meaning = About(_set_words(state, about, count), "elements", about.size)
    return Reading(NFT_SET, " ".join(set_id), count, about=meaning)


def _set_words(state: _SetState, about: NftSet, count: int | None) -> str:
    kind = f"map to {about.holds}" if about.holds else "set"
    words = [
        f"elements of a {'dynamic ' if about.flags & nft.NFT_SET_EVAL else ''}{kind} of {type_text(about.key_type)}"
    ]
    words += [f"timeout {duration(about.timeout_ms / 1000)}"] if about.timeout_ms else []
    words += [f"({about.comment})"] if about.comment else []
    if count is not None and count > MAX_ELEMENTS:
        words.append("too many to read their counters")
    elif state.rows:
        hidden = state.rows - len(state.shown)
        words.append(f"{grouped(state.rows)} count" + (f", {grouped(hidden)} of them not shown" if hidden else ""))
    return ", ".join(words)


def _fastest(
    set_id: SetId, about: NftSet, now: Elements, ts_ns: int, before: Elements | None, before_ns: int
) -> Iterator[ElementReading]:
    """Yield the elements that counted most packets since the previous dump, then those with the highest counts.

    Where more elements have counters than fit, those that count 0 are left out.
    """
    known = _known(now, before)
    grown = np.where(known >= 0, now.packets - _at(before, known, "packets"), np.uint64(0))
    fell = (known >= 0) & (_at(before, known, "packets") > now.packets)
    grown[fell] = 0
    order = np.lexsort((now.packets, grown, now.counted))[::-1][:MAX_ELEMENT_ROWS]
    eligible = now.counted if now.counted.sum() <= MAX_ELEMENT_ROWS else now.counted & (now.packets > 0)
    for row in order[eligible[order]].tolist():
        reading = _element_reading(set_id, about, now, row)
        old_row = int(known[row])
        if old_row < 0 or before is None or before_ns >= ts_ns:
            yield ElementReading(reading, ts_ns)
        else:
            packets, octets = int(before.packets[old_row]), int(before.octets[old_row])
            old = Reading(NFT_ELEMENT, reading.name, packets, WRAP64, octets=octets, about=reading.about)
            yield ElementReading(reading, ts_ns, old, before_ns)


def _at(before: Elements | None, known: NDArray[np.int64], name: str) -> NDArray[np.uint64]:
    if before is None or not len(before):
        return np.zeros(len(known), np.uint64)
    found: NDArray[np.uint64] = getattr(before, name)[known]
    return found


def _known(now: Elements, before: Elements | None) -> NDArray[np.int64]:
    """Return the index of each element in the previous dump; -1: it is new, or had no counter."""
    if before is None or not len(before) or before.keys.shape[1] != now.keys.shape[1]:
        return np.full(len(now), -1, np.int64)
    if np.array_equal(now.keys, before.keys) and np.array_equal(now.flags, before.flags):
        old_rows = np.arange(len(now), dtype=np.int64)
    else:
        old, new = _hashed(before), _hashed(now)
        order = np.argsort(old, kind="stable")
        old_rows = order[np.minimum(np.searchsorted(old[order], new), len(old) - 1)]
        same = (before.keys[old_rows] == now.keys).all(axis=1) & (before.flags[old_rows] == now.flags)
        old_rows = np.where(same, old_rows, -1)
    return np.where((old_rows >= 0) & before.counted[old_rows], old_rows, -1)


def _hashed(elements: Elements) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each key and its flags (the end of an interval may equal the start of another)."""
    mixed = elements.flags.astype(np.uint64) + np.uint64(1)
    for column in range(elements.keys.shape[1]):
        mixed = (mixed ^ elements.keys[:, column]) * _FACTORS[column % len(_FACTORS)]
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _element_reading(set_id: SetId, about: NftSet, now: Elements, row: int) -> Reading:
    expires = int(now.expires_ms[row])
    lasts = "" if expires == NEVER else f", expires in {remaining(expires / 1000)}"
    words = About(f"packets that the element counted{lasts}", "packets")
    name = f"{' '.join(set_id)} {member_text(about, now, row)}"
    return Reading(NFT_ELEMENT, name, int(now.packets[row]), WRAP64, octets=int(now.octets[row]), about=words)
