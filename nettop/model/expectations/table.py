"""The expectations there are and which flow expected which, kept by events and dumps: what relates flows to flows.

Both are few on an honest host, so each is a Python value; on a hostile one there are at most MOST of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nettop.batch import DumpMark, Gap
from nettop.columns import (
    EVENT_DESTROY,
    EVENT_DUMP,
    EVENT_EXPECT,
    HAVE_MASTER,
    HAVE_OPORTS,
    HAVE_ORIG,
    Columns,
    Decoded,
    Strings,
)
from nettop.kinds import GapReason
from nettop.model.expectations.expectation import Ends, Expectation, expectation_of, expected_text, helper_text
from nettop.model.expectations.reconcile import Kept
from nettop.model.flows.cells import RowView, original_text
from nettop.model.table import Line
from nettop.text import units
from nettop.text.flow import PROTO_WORDS

MOST = 20_000  # nf_conntrack_expect_max is 4,096 where nobody raised it
_LINES = 12  # of one kind in a detail
_IPS_EXPECTED = 1  # linux/netfilter/nf_conntrack_common.h
# A connection's ends as they lie in the columns: of a flow, of its master, of an expectation and of its master.
_NAMES = ("family", "proto", "src_hi", "src_lo", "sport", "dst_hi", "dst_lo", "dport")
_FLOW = tuple(name if name in ("family", "proto") else f"o{name}" for name in _NAMES)
_MASTER = ("family", *(f"m{name}" for name in _NAMES[1:]))
_EXPECTING = ("family", "mproto", *(f"r{name}" for name in _NAMES[2:]))

RawEnds = tuple[int, ...]  # values of _NAMES
FlowKey = tuple[int, int, RawEnds]  # namespace, zone, original tuple
ExpectKey = tuple[int, int, RawEnds, RawEnds]  # namespace, id (only a hash), the master, what is expected
Fields = tuple[tuple[str, ...], tuple[int, ...]]  # a row of columns: names and values


class ExpectationTable:
    """Every expectation the kernel told of until it says, or a complete dump shows, that it is gone; and masters."""

    def __init__(self, strings: Strings, most: int = MOST) -> None:
        self.version = 0
        self._strings = strings
        self._present: Kept[ExpectKey, Fields] = Kept(most)  # made into values when somebody looks: a flood may come
        self._masters: Kept[FlowKey, RawEnds] = Kept(most)  # flow → original tuple of its master
        self._resync: set[int] = set()
        self._begun: set[int] = set()  # a dump of expectations has begun since the last loss

    def __len__(self) -> int:
        return len(self._present.known)

    def __iter__(self) -> Iterator[Expectation]:
        return (self._value(key) for key in self._present.known)

    @property
    def left_out(self) -> int:
        """Expectations and masters that did not fit, since the start."""
        return self._present.left_out + self._masters.left_out

    # -- what comes in -------------------------------------------------------------------------------------------

    def apply(self, item: Decoded | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Take in what the streams conntrack, conntrack-dump and expect say of the namespace with this code."""
        if isinstance(item, Decoded):
            if len(item.expect):
                self._expectations(item.expect, netns)
            if len(item.cols):
                self._flows(item.cols, netns)
        elif isinstance(item, DumpMark):
            self._mark(item, netns)
        elif item.why is not GapReason.RECORDER:  # what only a recording lacks, we have
            self._resync.add(netns)
            self._begun.discard(netns)

    def resync_wanted(self, netns: int) -> bool:
        """Events of this namespace were lost and no complete dump begun since has ended: ask for one."""
        return netns in self._resync

    def forget(self, netns: int) -> None:
        """The namespace is gone."""
        self._present.forget(netns)
        self._masters.forget(netns)
        self._resync.discard(netns)
        self.version += 1

    def _expectations(self, cols: Columns, netns: int) -> None:
        names, ids = tuple(cols.data), _column(cols, "id")
        rows = zip(*(column.tolist() for column in cols.data.values()), strict=True)
        masters, expected, events = _ends(cols, _EXPECTING), _ends(cols, _FLOW), cols["event"].tolist()
        for event, ident, master, ends, values in zip(events, ids, masters, expected, rows, strict=True):
            key = (netns, ident, master, ends)
            if event == EVENT_EXPECT + EVENT_DESTROY:
                self._present.remove(key)
            else:
                self._present.put(key, (names, values), dumped=event == EVENT_DUMP)
        self.version += 1

    def _flows(self, cols: Columns, netns: int) -> None:
        if self._masters.known:
            self._destroyed(cols, netns)
        if "mproto" not in cols:
            return
        wanted = HAVE_MASTER | HAVE_ORIG
        some = cols.take(((cols["have"] & wanted) == wanted) & (cols["event"] != EVENT_DESTROY))
        dumped = (some["event"] == EVENT_DUMP).tolist()
        for key, master, seen in zip(_keys(some, netns), _ends(some, _MASTER), dumped, strict=True):
            self._masters.put(key, master, seen)
        self.version += 1

    def _destroyed(self, cols: Columns, netns: int) -> None:
        status = cols.get("status")
        if status is not None:
            gone = (cols["event"] == EVENT_DESTROY) & (status & _IPS_EXPECTED != 0)
            for key in _keys(cols.take(gone), netns):
                self._masters.remove(key)

    def _mark(self, mark: DumpMark, netns: int) -> None:
        if mark.what == "conntrack":
            self.version += self._masters.mark(netns, mark.begin, mark.complete)
        elif mark.what == "expect":
            self.version += self._present.mark(netns, mark.begin, mark.complete)
            if mark.begin:
                self._begun.add(netns)
            elif mark.complete and netns in self._begun:
                self._resync.discard(netns)

    # -- what goes out -------------------------------------------------------------------------------------------

    def master_of(self, row: RowView) -> RowView | None:
        """The flow that expected this one, as a view with no more than its key (for FlowTable.ident_of); None: none."""
        master = self._masters.known.get(_key_of(row))
        if master is None:
            return None
        data = dict(zip(_FLOW, master, strict=True)) | {name: row.value(name) for name in ("netns", "zone")}
        have = HAVE_ORIG | (HAVE_OPORTS if _has_ports(master) else 0)
        return RowView(data | {"have": have}, have, row.strings, row.netns_label)

    def expected_by(self, row: RowView) -> list[Expectation]:
        """The expectations there are now whose master is this flow."""
        netns, _, ends = _key_of(row)
        return [self._value(key) for key in self._present.known if key[2] == ends and key[0] == netns]

    def children_of(self, row: RowView) -> list[Ends]:
        """The original tuples of the flows that this flow expected."""
        netns, _, ends = _key_of(row)
        known = self._masters.known.items()
        return [_shown(key[2]) for key, master in known if master == ends and key[0] == netns]

    def _value(self, key: ExpectKey) -> Expectation:
        names, values = self._present.known[key]
        return expectation_of(dict(zip(names, values, strict=True)) | {"netns": key[0]}, self._strings)

    def of_flow(self, row: RowView) -> Sequence[Line]:
        """What this flow expects, which flows came of that, and which flow expected it: for its detail."""
        master = self.master_of(row)
        lines: list[Line] = []
        if master is not None:
            lines.append(_line("expected", f"by {PROTO_WORDS[master.value('proto')]} {original_text(master)}"))
        waiting = [
            _line("expects", f"{_proto(one.expected)} {expected_text(one)}", f"{helper_text(one)}{_timeout(one)}")
            for one in self.expected_by(row)
        ]
        came = [_line("related", f"{PROTO_WORDS[ends.proto]} {ends.text()}") for ends in self.children_of(row)]
        return (*lines, *_few(waiting), *_few(came))


