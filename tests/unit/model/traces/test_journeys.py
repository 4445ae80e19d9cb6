"""Trace records joined to journeys: where each begins and ends, whatever comes between."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Gap
from nettop.decode.drops import DropRecord, DropRecords
from nettop.decode.nflog import LegacyDecoded, LegacyRecord
from nettop.decode.nftables.trace import TraceDecoded, TraceRecord
from nettop.kinds import GapReason
from nettop.linux.inet import BEHIND_EXTENSIONS
from nettop.linux.packet import ETH_P_IP
from nettop.model.traces.ends import certainty, where
from nettop.model.traces.headers import packet_head
from nettop.model.traces.journey import MAX_STEPS, Journey
from nettop.model.traces.journeys import Journeys
from nettop.model.traces.lines import lines, objects

SECOND = 1_000_000_000
TABLE = "nettop-1-abc"
UDP = bytes.fromhex("4500002812340000401100000a0000010a000002")
NATED = bytes.fromhex("4500002812340000401100000a0000010a090004")
PORTS = bytes.fromhex("c00000350014")


def of(chain: str, verdict: str = "continue", handle: int | None = None, **more: object) -> TraceRecord:
    """A record of somebody's table `t`."""
    given = {"table": "t", "type": "rule", **more}
    record = TraceRecord(SECOND, 7, "inet", "t", chain, handle, "rule", verdict)
    return record._replace(**given)


def ours(chain: str, handle: int | None = None, **more: object) -> TraceRecord:
    return of(chain, handle=handle, **{"table": TABLE, **more})


def marked(**more: object) -> TraceRecord:
    return ours("mark", 9, **{"iif": 2, "network": UDP, "transport": PORTS, **more})


def joined(*records: TraceRecord, at_ns: int = SECOND, model: Journeys | None = None) -> Journeys:
    model = model or Journeys(lambda *_: None, lambda _, index: f"eth{index}")
    model.apply(TraceDecoded(list(records)), 0, at_ns)
    return model


def ends(model: Journeys) -> list[str]:
    return [f"{journey.number} {journey.end.verdict if journey.end else ''}" for journey in model.ended]


def rules(journey: Journey) -> list[str]:
    return [f"{step.hook} {step.record.chain} {step.record.handle} {step.record.verdict}" for step in journey.steps]


THROUGH = [
    marked(),
    ours("mark"),
    ours("prerouting", type="policy", verdict="accept"),
    ours("forward", network=NATED, transport=PORTS, oif=3),
    of("f", "accept", 4, network=NATED, transport=PORTS),
    ours("postrouting", network=NATED, transport=PORTS, oif=3),
    ours("postrouting-end", network=NATED, transport=PORTS, oif=3),
    ours("postrouting-end", type="policy", verdict="accept"),
]


def test_a_packet_that_is_forwarded() -> None:
    (journey,) = joined(*THROUGH).ended
    assert journey.hooks == ["prerouting", "forward", "postrouting"] and rules(journey) == ["forward f 4 accept"]
    assert (journey.iif, journey.end.oif if journey.end else None) == ("eth2", "eth3")
    assert where(journey) == "accepted, out of eth3, NAT dst → 10.9.0.4:53"
    assert certainty(journey) == "certain"


def test_the_same_id_again_is_the_next_packet() -> None:
    assert ends(joined(marked(), marked(), *THROUGH)) == ["1 lost", "2 lost", "3 accept"]


def test_those_that_ended_are_in_the_order_of_their_numbers_and_the_first_make_room() -> None:
    model = Journeys(lambda *_: None, lambda *_: None, keep=3)
    joined(*(marked(id=number) for number in range(1, 6)), model=model)
    for number in (4, 2, 5, 1, 3):
        joined(of("f", "drop", 4, id=number), model=model)
    assert ends(model) == ["3 drop", "4 drop", "5 drop"]


SECOND_HALF = {"id": 8, "iif": 2, "network": NATED, "transport": PORTS}  # after DNAT at the port


def halves(*records: TraceRecord, bridge: int = 2) -> Journeys:
    model = Journeys(lambda *_: None, lambda _, index: f"eth{index}", is_bridge=lambda _, index: index == bridge)
    return joined(*records, model=model)


