"""The table of expectations and masters: by events, by dumps, both at once, bounded, in a flow's detail."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import DumpMark, Gap
from nettop.columns import Decoded, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.kinds import GapReason
from nettop.model.expectations.table import ExpectationTable
from nettop.model.flows.cells import RowView
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.table import FlowTable
from tests.unit.decode.conntrack.expectation_messages import EXP_DELETE, expectation
from tests.unit.decode.netlink_bytes import CT_DELETE, batch, be, ct, nla, tuple4, udp

NEW, DUMPED = 0x600, 2
STRINGS = Strings()
DECODE = ConntrackDecoder(STRINGS)


def read(*messages: bytes) -> Decoded:
    return DECODE(batch(messages))


def control(flags: int = NEW) -> bytes:
    """The connection that expects: 0.0.0.1:40000 → 0.0.0.2:21."""
    return ct(tuple4(1, 1, 2, 6, 40000, 21), tuple4(2, 2, 1, 6, 21, 40000), nla(3, be(4, 8)), flags=flags)


def data(port: int = 50001, flags: int = NEW, kind: int = 0x100) -> bytes:
    """A connection that came of it."""
    master = [tuple4(14, 1, 2, 6, 40000, 21)] if kind != CT_DELETE else []
    return ct(
        tuple4(1, 2, 1, 6, 20, port), tuple4(2, 1, 2, 6, port, 20), nla(3, be(4, 9)), *master, flags=flags, kind=kind
    )


def mark(what: str, begin: bool, complete: bool = True) -> DumpMark:
    return DumpMark(1, 0, 0, what, begin, complete and not begin)


def dump(table: ExpectationTable | FlowTable, *messages: bytes, what: str = "expect", complete: bool = True) -> None:
    table.apply(mark(what, True), 0, 0)
    table.apply(read(*messages), 0, 0)
    table.apply(mark(what, False, complete), 0, 0)


def ports(table: ExpectationTable) -> list[int | None]:
    return sorted(one.expected.dport for one in table if one.expected and one.expected.dport)


class Watched:
    """The two tables that a flow's detail is made of."""

    def __init__(self, *messages: bytes) -> None:
        self.expectations = ExpectationTable(STRINGS)
        self.flows = FlowTable(STRINGS, joins=FlowJoins(expectations=self.expectations.of_flow))
        self.apply(*messages)

    def apply(self, *messages: bytes) -> None:
        for table in (self.expectations, self.flows):
            table.apply(read(*messages), 0, 0)

    def dump(self, *messages: bytes) -> None:
        for table in (self.expectations, self.flows):
            dump(table, *messages, what="conntrack")

    def row(self, dport: int) -> RowView:
        return next(row for row in self.flows.views(self.flows.matching(None, 0)) if row.value("odport") == dport)

    def lines(self, dport: int) -> list[str]:
        """What the detail of a flow says of others."""
        ident = self.flows.ident_of(self.row(dport))
        found = None if ident is None else self.flows.detail(ident, 0)
        assert found is not None
        texts = ["".join(part for part, _ in line).strip() for line in found.lines]
        return [text for text in texts if text.startswith(("expect", "related", "and "))]


def test_events_bring_them_and_take_them() -> None:
    table = ExpectationTable(STRINGS)
    table.apply(read(expectation(dport=1), expectation(dport=2), udp(1)), 0, 0)
    table.apply(read(expectation(EXP_DELETE, 0, dport=1), expectation(dport=3)), 0, 0)
    assert ports(table) == [2, 3]
    table.apply(read(expectation(EXP_DELETE, 0, dport=2)), 1, 0)
    assert ports(table) == [2, 3], "of another namespace"
    table.forget(0)
    assert len(table) == 0


def test_a_complete_dump_says_what_is_there_an_incomplete_one_takes_nothing() -> None:
    table = ExpectationTable(STRINGS)
    table.apply(read(expectation(dport=1), expectation(dport=2)), 0, 0)
    dump(table, expectation(flags=DUMPED, dport=2), expectation(flags=DUMPED, dport=7), complete=False)
    assert ports(table) == [1, 2, 7]
    dump(table, expectation(flags=DUMPED, dport=2))
    assert ports(table) == [2]
    dump(table)
    assert ports(table) == []


def test_a_dump_does_not_revive_what_went_meanwhile_nor_lose_what_came() -> None:
    table = ExpectationTable(STRINGS)
    table.apply(read(expectation(dport=1)), 0, 0)
    table.apply(mark("expect", True), 0, 0)
    table.apply(read(expectation(dport=2), expectation(EXP_DELETE, 0, dport=1)), 0, 0)
    table.apply(read(expectation(flags=DUMPED, dport=1)), 0, 0)
    table.apply(mark("expect", False), 0, 0)
    assert ports(table) == [2]


