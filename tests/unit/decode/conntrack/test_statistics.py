from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.conntrack.statistics import CpuStats, ExpectCpuStats, TableStats, decode_ctstats
from nettop.linux.netlink import NLMSG_DONE
from tests.unit.decode.netlink_bytes import batch, be, ct, nla, nlmsg

CPU, TABLE, EXPECT = 0x104, 0x105, 0x103


def test_each_cpu_has_what_the_kernel_sends_and_none_for_what_it_does_not() -> None:
    first = ct(nla(2, be(4, 20)), nla(9, be(4, 3)), nla(15, be(4, 4)), kind=CPU, flags=2, family=0, res_id=0)
    second = ct(nla(10, be(4, 0xFFFFFFFF)), nla(77, b"new"), kind=CPU, flags=2, family=0, res_id=300)
    stats = decode_ctstats(batch([first + second, nlmsg(NLMSG_DONE, bytes(4), 2)]))
    assert stats.cpus == (
        CpuStats(0, 1000, found=20, insert_failed=3, chain_toolong=4),
        CpuStats(300, 1000, drop=0xFFFFFFFF),
    )
    assert not len(stats.errors)


def test_the_tables_size_and_the_expectations_counters() -> None:
    table = ct(nla(1, be(4, 812)), nla(2, be(4, 262144)), kind=TABLE, family=0)
    old = ct(nla(1, be(4, 5)), kind=TABLE, family=0)
    expect = ct(nla(1, be(4, 1)), nla(2, be(4, 2)), nla(3, be(4, 3)), kind=EXPECT, family=0, res_id=1)
    stats = decode_ctstats(batch([table, old, expect]))
    assert stats.tables == (TableStats(1000, 812, 262144), TableStats(1001, 5, None))
    assert stats.expect_cpus == (ExpectCpuStats(1, 1002, 1, 2, 3),)


def test_requests_of_ours_are_no_answers() -> None:
    assert decode_ctstats(batch([ct(kind=CPU, family=0)], outgoing=[0])).cpus == ()


def test_an_answer_with_a_bad_length_is_an_error_and_the_next_one_is_read() -> None:
    good = ct(nla(2, be(4, 1)), kind=CPU, family=0)
    stats = decode_ctstats(batch([ct(nla(2, b"\1"), kind=CPU), nlmsg(CPU, b""), good]))
    assert stats.errors.record.tolist() == [0, 1]
    assert stats.cpus == (CpuStats(0, 1002, found=1),)


@given(st.lists(st.tuples(st.sampled_from([CPU, TABLE, EXPECT, 7]), st.binary(max_size=60)), max_size=9))
def test_random_answers_never_raise(answers: list[tuple[int, bytes]]) -> None:
    stats = decode_ctstats(batch([nlmsg(kind, body) for kind, body in answers]))
    assert len(stats.cpus) + len(stats.tables) + len(stats.expect_cpus) + len(stats.errors) <= len(answers)