@pytest.mark.parametrize("again", [[marked(**SECOND_HALF), ours("mark", id=8)], []], ids=["marked again", "limited"])
def test_what_br_netfilter_had_pass_prerouting_at_a_port_goes_on_with_the_id_of_its_bridge(
    again: list[TraceRecord],
) -> None:
    drop = of("f", "drop", 4, **SECOND_HALF)
    model = halves(marked(), *again, ours("forward", oif=3, **SECOND_HALF), drop, *THROUGH)
    first, second = model.ended
    assert (first.hooks, rules(first)) == (["prerouting", "forward"], ["forward f 4 drop"])
    assert where(first) == "dropped by inet t f handle 4, NAT dst → 10.9.0.4:53"
    assert certainty(first) == "likely: its legs are joined by bytes and time"
    assert first.steps[0].joined and certainty(second) == "certain" and not list(model.open())


@pytest.mark.parametrize(
    "other",
    [
        {"iif": 4},
        {"iif": None},
        {"ts_ns": SECOND + 100_000_001},
        {"network": UDP[:4] + b"\0\1" + UDP[6:]},
        {"network": UDP[:12] + NATED[16:] + UDP[16:]},
        {"transport": PORTS[::-1]},
        {"table": "nettop-2-abc"},
        {"family": "ip"},
    ],
)
def test_another_packet_is_no_second_half(other: dict[str, object]) -> None:
    record = ours("forward", **{**SECOND_HALF, **other})
    (journey,) = halves(marked(), record).open()
    assert journey.hooks == ["prerouting"]
    (journey,) = halves(marked(), ours("forward", **SECOND_HALF), bridge=5).open()
    assert journey.hooks == ["prerouting"]


def test_a_packet_has_two_halves_only_and_twenty_are_twenty() -> None:
    model = halves(*(marked(**{**SECOND_HALF, "id": number}) for number in range(40)))
    assert len(list(model.open())) == 20
    model.settle(9 * SECOND)
    assert len(model.ended) == 20 and not list(model.open())


def test_a_frame_of_a_bridge_that_changed_on_its_way_to_ip_has_an_end() -> None:
    changed = of("b", "accept", 5, family="bridge", network=NATED, transport=PORTS)
    model = joined(marked(family="bridge"), changed, *THROUGH)
    assert ends(model) == ["1 lost", "2 accept"] and not list(model.open())


