"""Random expressions against a plain evaluation of row after row."""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.errors import FilterError
from nettop.model.filter.expression import KINDS, parse
from nettop.text.sanitize import clean
from tests.profiles import examples
from tests.unit.model.filter.filter_rows import ENDS, WITH_PORTS, Row, TableOfRows

Test = Callable[[Row], bool]
Part = tuple[str, Test]  # an expression, and whether a row matches it

FOUR = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.128.0.1", "192.168.7.9", "255.255.255.255", "0.0.0.0"]
SIX = ["fd00::1", "fd00::2", "fd00:0:0:1::1", "2001:db8::ffff", "::1", "::", "::10.0.0.1"]
PORTS = [0, 53, 80, 443, 8080, 65535]
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "sctp": 132, "gre": 47, "icmp6": 58}
OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
SIDES = {"": ["o0", "o1", "r0", "r1"], "src ": ["o0"], "dst ": ["o1"], "src or dst ": ["o0", "o1"], "rdst ": ["r1"]}
MANY = (1 << 64) - 1


@st.composite
def rows(draw: st.DrawFn) -> Row:
    addresses = st.sampled_from(draw(st.sampled_from([FOUR, SIX])))
    ends = {name: (draw(addresses), draw(st.sampled_from(PORTS))) for name in ("o0", "o1", "r0", "r1")}
    numbers = {
        name: draw(values)
        for name, values in {
            "bytes": st.sampled_from([0, 999, 1000, 1_000_000, 1_048_576, MANY]),
            "rate": st.sampled_from([0.0, 10_000.0, 1.5]),
            "age": st.sampled_from([0.0, 59.5, 60.0, 7200.0]),
            "mark": st.sampled_from([0, 1, 0x101, 0xFFFFFFFF]),
            "zone": st.sampled_from([0, 1, 65535]),
            "status": st.integers(0, 0xFFFF),
        }.items()
        if draw(st.booleans())
    }
    names = {"state": ["established", "time_wait", "TIME_WAIT"], "netns": ["gw-a", "gw-b", "gw"]}
    words = {name: draw(st.sampled_from(values)) for name, values in names.items() if draw(st.booleans())}
    return Row(ends, draw(st.sampled_from(list(PROTOCOLS.values()))), numbers, words)


def in_net(network: str) -> Callable[[tuple[str, int]], bool]:
    net = ipaddress.ip_network(network, strict=False)

    def test(end: tuple[str, int]) -> bool:
        address = ipaddress.ip_address(end[0])
        return address.version == net.version and address in net

    return test


def at(sides: list[str], test: Callable[[tuple[str, int]], bool]) -> Test:
    return lambda row: any(test(row.ends[side]) for side in sides)


@st.composite
def ends(draw: st.DrawFn) -> Part:
    qualifier, sides = draw(st.sampled_from(list(SIDES.items())))
    address = draw(st.sampled_from(FOUR + SIX))
    which = draw(st.integers(0, 4))
    if which == 0:
        return f"{qualifier}host {address}", at(sides, in_net(address))
    if which == 1:
        length = draw(st.integers(0, 128 if ":" in address else 32))
        return f"{qualifier}net {address}/{length}", at(sides, in_net(f"{address}/{length}"))
    if which == 2:
        text = draw(st.sampled_from(["{}", "host {}"])) if qualifier else "host {}"  # a bare one would inherit
        return qualifier + text.format(address), at(sides, in_net(address))
    low, high = sorted(draw(st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS))))
    if which == 3:
        held = at(sides, lambda end: end[1] == low)
        return f"{qualifier}port {low}", lambda row: row.proto in WITH_PORTS and held(row)
    within = at(sides, lambda end: low <= end[1] <= high)
    return f"{qualifier}portrange {low}-{high}", lambda row: row.proto in WITH_PORTS and within(row)


@st.composite
def measures(draw: st.DrawFn) -> Part:
    name = draw(st.sampled_from(["bytes", "rate", "age"]))
    texts = {
        "bytes": {"0": 0, "1k": 1000, "1M": 10**6, "1Mi": 1 << 20, "999": 999, str(MANY): MANY, "1.5k": 1500},
        "rate": {"10k": 10_000, "0": 0, "1.5": 1.5},
        "age": {"1m": 60, "59.5s": 59.5, "2h": 7200, "1h60m": 7200, "0": 0},
    }[name]
    sign, compare = draw(st.sampled_from(list(OPERATORS.items())))
    text, value = draw(st.sampled_from(list(texts.items())))
    space = draw(st.sampled_from(["", " "]))
    return f"{name}{space}{sign}{space}{text}", lambda row: name in row.numbers and compare(row.numbers[name], value)


