"""Rates from packets: each is its flow's, whichever side of the NAT it is seen on, and counted once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.batch import Stream
from nettop.columns import Columns, Strings
from nettop.decode.packets.columns import (
    HAVE_DIRECTION,
    HAVE_FRAGMENT,
    HAVE_ICMP,
    HAVE_ICMP_ID,
    HAVE_IP,
    HAVE_LATER_FRAGMENT,
    HAVE_PORTS,
    PACKET_DTYPES,
)
from nettop.kinds import StreamKind
from nettop.model.flows.table import FlowTable
from nettop.model.packet_rates import tally as packet_tally
from nettop.model.packet_rates.meter import FlowMeter
from tests.profiles import examples
from tests.unit.model.flows.flow_rows import SECOND, T0, begin, decoded, end, ip, row

PORTS = HAVE_IP | HAVE_PORTS
IN, OUT = 0, 4
LAN, WAN, BRIDGE = (Stream(i, StreamKind.PACKETS, name) for i, name in ((1, "lan0"), (2, "wan0"), (3, "br0")))


def packet(
    src: str, sport: int, dst: str, dport: int, size: int, direction: int | None = IN, **more: Any
) -> dict[str, Any]:
    values = {"family": 2, "proto": 17, "src_lo": ip(src), "dst_lo": ip(dst), "sport": sport, "dport": dport}
    values |= {"size": size, "have": PORTS, "ts_ns": T0}
    if direction is not None:
        values |= {"direction": direction, "have": PORTS | HAVE_DIRECTION}
    return values | more


def packets(*rows: dict[str, Any]) -> Columns:
    names = [name for name in PACKET_DTYPES if name not in ("src_hi", "dst_hi") or any(name in r for r in rows)]
    return Columns(len(rows), {n: np.array([r.get(n, 0) for r in rows], PACKET_DTYPES[n]) for n in names})


class Bench:
    """A flow table with a meter."""

    def __init__(self, *flows: dict[str, Any]) -> None:
        self.flows = FlowTable(Strings())
        self.dump(*flows)
        self.meter = FlowMeter(self.flows.store, lambda label: {"": 0, "other": 1}[label])

    def dump(self, *flows: dict[str, Any]) -> None:
        for item in (begin(), decoded(*flows), end()):
            self.flows.apply(item, 0, T0)

    def see(self, stream: Stream, *rows: dict[str, Any]) -> None:
        self.meter.add(stream, packets(*rows))

    def bytes(self, seconds: int = 1) -> list[tuple[float | None, float | None]]:
        """Bytes each way of every flow by source port, after an interval; None where it is not known."""
        self.meter.join(T0 + seconds * SECOND)
        return self.rates()

    def rates(self) -> list[tuple[float | None, float | None]]:
        data = self.flows.window()
        found = self.meter.measured(data)
        if found is None:
            return [(None, None)] * len(self.flows)
        order = np.argsort(data["osport"], kind="stable")
        ways = (tuple(None if np.isnan(way[r]) else float(way[r]) for way in found) for r in order if data["flags"][r])
        return list(ways)  # type: ignore[arg-type]


SNAT = row("192.168.1.2", 5000, "9.9.9.9", 53, rdst_lo=ip("100.1.1.1"), rdport=1024)


def test_both_directions_before_and_after_nat_are_counted_once() -> None:
    bench = Bench(SNAT)
    bench.see(
        LAN, packet("192.168.1.2", 5000, "9.9.9.9", 53, 100), packet("9.9.9.9", 53, "192.168.1.2", 5000, 700, OUT)
    )
    bench.see(WAN, packet("100.1.1.1", 1024, "9.9.9.9", 53, 100, OUT), packet("9.9.9.9", 53, "100.1.1.1", 1024, 700))
    assert bench.bytes() == [(100, 700)]


@pytest.mark.parametrize("stream, src, sport", [(LAN, "192.168.1.2", 5000), (WAN, "100.1.1.1", 1024)])
def test_one_side_of_the_nat_is_enough(stream: Stream, src: str, sport: int) -> None:
    bench = Bench(SNAT)
    bench.see(stream, packet(src, sport, "9.9.9.9", 53, 60), packet("9.9.9.9", 53, src, sport, 80))
    assert bench.bytes() == [(60, 80)]


@pytest.mark.parametrize(
    ("expression", "known"),
    [
        ("tcp port 53 or host 9.9.9.9", (60, 80)),
        ("not (tcp and host 10.0.0.9 and port 22)", (60, 80)),
        ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", (None, None)),
        ("udp and less 100", (None, None)),
        ("inbound and udp", (None, None)),
    ],
)
def test_a_capture_that_takes_a_part_of_each_flow_measures_none(
    expression: str, known: tuple[float | None, float | None]
) -> None:
    bench = Bench(SNAT)
    some = replace(LAN, capture_filter=expression)
    ends = ("192.168.1.2", 5000, "9.9.9.9", 53)
    bench.see(some, packet(*ends, 60), packet(*ends[2:], *ends[:2], 80))
    assert bench.bytes() == [known]


def test_dnat_and_a_port_forward_are_met_behind_it() -> None:
    bench = Bench(row("7.7.7.7", 99, "100.1.1.1", 80, rsrc_lo=ip("192.168.1.80"), rsport=8080))
    bench.see(
        LAN, packet("7.7.7.7", 99, "192.168.1.80", 8080, 40, OUT), packet("192.168.1.80", 8080, "7.7.7.7", 99, 1500)
    )
    assert bench.bytes() == [(40, 1500)]


def test_a_bridge_and_its_port_show_the_same_packets() -> None:
    bench = Bench(row())
    bench.see(LAN, packet("10.0.0.1", 1000, "10.0.0.2", 80, 100), packet("10.0.0.1", 1000, "10.0.0.2", 80, 100))
    bench.see(BRIDGE, packet("10.0.0.1", 1000, "10.0.0.2", 80, 100))
    assert bench.bytes() == [(200, 0)]


def test_without_directions_a_hairpin_is_still_counted_once() -> None:
    bench = Bench(SNAT)
    out = packet("100.1.1.1", 1024, "9.9.9.9", 53, 100, None)
    bench.see(LAN, packet("192.168.1.2", 5000, "9.9.9.9", 53, 100, None), out)
    assert bench.bytes() == [(100, 0)]


def test_a_ping_each_way_between_the_same_hosts_with_the_same_id() -> None:
    def echo(src: str, dst: str) -> dict[str, Any]:
        return row(src, 7, dst, 8 << 8) | {"proto": 1, "rsport": 7, "rdport": 0}

    def icmp(src: str, dst: str, kind: int, size: int) -> dict[str, Any]:
        have = HAVE_IP | HAVE_ICMP | HAVE_ICMP_ID
        return packet(src, 7, dst, kind << 8, size, None, proto=1, have=have)

    a, b = "10.0.0.1", "10.0.0.2"
    bench = Bench(echo(a, b), echo(b, a))
    bench.see(LAN, icmp(a, b, 8, 84), icmp(b, a, 0, 90), icmp(b, a, 8, 30), icmp(a, b, 0, 31))
    by_source = dict(zip(bench.flows.window()["osrc_lo"].tolist(), bench.bytes(), strict=False))
    assert by_source == {ip(a): (84, 90), ip(b): (30, 31)}


def test_flows_of_which_no_packet_was_seen_are_not_known_and_silence_afterwards_is_zero() -> None:
    bench = Bench(row(sport=1), row(sport=2))
    bench.see(LAN, packet("10.0.0.1", 1, "10.0.0.2", 80, 500))
    assert bench.bytes(2) == [(250, 0), (None, None)]
    assert bench.bytes(3) == [(0, 0), (None, None)]


def test_a_row_that_went_to_another_flow_has_nothing_of_the_one_before() -> None:
    bench = Bench(row(sport=1))
    bench.see(LAN, packet("10.0.0.1", 1, "10.0.0.2", 80, 500))
    assert bench.bytes() == [(500, 0)]
    bench.dump(row(sport=2))
    bench.dump(row(sport=3))
    assert bench.rates() == [(None, None)]
    assert bench.bytes(2) == [(None, None)]


def test_a_flow_that_came_after_its_packets_is_found_and_a_late_reply_tuple_too() -> None:
    bench = Bench()
    bench.see(WAN, packet("9.9.9.9", 53, "100.1.1.1", 1024, 70))
    bench.dump(SNAT)
    assert bench.bytes() == [(0, 70)]


def test_fragments_other_packets_and_errors_are_not_attributed() -> None:
    bench = Bench(row())
    bench.see(
        LAN,
        packet("10.0.0.1", 1000, "10.0.0.2", 80, 1500, have=PORTS | HAVE_FRAGMENT),
        packet("10.0.0.1", 0, "10.0.0.2", 0, 1500, have=HAVE_IP | HAVE_FRAGMENT | HAVE_LATER_FRAGMENT),
        packet("10.0.0.1", 0, "10.0.0.2", 3 << 8, 90, proto=1, have=HAVE_IP | HAVE_ICMP),
        packet("0.0.0.0", 0, "0.0.0.0", 0, 0, have=0),
    )
    assert bench.bytes() == [(1500, 0)]
    assert bench.meter.tally.later_fragments == 1
    assert "not counted: 1 later fragments, which have no ports" in bench.meter.notes()


def test_protocols_without_ports_are_met_by_their_addresses() -> None:
    esp = row(sport=0, dport=0, proto=50)
    bench = Bench(esp)
    bench.see(LAN, packet("10.0.0.2", 0, "10.0.0.1", 0, 120, have=HAVE_IP, proto=50))
    assert bench.bytes() == [(0, 120)]


def test_what_flows_of_two_zones_could_both_claim_is_given_to_neither() -> None:
    bench = Bench(row(zone=1), row(zone=2, rdst_lo=ip("100.1.1.1")))
    bench.see(LAN, packet("10.0.0.1", 1000, "10.0.0.2", 80, 100))
    assert bench.bytes() == [(None, None), (None, None)] and "several flows" in bench.meter.notes()[1]
    bench.see(WAN, packet("100.1.1.1", 1000, "10.0.0.2", 80, 100, OUT))
    assert sorted(map(str, bench.bytes(2))) == sorted(map(str, [(None, None), (100.0, 0.0)]))


def test_devices_of_another_namespace_have_other_flows() -> None:
    bench = Bench(row())
    bench.see(Stream(9, StreamKind.PACKETS, "eth0", "other"), packet("10.0.0.1", 1000, "10.0.0.2", 80, 100))
    assert bench.bytes() == [(None, None)]


def test_ipv6_packets_among_ipv4_ones() -> None:
    six = row(sport=1, family=10, osrc_hi=1 << 60, odst_hi=2 << 60, rsrc_hi=2 << 60, rdst_hi=1 << 60)
    bench = Bench(six, row(sport=2))
    bench.see(LAN, packet("10.0.0.1", 2, "10.0.0.2", 80, 10))
    wide = packet("10.0.0.2", 80, "10.0.0.1", 1, 99, family=10, src_hi=2 << 60, dst_hi=1 << 60)
    bench.see(LAN, wide, packet("10.0.0.1", 2, "10.0.0.2", 80, 10))
    assert bench.bytes() == [(0, 99), (20, 0)]


def test_more_tuples_than_are_kept_are_counted_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_tally, "MAX_TUPLES", 10)
    bench = Bench(row(sport=1))
    bench.see(LAN, *(packet("10.0.0.1", port, "10.0.0.2", 80, 100) for port in range(1, 31)))
    bench.see(LAN, packet("10.0.0.1", 1, "10.0.0.2", 80, 100), packet("10.0.0.1", 77, "10.0.0.2", 80, 100))
    kept = len(bench.meter.tally)
    assert kept <= 10 and bench.meter.tally.overflow >= 20
    bench.meter.join(T0 + SECOND)
    bench.see(LAN, packet("10.0.0.1", 1, "10.0.0.2", 80, 100))
    assert bench.bytes(2) == [(100, 0)]  # there is room again


def test_a_scan_is_not_followed_further_than_so_many_tuples_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_tally, "MAX_NEW", 10)
    bench = Bench(row(sport=1), row(sport=50))
    for round_ in range(5):
        bench.see(LAN, *(packet("10.0.0.1", port, "10.0.0.2", 80, 100) for port in range(1, 51)))
        assert len(bench.meter.tally) == 10 * (round_ + 1)
        up = [way[0] for way in bench.bytes(round_ + 1)]
        assert up == [100, 100 if round_ == 4 else None]  # what is known stays known, some more is each time


def test_the_interval_is_a_second_or_ends_with_the_clock_and_silence_ends_it_all() -> None:
    bench = Bench(row())
    meter, version = bench.meter, bench.meter.version
    meter.tick(T0)
    bench.see(LAN, packet("10.0.0.1", 1000, "10.0.0.2", 80, 100))
    meter.tick(T0 + SECOND // 2)
    assert meter.version == version and bench.rates() == [(None, None)]
    meter.tick(T0 + SECOND // 2)  # a replay's clock stands still
    assert meter.version > version and bench.rates() == [(200, 0)]
    meter.tick(T0 + 2 * SECOND)
    assert bench.rates() == [(0, 0)]
    meter.tick(T0 + 7 * SECOND)
    assert bench.rates() == [(None, None)] and meter.notes() == ()


HOSTS = st.sampled_from(("10.0.0.1", "10.0.0.2", "10.0.0.3"))
PORT = st.integers(1, 3)
SEEN = st.tuples(
    HOSTS, PORT, HOSTS, PORT, st.integers(1, 9), st.sampled_from((LAN, WAN)), st.sampled_from((IN, OUT, None))
)


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(HOSTS, PORT, HOSTS, PORT, HOSTS, PORT, HOSTS, PORT), max_size=6),
    st.lists(st.lists(SEEN, max_size=12), max_size=3),
)
def test_the_join_is_what_comparing_every_packet_with_every_flow_gives(flows: list[Any], batches: list[Any]) -> None:
    usual = [f for f in flows if f[0:2] != f[2:4] and f[4:6] != f[6:8] and f[0:4] != f[4:8]]
    flows = list({f[:4]: f for f in usual}.values())
    bench = Bench(*(
        row(a, p, b, q, rsrc_lo=ip(c), rsport=r, rdst_lo=ip(d), rdport=s, zone=0) for a, p, b, q, c, r, d, s in flows
    ))  # fmt: skip
    for seen in batches:
        for stream in (LAN, WAN):
            some = [packet(*s[:5], s[6]) for s in seen if s[5] is stream]
            if some:
                bench.see(stream, *some)
    everything = [s for seen in batches for s in seen]

    def tuples(f: Any) -> tuple[set[Any], set[Any]]:
        """Ends of its packets: in the original direction, in the reply direction."""
        return {(*f[0:2], *f[2:4]), (*f[6:8], *f[4:6])}, {(*f[2:4], *f[0:2]), (*f[4:6], *f[6:8])}

    def alone(ends: Any) -> bool:
        """Whether one flow only could claim packets with these ends, in either direction."""
        return sum(any(ends in way or (*ends[2:], *ends[:2]) in way for way in tuples(f)) for f in flows) == 1

    expected = {}
    for f in flows:
        ways: list[float | None] = []
        mine = [s for s in everything if s[:4] in set.union(*tuples(f)) and alone(s[:4])]
        for way in tuples(f):
            places: dict[Any, int] = {}
            for s in mine:
                if s[:4] in way:
                    key = (s[:4], s[5].id, s[6])
                    places[key] = places.get(key, 0) + s[4]
            ways.append(max(places.values(), default=0) if mine else None)
        expected[f[:4]] = tuple(ways)
    bench.meter.join(T0 + SECOND)
    names = {ip(host): host for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3")}
    data = bench.flows.window()
    found = bench.meter.measured(data) or (np.full(len(data["have"]), np.nan),) * 2
    for r in range(len(data["have"])):
        key = (
            names[int(data["osrc_lo"][r])],
            int(data["osport"][r]),
            names[int(data["odst_lo"][r])],
            int(data["odport"][r]),
        )
        got = tuple(None if np.isnan(way[r]) else float(way[r]) for way in found)
        assert got == expected[key]