def test_a_packet_without_a_record_for_a_second_is_lost() -> None:
    model = joined(marked(), ours("prerouting", type="policy", verdict="accept"))
    model.settle(2 * SECOND + SECOND // 2)  # the last record of this second may be on its way
    assert not model.ended
    model.settle(2 * SECOND + SECOND // 2 + 1)
    (journey,) = model.ended
    assert where(journey).startswith("lost in routing, after prerouting")
    assert certainty(journey) == "no final verdict was seen"


def test_packets_end_in_the_same_order_however_late_the_clock_looks() -> None:
    records = [
        marked(id=1),
        marked(id=2, ts_ns=2 * SECOND),
        of("f", "drop", 4, id=2, ts_ns=2 * SECOND + 150_000_000),
        marked(id=3, ts_ns=4 * SECOND),
    ]
    late, prompt = joined(*records), joined(records[0])
    for record in records[1:]:
        prompt.settle(record.ts_ns)
        joined(record, model=prompt)
    for model in (late, prompt):
        model.settle(9 * SECOND)
        assert ends(model) == ["1 lost", "2 drop", "3 lost"]


def test_records_that_were_lost_make_what_is_on_its_way_incomplete() -> None:
    model = joined(marked(id=1), marked(id=2, network=NATED))
    model.apply(Gap(1, 2, 12, GapReason.KERNEL, 0, 0), 3, SECOND)
    joined(of("f", "drop", 4, id=1), model=model)
    model.apply(Gap(1, 3, 12, GapReason.KERNEL, 0, 0), 0, SECOND)
    joined(of("f", "drop", 4, id=2), model=model)
    assert [certainty(journey) for journey in model.ended] == ["certain", "incomplete: trace records are missing"]


def test_packets_that_others_mark_are_not_ours() -> None:
    model = Journeys(lambda *_: None, lambda _, index: None)
    model.table = TABLE
    other = ours("mark", 9, table="nettop-2-def", iif=2, network=UDP)
    joined(of("f", "drop", 4), other, of("f", "drop", 4), model=model)
    assert not model.ended and not list(model.open())
    # The other's table marked it first: the headers come with the record of our chain that sends it to be marked.
    joined(other, ours("prerouting", 10, verdict="goto", network=UDP, iif=2), ours("mark", 9), model=model)
    joined(ours("input", network=UDP, table="nettop-2-def"), of("f", "drop", 4), model=model)
    (journey,) = model.ended
    assert (journey.head.src, journey.iif, journey.hook) == ("10.0.0.1", "if2", "prerouting")


def test_the_way_to_a_rule_through_jump_goto_and_return() -> None:
    model = joined(
        marked(),
        of("f", "jump", 1, target="a", network=UDP),
        of("a", "jump", 2, target="b"),
        of("b", "goto", 3, target="c"),
        of("c", "continue", 4),
        of("c"),  # its end: back to a, not to b
        of("a", "jump", 5, target="d"),
        of("d", "return", 6, type="return"),
        of("a", "jump", 7, target="d"),
        of("d", "drop", 8),
    )
    (journey,) = model.ended
    ways = [[caller.record.handle for caller in step.callers] for step in journey.steps]
    assert ways == [[], [1], [1, 2], [1, 2, 3], [1], [1, 5], [1], [1, 7]]


def test_a_chain_of_the_same_name_in_the_next_hook_begins_anew() -> None:
    model = joined(marked(), of("f", "jump", 1, target="a", network=UDP), of("a", "accept", 2))
    joined(of("a", "drop", 3, network=UDP), model=model)
    assert [step.callers for step in model.ended[0].steps][-1] == ()


def test_of_a_journey_of_very_many_rules_the_first_and_the_last_are_kept() -> None:
    model = joined(marked(), *(of("f", "continue", n) for n in range(MAX_STEPS + 50)), of("f", "drop", 9999))
    (journey,) = model.ended
    assert len(journey.steps) == MAX_STEPS + 1
    assert [step.record.handle for step in journey.steps[-2:]] == [MAX_STEPS - 1, 9999]


def test_chains_that_call_each_other_without_end_take_no_memory_for_each_pair() -> None:
    """A recording may hold what no kernel sends."""
    calls = (of(f"c{n}", ("jump", "goto")[n % 2], n, target=f"c{n + 1}") for n in range(20_000))
    model = joined(marked(), *calls, *(ours("forward") for _ in range(20_000)))
    legacy = [LegacyRecord(SECOND, "ip", "t", f"c{n}", "rule", 1, "prerouting", UDP, PORTS) for n in range(20_000)]
    model.apply(LegacyDecoded(legacy), 0, SECOND)
    (journey,) = model.open()
    assert max(len(step.callers) for step in journey.steps) <= 100
    assert len(journey.steps) <= MAX_STEPS and len(journey.hooks) <= MAX_STEPS and len(journey._stack) <= 101


def test_a_device_whose_name_comes_after_its_packets_is_named_in_them() -> None:
    names: dict[int, str] = {}
    model = joined(*THROUGH, model=Journeys(lambda *_: None, lambda _, index: names.get(index)))
    model.settle(SECOND)
    (journey,) = model.ended
    assert where(journey).startswith("accepted, out of if3") and not model.worded(journey)
    names |= {2: "lan0", 3: "wan0"}
    model.settle(SECOND)
    assert (journey.iif, journey.oif, journey.device) == ("lan0", "wan0", "lan0")
    assert where(journey).startswith("accepted, out of wan0")
    assert {(step.iif, step.oif) for step in journey.steps} == {("lan0", "wan0")}


def test_a_packet_waits_for_its_first_record_of_legacy_longer_than_for_another_one() -> None:
    model = Journeys(lambda *_: None, lambda _, index: f"eth{index}", has_legacy=lambda: True)
    (journey,) = joined(marked(), of("f", "drop", 4), model=model).ended
    record = LegacyRecord(SECOND, "ip", "nat", "PREROUTING", "policy", 1, "prerouting", UDP, PORTS)
    model.settle(SECOND + 500_000_000)
    assert not model.is_complete(journey)
    model.apply(LegacyDecoded([record]), 0, SECOND)
    model.settle(SECOND + 600_000_000)
    assert [step.record.chain for step in journey.steps] == ["PREROUTING", "f"] and model.is_complete(journey)


def test_what_a_rule_takes_over_as_fwd_and_synproxy_do_is_ended_by_it() -> None:
    (journey,) = joined(marked(), of("f", "stolen", 4)).ended
    assert where(journey).startswith("taken over by ")


@pytest.mark.parametrize("late_ns", [0, 2 * SECOND])
def test_a_packet_on_its_way_at_the_end_of_a_recording_is_not_lost(late_ns: int) -> None:
    model = joined(marked())
    model.settle(SECOND + late_ns)
    model.cut()
    model.settle(10 * SECOND)
    (journey,) = model.ended
    missing = "last seen in prerouting: its later records are missing"
    assert (where(journey) == missing) is (late_ns == 0) is certainty(journey).startswith("incomplete")


@pytest.mark.parametrize("changed", [False, True])
def test_records_of_legacy_wait_until_the_rules_were_read_after_them(changed: bool) -> None:
    read: list[bool] = []
    model = Journeys(lambda *_: None, lambda *_: None, legacy_at=lambda family, ts_ns: read[0] if read else None)
    (journey,) = joined(marked(), of("f", "drop", 4), model=model).ended
    model.apply(LegacyDecoded([LegacyRecord(SECOND, "ip", "t", "P", "policy", 1, "prerouting", UDP, PORTS)]), 0, SECOND)
    model.settle(SECOND + 600_000_000)
    assert model.wants_legacy() and not model.is_complete(journey) and len(journey.steps) == 1
    read.append(not changed)
    model.settle(SECOND + 600_000_000)
    assert not model.wants_legacy() and model.is_complete(journey) and len(journey.steps) == 2
    assert certainty(journey).startswith("possible: the rules of iptables-legacy changed" if changed else "likely")


def test_records_of_legacy_do_not_wait_for_rules_that_are_not_read() -> None:
    model = Journeys(lambda *_: None, lambda *_: None, legacy_at=lambda *_: None)
    (journey,) = joined(marked(), of("f", "drop", 4), model=model).ended
    model.apply(LegacyDecoded([LegacyRecord(SECOND, "ip", "t", "P", "policy", 1, "prerouting", UDP, PORTS)]), 0, SECOND)
    model.settle(3 * SECOND)
    assert model.is_complete(journey) and len(journey.steps) == 2


def test_records_of_legacy_join_the_packet_of_their_source_where_only_that_differs() -> None:
    """As in a burst of datagrams of one length, whose sockets are not connected: Linux gives them the IP id 0."""
    others = bytes.fromhex("c0010035 0014")
    model = joined(marked(id=1), marked(id=2, transport=others))
    chains = [("first", PORTS), ("second", others), ("first", PORTS)]
    legacy = [LegacyRecord(SECOND, "ip", "t", name, "rule", 1, "prerouting", UDP, ports) for name, ports in chains]
    model.apply(LegacyDecoded(legacy), 0, SECOND)
    met = [[step.record.chain for step in journey.steps] for journey in model.open()]
    assert met == [["first", "first"], ["second"]]


@pytest.mark.parametrize("known", [True, False])
def test_many_records_of_legacy_are_joined_in_time_though_thousands_of_others_wait(known: bool) -> None:
    model = joined(*(marked(id=number, transport=struct.pack("!HHH", number, 53, 20)) for number in range(3000)))
    stray = [UDP[:4] + struct.pack("!H", n) + UDP[6:] for n in range(3000)]
    began = time.process_time()
    for n in range(3000):
        packet = (UDP, struct.pack("!HHH", n % 1000 + 2000, 53, 20)) if known else (stray[n], b"")
        model.apply(LegacyDecoded([LegacyRecord(SECOND, "ip", "t", "c", "rule", 1, "prerouting", *packet)]), 0, SECOND)
    assert time.process_time() - began < 6
    assert sum(len(journey.steps) for journey in model.open()) == 3000 * known


def test_a_thousand_lost_packets_end_in_time_though_other_drops_wait() -> None:
    model = joined(*(marked(id=number) for number in range(1000)))
    others = [DropRecord(SECOND, "NO_SOCKET", "f", ETH_P_IP, 41, f"eth{n % 2 + 2}") for n in range(4000)]
    model.apply(DropRecords(SECOND, records=others), 0, SECOND)
    began = time.process_time()
    model.settle(3 * SECOND)
    assert len(model.ended) == 1000 and time.process_time() - began < 3


def test_heads_of_ipv6_and_of_nothing() -> None:
    six = bytes.fromhex("6000000000083aff") + bytes(15) + b"\1" + bytes(15) + b"\2"
    head = packet_head(six, b"\x80\0\0\0")
    assert (head.src, head.dst, head.length, head.info, head.proto_text) == ("::1", "::2", 48, "echo request", "icmpv6")
    assert packet_head(b"", b"").source == "" and packet_head(b"\x45" * 19, b"").src is None
    assert packet_head(UDP, b"").sport is None


def test_lines_and_objects_have_every_step_and_the_end() -> None:
    (journey,) = joined(*THROUGH).ended
    assert [row["kind"] for row in objects(journey, "gw")] == ["step", "end"]
    first, step, end = lines(journey, "12:00")
    assert first == "12:00 #1 from eth2  udp 10.0.0.1:49152 → 10.0.0.2:53  40 B"
    assert step.split() == ["forward", "inet", "t", "f", "?", "accept"]
    assert end.split()[:2] == ["ACCEPT", "accepted,"]


@given(
    st.lists(
        st.sampled_from([*THROUGH, of("f", "drop", 4), of("a", "jump", 2, target="b"), ours("forward", **SECOND_HALF)]),
        max_size=60,
    )
)
def test_no_order_of_records_raises_and_every_journey_ends(records: list[TraceRecord]) -> None:
    model = halves(*records)
    model.settle(10 * SECOND)
    assert not list(model.open())
    assert len(model.ended) == sum(record.handle == 9 for record in records)
    for journey in model.ended:
        assert list(objects(journey, "")) and list(lines(journey, ""))


def test_conntrack_s_state_is_that_of_the_first_record_that_has_one() -> None:
    new = of("f", "accept", 4, network=NATED, transport=PORTS, ct_state=8, ct_id=77)
    (journey,) = joined(*THROUGH[:4], new, new._replace(ct_state=2), *THROUGH[5:]).ended
    assert {step["ct_state"] for step in objects(journey, "") if step["kind"] == "step"} == {"new"}
    (untracked,) = joined(*THROUGH[:4], new._replace(ct_state=64, ct_id=None), *THROUGH[5:]).ended
    assert next(objects(untracked, ""))["ct_state"] == "untracked"


def test_the_record_of_a_rule_after_the_mark_tells_the_protocol_behind_extension_headers() -> None:
    ipv6 = bytes.fromhex("60000000001800400a" + "00" * 15 + "0b" + "00" * 15)
    mark = marked(network=ipv6)
    udp = mark._replace(handle=9 + 1 + BEHIND_EXTENSIONS.index(17), network=b"", transport=b"")
    (journey,) = joined(mark, udp, of("f", "drop", 4, network=ipv6, transport=PORTS)).ended
    assert (journey.head.proto, journey.head.dport, journey.steps[0].head.dport) == (17, 53, 53)
    assert ends(joined(mark, udp, mark)) == ["1 lost"], "the mark itself is the next packet's"


def test_a_packet_that_passes_by_a_step_after_its_end_is_one_of_those_to_find() -> None:
    """Egress hooks follow the last one of the table, and records of iptables-legacy come late."""
    model = Journeys(lambda *_: None, lambda _, index: f"eth{index}")
    model.begin(TABLE, lambda journey: "egress" in journey.hooks, 1)
    joined(*THROUGH, model=model)
    assert (model.found, model.others) == (0, 1)
    joined(of("e", "drop", 4, family="netdev", network=NATED, transport=PORTS), model=model)
    assert (model.found, model.others, len(model.kept)) == (1, 0, 1)
    joined(*THROUGH, model=model)
    assert model.count == 1, "one was wanted"
