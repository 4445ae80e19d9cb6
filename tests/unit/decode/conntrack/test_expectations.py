from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nettop import columns as c
from nettop.columns import Columns, Decoded, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.linux import netlink
from tests.unit.decode.conntrack.expectation_messages import ALL, EXP_DELETE, EXP_NEW, expectation
from tests.unit.decode.netlink_bytes import batch, be, ct, nest, nla, nlmsg, tuple4, udp

HAVE = c.HAVE_ORIG | c.HAVE_OPORTS | c.HAVE_MASTER | c.HAVE_RPORTS | c.HAVE_MASK | c.HAVE_TIMEOUT | c.HAVE_ID
HAVE |= c.HAVE_HELPER | c.HAVE_EXPECT_FLAGS | c.HAVE_EXPECT_CLASS | c.HAVE_FUNCTION


def decoded(*messages: bytes, strings: Strings | None = None, **given: Any) -> Decoded:
    return ConntrackDecoder(strings or Strings())(batch(messages, **given))


def row(cols: Columns, i: int = 0) -> dict[str, int]:
    return {name: int(column[i]) for name, column in cols.data.items() if column[i]}


def test_an_expectation_has_its_master_its_tuple_and_the_bits_that_count() -> None:
    strings = Strings()
    found = decoded(udp(1), expectation(), expectation(EXP_DELETE, 0, zone=3), strings=strings)
    helper, function = strings.code(b"ftp"), strings.code(b"nat-follow-master")
    first = {
        "event": c.EVENT_EXPECT + c.EVENT_NEW, "family": 2, "proto": 6, "have": HAVE, "ts_ns": 1001,
        "osrc_lo": 2, "odst_lo": 1, "odport": 50001,
        "rsrc_lo": 1, "rdst_lo": 2, "rsport": 40000, "rdport": 21, "mproto": 6,
        "xsrc_lo": ALL, "xdst_lo": ALL, "xproto": 6, "xdport": 0xFFFF,
        "timeout": 300, "id": 9, "helper": helper, "function": function, "expect_flags": 1,
    }  # fmt: skip
    assert row(found.expect) == first
    gone = first | {"event": c.EVENT_EXPECT + c.EVENT_DESTROY, "ts_ns": 1002, "zone": 3, "have": HAVE | c.HAVE_ZONE}
    assert row(found.expect, 1) == gone
    assert len(found.cols) == 1 and found.record.tolist() == [0] and found.expect_record.tolist() == [1, 2]
    assert not len(found.errors)


def test_flows_alone_have_no_expectations_and_expectations_alone_no_flows() -> None:
    assert not len(decoded(*map(udp, range(20))).expect)
    found = decoded(*(expectation(dport=i) for i in range(20)))
    assert not len(found.cols) and found.expect["odport"].tolist() == list(range(20))


def test_ipv6_addresses_are_whole_and_what_is_not_sent_is_absent() -> None:
    ends = nest(1, nla(3, b"\xfd" + bytes(14) + b"\1"), nla(4, b"\xfd" + bytes(14) + b"\2"))
    found = decoded(ct(nest(2, ends), kind=EXP_NEW, flags=2, family=10)).expect
    assert row(found) == {
        "family": 10, "osrc_hi": 0xFD << 56, "odst_hi": 0xFD << 56, "osrc_lo": 1, "odst_lo": 2, "ts_ns": 1000
    }  # fmt: skip
    assert found["event"].tolist() == [c.EVENT_DUMP]


def test_a_request_of_ours_is_no_expectation_and_damage_is_an_error_row() -> None:
    bad = ct(nla(4, b"\1"), kind=EXP_NEW)
    found = decoded(expectation(), bad, nlmsg(EXP_NEW, b""), udp(1), expectation(), outgoing=[0])
    assert found.expect_record.tolist() == [4] and found.record.tolist() == [3]
    assert found.errors.record.tolist() == [1, 2]
    assert found.errors.code.tolist() == [netlink.ERR_VALUE_SHORT] * 2


def test_a_flow_that_was_expected_has_its_masters_tuple() -> None:
    found = decoded(udp(1), udp(2, tuple4(14, 7, 8, 6, 40000, 21)), udp(3)).cols
    assert (found["have"] & c.HAVE_MASTER != 0).tolist() == [False, True, False]
    master = {name: found[name].tolist()[1] for name in c.MASTER_DTYPES if name in found}
    assert master == {"mproto": 6, "msrc_lo": 7, "mdst_lo": 8, "msport": 40000, "mdport": 21}
    assert not any(name in decoded(udp(1)).cols for name in c.MASTER_DTYPES)


@given(st.lists(st.binary(max_size=80).map(lambda body: nlmsg(EXP_NEW, body)) | st.just(expectation()), max_size=9))
def test_random_expectations_never_raise(messages: list[bytes]) -> None:
    found = decoded(*messages)
    assert len(found.expect) + len(set(found.errors.record.tolist())) == len(messages)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99), st.integers(0, 1 << 32)), max_size=40))
def test_flows_and_expectations_in_any_order_are_each_read(wanted: list[tuple[bool, int, int]]) -> None:
    """Short and long names change the layout: bulk and one by one give the same."""
    messages = [
        expectation(dport=n, timeout=seconds % (1 << 32), helper=b"x" * (n % 4) + b"\0") if flag else udp(n)
        for flag, n, seconds in wanted
    ]
    strings = Strings()
    found = decoded(*messages, strings=strings)
    ours = sorted(
        [(int(at), ("flow", int(port))) for at, port in zip(found.record, _column(found.cols, "osport"), strict=True)]
        + [
            (int(at), (int(port), int(seconds), strings[int(name)]))
            for at, port, seconds, name in zip(
                found.expect_record, *(_column(found.expect, n) for n in ("odport", "timeout", "helper")), strict=True
            )
        ]
    )
    assert ours == [
        (at, (n, seconds % (1 << 32), b"x" * (n % 4)) if flag else ("flow", n))
        for at, (flag, n, seconds) in enumerate(wanted)
    ]


def _column(cols: Columns, name: str) -> Any:
    column = cols.get(name)
    return [0] * len(cols) if column is None else column


def test_unused_bytes_behind_a_name_are_not_part_of_it() -> None:
    strings = Strings()
    found = decoded(expectation(helper=b"sip\0\x1b[2Jjunk"), strings=strings).expect
    assert strings[int(found["helper"][0])] == b"sip"
    assert decoded(ct(nla(6, be(1, 0)), kind=EXP_NEW)).expect["have"].tolist() == [c.HAVE_HELPER]
