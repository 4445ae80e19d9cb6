"""nfacct's objects from their bytes (taken from a kernel's answer), and from bytes that lie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nfacct import NfacctObject, decode_nfacct
from nettop.linux.netlink import NLMSG_DONE
from tests.unit.decode.netlink_bytes import batch, be, ct, nla, nlmsg

NEW = 0x700


def acct(name: bytes, packets: int, octets: int, *more: bytes) -> bytes:
    return ct(nla(1, name + b"\0"), nla(2, be(8, packets)), nla(3, be(8, octets)), *more, kind=NEW, family=0)


def test_objects_have_their_counters_and_their_quota() -> None:
    plain = acct(b"a1", 8, 672, nla(4, be(4, 2)))
    over = acct(b"q1", 8, 672, nla(4, be(4, 2)), nla(5, be(4, 5)), nla(6, be(8, 3)))
    by_bytes = acct(b"q2", 0, 0, nla(4, be(4, 1)), nla(5, be(4, 2)), nla(6, be(8, 2**64 - 1)))
    found = decode_nfacct(batch([plain + over, by_bytes + nlmsg(NLMSG_DONE, bytes(4), 2)]))
    assert found.objects == (
        NfacctObject("a1", 8, 672, 2, None, "", False),
        NfacctObject("q1", 8, 672, 2, 3, "packets", True),
        NfacctObject("q2", 0, 0, 1, 2**64 - 1, "bytes", False),
    )
    assert found.ts_ns == 1001 and not len(found.errors)


def test_requests_of_ours_and_other_messages_are_no_objects() -> None:
    other = ct(nla(1, b"x\0"), kind=0x701, family=0)
    assert decode_nfacct(batch([acct(b"a", 1, 1), other], outgoing=[0])).objects == ()


def test_names_that_are_no_text_are_escaped_not_refused() -> None:
    assert decode_nfacct(batch([acct(b"\xff\x1b", 1, 1)])).objects[0].name == "\\xff\x1b"


def test_one_that_lacks_a_counter_is_an_error_and_the_next_is_read() -> None:
    bad = ct(nla(1, b"x\0"), nla(2, be(4, 1)), kind=NEW, family=0)
    nameless = ct(nla(2, be(8, 1)), nla(3, be(8, 1)), kind=NEW, family=0)
    found = decode_nfacct(batch([bad, nameless, acct(b"a", 1, 1)]))
    assert [one.name for one in found.objects] == ["a"]
    assert found.errors.record.tolist() == [0, 1]


@given(st.lists(st.tuples(st.sampled_from([NEW, 2, 3]), st.binary(max_size=80)), max_size=9))
def test_random_answers_never_raise(answers: list[tuple[int, bytes]]) -> None:
    found = decode_nfacct(batch([nlmsg(kind, body) for kind, body in answers]))
    assert len(found.objects) + len(found.errors) <= len(answers)
