"""The table of traced packets: one a row, in the order in which they were marked, with the end of each and its rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

import numpy as np

from nettop.model.filter.expression import Filter
from nettop.model.ruleset.picture import ChainView
from nettop.model.table import Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.traces.cells import COLUMNS, DEFAULT_COLUMNS, cell, end_cell, sort_value
from nettop.model.traces.detail import journey_detail
from nettop.model.traces.fields import journey_fields
from nettop.model.traces.journey import Journey
from nettop.model.traces.journeys import Journeys
from nettop.model.window import Match, OrderCache, value_keys
from nettop.text.units import grouped, plural

_SECOND = 1_000_000_000


class TraceTable:
    """The table model of journeys. The ident of a row is the journey's number."""

    columns: Sequence[Column] = COLUMNS
    default_columns: tuple[str, ...] = DEFAULT_COLUMNS
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self,
        journeys: Journeys,
        rules_version: Callable[[], int] = lambda: 0,
        chains: Callable[[], Sequence[ChainView]] = tuple,
    ) -> None:
        """`rules_version` grows when rules get words; `chains` returns all of the ruleset."""
        self._journeys, self._rules_version, self._chains = journeys, rules_version, chains
        self._orders = OrderCache(self._match)

    @property
    def version(self) -> int:
        """The version, which grows whenever the table may look different."""
        return self._journeys.version + self._rules_version()

    def matching(self, display_filter: Filter | None) -> list[Journey]:
        """Return the journeys that match, in the order of their numbers."""
        found = sorted(self._journeys.kept.values(), key=lambda journey: journey.number)
        if display_filter is None or not found:
            return found
        mask = display_filter.mask(journey_fields(found))
        return [journey for journey, matches in zip(found, mask.tolist(), strict=True) if matches]

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window that spec describes, the newest last."""
        order = self._orders.current(spec, now_ns, self.version)
        rows = lambda numbers: self._rows(numbers.tolist(), spec.columns)  # noqa: E731
        total, totals = len(self._journeys.kept), self._totals(spec.filter, now_ns)
        notes = (order.note(spec, now_ns) if spec.sort else ()) if total else self._notes()
        return order.snapshot(spec, rows, total, notes, self.version, totals=totals)

    def _rows(self, numbers: Iterable[int], columns: Sequence[str]) -> Iterable[Row]:
        for number in numbers:
            if (journey := self.journey(number)) is not None:
                yield Row.of(number, [cell(journey, key) for key in columns])

    def journey(self, number: int) -> Journey | None:
        """Return a journey with the words of its rules, as far as they are known; None if it is not kept any more."""
        journey = self._journeys.kept.get(number)
        if journey is not None:
            self._journeys.worded(journey)
        return journey

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        found = self.matching(spec.filter)
        numbers = np.array([journey.number for journey in found], np.int64)
        return Match(numbers, lambda: value_keys(spec.sort, lambda key: [sort_value(one, key) for one in found]))

    def _totals(self, display_filter: Filter | None, now_ns: int) -> Line:
        """Return `88 packets   DROP 31   accept 52   12 pkt/s`."""
        model = self._journeys
        ends = Counter(end_cell(one) if one.shown_end else ("on their way", "dim") for one in model.kept.values())
        line = [(plural(len(model.kept), "packet"), "heading")]
        line += [(f"   {word} {grouped(count)}", role) for (word, role), count in sorted(ends.items())]
        line.append((f"   {grouped(self.per_second(now_ns))} pkt/s", "number"))
        if model.others:
            line.append((f"   {plural(model.others, 'other')} traced", "dim"))
        if model.evicted:
            line.append((f"   {grouped(model.evicted)} older evicted", "dim"))
        return tuple(line)

    def per_second(self, now_ns: int) -> int:
        """Return how many of the packets kept were marked in the last second."""
        newest = reversed(self._journeys.kept.values())
        return sum(1 for _ in takewhile(lambda journey: journey.ts_ns > now_ns - _SECOND, newest))

    def _notes(self) -> tuple[Line, ...]:
        model = self._journeys
        if not model.table:
            return ()
        others = f" ({plural(model.others, 'other packet')} traced)" if model.others else ""
        note = "The trace has ended: no packet matched" if model.over else "No packet yet that matches"
        return (((f"{note}{others}.", "heading"),),)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the steps of a packet; None if it is not kept any more."""
        journey = self.journey(ident)
        return None if journey is None else journey_detail(journey, self._chains(), self._alike(journey))

    def _alike(self, journey: Journey) -> str:
        """Return `the same end: 31 of 88` of a packet that a rule or a policy ended; "" of another."""
        end = _deciding(journey)
        kept = self._journeys.kept.values()
        same = 0 if end is None else sum(_deciding(one) == end for one in kept)
        return f"the same end: {grouped(same)} of {grouped(len(kept))}" if same else ""


def _deciding(journey: Journey) -> tuple[object, ...] | None:
    """Return what identifies the rule or policy that ended a packet."""
    step = end.step if (end := journey.shown_end) is not None else None
    if step is None:
        return None
    record = step.record
    return record.family, record.table, record.chain, record.type, record.handle, record.number