def test_a_loss_asks_for_a_dump() -> None:
    table = ExpectationTable(STRINGS)
    table.apply(Gap(1, 0, 3, GapReason.RECORDER, 0, 0), 0, 0)
    assert not table.resync_wanted(0)
    table.apply(Gap(1, 0, 3, GapReason.KERNEL, 0, 0), 0, 0)
    assert table.resync_wanted(0) and not table.resync_wanted(1)
    dump(table, complete=False)
    assert table.resync_wanted(0)
    dump(table, what="conntrack")
    assert table.resync_wanted(0)
    dump(table)
    assert not table.resync_wanted(0)


def test_a_flows_detail_says_what_it_expects_what_came_of_it_and_who_expected_it() -> None:
    seen = Watched(control(), expectation(dport=50002), data())
    assert seen.lines(21) == [
        "expects   tcp 0.0.0.2:* → 0.0.0.1:50002   ftp, 5m00 left when last reported",
        "related   tcp 0.0.0.2:20 → 0.0.0.1:50001",
    ]
    assert seen.lines(50001) == ["expected  by tcp 0.0.0.1:40000 → 0.0.0.2:21"]
    view = seen.flows.master_of(seen.row(50001))
    assert view is not None and seen.flows.ident_of(view) == seen.flows.ident_of(seen.row(21)) is not None
    assert seen.flows.master_of(seen.row(21)) is None


def test_masters_go_with_their_flows() -> None:
    seen = Watched(control(), data())
    seen.apply(udp(1), data(flags=0, kind=CT_DELETE))
    assert seen.lines(21) == []
    seen.dump(control(DUMPED), data(flags=DUMPED))
    assert seen.lines(21) == ["related   tcp 0.0.0.2:20 → 0.0.0.1:50001"]
    seen.dump(control(DUMPED))
    assert seen.lines(21) == []


def test_a_row_that_is_used_again_has_no_master_left() -> None:
    seen = Watched(control(), data())
    seen.apply(data(flags=0, kind=CT_DELETE))
    seen.apply(ct(tuple4(1, 2, 1, 6, 20, 50001), tuple4(2, 1, 2, 6, 50001, 20), nla(3, be(4, 8)), flags=NEW))
    assert seen.lines(50001) == seen.lines(21) == []


def test_a_hostile_number_of_them_is_bounded_and_said() -> None:
    table = ExpectationTable(STRINGS, limit=10)
    table.apply(read(*(expectation(dport=n) for n in range(1, 40))), 0, 0)
    assert len(table) == 10
    crowded = Watched(control(), *(expectation(dport=n) for n in range(1, 40)), *(data(n) for n in range(1001, 1040)))
    said = crowded.lines(21)
    assert len(said) == 26 and said[12] == said[25] == "and 27 more"
    assert [line[:7] for line in said if line[:3] != "and"] == ["expects"] * 12 + ["related"] * 12


def test_a_flood_of_events_during_a_dump_takes_no_room_and_the_dump_takes_nothing() -> None:
    table = ExpectationTable(STRINGS, limit=10)
    table.apply(read(*(expectation(dport=n) for n in range(1, 6))), 0, 0)
    table.apply(mark("expect", True), 0, 0)
    table.apply(read(*(expectation(EXP_DELETE, 0, dport=n) for n in range(10, 40))), 0, 0)
    table.apply(mark("expect", False), 0, 0)
    assert ports(table) == [1, 2, 3, 4, 5]


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["new", "gone", "begin", "dumped", "end", "torn"]), st.integers(0, 4)), max_size=60
)


@given(STEPS)
def test_the_table_is_what_a_slow_and_plain_reading_of_the_rules_gives(steps: list[Step]) -> None:
    """The oracle keeps the history: at the end of a complete dump it looks through all that happened since it began."""
    table = ExpectationTable(STRINGS)
    known: dict[int, int] = {}
    since: list[Step] | None = None
    for at, (what, n) in enumerate(steps):
        by_events = since is not None and {("gone", n), ("new", n)} & {*since}
        if since is not None:
            since.append((what, n))
        if what == "new":
            table.apply(read(expectation(dport=n + 1, timeout=at)), 0, 0)
            known[n] = at
        elif what == "gone":
            table.apply(read(expectation(EXP_DELETE, 0, dport=n + 1)), 0, 0)
            known.pop(n, None)
        elif what == "begin":
            table.apply(mark("expect", True), 0, 0)
            since = []
        elif what == "dumped":
            table.apply(read(expectation(flags=DUMPED, dport=n + 1, timeout=at)), 0, 0)
            if not by_events:
                known[n] = at
        else:
            table.apply(mark("expect", False, what == "end"), 0, 0)
            if since is not None and what == "end":
                told = {n for said, n in since if said in ("new", "dumped")}
                known = {n: value for n, value in known.items() if n in told}
            since = None
        assert {one.expected.dport - 1: one.timeout for one in table if one.expected and one.expected.dport} == known
