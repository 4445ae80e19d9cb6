"""Where a dump ends and whether it was interrupted, from the headers of its messages."""

from __future__ import annotations

import errno
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Batch, NetlinkMeta
from nettop.linux.netlink import NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR
from nettop.sources.exchange import Completeness, Scan, scan

SEQUENCE, MULTI, ROW = 77, 2, 0x100


def message(kind: int, payload: bytes = b"", flags: int = MULTI, sequence: int = SEQUENCE) -> bytes:
    padded = payload + bytes(-len(payload) % 4)
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + padded


def ending(kind: int, code: int = 0, sequence: int = SEQUENCE) -> bytes:
    return message(kind, struct.pack("=i", -code), sequence=sequence)


def batch(*datagrams: bytes) -> Batch:
    off, buf = [], b""
    for one in datagrams:
        off.append(len(buf))
        buf += one + bytes(-len(one) % 8)
    n = len(datagrams)
    lengths = np.array([len(one) for one in datagrams], np.uint32)
    meta = NetlinkMeta(np.zeros(n, np.bool_))
    return Batch(0, 0, buf, np.array(off, np.uint32), lengths, np.zeros(n, np.int64), meta)


ROWS = message(ROW, b"abcde") * 3


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([ROWS], Scan(False, False, messages=3)),
        ([ROWS, ending(NLMSG_DONE)], Scan(True, False, messages=4)),
        ([ROWS + ending(NLMSG_DONE)], Scan(True, False, messages=4)),
        ([message(NLMSG_DONE)], Scan(True, False, messages=1)),
        ([ending(NLMSG_DONE, errno.EINTR)], Scan(True, False, errno.EINTR, 1)),
        ([ending(NLMSG_ERROR, errno.EBUSY)], Scan(True, False, errno.EBUSY, 1)),
        ([ending(NLMSG_DONE, sequence=76)], Scan(False, False, messages=1)),
        ([ROWS + message(ROW, b"x", MULTI | NLM_F_DUMP_INTR) + ROWS], Scan(False, True, messages=7)),
        ([], Scan(False, False)),
    ],
)
def test_a_dump_ends_with_done_or_an_error_to_our_own_request(datagrams: list[bytes], expected: Scan) -> None:
    assert scan(batch(*datagrams), SEQUENCE, is_dump=True) == expected


def test_a_request_that_is_no_dump_ends_with_its_answer() -> None:
    assert scan(batch(message(ROW, b"x")), SEQUENCE, is_dump=False).ended
    assert not scan(batch(message(ROW, b"x", sequence=1)), SEQUENCE, is_dump=False).ended


@given(st.lists(st.binary(max_size=80), max_size=5), st.integers(0, 90))
def test_bytes_of_any_kind_never_raise(datagrams: list[bytes], cut: int) -> None:
    scan(batch(*datagrams, (ROWS + ending(NLMSG_DONE))[:cut]), SEQUENCE, is_dump=True)


@given(st.integers(0, 2**32 - 1))
def test_a_length_that_lies_never_raises(length: int) -> None:
    lying = struct.pack("=I", length) + message(NLMSG_DONE)[4:]
    scan(batch(ROWS + lying, lying), SEQUENCE, is_dump=True)


def holds(rounds: Completeness, counted: int, answers: int) -> bool:
    return rounds.holds((counted, counted), answers)


def test_about_as_many_answers_as_the_kernel_counts_are_all() -> None:
    pairs = {(0, 0): True, (20_000, 20_500): True, (20_000, 19_500): True, (20_000, 19_300): False}
    assert {pair: holds(Completeness(), *pair) for pair in pairs} == pairs


def test_more_answers_than_flows_are_not_all_since_some_came_twice() -> None:
    assert not holds(Completeness(), 20_000, 22_262)
    assert Completeness().holds((20_000, 22_300), 22_262), "flows were added meanwhile"
    assert Completeness().holds((22_300, 20_000), 22_262), "flows left meanwhile"
    assert holds(Completeness(), 0, 22_262), "the kernel does not say how many it has"
    rounds = Completeness()
    assert not any([holds(rounds, 20_000, 22_262) for _ in range(4)]), "a habit makes it no better"


def test_two_dumps_that_are_cut_short_alike_are_not_complete_yet_what_is_never_dumped_is_not_waited_for() -> None:
    rounds = Completeness()
    assert [holds(rounds, 20_000, answers) for answers in (16_150, 16_154)] == [False, False]
    rounds = Completeness()
    found = [holds(rounds, 20_000, answers) for answers in (12_000, 18_000, 17_990, 18_000, 16_000, 20_000)]
    assert found == [False, False, False, True, False, True]
