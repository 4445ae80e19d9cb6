"""The event log: the last N with the losses among them, standing still when asked, and as JSON lines."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Gap
from nettop.columns import EVENT_DESTROY, EVENT_DUMP, EVENT_NEW, EVENT_UPDATE, Strings
from nettop.kinds import GapReason
from nettop.model.events.lines import EventLines, gap_json
from nettop.model.events.ring import EVENT_GAP, EventRing, FrozenRing
from nettop.model.events.table import EventLog
from nettop.model.filter.expression import parse
from nettop.model.flows.table import FlowTable
from nettop.model.table import Snapshot, ViewSpec
from nettop.text.times import TimeTexts
from tests.unit.model.flows.flow_rows import SECOND, T0, decoded, row


def log(capacity: int = 100) -> EventLog:
    return EventLog(Strings(), lambda code: ("", "gw-a")[code], capacity=capacity)


def event(n: int, kind: int = EVENT_NEW, **given: Any) -> dict[str, Any]:
    return row(sport=n, id=n, event=kind, ts_ns=T0 + n, **given)


def ports(snapshot: Snapshot) -> list[int]:
    """The source ports of the rows shown; a gap is -1."""
    texts = [r.cells[0] for r in snapshot.rows]
    return [-1 if "lost" in text else int(text.split(" → ")[0].rpartition(":")[2]) for text in texts]


def shown(events: EventLog, now_ns: int = T0, **spec: Any) -> Snapshot:
    return events.snapshot(ViewSpec(("original",), **spec), now_ns)


@pytest.mark.parametrize("sizes", [(3, 4), (10,), (25,), (7, 7, 7), (1,) * 23, (9, 1, 10, 3)])
def test_the_last_n_are_kept_newest_last_and_the_others_counted(sizes: tuple[int, ...]) -> None:
    events, n = log(10), 0
    for size in sizes:
        events.apply(decoded(*(event(n + i) for i in range(size))), 0, T0)
        n += size
    assert ports(shown(events)) == list(range(max(0, n - 10), n))
    assert events.evicted == max(0, n - 10) and len(events.ring) == min(10, n)
    assert events.counts[EVENT_NEW] == n


def test_ipv6_events_keep_their_addresses_beside_ipv4() -> None:
    events = log()
    events.apply(decoded(event(1)), 0, T0)
    events.apply(decoded(event(2, family=10, osrc_hi=0xFD00 << 48)), 0, T0)
    events.apply(decoded(event(3)), 0, T0)
    texts = [r.cells[0] for r in shown(events).rows]
    assert [text.split(" → ")[0] for text in texts] == ["10.0.0.1:1", "[fd00::a00:1]:2", "10.0.0.1:3"]


def test_a_loss_stands_where_it_happened_whatever_the_filter() -> None:
    events = log()
    events.apply(decoded(event(1)), 0, T0)
    events.apply(Gap(5, 0, 1204, GapReason.KERNEL, T0, T0 + SECOND), 0, T0)
    events.apply(Gap(5, 0, None, GapReason.QUEUE, T0, T0 + SECOND), 0, T0)
    events.apply(decoded(event(2)), 0, T0)
    assert ports(shown(events)) == [1, -1, -1, 2]
    assert ports(shown(events, filter=parse("port 2", "event"))) == [-1, -1, 2]
    texts = [r.cells[0] for r in shown(events).rows]
    assert "1,204 events lost (kernel), conntrack" in texts[1]
    assert "an unknown number of events lost (queue)" in texts[2]
    wide = events.snapshot(ViewSpec(("time", "event", "proto", "original", "up")), T0).rows[1]
    assert wide.cells[1] == "GAP" and "1,204 events lost" in wide.cells[2], "where the row begins to be empty"
    assert wide.cells[3:] == ("", "")
    detail = events.detail(1, T0)
    assert detail is not None and "1,204" in detail.lines[0][0][0]


def test_one_event_lost_is_not_events() -> None:
    events = log()
    events.apply(Gap(5, 0, 1, GapReason.KERNEL, T0, T0 + SECOND), 0, T0)
    assert shown(events).rows[0].cells[0].startswith("┄┄ 1 event lost (kernel)")


def test_what_only_a_recording_lacks_is_no_gap_on_screen() -> None:
    events, flows = log(), FlowTable(Strings())
    for model in (events, flows):
        model.apply(Gap(5, 0, 7, GapReason.RECORDER, T0, T0), 0, T0)
    assert len(events.ring) == 0 and not flows.resync_wanted(0)


def test_rows_of_dumps_are_not_events() -> None:
    events = log()
    events.apply(decoded(event(1, EVENT_DUMP), event(2)), 0, T0)
    events.apply(decoded(event(3, EVENT_DUMP)), 0, T0)
    events.apply(decoded(), 0, T0)
    assert ports(shown(events)) == [2]


def test_frozen_rows_stand_still_and_what_was_evicted_meanwhile_is_said() -> None:
    events = log(10)
    events.apply(decoded(*(event(n) for n in range(10))), 0, T0)
    before = shown(events, frozen=True)
    assert before.notes == ()
    events.apply(decoded(*(event(n, mark=n % 2) for n in range(10, 18))), 0, T0)
    during = shown(events, frozen=True)
    assert ports(during) == ports(before) == list(range(10))
    assert notes(during) == ["held, 8 new, 8 held rows evicted meanwhile"]
    assert events.detail(0, T0) is not None, "a held row has its detail though the ring has gone on"
    events.apply(decoded(*(event(n) for n in range(18, 40))), 0, T0)
    later = shown(events, frozen=True, first=3, height=4)
    assert ports(later) == [3, 4, 5, 6]
    assert notes(later) == ["held, 30 new, 10 held rows evicted meanwhile, 20 came and went unseen"]
    assert ports(shown(events)) == list(range(30, 40)) and shown(events).notes == ()
    assert ports(shown(events, frozen=True)) == list(range(30, 40)), "held anew"


def test_while_frozen_a_filter_looks_through_what_is_held() -> None:
    events = log(10)
    events.apply(decoded(*(event(n, mark=n % 2) for n in range(10))), 0, T0)
    shown(events, frozen=True)
    events.apply(decoded(*(event(n, mark=n % 2) for n in range(10, 16))), 0, T0)
    odd = parse("mark 1", "event")
    assert ports(shown(events, frozen=True, filter=odd)) == [1, 3, 5, 7, 9]
    assert ports(shown(events, filter=odd)) == [7, 9, 11, 13, 15]


def test_while_frozen_with_a_filter_what_is_new_is_what_matches_and_the_totals_live() -> None:
    events, odd = log(10), parse("mark 1", "event")
    events.apply(decoded(*(event(n, mark=n % 2) for n in range(10))), 0, T0)
    assert shown(events, frozen=True, filter=odd).notes == ()
    events.apply(decoded(*(event(n) for n in range(10, 13))), 0, T0)
    assert notes(shown(events, frozen=True, filter=odd)) == ["held, 0 new match, 3 held rows evicted meanwhile"]
    events.apply(decoded(*(event(n, mark=n % 2) for n in range(13, 16))), 0, T0)
    during = shown(events, frozen=True, filter=odd)
    assert notes(during) == ["held, 2 new match, 6 held rows evicted meanwhile"]
    assert ports(during) == [1, 3, 5, 7, 9] and during.totals[0][0] == "10 events, 4 match", "7, 9, 13, 15"
    events.apply(decoded(*(event(n, mark=n % 2) for n in range(16, 26))), 0, T0)
    later = "held, 7 new match, 10 held rows evicted meanwhile, 6 of all came and went unseen"
    for _ in range(2):
        assert notes(shown(events, frozen=True, filter=odd)) == [later]
    assert ports(shown(events, filter=odd)) == [17, 19, 21, 23, 25]
    assert shown(events, frozen=True, filter=odd).notes == ()


@given(st.lists(st.sampled_from([0, 1, 2, 7, 12, 25, "hold", "go", "look", "other"]), max_size=40))
def test_new_matches_are_counted_whatever_comes_and_goes(steps: list[int | str]) -> None:
    events, n, since, frozen, kinds = log(10), 1, 0, False, (1, 2)
    filters = {kind: parse(f"mark {kind}", "event") for kind in kinds}
    for step in steps:
        if isinstance(step, int):
            for one in range(n, n + step):  # a look after each: none comes and goes unseen
                events.apply(decoded(event(one, mark=kinds[one % 2 - 1])), 0, T0)
                found = shown(events, frozen=frozen, filter=filters[1])
                since += frozen and one % 2 == 1
                assert not frozen or f", {since} new match" in notes(found)[0]
            n += step
        elif step in ("hold", "go"):
            since, frozen = (since if frozen else 0), step == "hold"
            shown(events, frozen=frozen, filter=filters[1])
        elif step == "other" and not frozen:
            assert not any(port % 2 for port in ports(shown(events, filter=filters[2])))
    live = shown(events, filter=filters[1])
    assert live.totals[0][0].endswith(f"{live.matched} match")


def notes(snapshot: Snapshot) -> list[str]:
    return ["".join(text for text, _ in line) for line in snapshot.notes]


@given(st.lists(st.sampled_from([1, 2, 3, 7, 12, 30, "hold", "go", "gap", "v6"]), max_size=40))
def test_a_held_ring_is_the_rows_of_that_moment_whatever_comes(steps: list[int | str]) -> None:
    ring, plain, held, n = EventRing(10), list[int](), list[int](), 1
    for step in steps:
        if step == "hold":
            ring.frozen = FrozenRing(ring)
            held = plain[-10:]
        elif step == "go":
            ring.frozen = None
        elif step == "gap":
            ring.append_gap(Gap(1, 0, n, GapReason.KERNEL, 0, n), 0)
            plain.append(-n)
            n += 1
        else:
            more = step if isinstance(step, int) else 1
            rows = [event(n + i, **({"family": 10, "osrc_hi": n + i + 1} if step == "v6" else {})) for i in range(more)]
            ring.append(decoded(*rows).cols, 0)
            plain += range(n, n + more)
            n += more
        assert told(ring) == plain[-10:] and ring.evicted.total() == sum(x >= 0 for x in plain[:-10])
        if ring.frozen is not None:
            assert told(ring.frozen) == held
            some = np.array([ring.frozen.start], np.int64)[: len(held)]
            assert ring.frozen.take(some)["osport"].tolist() == [max(0, one) for one in held[:1]]


def told(ring: EventRing | FrozenRing) -> list[int]:
    """Source ports; losses of gaps, negative."""
    rows = ring.rows(ring.start, ring.end)
    high = rows.get("osrc_hi", np.zeros(len(ring), np.uint64))
    assert all(not hi or hi == port + 1 for hi, port in zip(high.tolist(), rows["osport"].tolist(), strict=True))
    lost = np.where(rows["event"] == EVENT_GAP, rows["opackets"].astype(np.int64), 0)
    return np.where(rows["event"] == EVENT_GAP, -lost, rows["osport"]).tolist()


def test_filters_are_kept_up_with_as_events_come_and_go() -> None:
    events, odd = log(10), parse("udp and mark 1", "event")
    for n in range(37):
        events.apply(decoded(event(n, mark=n % 2)), 0, T0)
        expected = [i for i in range(max(0, n - 9), n + 1) if i % 2]
        assert ports(shown(events, filter=odd)) == expected
    even = parse("mark 0", "event")
    assert ports(shown(events, filter=even)) == [28, 30, 32, 34, 36]
    assert ports(shown(events, filter=odd)) == [27, 29, 31, 33, 35]


def test_events_of_a_kind_can_be_filtered() -> None:
    events = log()
    events.apply(decoded(event(1), event(2, EVENT_UPDATE), event(3, EVENT_DESTROY)), 0, T0)
    assert ports(shown(events, filter=parse("event destroy", "event"))) == [3]


def test_following_and_scrolling_give_windows_of_the_same_rows() -> None:
    events = log(100)
    events.apply(decoded(*(event(n) for n in range(130))), 0, T0)
    assert ports(shown(events, height=5, follow=True)) == [125, 126, 127, 128, 129]
    middle = shown(events, height=5, first=20, anchor=52)
    assert ports(middle) == [50, 51, 52, 53, 54] and middle.anchor == 22 and middle.matched == 100
    assert shown(events, anchor=3).anchor is None, "evicted"
    assert events.detail(3, T0) is None


def test_rates_are_of_the_last_whole_second() -> None:
    events = log()
    events.apply(decoded(event(1), event(2), event(3, EVENT_DESTROY)), 0, T0 + SECOND // 2)
    assert events.rates.last(T0 + SECOND // 2) == (0, 0, 0)
    assert events.rates.last(T0 + SECOND) == (2, 0, 1)
    assert events.rates.last(T0 + 2 * SECOND) == (0, 0, 0)
    timeline = events.rates.seconds(T0 + 3 * SECOND)
    assert timeline.shape == (60, 3) and timeline[-3].tolist() == [2, 0, 1] and timeline.sum() == 3
    assert events.rates.seconds(T0 + 200 * SECOND).sum() == 0


def test_every_column_can_be_shown_for_events_and_gaps() -> None:
    events = log()
    events.apply(decoded(event(1, mark=3, timeout=4, obytes=5, status=8)), 1, T0)
    events.apply(Gap(5, 0, 1, GapReason.KERNEL, T0, T0), 1, T0)
    snapshot = events.snapshot(ViewSpec(tuple(column.key for column in events.columns)), T0)
    assert [len(r.cells) for r in snapshot.rows] == [len(events.columns)] * 2
    assert "gw-a" in snapshot.rows[0].cells


def test_a_flows_history_is_its_own_events_only() -> None:
    events = log()
    flows = FlowTable(Strings(), history=events.history)
    rows = [event(1), event(2), event(1, EVENT_UPDATE), event(1, zone=4)]
    for one in rows:
        events.apply(decoded(one), 0, T0)
        flows.apply(decoded(one), 0, T0)
    events.apply(decoded(event(1)), 1, T0)
    history = ["".join(part for part, _ in line) for line in events.history(flows.views(np.array([0]))[0])]
    assert len(history) == 2 and "NEW" in history[0] and "UPDATE" in history[1]


def test_an_event_leads_to_its_flow() -> None:
    events, flows = log(), FlowTable(Strings())
    events.apply(decoded(event(9)), 0, T0)
    flows.apply(decoded(event(9)), 0, T0)
    flow = events.flow_of(0)
    assert flow is not None and flows.ident_of(flow) is not None


def test_json_lines_are_flows_with_event_and_time() -> None:
    lines = EventLines(Strings(), lambda code: "gw-a")
    cols = decoded(event(1, status=8), event(2, EVENT_DUMP), event(3, EVENT_DESTROY, obytes=9, opackets=1))
    found = [json.loads(line) for line in lines(cols, 1)]
    assert [(line["kind"], line["event"], line["ts_ns"], line["netns"], line["sport"]) for line in found] == [
        ("event", "new", T0 + 1, "gw-a", 1),
        ("event", "destroy", T0 + 3, "gw-a", 3),
    ]
    assert found[0]["bytes"] is None and found[1]["bytes"] == 9


def test_only_matching_events_are_printed() -> None:
    lines = EventLines(Strings())
    cols = decoded(event(1), event(2, proto=6, state=3))
    assert [json.loads(line)["sport"] for line in lines(cols, 0, parse("tcp", "event"), T0)] == [2]
    assert lines(cols, 0, parse("sctp", "event"), T0) == [] and lines(decoded(), 0) == []


def test_text_lines_begin_with_time_and_event() -> None:
    line = EventLines(Strings(), times=TimeTexts())(decoded(event(1, status=8)), 0)[0]
    assert line[12:].startswith(" NEW     udp    UNREPLIED    10.0.0.1:1 → 10.0.0.2:80")


def test_a_gap_is_an_object_of_the_contract() -> None:
    found = json.loads(gap_json(Gap(5, 0, None, GapReason.KERNEL, 1, 2), "conntrack"))
    assert found == {
        "kind": "gap", "stream": "conntrack", "netns": None, "lost": None, "reason": "kernel", "from_ns": 1, "to_ns": 2
    }  # fmt: skip
