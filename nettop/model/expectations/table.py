"""The current expectations, updated by events and dumps, each kept as its row of columns.

They are usually few; under a flood at most MAX_EXPECTATIONS are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nettop.batch import DumpMark, Gap
from nettop.columns import EVENT_DESTROY, EVENT_DUMP, EVENT_EXPECT, Columns, Decoded, Strings
from nettop.kinds import GapReason
from nettop.model.expectations.expectation import Expectation, expectation_of, expected_text, helper_text
from nettop.model.flows.cells import RowView
from nettop.model.flows.masters import LINES, counted, relation_line
from nettop.model.table import Line
from nettop.text import units
from nettop.text.flow import PROTO_NAMES

MAX_EXPECTATIONS = 20_000  # the default of nf_conntrack_expect_max is 4,096
_DESTROYED = EVENT_EXPECT + EVENT_DESTROY
_NAMES = ("src_hi", "src_lo", "sport", "dst_hi", "dst_lo", "dport")
_EXPECTED = ("family", "proto", *(f"o{name}" for name in _NAMES))
_MASTER = ("family", "mproto", *(f"r{name}" for name in _NAMES))

Key = tuple[int, ...]  # namespace, id (a hash, not unique), expected tuple, master tuple
Fields = tuple[tuple[str, ...], tuple[int, ...]]  # a row of columns: names and values


class ExpectationTable:
    """Every expectation the kernel reported, until an event or a complete dump ends it."""

    def __init__(self, strings: Strings, limit: int = MAX_EXPECTATIONS) -> None:
        self.version = 0
        self._strings = strings
        self._limit = limit
        self._rows: dict[Key, Fields] = {}  # converted to values when shown: a flood is possible
        self._dumps: dict[int, dict[Key, int]] = {}  # by namespace with a dump in progress: the last event of each key
        self._resync: set[int] = set()
        self._begun: set[int] = set()  # namespaces whose dump has begun since the last loss

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Expectation]:
        return map(self._value, self._rows)

    def apply(self, item: Decoded | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Apply an item of the stream conntrack or expect."""
        if isinstance(item, Decoded):
            if len(item.expect):
                self._report(item.expect, netns)
        elif isinstance(item, DumpMark):
            if item.what == "expect":
                self._mark(item, netns)
        elif item.why is not GapReason.RECORDER:  # a loss of the recorder is none of the table
            self._resync.add(netns)
            self._begun.discard(netns)

    def resync_wanted(self, netns: int) -> bool:
        """Return whether events of this namespace were lost and no later dump has completed."""
        return netns in self._resync

    def forget(self, netns: int) -> None:
        """Remove everything of a namespace."""
        self._dumps.pop(netns, None)
        self._resync.discard(netns)
        self._keep(netns, {})

    def _report(self, cols: Columns, netns: int) -> None:
        names, keys = (
            tuple(cols.data),
            zip(*(_column(cols, name) for name in ("id", *_EXPECTED, *_MASTER)), strict=True),
        )
        rows = zip(*(column.tolist() for column in cols.data.values()), strict=True)
        for event, key, values in zip(cols["event"].tolist(), keys, rows, strict=True):
            self._put((netns, *key), event, (names, values))
        self.version += 1

    def _put(self, key: Key, event: int, row: Fields) -> None:
        """Apply a row of a dump, or an event. During a dump an event overrides the row of the dump."""
        dump = self._dumps.get(key[0])
        if dump is not None:
            if event == EVENT_DUMP and dump.get(key, EVENT_DUMP) != EVENT_DUMP:
                return
            dump[key] = event
            if len(dump) > 2 * self._limit:  # a flood: the end of this dump removes nothing
                del self._dumps[key[0]]
        if event == _DESTROYED:
            self._rows.pop(key, None)
        elif key in self._rows or len(self._rows) < self._limit:
            self._rows[key] = row

    def _mark(self, mark: DumpMark, netns: int) -> None:
        dump = self._dumps.pop(netns, None)
        if mark.begin:
            self._dumps[netns] = {}
            self._begun.add(netns)
        elif mark.complete:
            if dump is not None:
                self._keep(netns, dump)
            if netns in self._begun:
                self._resync.discard(netns)

    def _keep(self, netns: int, dump: dict[Key, int]) -> None:
        kept = {key: row for key, row in self._rows.items() if key[0] != netns or key in dump}
        self.version += len(kept) != len(self._rows)
        self._rows = kept

    def _value(self, key: Key) -> Expectation:
        names, values = self._rows[key]
        return expectation_of(dict(zip(names, values, strict=True)) | {"netns": key[0]}, self._strings)

    def of_flow(self, row: RowView) -> Sequence[Line]:
        """Return the lines of a flow's detail about the expectations of which it is the master."""
        netns, master = row.value("netns"), tuple(row.value(name) for name in _EXPECTED)
        keys = [key for key in self._rows if key[0] == netns and key[-len(master) :] == master]
        return counted([relation_line("expects", *_texts(self._value(key))) for key in keys[:LINES]], len(keys))


def _column(cols: Columns, name: str) -> list[int]:
    column = cols.get(name)
    values: list[int] = [0] * len(cols) if column is None else column.tolist()
    return values


def _texts(one: Expectation) -> tuple[str, str]:
    proto = PROTO_NAMES[one.expected.proto] if one.expected else units.ABSENT
    left = "" if one.timeout is None else f", {units.remaining(one.timeout)} left when last reported"
    return f"{proto} {expected_text(one)}", f"{helper_text(one)}{left}"
