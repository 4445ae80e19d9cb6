"""Sets as counters: how full, which elements count fastest, and what is not shown."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import DumpMark
from nettop.decode.nftables.elements import NEVER, Elements
from nettop.decode.nftables.sets import NftSet, NftSetsDecoded, SetId
from nettop.linux.nf_tables import NFT_SET_ELEM_CATCHALL, NFT_SET_ELEM_INTERVAL_END, NFT_SET_INTERVAL
from nettop.model.counters.lines import json_line, text_line
from nettop.model.counters.sets import MAX_ELEMENT_ROWS, MAX_ELEMENTS, MAX_SETS
from nettop.model.counters.table import CounterTable
from nettop.model.table import ViewSpec

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
OF: SetId = ("inet", "t", "s")
IPV4, PORT = 7, 13


def a_set(
    count: int | None, of: SetId = OF, *, flags: int = 0, size: int | None = None, key: int = IPV4, counts: bool = True
) -> NftSet:
    return NftSet(*of, 1, flags, key, 4, "", size, count, None, counts, None)


def columns(
    rows: dict[bytes, int], *, flags: dict[bytes, int] | None = None, uncounted: frozenset[bytes] = frozenset()
) -> Elements:
    keys = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    packets = np.array(list(rows.values()), np.uint64)
    kinds = np.array([(flags or {}).get(key, 0) for key in rows], np.uint32)
    counted = np.array([key not in uncounted for key in rows], np.bool_)
    return Elements(keys, keys, kinds, counted, packets, packets * np.uint64(100), np.full(len(rows), NEVER))


def ip(number: int) -> bytes:
    return struct.pack("!I", 0x0A000000 + number)


class Host:
    """A namespace whose sets are dumped."""

    def __init__(self) -> None:
        self.counters = CounterTable()
        self.second = 0

    def mark(self, what: str, begin: bool, complete: bool = True) -> None:
        at = T0 + self.second * SECOND
        self.counters.apply(DumpMark(1, 0, at, what, begin, not begin and complete), 0, at)

    def listing(self, *sets: NftSet, complete: bool = True) -> None:
        self.mark("nft-sets", True)
        self.counters.apply(NftSetsDecoded(T0, sets=list(sets)), 0, T0)
        self.mark("nft-sets", False, complete)

    def dump(self, part: Elements | None, of: SetId = OF, complete: bool = True) -> None:
        self.mark("nft-elements", True)
        self.counters.apply(NftSetsDecoded(T0, elements=[(of, part)]), 0, T0)
        self.mark("nft-elements", False, complete)

    def turn(self, second: int, rows: dict[bytes, int], about: NftSet | None = None) -> None:
        self.second = second
        self.listing(about or a_set(len(rows)))
        self.dump(columns(rows))

    def shown(self) -> dict[str, tuple[int | None, float | None]]:
        found = (row for row in self.counters.rows() if row.key.group == "nft-element")
        return {row.key.name.removeprefix("inet t s "): (row.value, row.rate) for row in found}

    def words(self) -> str:
        rows = self.counters.snapshot(ViewSpec(("group", "meaning")), T0).rows
        return next(row.cells[1] for row in rows if row.cells[0] == "nft-set")


@pytest.fixture
def host() -> Host:
    return Host()


def test_elements_have_values_at_once_and_rates_from_the_second_dump(host: Host) -> None:
    host.turn(0, {ip(1): 5, ip(2): 7})
    assert host.shown() == {"10.0.0.1": (5, None), "10.0.0.2": (7, None)}
    host.turn(2, {ip(1): 25, ip(2): 7})
    assert host.shown() == {"10.0.0.1": (25, 10.0), "10.0.0.2": (7, 0.0)}


def test_the_fastest_are_shown_and_how_many_are_not(host: Host) -> None:
    many = {ip(number): number for number in range(1000)}
    host.turn(0, many)
    assert len(host.shown()) == MAX_ELEMENT_ROWS and "10.0.3.231" in host.shown(), "without rates the largest"
    host.turn(1, many | {ip(3): 503, ip(4): 104})
    found = host.shown()
    assert found["10.0.0.3"] == (503, 500.0), "its rate is known though it was no row before"
    assert found["10.0.0.4"] == (104, 100.0) and len(found) == MAX_ELEMENT_ROWS
    assert "1,000 count, 990 of them not shown" in host.words()


def test_of_many_elements_those_that_never_counted_are_no_rows(host: Host) -> None:
    host.turn(0, {ip(number): int(number == 7) for number in range(1000)})
    assert host.shown() == {"10.0.0.7": (1, None)}
    assert "1,000 count, 999 of them not shown" in host.words()


def test_reading_the_elements_does_not_change_how_fast_the_set_grows(host: Host) -> None:
    host.turn(0, {ip(1): 1})
    host.turn(2, {ip(number): 1 for number in range(9)})
    assert [row.rate for row in host.counters.rows() if row.key.group == "nft-set"] == [4.0]


def test_another_order_of_the_dump_changes_nothing(host: Host) -> None:
    host.turn(0, {ip(number): number for number in range(500)})
    host.turn(1, {ip(number): number + (50 if number == 77 else 0) for number in reversed(range(400))})
    assert host.shown()["10.0.0.77"] == (127, 50.0)
    assert host.shown()["10.0.1.143"] == (399, 0.0)


def test_an_element_added_anew_or_reset_has_no_rate(host: Host) -> None:
    host.turn(0, {ip(1): 100})
    host.turn(1, {ip(1): 3, ip(2): 9})
    assert host.shown() == {"10.0.0.1": (3, None), "10.0.0.2": (9, None)}
    host.turn(2, {ip(1): 5, ip(2): 9})
    assert host.shown() == {"10.0.0.1": (5, 2.0), "10.0.0.2": (9, 0.0)}


def test_elements_that_left_leave_and_so_do_those_of_a_set_that_is_gone(host: Host) -> None:
    host.turn(0, {ip(1): 100, ip(2): 5})
    host.turn(1, {ip(2): 6})
    assert list(host.shown()) == ["10.0.0.2"]
    host.listing(a_set(0))
    assert host.shown() == {}
    host.turn(2, {ip(2): 6})
    host.listing(complete=False)
    assert host.shown() and len(host.counters.rows()) == 2, "a listing that is not whole removes nothing"
    host.listing()
    assert host.counters.rows() == []


def test_a_dump_that_is_not_whole_changes_nothing(host: Host) -> None:
    host.turn(0, {ip(1): 100, ip(2): 5})
    host.second = 1
    host.dump(columns({ip(1): 900}), complete=False)
    assert host.shown() == {"10.0.0.1": (100, None), "10.0.0.2": (5, None)}
    host.turn(2, {ip(1): 300, ip(2): 5})
    assert host.shown()["10.0.0.1"] == (300, 100.0)


def test_a_set_says_how_full_it_is(host: Host) -> None:
    host.listing(a_set(250, size=1000))
    spec = ViewSpec(("name", "value", "use"))
    assert host.counters.snapshot(spec, T0).rows[0].cells == ("inet t s", "250", "25.0%")


def test_where_the_kernel_does_not_count_the_dump_does_without_intervals_ends(host: Host) -> None:
    host.listing(a_set(None))
    assert host.counters.snapshot(ViewSpec(("value",)), T0).rows[0].cells == ("–",)
    host.dump(columns({ip(9): 0, ip(1): 4}, flags={ip(9): NFT_SET_ELEM_INTERVAL_END}))
    assert host.counters.snapshot(ViewSpec(("value",)), T0).rows[0].cells == ("1",)


def test_intervals_end_before_the_key_in_front_of_them(host: Host) -> None:
    first = struct.pack("!I", 0)
    rows = {ip(256): 0, ip(8): 3, ip(4): 4, ip(1): 5, first: 0}
    part = columns(
        rows,
        flags={ip(256): NFT_SET_ELEM_INTERVAL_END, first: NFT_SET_ELEM_INTERVAL_END},
        uncounted=frozenset((ip(256), first)),
    )
    host.listing(a_set(3, flags=NFT_SET_INTERVAL))
    host.dump(part)
    assert list(host.shown()) == ["10.0.0.1-10.0.0.3", "10.0.0.4/30", "10.0.0.8-10.0.0.255"]
    host.dump(columns({ip(8): 3}))
    assert list(host.shown()) == ["10.0.0.8-255.255.255.255"], "nothing in front of it: to the end"


def test_the_catch_all_is_a_star(host: Host) -> None:
    star = columns({b"": 9}, flags={b"": NFT_SET_ELEM_CATCHALL})
    host.listing(a_set(2))
    host.mark("nft-elements", True)
    host.counters.apply(NftSetsDecoded(T0, elements=[(OF, star), (OF, columns({ip(1): 4}))]), 0, T0)
    host.mark("nft-elements", False)
    assert host.shown() == {"*": (9, None), "10.0.0.1": (4, None)}


def test_an_elements_row_begins_with_its_set_which_stands_above_it_with_its_table(host: Host) -> None:
    host.turn(0, {ip(1): 4})
    rows = host.counters.snapshot(ViewSpec(("group", "name")), T0).rows
    assert [row.cells for row in rows] == [("nft-set", "inet t s"), ("nft-element", "s 10.0.0.1")]


def test_a_set_without_counters_has_no_rows(host: Host) -> None:
    host.listing(a_set(2))
    host.dump(columns({ip(1): 0, ip(2): 0}, uncounted=frozenset((ip(1), ip(2)))))
    assert host.shown() == {}
    host.listing(a_set(2))
    assert "count" not in host.words()


def test_anonymous_sets_are_parts_of_rules(host: Host) -> None:
    host.listing(a_set(2, flags=1))
    assert host.counters.rows() == []


def test_a_set_too_large_to_read_says_so(host: Host) -> None:
    host.listing(a_set(MAX_ELEMENTS + 1))
    assert "too many to read" in host.words()


def test_the_rows_of_many_sets_are_bounded(host: Host) -> None:
    every = [("inet", "t", f"s{number}") for number in range(MAX_SETS + 20)]
    host.listing(*(a_set(1, of) for of in every))
    for of in every:
        host.dump(columns({ip(1): 4}), of)
    rows = [row for row in host.counters.rows() if row.key.group == "nft-element"]
    assert len(rows) == MAX_SETS


def test_hostile_names_are_escaped_on_screen(host: Host) -> None:
    of = ("inet", "t\x1b[2J", "s\u202e")
    host.listing(a_set(1, of))
    host.dump(columns({ip(1): 4}), of)
    cells = [cell for row in host.counters.snapshot(ViewSpec(("name", "meaning")), T0).rows for cell in row.cells]
    assert len(cells) == 4 and all(cell.isprintable() for cell in cells)


def test_a_hundred_thousand_elements_are_settled_in_a_moment(host: Host) -> None:
    keys = np.arange(100_000, dtype=">u4").view(np.uint8).reshape(-1, 4)
    full = np.full(len(keys), NEVER)
    for second in range(2):
        order = np.random.default_rng(second).permutation(len(keys))
        packets = (np.arange(len(keys)) * (second + 1)).astype(np.uint64)[order]
        plain = np.zeros(len(keys), np.uint32)
        part = Elements(keys[order], keys[order], plain, plain == 0, packets, packets, full)
        host.second = second
        host.listing(a_set(len(keys)))
        began = time.thread_time()
        host.dump(part)
        spent = time.thread_time() - began
    assert host.shown()["0.1.134.159"] == (2 * 99_999, 99_999.0)
    assert spent < 1.0


def rate_of_a_second(before: int, value: int) -> float | None:
    """The change; a fall by more than half of 64 bits is a wrap, a smaller one a reset."""
    change = value - before if value >= before else value - before + 2**64
    return float(change) if value >= before or change < 2**63 else None


@given(
    st.dictionaries(st.binary(min_size=4, max_size=4), st.integers(0, 2**64 - 1), max_size=30),
    st.dictionaries(st.binary(min_size=4, max_size=4), st.integers(0, 2**64 - 1), max_size=30),
    st.randoms(use_true_random=False),
)
def test_rates_are_those_of_a_plain_dict(first: dict[bytes, int], more: dict[bytes, int], dice) -> None:  # type: ignore[no-untyped-def]
    kept = {key: value for key, value in first.items() if dice.random() < 0.7}
    second = {**{key: min(2**64 - 1, value + dice.randint(-5, 50)) for key, value in kept.items()}, **more}
    second = {key: max(0, value) for key, value in second.items()}
    host = Host()
    for number, rows in enumerate((first, second)):
        host.second = number
        host.listing(a_set(len(rows) or None, key=63))
        host.dump(columns(rows) if rows else None)
    expected = {
        f"0x{key.hex()}": (value, rate_of_a_second(first[key], value) if key in first else None)
        for key, value in second.items()
    }
    found = host.shown()
    worthy = sum(value > 0 for value in second.values()) if len(second) > MAX_ELEMENT_ROWS else len(second)
    assert len(found) == min(MAX_ELEMENT_ROWS, worthy)
    assert all(expected[name] == pair for name, pair in found.items())


STEPS = st.one_of(
    st.tuples(st.just("mark"), st.sampled_from(["nft-sets", "nft-elements"]), st.booleans(), st.booleans()),
    st.tuples(
        st.just("set"), st.sampled_from(["s", "u"]), st.integers(0, 255), st.none() | st.integers(0, 2**32),
        st.integers(0, 2**32 - 1),
    ),
    st.tuples(
        st.just("part"), st.sampled_from(["s", "u", "w"]), st.integers(0, 17), st.integers(0, 12), st.integers(0, 3),
    ),
)  # fmt: skip


@given(st.lists(STEPS, max_size=40), st.randoms(use_true_random=False))
def test_any_order_of_marks_sets_and_elements_is_borne(steps, dice) -> None:  # type: ignore[no-untyped-def]
    host = Host()
    for step in steps:
        host.second += dice.choice((-3, 0, 1, 10**6))
        if step[0] == "mark":
            host.mark(*step[1:])
        elif step[0] == "set":
            _, name, flags, count, key = step
            about = NftSet("ip", "t", name, 1, flags, key, 4, "", count, count, count, True, None)
            host.counters.apply(NftSetsDecoded(T0, sets=[about]), 0, T0)
        else:
            _, name, width, rows, flags = step
            keys = np.frombuffer(dice.randbytes(width * rows), np.uint8).reshape(rows, width)
            numbers = np.array([dice.randrange(2**64) for _ in range(rows)], np.uint64)
            kinds = np.full(rows, flags, np.uint32)
            part = Elements(keys, keys, kinds, numbers % 2 == 0, numbers, numbers, numbers)
            host.counters.apply(NftSetsDecoded(T0, elements=[(("ip", "t", name), part)]), 0, T0)
    for row in host.counters.snapshot(ViewSpec(("name", "value", "rate", "use", "bytes", "meaning")), T0).rows:
        assert all(cell.isprintable() for cell in row.cells)
        assert host.counters.detail(row.ident, T0) is not None
    rows = host.counters.rows(per_cpu=True)
    assert all(line.isprintable() for line in (*map(json_line, rows), *map(text_line, rows)))


def test_a_listing_that_broke_off_says_nothing_of_sets_that_it_did_not_list(host: Host) -> None:
    """And costs nothing for them: thousands of such listings do not add up."""
    other: SetId = ("inet", "t", "other")
    host.listing(a_set(1), a_set(2, other))
    host.second = 5
    host.listing(a_set(3), complete=False)
    found = {row.key.name: (row.value, row.ts_ns) for row in host.counters.rows() if row.key.group == "nft-set"}
    assert found == {"inet t s": (3, T0 + 5 * SECOND), "inet t other": (2, T0)}


def test_a_set_that_goes_while_its_elements_are_read_leaves_no_rows(host: Host) -> None:
    host.turn(0, {ip(1): 5})
    host.mark("nft-elements", True)
    host.counters.apply(NftSetsDecoded(T0, elements=[(OF, columns({ip(1): 6}))]), 0, T0)
    host.listing(a_set(1, ("inet", "t", "other")))
    host.mark("nft-elements", False)
    assert host.shown() == {}
