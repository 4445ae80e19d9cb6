"""What the kernel is asked to leave out, held to the display filter on the very bytes that both see."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.broker.requests import DumpFilter
from nettop.columns import Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.linux import conntrack as nfct
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.fields import FlowFields
from nettop.model.kernel_filter.pushdown import kernel_filter
from tests.profiles import examples
from tests.unit.decode.netlink_bytes import CT_DELETE, CT_NEW, batch, be, ct, nest, nla, nlmsg
from tests.unit.model.filter import test_property as language
from tests.unit.model.filter.filter_rows import WITH_PORTS, Row
from tests.unit.model.filter.test_property import Part
from tests.unit.model.kernel_filter.cbpf import instructions, run

EVENTS = {"new": (CT_NEW, 0x600), "update": (CT_NEW, 0), "destroy": (CT_DELETE, 0)}
STATES = {6: nfct.TCP_STATES, 132: nfct.SCTP_STATES}
INFO = {6: 1, 132: 3}
PINGS = {1: 4, 58: 7}  # the first of the ICMP attributes
EXPECTATION = nlmsg(0x200, struct.pack("!BBH", 2, 0, 0) + nest(2, b""))


def parsed(expression: str, kind: str = "flow") -> Filter:
    wanted = parse(expression, kind)
    assert wanted is not None
    return wanted


def layer4(proto: int, sport: int, dport: int) -> bytes:
    number = nla(1, be(1, proto))
    if proto in PINGS:
        first = PINGS[proto]
        return nest(2, number, nla(first, be(2, sport)), nla(first + 1, b"\x08"), nla(first + 2, b"\0"))
    return nest(2, number, nla(2, be(2, sport)), nla(3, be(2, dport)))


def tuple_of(row: Row, kind: int, ends: tuple[str, str], *more: bytes) -> bytes:
    (src, sport), (dst, dport) = (row.ends[end] for end in ends)
    first = 1 if row.family == 2 else 3
    addresses = [nla(first + i, ipaddress.ip_address(one).packed) for i, one in enumerate((src, dst))]
    return nest(kind, nest(1, *addresses), layer4(row.proto, sport, dport), *more)


def message(row: Row, zone_at: int = 0) -> bytes:
    """The row as the kernel would tell of it; `zone_at`: CTA_ZONE, or the tuple of one direction."""
    zone = [nla(kind, be(2, int(row.numbers["zone"]))) for kind in (18, 3, 3)] if "zone" in row.numbers else [b""] * 3
    tuples = [
        tuple_of(row, 1, ("o0", "o1"), zone[1] if zone_at == 1 else b""),
        tuple_of(row, 2, ("r0", "r1"), zone[2] if zone_at == 2 else b""),
    ]
    more = [
        nla(kind, be(4, int(row.numbers[name]))) for name, kind in (("status", 3), ("id", 12)) if name in row.numbers
    ]
    more += [nla(8, be(4, int(row.numbers["mark"])))] if "mark" in row.numbers else []
    more += [nest(9, nla(1, be(8, 1)), nla(2, be(8, int(row.numbers["bytes"]))))] if "bytes" in row.numbers else []
    if row.proto in STATES and "state" in row.words:
        state = STATES[row.proto].index(row.words["state"])
        more.append(nest(4, nest(INFO[row.proto], nla(1, be(1, state)), nla(2, b"\x07"))))
    kind, flags = EVENTS[row.words.get("event", "update")]
    return ct(*tuples, zone[0] if zone_at == 0 else b"", *more, kind=kind, flags=flags, family=row.family)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    row = draw(language.rows())
    row.numbers = {name: value for name, value in row.numbers.items() if name not in ("rate", "age")}
    row.numbers["status"] = draw(st.integers(0, 0xFFFF))
    if draw(st.booleans()):
        row.numbers["id"] = draw(st.sampled_from([0, 7, 0xFFFFFFFF]))
    row.words = {"event": draw(st.sampled_from(list(EVENTS)))}
    if row.proto in STATES and draw(st.booleans()):
        row.words["state"] = draw(st.sampled_from(["established", "none"]))
    if row.proto == 1 or row.proto == 58:
        row.proto = 1 if row.family == 2 else 58
    return row


def number(name: str, value: int, sign: str = "=") -> Part:
    compare = language.OPERATORS[sign]
    return f"{name} {sign} {value}", lambda row: name in row.numbers and compare(row.numbers[name], value)


DECIDED: list[Part] = [
    *(part for part in language.FIXED if not part[0].startswith(("netns", "state")) or part[0] == "state assured"),
    ("zone > 0", lambda row: row.numbers.get("zone", 0) > 0),
    ("mark != 1", lambda row: row.numbers.get("mark", 0) != 1),
    ("mark < 1", lambda row: row.numbers.get("mark", 0) < 1),
    ("zone <= 1", lambda row: row.numbers.get("zone", 0) <= 1),
    ("proto >= 17", lambda row: row.proto >= 17),
    ("proto 6 or 17", lambda row: row.proto in (6, 17)),
    ("src and dst net 10/8", lambda row: all(row.ends[end][0].startswith("10.") for end in ("o0", "o1"))),
    ("host 10.0.0.1:53", lambda row: row.proto in WITH_PORTS and ("10.0.0.1", 53) in row.ends.values()),
    ("tcp port (53 or 80)", lambda row: row.proto == 6 and any(end[1] in (53, 80) for end in row.ends.values())),
    ("net 0.0.0.0/0", lambda row: row.family == 2),
    ("nat none", lambda row: not int(row.numbers["status"]) & 48),
    ("nat both", lambda row: int(row.numbers["status"]) & 48 == 48),
]
LEFT: list[Part] = [
    ("state established", language.state("established")),
    *((f"event {name}", lambda row, name=name: row.words["event"] == name) for name in EVENTS),
    ("event != new", lambda row: row.words["event"] != "new"),
    *(number("id", 7, sign) for sign in language.OPERATORS),
    number("bytes", 999, ">"),
    number("bytes", 1000, "<="),
]
EXPRESSIONS = st.recursive(
    st.one_of(language.ends(), language.marks(), st.sampled_from(DECIDED), st.sampled_from(DECIDED + LEFT)),
    lambda inner: st.one_of(language.joined(inner), st.builds(language.negated, inner, st.sampled_from(["not ", "!"]))),
    max_leaves=8,
)


@settings(max_examples=examples(600))
@given(EXPRESSIONS, st.lists(st.tuples(rows(), st.integers(0, 2)), min_size=1, max_size=6))
def test_the_kernel_passes_what_it_says_it_does_and_with_the_rest_done_here_that_is_the_filter(
    part: Part, some: list[tuple[Row, int]]
) -> None:
    text, test = part
    wanted = parsed(text, "event")
    messages = [message(row, zone_at) for row, zone_at in some]
    shown = masked(wanted, messages)
    assert shown == [bool(test(row)) for row, _ in some]
    found = kernel_filter(wanted)
    if not found.program:
        return
    kernel, _, left = found.summary.removeprefix("kernel: events by ").partition("; here: ")
    passed = [run(found.program, one) != 0 for one in messages]
    assert passed == masked(parsed(kernel.partition(", dump by ")[0], "event"), messages), found.summary
    for one in left.split(", ") if left else ():
        passed = [here and there for here, there in zip(passed, masked(parsed(one, "event"), messages), strict=True)]
    assert passed == shown
    assert run(found.program, EXPECTATION) and run(found.program, EXPECTATION[:20])


def masked(wanted: Filter, messages: list[bytes]) -> list[bool]:
    strings = Strings()
    fields = FlowFields("event", ConntrackDecoder(strings)(batch(messages)).cols.data, 0, strings, lambda code: "")
    return list(wanted.mask(fields).tolist())


ADDRESSES = [("10.0.0.1", "10.128.0.1"), ("fd00::1", "2001:db8::ffff")]
ALL_SORTS = [
    Row(
        {"o0": (ends[0], 53), "o1": (ends[1], 443), "r0": (ends[1], 443), "r1": (ends[0], 53)},
        proto,
        {"status": status, "id": 7, **({"zone": 1, "mark": 0x101} if status else {})},
        {"event": event} | ({"state": state} if proto in STATES else {}),
    )
    for ends in ADDRESSES
    for proto in (6, 17, 132, 47, 58 if ":" in ends[0] else 1)
    for status in (0, 2, 4, 16, 32, 0xFFFF)
    for event, state in (("new", "established"), ("update", "none"), ("destroy", "established"))
]


@pytest.mark.parametrize("part", DECIDED, ids=lambda part: part[0])
def test_each_word_alone_is_in_the_kernel_what_it_is_here(part: Part) -> None:
    text, test = part
    for sign in ("", "not "):
        found = kernel_filter(parsed(f"{sign}({text})", "event"))
        assert found.program and "here" not in found.summary
        passed = [run(found.program, message(row)) != 0 for row in ALL_SORTS]
        assert passed == [bool(test(row)) != bool(sign) for row in ALL_SORTS]


@pytest.mark.parametrize("part", LEFT, ids=lambda part: part[0])
def test_each_other_word_is_left_to_us_and_the_terms_beside_it_are_not(part: Part) -> None:
    text = part[0]
    assert kernel_filter(parsed(text, "event")).summary == f"here: {text}"
    assert kernel_filter(parsed(f"{text} or tcp", "event")).summary == f"here: {text} or tcp"
    assert kernel_filter(parsed(f"tcp and {text}", "event")).summary == f"kernel: events by tcp; here: {text}"


@pytest.mark.parametrize("part", DECIDED + LEFT, ids=lambda part: part[0])
def test_each_word_with_each_other_leaves_no_flow_out_of_a_dump(part: Part) -> None:
    for other in DECIDED + LEFT:
        for sign in ("", "not "):
            text = f"{part[0]} and {sign}({other[0]})"
            dump = kernel_filter(parsed(text, "event"), events=False).dump
            for row in ALL_SORTS:
                if dump is not None and part[1](row) and bool(other[1](row)) != bool(sign):
                    assert dumped(dump, row), text


@settings(max_examples=examples(300))
@given(EXPRESSIONS, st.lists(rows(), min_size=1, max_size=6))
def test_a_dump_leaves_out_no_flow_that_the_filter_takes(part: Part, some: list[Row]) -> None:
    text, test = part
    dump = kernel_filter(parsed(text, "event")).dump
    for row in some:
        if dump is not None and test(row):
            assert dumped(dump, row), (text, dump)


def dumped(dump_filter: DumpFilter, row: Row) -> bool:
    """ctnetlink_filter_match of net/netfilter/nf_conntrack_netlink.c."""
    mark, zone, status = (int(row.numbers.get(name, 0)) for name in ("mark", "zone", "status"))
    mask = dump_filter.status if dump_filter.status_mask is None else dump_filter.status_mask
    return (
        dump_filter.family in (0, row.family)
        and dump_filter.zone in (None, zone)
        and (dump_filter.mark is None or mark & dump_filter.mark_mask == dump_filter.mark)
        and (dump_filter.status is None or status & (mask or 0) == dump_filter.status)
    )


@given(EXPRESSIONS, st.binary(max_size=200), rows())
def test_no_bytes_break_a_program(part: Part, junk: bytes, row: Row) -> None:
    program = kernel_filter(parsed(part[0], "event")).program
    if program:
        run(program, message(row)[:20] + junk)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "net 10.0.0.0/24 and mark 0x1/0xff and rate > 10k",
            "kernel: events by net 10.0.0.0/24 and mark 0x1/0xff, dump by ipv4 and mark 0x1/0xff; here: rate > 10k",
        ),
        ("tcp port (80 or 443)", "kernel: events by tcp port (80 or 443)"),
        ("net 10/24 or rate > 5", "here: net 10/24 or rate > 5"),
        (
            "zone 2 and not (net fd00::/8 or bytes > 1M)",
            "kernel: events by zone 2 and not net fd00::/8, dump by zone 2; here: not bytes > 1M",
        ),
        (
            "unreplied and not nat",
            "kernel: events by unreplied and not nat, "
            "dump by not status seen_reply and not status src_nat and not status dst_nat",
        ),
        ("(tcp and rate > 3) or udp", "here: (tcp and rate > 3) or udp"),
        ("net 192.168.1.0/24 and not port 53", "kernel: events by net 192.168.1.0/24 and not port 53, dump by ipv4"),
        ("not (tcp and port 53) and !udp", "kernel: events by not (tcp and port 53) and not udp"),
        ("port 443 or port 444", "kernel: events by port 443 or port 444"),
        ("tcp or udp and port 53", "kernel: events by (tcp or udp) and port 53"),
        ("process nginx", "here: process nginx"),
    ],
)
def test_it_says_what_runs_in_the_kernel_and_what_is_left(expression: str, words: str) -> None:
    assert kernel_filter(parsed(expression)).summary == words


@pytest.mark.parametrize(
    ("expression", "dump"),
    [
        ("zone 2", DumpFilter(zone=2)),
        ("mark 0x1/0xff and tcp", DumpFilter(mark=1, mark_mask=0xFF)),
        ("mark 1", DumpFilter(mark=1)),
        ("mark 1 or tcp", None),
        ("not mark 1", None),
        ("mark > 1", None),
        ("assured and not snat", DumpFilter(status=4, status_mask=0x14)),
        ("nat", None),
        ("not nat", DumpFilter(status=0, status_mask=0x30)),
        ("ip6 and unreplied", DumpFilter(family=10, status=0, status_mask=2)),
        ("status 0x4/0x6", DumpFilter(status=4, status_mask=6)),
        ("not (tcp or snat)", DumpFilter(status=0, status_mask=0x10)),
        ("host 10.0.0.1", DumpFilter(family=2)),
        ("port 53", None),
        ("zone 65535", DumpFilter(zone=65535)),
    ],
)
def test_a_dump_is_filtered_by_what_every_match_has(expression: str, dump: DumpFilter | None) -> None:
    assert kernel_filter(parsed(expression)).dump == dump


def test_what_is_too_long_for_the_kernel_is_left_to_us() -> None:
    found = kernel_filter(parsed(" or ".join(f"{i}.{i}.0.0/16" for i in range(1, 250))))
    assert found.program == b""
    assert found.summary.startswith("kernel: dump by ipv4; here: 1.1.0.0/16 or")
    assert found.summary.endswith("(too long for the kernel)")
    assert (
        len(instructions(kernel_filter(parsed(" or ".join(f"osrc {i}.0.0.0/8" for i in range(1, 200)))).program)) < 1000
    )


def test_a_filter_that_asks_for_everything_still_fits_the_slots() -> None:
    everything = "osrc 1.1.1.1 or odst 1.1.1.1 or rsrc 1.1.1.1 or rdst ::1 or port 5 or mark 3 or zone 3 or assured"
    assert instructions(kernel_filter(parsed(everything)).program)


def test_parts_without_end_are_left_to_us() -> None:
    pairs = " and ".join(f"(port {n} or port {n + 100})" for n in range(1, 30))
    assert kernel_filter(parsed(f"tcp or ({pairs})")).summary.startswith("here: tcp or (")


def test_only_one_kind_of_use_is_spoken_of() -> None:
    wanted = parsed("zone 2 and tcp")
    assert kernel_filter(wanted, dumps=False).summary == "kernel: events by zone 2 and tcp"
    assert kernel_filter(wanted, events=False).summary == "kernel: dump by zone 2; here: the rest"
    assert kernel_filter(parsed("zone 2 and mark 1"), events=False).summary == "kernel: dump by zone 2 and mark 0x1"
