"""From a row to the same thing elsewhere: identities lead there and back, filters find that flow and no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.batch import Stream, StreamAdded
from nettop.kinds import StreamKind
from nettop.model.filter.expression import parse
from nettop.model.flows.other_views import filter_of
from nettop.model.table import ViewSpec
from nettop.pipeline.engine import Engine
from nettop.session.flow_actions import related
from tests.profiles import examples
from tests.unit.decode.conntrack.expectation_messages import expectation
from tests.unit.decode.conntrack.flow_messages import Flow, flows
from tests.unit.decode.netlink_bytes import batch, be, ct, nla, tuple4
from tests.unit.model.filter.filter_rows import Row, TableOfRows

NEW = 0x600


def engine_with(*messages: bytes, netns: tuple[str, ...] = ("gw-a",)) -> Engine:
    engine = Engine("gw-a")
    for number, label in enumerate(netns):
        engine.apply(StreamAdded(Stream(number, StreamKind.NETLINK, "conntrack", label), number), 0)
        engine.apply(replace(batch(messages), stream=number), 0)
    return engine


def flow(number: int, *more: bytes, zone: int = 0) -> bytes:
    """A TCP connection 0.0.0.1:number → 0.0.0.2:80."""
    where = [nla(18, be(2, zone))] if zone else []
    return ct(tuple4(1, 1, 2, 6, number, 80), tuple4(2, 2, 1, 6, 80, number), *where, *more, flags=NEW)


def ident(engine: Engine, expression: str) -> int:
    """The identity of the one flow that matches."""
    [found] = matches(engine, "flows", expression)
    return found


def matches(engine: Engine, view: str, text: str) -> list[int]:
    spec = ViewSpec(("original",), filter=parse(text, "flow" if view == "flows" else "event"), height=1000)
    return [row.ident for row in engine.snapshot(view, spec, 0).rows]


def test_an_event_leads_to_its_flow_and_the_flow_to_its_last_event() -> None:
    engine = engine_with(flow(1), flow(2), flow(1, nla(3, be(4, 8))), flow(1, zone=3))
    found, text = related(engine, "events", 2, "flows")
    assert found == ident(engine, "port 1 and zone 0") and found in matches(engine, "flows", text)
    assert related(engine, "flows", found, "events") == (2, text)
    assert related(engine, "flows", ident(engine, "zone 3"), "events")[0] == 3
    assert matches(engine, "flows", related(engine, "events", 3, "flows")[1]) == [ident(engine, "zone 3")]


def test_a_flow_that_is_gone_has_its_events_still() -> None:
    engine = engine_with(flow(1), flow(1, nla(3, be(4, 8))))
    gone = ct(tuple4(1, 1, 2, 6, 1, 80), tuple4(2, 2, 1, 6, 80, 1), kind=0x102)
    engine.apply(replace(batch([gone]), stream=0), 0)
    found, text = related(engine, "events", 0, "flows")
    assert found is None and matches(engine, "events", text) == [0, 1, 2]
    assert related(engine, "flows", 0, "events") == (None, "")
    assert related(engine, "events", 99, "flows") == (None, "")
    assert related(engine, "chains", 1, "flows") == (None, "")


def test_an_expectations_event_leads_to_the_master_and_a_flow_to_who_expected_it() -> None:
    master = ct(tuple4(1, 1, 2, 6, 40000, 21), tuple4(2, 2, 1, 6, 21, 40000), flags=NEW)
    child = ct(tuple4(1, 2, 1, 6, 20, 50001), tuple4(2, 1, 2, 6, 50001, 20), tuple4(14, 1, 2, 6, 40000, 21), flags=NEW)
    engine = engine_with(master, expectation(), child)
    expecting, came = ident(engine, "port 21"), ident(engine, "port 50001")
    assert related(engine, "events", 1, "flows")[0] == expecting
    assert related(engine, "flows", came, "master")[0] == expecting
    assert related(engine, "events", 2, "master")[0] == expecting
    assert related(engine, "flows", expecting, "master") == (None, "")


def test_packets_of_both_sides_of_a_nat_are_found() -> None:
    nat = ct(
        tuple4(1, 0x0A000001, 0x08080808, 17, 5000, 53), tuple4(2, 0x08080808, 0x64640001, 17, 53, 41000), flags=NEW
    )
    engine = engine_with(nat)
    found, text = related(engine, "flows", ident(engine, "udp"), "packets")
    inside, outside = ("10.0.0.1", 5000), ("100.100.0.1", 41000)
    server, other = ("8.8.8.8", 53), ("8.8.8.8", 54)
    ends = [
        (inside, server),
        (server, inside),
        (outside, server),
        (server, outside),
        (inside, other),
        (outside, inside),
    ]
    packets = TableOfRows("packet", [Row({"o0": a, "o1": b}, proto=17) for a, b in ends])
    wanted = parse(text, "packet")
    assert found is None and wanted is not None
    assert wanted.mask(packets).tolist() == [True, True, True, True, False, False]
    plain = related(engine_with(flow(1)), "events", 0, "packets")[1]
    assert plain == "tcp and ((host 0.0.0.1 and host 0.0.0.2 and port 1 and port 80))"


def test_of_several_namespaces_the_filter_says_which() -> None:
    engine = engine_with(flow(1), netns=("gw-a", "gw b", "", 'one "quoted"'))
    for at in range(4):
        found, text = related(engine, "events", at, "flows")
        assert matches(engine, "flows", text) == [found]


@settings(max_examples=examples(60))
@given(st.lists(flows(with_names=False), min_size=1, max_size=12))
def test_the_filter_of_any_flow_finds_it_and_only_flows_of_its_key(some: list[Flow]) -> None:
    engine = engine_with(*(one.message for one in some))
    table = engine.flows
    rows = table.rows()
    for view, identity in zip(table.views(rows), table.store.idents(rows).tolist(), strict=True):
        found = matches(engine, "flows", filter_of(view, "flows"))
        assert identity in found
        same = table.views(np.array([table.store.row_of(one) for one in found]))
        names = ("proto", "osrc_lo", "osrc_hi", "odst_lo", "odst_hi")
        assert {tuple(other.value(n) for n in names) for other in same} == {tuple(view.value(n) for n in names)}
        if view.value("proto") in (6, 17, 33, 132):
            assert len({(other.value("osport"), other.value("odport")) for other in same}) == 1
        assert parse(filter_of(view, "packets"), "packet") is not None
        assert parse(filter_of(view, "events"), "event") is not None