@st.composite
def marks(draw: st.DrawFn) -> Part:
    value, mask = draw(st.sampled_from([0, 1, 0x101])), draw(st.sampled_from([0xFF, 0xFFFF, 0]))
    if draw(st.booleans()):
        return f"mark {value:#x}/{mask:#x}", lambda row: int(row.numbers.get("mark", 0)) & mask == value
    return f"zone {value}", lambda row: row.numbers.get("zone", 0) == value


def status(bits: int, is_set: bool) -> Test:
    return lambda row: "status" in row.numbers and bool(int(row.numbers["status"]) & bits) == is_set


def state(*spellings: str) -> Test:
    return lambda row: row.words.get("state") in spellings


def netns(*names: str) -> Test:
    return lambda row: row.words.get("netns") in names


FIXED: list[Part] = [
    ("ip", lambda row: row.family == 2),
    ("ip6", lambda row: row.family == 10),
    ("snat", status(16, True)),
    ("dnat", status(32, True)),
    ("nat", status(48, True)),
    ("unreplied", status(2, False)),
    ("state assured", status(4, True)),
    ("state established", state("established")),
    ("state Time-Wait", state("time_wait", "TIME_WAIT")),
    ("netns gw-a", netns("gw-a")),
    ("netns gw-?", netns("gw-a", "gw-b")),
    ('netns "gw"', netns("gw")),
    ("netns GW", netns()),
    *((name, lambda row, number=number: row.proto == number) for name, number in PROTOCOLS.items()),
]


def negated(part: Part, word: str) -> Part:
    text, test = part
    return f"{word}({text})", lambda row: not test(row)


@st.composite
def joined(draw: st.DrawFn, inner: st.SearchStrategy[Part]) -> Part:
    """Parts joined to the left with equal precedence, some in parentheses."""
    parts = draw(st.lists(inner, min_size=2, max_size=4))
    signs = [draw(st.sampled_from(["and", "or", "&&", "||"])) for _ in parts[1:]]
    text = f"({parts[0][0]})" + "".join(f" {sign} ({part[0]})" for sign, part in zip(signs, parts[1:], strict=True))

    def test(row: Row) -> bool:
        result = parts[0][1](row)
        for sign, (_, one) in zip(signs, parts[1:], strict=True):
            result = result and one(row) if sign in ("and", "&&") else result or one(row)
        return result

    return text, test


PRIMITIVES = st.one_of(ends(), measures(), marks(), st.sampled_from(FIXED))
EXPRESSIONS = st.recursive(
    PRIMITIVES,
    lambda inner: st.one_of(joined(inner), st.builds(negated, inner, st.sampled_from(["not ", "!", "not not not "]))),
    max_leaves=8,
)


@settings(max_examples=examples(400))
@given(EXPRESSIONS, st.lists(rows(), max_size=8))
def test_a_mask_is_what_row_after_row_says(part: Part, some: list[Row]) -> None:
    text, test = part
    parsed = parse(text, "flow")
    assert parsed is not None
    assert parsed.mask(TableOfRows("flow", some)).tolist() == [bool(test(row)) for row in some]


@settings(max_examples=examples(400))
@given(
    st.lists(
        st.one_of(
            PRIMITIVES.map(lambda part: part[0]),
            st.sampled_from(
                [
                    "and",
                    "or",
                    "not",
                    "(",
                    ")",
                    "!",
                    "host",
                    "src",
                    "port",
                    "mask",
                    "tcp",
                    "<",
                    "=",
                    "443",
                    "10.0.0.1",
                    "\x1b",
                    "zone",
                ]
            ),
            st.text(max_size=3),
        ),
        max_size=12,
    ).map(" ".join),
    st.sampled_from(sorted(KINDS)),
)
def test_any_text_is_a_filter_or_a_refusal_with_a_place(text: str, kind: str) -> None:
    try:
        parsed = parse(text, kind)
    except FilterError as error:
        assert error.position is not None
        assert 0 <= error.position <= len(error.expression)
        assert str(error).replace("\n", "") == clean(str(error).replace("\n", ""))
        return
    if parsed is not None and kind in ENDS:
        assert parsed.mask(TableOfRows(kind, [])).dtype == np.bool_
