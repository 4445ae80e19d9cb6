from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop import columns as c
from nettop.decode import netlink
from nettop.decode.expectations import Expectation, Tuple, decode_expectations
from tests.unit.decode.netlink_bytes import batch, be, ct, nest, nla, nlmsg, tuple4, udp

EXP_NEW, EXP_DELETE = 0x200, 0x202


def expectation(kind: int = EXP_NEW, flags: int = 0x600) -> bytes:
    return ct(
        tuple4(1, 1, 2, 6, 40000, 21),
        tuple4(2, 2, 1, 6, 0, 50001),
        tuple4(3, 0xFFFFFFFF, 0xFFFFFFFF, 6, 0, 0xFFFF),
        nla(4, be(4, 300)),
        nla(5, be(4, 9)),
        nla(6, b"ftp\0"),
        nla(7, be(2, 3)),
        nla(8, be(4, 1)),
        nla(11, b"nat-follow-master\0"),
        kind=kind,
        flags=flags,
    )


def test_an_expectation_has_its_master_its_tuple_and_the_bits_that_count() -> None:
    decoded = decode_expectations(batch([udp(1), expectation(), expectation(EXP_DELETE, 0)]))
    first = Expectation(
        ts_ns=1001,
        event=c.EVENT_NEW,
        family=2,
        master=Tuple(1, 2, 6, 40000, 21),
        tuple=Tuple(2, 1, 6, 0, 50001),
        mask=Tuple(0xFFFFFFFF, 0xFFFFFFFF, 6, 0, 0xFFFF),
        timeout=300,
        id=9,
        zone=3,
        flags=1,
        helper=b"ftp",
        function=b"nat-follow-master",
    )
    assert decoded.found[0] == first
    assert [one.event for one in decoded.found] == [c.EVENT_NEW, c.EVENT_DESTROY]
    assert not len(decoded.errors)


def test_ipv6_addresses_are_whole_and_what_is_not_sent_is_none() -> None:
    ends = nest(1, nla(3, b"\xfd" + bytes(14) + b"\1"), nla(4, b"\xfd" + bytes(14) + b"\2"))
    [one] = decode_expectations(batch([ct(nest(2, ends), kind=EXP_NEW, flags=2, family=10)])).found
    assert one.tuple == Tuple((0xFD << 120) + 1, (0xFD << 120) + 2, None, None, None)
    assert (one.master, one.timeout, one.id, one.zone, one.event) == (None, None, None, None, c.EVENT_DUMP)


def test_a_request_of_ours_is_no_expectation_and_damage_is_an_error_row() -> None:
    bad = ct(nla(4, b"\1"), kind=EXP_NEW)
    decoded = decode_expectations(batch([expectation(), bad, nlmsg(EXP_NEW, b""), expectation()], outgoing=[0]))
    assert len(decoded.found) == 1
    assert decoded.errors.record.tolist() == [1, 2]
    assert decoded.errors.code.tolist() == [netlink.ERR_VALUE_SHORT] * 2


@given(st.lists(st.binary(max_size=80).map(lambda body: nlmsg(EXP_NEW, body)), max_size=9))
def test_random_expectations_never_raise(messages: list[bytes]) -> None:
    decoded = decode_expectations(batch(messages))
    assert len(decoded.found) + len(decoded.errors) == len(messages)
