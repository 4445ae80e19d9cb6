"""Dumps and events, in whatever order and however batched, leave the table that a plain dict would hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.columns import EVENT_DESTROY, EVENT_DUMP, EVENT_NEW, EVENT_UPDATE, HAVE_ID, HAVE_MARK, HAVE_STATUS
from nettop.model.flows.index import KeyHash
from nettop.model.flows.lifetimes import ROUNDS
from nettop.model.flows.store import PACKED_KEY, FlowStore
from nettop.model.flows.updates import FlowUpdates
from tests.profiles import examples
from tests.unit.model.flows.flow_rows import SECOND, T0, columns, row

KEYS, IDS = 6, 3


@dataclass
class Life:
    """One flow as the reference keeps it."""

    number: int
    id: int
    fresh: bool = False
    recycled: bool = False
    touched: bool = False
    heard: bool = False
    seen: bool = False
    values: dict[str, int] = field(default_factory=dict)


@dataclass
class Reference:
    """The rules of updates.py, one row at a time, in plain Python."""

    live: dict[int, Life] = field(default_factory=dict)
    dead: dict[int, tuple[int, bool]] = field(default_factory=dict)  # key → id, several lives
    open: bool = False
    lives: int = 0

    def _life(self, key: int, ident: int, **flags: bool) -> Life:
        self.lives += 1
        life = self.live[key] = Life(self.lives, ident, **flags)
        return life

    def begin(self) -> None:
        self.dead.clear()
        self.open = True
        for life in self.live.values():
            life.fresh = life.recycled = life.touched = life.seen = False

    def end(self, complete: bool) -> None:
        if self.open and complete:
            self.live = {key: life for key, life in self.live.items() if life.seen or life.fresh}
        self.open = False
        self.dead.clear()

    def event(self, kind: int, key: int, ident: int, values: dict[str, int]) -> None:
        if kind == EVENT_DESTROY:
            self._destroy(key, ident)
            return
        life, dead = self.live.get(key), self.dead.pop(key, None)
        if life is None or life.id != ident:
            again = self.open and (dead is not None or life is not None)
            life = self._life(key, ident, fresh=self.open, recycled=again)
        life.values |= values
        life.heard = True
        life.touched |= self.open

    def _destroy(self, key: int, ident: int) -> None:
        life = self.live.get(key)
        if life is not None:
            if life.id != ident and not life.heard:
                return
            del self.live[key]
            if self.open:
                self.dead[key] = (ident, life.fresh or life.recycled or life.id != ident)
        elif self.open:
            self.dead[key] = (ident, key in self.dead)

    def dumped(self, key: int, ident: int, values: dict[str, int]) -> None:
        life, dead = self.live.get(key), self.dead.get(key)
        if dead is not None:
            if dead[1] or dead[0] == ident:
                return
            del self.dead[key]
            life = self._life(key, ident)
        elif life is None:
            life = self._life(key, ident)
        elif life.id != ident:
            if life.fresh:
                return
            life = self._life(key, ident)
        life.seen = True
        life.values = values | life.values if life.touched else dict(values)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from((EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY)),
        st.integers(0, KEYS - 1),
        st.integers(0, IDS - 1),
        st.dictionaries(st.sampled_from(("status", "mark")), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=ROUNDS,
)
DUMP = st.lists(
    st.tuples(st.integers(0, KEYS - 1), st.integers(0, IDS - 1), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=KEYS,
    unique_by=lambda row: row[0],
)
STEPS = st.lists(
    st.one_of(
        EVENTS.map(lambda rows: ("events", rows)),
        EVENTS.map(lambda rows: ("events", rows)),
        DUMP.map(lambda rows: ("dump", rows)),
        st.just(("begin", None)),
        st.booleans().map(lambda complete: ("end", complete)),
    ),
    max_size=14,
)


def key_row(key: int, ident: int, **values: Any) -> dict[str, Any]:
    """Keys 4 and 5 are IPv6 and differ in the high half only; 2 and 3 differ in the zone only."""
    if key >= 4:
        six = {"family": 10, "osrc_hi": 0xFD00 << 48 | key, "odst_hi": 0xFD00 << 48, "rsrc_hi": 0xFD00 << 48}
        return row(id=ident, **six, **values)
    return row(sport=1000 + min(key, 2), zone=int(key == 3), id=ident, **values)


def alike_hash() -> KeyHash:
    """A hash that is the same for every key: only the keys themselves tell flows apart."""
    hash_ = KeyHash()
    hash_._k = tuple(np.uint64(0) for _ in range(6))
    return hash_


def apply(rules: FlowUpdates, reference: Reference, step: tuple[str, Any]) -> None:
    what, rows = step
    if what == "begin":
        rules.begin(0)
        reference.begin()
    elif what == "end":
        rules.end(0, rows)
        reference.end(rows)
    elif what == "events":
        rules.events(columns(*(key_row(key, i, event=kind, **values) for kind, key, i, values in rows)), 0)
        for kind, key, i, values in rows:
            reference.event(kind, key, i, values)
    else:
        rules.dump_rows(columns(*(key_row(key, i, status=s, mark=m) for key, i, s, m in rows)), 0)
        for key, i, s, m in rows:
            reference.dumped(key, i, {"status": s, "mark": m})


def key_of(store: FlowStore, at: int) -> int:
    if store["family"][at] == 10:
        return int(store["osrc_hi"][at]) & 0xFF
    return 3 if store["zone"][at] else int(store["osport"][at]) - 1000


def contents(store: FlowStore) -> dict[int, tuple[int, dict[str, int], int]]:
    """key → id, known values, identity."""
    found = {}
    for at in store.live().nonzero()[0].tolist():
        have = int(store["have"][at])
        bits = (("status", HAVE_STATUS), ("mark", HAVE_MARK))
        values = {name: int(store[name][at]) for name, bit in bits if have & bit}
        assert have & HAVE_ID
        found[key_of(store, at)] = (int(store["id"][at]), values, int(store.idents(np.array([at]))[0]))
    return found


def hold_to_reference(steps: list[tuple[str, Any]], key_hash: KeyHash) -> None:
    store = FlowStore(key_hash)
    rules, reference = FlowUpdates(store), Reference()
    identities: dict[int, int] = {}  # identity → life
    for step in steps:
        apply(rules, reference, step)
        found = contents(store)
        assert {key: flow[:2] for key, flow in found.items()} == {
            key: (life.id, life.values) for key, life in reference.live.items()
        }
        for key, (_, _, ident) in found.items():
            assert identities.setdefault(ident, reference.live[key].number) == reference.live[key].number


@settings(max_examples=examples(400))
@given(STEPS)
def test_the_table_agrees_with_a_dict_kept_row_by_row(steps: list[tuple[str, Any]]) -> None:
    hold_to_reference(steps, KeyHash())


@settings(max_examples=examples(100))
@given(STEPS)
def test_keys_of_equal_hash_are_told_apart(steps: list[tuple[str, Any]]) -> None:
    hold_to_reference(steps, alike_hash())


def fresh() -> tuple[FlowStore, FlowUpdates]:
    store = FlowStore()
    return store, FlowUpdates(store)


def test_the_namespace_is_part_of_the_key() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=1)), 0)
    rules.dump_rows(columns(row(id=1)), 7)
    assert sorted(store["netns"][:2].tolist()) == [0, 7] and store.live().sum() == 2
    rules.begin(7)
    rules.end(7, complete=True)
    assert store["netns"][: store.top][store.live()].tolist() == [0]


def test_a_dump_that_brings_many_flows_twice_removes_none() -> None:
    """A hash that is resized meanwhile has flows before and behind the place of the dump, and others at neither."""
    rows = columns(*(row(sport=port, id=port) for port in range(1, 1001)))
    halves, ended = (rows.take(np.arange(500)), rows.take(np.arange(500, 1000))), []
    for again in (0, 60, 400):
        store, rules = fresh()
        rules.dump_rows(rows, 0)
        rules.begin(0)
        rules.dump_rows(halves[0], 0)
        rules.dump_rows(halves[0].take(np.arange(again)), 0)
        rules.dump_rows(halves[1].take(np.arange(490)), 0)
        ended.append((rules.end(0, complete=True), int(store.live().sum())))
    assert ended == [(True, 990), (True, 990), (False, 1000)]


def test_a_flow_that_came_and_went_within_one_batch_leaves_nothing() -> None:
    store, rules = fresh()
    pair = [row(sport=p, id=p, event=kind) for p in range(1, 2000) for kind in (EVENT_NEW, EVENT_DESTROY)]
    rules.events(columns(*pair), 0)
    assert not store.live().any() and len(store.index) == 0


def test_one_key_with_thousands_of_lives_in_a_batch_ends_as_its_last() -> None:
    store, rules = fresh()
    lives = [row(id=n, event=kind, mark=n) for n in range(5000) for kind in (EVENT_NEW, EVENT_DESTROY)]
    rules.events(columns(*lives, row(id=9999, event=EVENT_NEW, mark=42)), 0)
    assert store["mark"][: store.top][store.live()].tolist() == [42]


def test_rates_come_from_two_dumps_with_counters_and_from_nothing_else() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=1, obytes=1000, rbytes=50, ts_ns=T0), row(sport=2, id=2, ts_ns=T0)), 0)
    assert np.isnan(store["rate_up"][:2]).all()
    later = T0 + 2 * SECOND
    second = row(sport=2, id=2, obytes=9, ts_ns=later)
    rules.dump_rows(columns(row(id=1, obytes=5000, rbytes=50, ts_ns=later), second), 0)
    assert store["rate_up"][0] == 2000 and store["rate_down"][0] == 0
    assert np.isnan(store["rate_up"][1]), "the first counters say nothing of a rate"


def counted(store: FlowStore, rules: FlowUpdates, *readings: tuple[float, int]) -> None:
    """One flow in a dump after so many seconds, with so many bytes of the original direction."""
    for seconds, count in readings:
        rules.dump_rows(columns(row(id=1, obytes=count, rbytes=10 * count, ts_ns=T0 + int(seconds * SECOND))), 0)


def test_two_dumps_a_moment_apart_make_no_rate_of_a_burst() -> None:
    store, rules = fresh()
    counted(store, rules, (0, 0), (0.005, 5000))
    assert np.isnan(store["rate_up"][0]) and store["obytes"][0] == 5000, "what is counted is shown all the same"
    counted(store, rules, (1, 8000))
    assert store["rate_up"][0] == 8000 and store["rate_down"][0] == 80_000, "since the first reading"


def test_a_dump_soon_after_another_leaves_the_rate_and_what_the_next_one_is_measured_from() -> None:
    store, rules = fresh()
    counted(store, rules, (0, 0), (1, 1000), (1.005, 6000), (1.2, 7000))
    assert (store["rate_up"][0], store["rate_down"][0], store["obytes"][0]) == (1000, 10_000, 7000)
    counted(store, rules, (2, 8000))
    assert (store["rate_up"][0], store["rate_down"][0]) == (7000, 70_000), "7000 bytes since the second reading"
    counted(store, rules, (3, 9000))
    assert (store["rate_up"][0], store["rate_down"][0]) == (1000, 10_000)


def test_dumps_that_always_follow_each_other_closely_give_rates_too() -> None:
    store, rules = fresh()
    counted(store, rules, *((n / 8, 125 * n) for n in range(20)))
    assert store["rate_up"][0] == 1000


def test_a_flow_whose_counters_are_set_to_zero_between_close_dumps_has_no_rate() -> None:
    store, rules = fresh()
    counted(store, rules, (0, 0), (1, 1000), (1.005, 10))
    assert np.isnan(store["rate_up"][0])
    counted(store, rules, (2.005, 510))
    assert store["rate_up"][0] == 500


def test_another_life_of_a_key_begins_with_nothing_counted() -> None:
    store, rules = fresh()
    counted(store, rules, (0, 0), (0.005, 5000))
    rules.dump_rows(columns(row(id=2, obytes=100, ts_ns=T0 + SECOND)), 0)
    rules.dump_rows(columns(row(id=2, obytes=600, ts_ns=T0 + 2 * SECOND)), 0)
    assert store["rate_up"][0] == 500


def test_a_new_id_for_a_key_starts_its_counters_again() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=1, obytes=1000, ts_ns=T0)), 0)
    before = store.idents(np.array([0]))[0]
    rules.dump_rows(columns(row(id=2, obytes=1500, ts_ns=T0 + SECOND)), 0)
    assert np.isnan(store["rate_up"][0]) and store["obytes"][0] == 1500
    assert store.idents(np.array([0]))[0] != before and store.row_of(int(before)) is None


def test_counters_that_went_back_give_no_negative_rate() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=1, obytes=1000, ts_ns=T0)), 0)
    rules.dump_rows(columns(row(id=1, obytes=10, ts_ns=T0 + SECOND)), 0)
    assert np.isnan(store["rate_up"][0])


def test_a_destroy_that_a_dump_overtook_does_not_end_the_later_life() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=2)), 0)
    rules.events(columns(row(id=1, event=EVENT_DESTROY)), 0)
    assert store.live().sum() == 1
    rules.events(columns(row(id=2, event=EVENT_DESTROY)), 0)
    assert store.live().sum() == 0


def test_what_an_event_said_since_the_dump_began_is_newer_than_the_dumps_row() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=1, proto=6, state=1, status=8)), 0)
    rules.begin(0)
    rules.events(columns(row(id=1, proto=6, event=EVENT_UPDATE, state=3, status=14)), 0)
    rules.dump_rows(columns(row(id=1, proto=6, state=1, status=8, obytes=7)), 0)
    rules.end(0, complete=True)
    assert (store["state"][0], store["status"][0], store["obytes"][0]) == (3, 14, 7)
    rules.dump_rows(columns(row(id=1, proto=6, state=7, status=14)), 0)
    rules.begin(0)
    rules.dump_rows(columns(row(id=1, proto=6, state=7, status=14)), 0)
    assert store["state"][0] == 7, "the next dump is newer again"


def test_rows_without_a_tuple_change_nothing() -> None:
    store, rules = fresh()
    rules.events(columns(row(id=1, event=EVENT_NEW) | {"have": HAVE_ID}, row(sport=2, id=2, event=EVENT_NEW)), 0)
    assert store.live().sum() == 1


def test_memory_stays_within_two_hundred_bytes_a_flow() -> None:
    store, rules = fresh()
    n = 1 << 17
    i = np.arange(n, dtype=np.uint64)
    one = columns(row(id=1, family=10, osrc_hi=1))
    many = one.take(np.zeros(n, np.intp))
    many.data["osrc_lo"] = i
    rules.dump_rows(many, 0)
    assert store.live().sum() == n
    columns_of = [column for name, column in store.data.items() if name not in PACKED_KEY]
    memory = sum(part.nbytes for part in (*columns_of, store._packed, store.index._slots, store._free))
    assert memory / n < 215  # IPv6, the index included


def test_ipv4_rows_take_no_room_for_ipv6() -> None:
    store, rules = fresh()
    rules.dump_rows(columns(row(id=1, event=EVENT_DUMP)), 0)
    assert "osrc_hi" not in store.data