# -- reading columns ---------------------------------------------------------------------------------------------------


def _keys(cols: Columns, netns: int) -> list[FlowKey]:
    return list(zip([netns] * len(cols), _column(cols, "zone"), _ends(cols, _FLOW), strict=True))


def _ends(cols: Columns, names: Sequence[str]) -> list[RawEnds]:
    return list(zip(*(_column(cols, name) for name in names), strict=True))


def _column(cols: Columns, name: str) -> list[int]:
    column = cols.get(name)
    values: list[int] = [0] * len(cols) if column is None else column.tolist()
    return values


def _key_of(row: RowView) -> FlowKey:
    return row.value("netns"), row.value("zone"), tuple(row.value(name) for name in _FLOW)


def _has_ports(ends: RawEnds) -> bool:
    return bool(ends[4] or ends[7])


def _shown(raw: RawEnds) -> Ends:
    family, proto, src_hi, src_lo, sport, dst_hi, dst_lo, dport = raw
    ports = (sport, dport) if _has_ports(raw) else (None, None)
    return Ends(family, proto, src_hi << 64 | src_lo, ports[0], dst_hi << 64 | dst_lo, ports[1])


# -- words -------------------------------------------------------------------------------------------------------------


def _line(name: str, text: str, note: str = "") -> Line:
    return ((f"{name:<9} ", "key"), (text, "address"), (f"   {note}" if note else "", "dim"))


def _few(lines: list[Line]) -> list[Line]:
    more = len(lines) - _LINES
    return lines if more <= 0 else [*lines[:_LINES], ((f"{'':<9} and {units.grouped(more)} more", "dim"),)]


def _proto(ends: Ends | None) -> str:
    return PROTO_WORDS[ends.proto] if ends else units.ABSENT


def _timeout(one: Expectation) -> str:
    return "" if one.timeout is None else f", {units.duration(one.timeout)} left when last reported"
