"""The ledger's equation holds to the last record, whatever comes in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Batch, Counters, Gap, NetlinkMeta, PacketMeta, Stream, StreamAdded
from nettop.kinds import GapReason, StreamKind
from nettop.model.ledger import Ledger

EVENTS = Stream(1, StreamKind.NETLINK, "conntrack")
ETH0 = Stream(2, StreamKind.PACKETS, "eth0")


def batch(stream: int, n: int, ours: int = 0) -> Batch:
    zeros = np.zeros(n + ours, np.uint32)
    outgoing = np.arange(n + ours) >= n
    meta = NetlinkMeta(outgoing) if stream == 1 else PacketMeta(zeros)
    return Batch(stream, 0, b"", zeros, zeros, np.zeros(n + ours, np.int64), meta)


def gap(stream: int, lost: int | None, why: GapReason) -> Gap:
    return Gap(stream, 0, lost, why, 0, 0)


def ledger() -> Ledger:
    made = Ledger()
    made.add(StreamAdded(EVENTS, 0))
    made.add(StreamAdded(ETH0, 1))
    return made


def test_nothing_lost_says_so() -> None:
    book = ledger()
    book.add(batch(1, 10, ours=3))
    assert book.line() == "lost 0" and not book.any_loss()
    row = book.row(1)
    assert (row.seen, row.shown, row.in_flight) == (10, 10, 0)


def test_losses_are_named_by_who_lost_them() -> None:
    book = ledger()
    book.add(gap(2, 1204, GapReason.RING))
    assert book.line() == "lost 1,204 ring"
    book.add(gap(1, 30, GapReason.QUEUE))
    assert book.line() == "lost 1,204 ring, 30 queue" and book.any_loss()


def test_a_loss_of_unknown_size_is_not_nothing() -> None:
    book = ledger()
    book.add(gap(1, None, GapReason.KERNEL))
    assert book.any_loss() and book.line() == "lost ? (size unknown)" and book.row(1).unknown == 1


def test_the_kernels_counter_and_its_gaps_tell_of_the_same_records() -> None:
    book = ledger()
    book.add(batch(2, 88))
    book.add(Counters(2, 0, 0, received=100, dropped=12))
    assert (book.row(2).kernel, book.row(2).in_flight) == (12, 0)
    book.add(gap(2, 12, GapReason.RING))
    assert book.row(2).kernel == 12 and book.row(2).seen == 100 and book.line() == "lost 12 ring"


def test_what_the_kernel_counted_and_has_not_arrived_is_in_flight() -> None:
    book = ledger()
    book.add(Counters(2, 0, 0, received=100, dropped=0))
    book.add(batch(2, 60))
    assert book.row(2).in_flight == 40
    book.add(batch(2, 40))
    assert book.row(2).in_flight == 0


def test_the_equation_names_every_term() -> None:
    book = ledger()
    book.add(batch(2, 1_000))
    book.add(gap(2, 24, GapReason.RING))
    book.set_filtered(2, 600)
    book.set_evicted(2, 100)
    assert book.row(2).equation() == (
        "seen 1,024 = shown 300 + filtered 600 + lost by the kernel 24 + queue 0 + evicted 100"
    )


def test_a_recorders_loss_is_told_but_is_not_the_screens() -> None:
    book = ledger()
    book.add(batch(1, 5))
    book.add(gap(1, 2, GapReason.RECORDER))
    assert book.line() == "lost 2 recorder" and book.row(1).seen == 5


def test_a_stream_that_was_never_announced_is_booked_all_the_same() -> None:
    book = Ledger()
    book.add(gap(9, 3, GapReason.QUEUE))
    assert book.row(9).name == "stream 9" and book.any_loss()


def test_what_came_damaged_is_neither_shown_nor_filtered() -> None:
    book = ledger()
    book.add(batch(1, 10))
    book.add_unreadable(1, 3)
    row = book.row(1)
    assert (row.seen, row.shown, row.filtered, row.unreadable) == (10, 7, 0, 3)
    assert book.line() == "lost 3 unreadable" and book.any_loss() and "unreadable 3" in row.equation()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("batch"), st.integers(0, 1000)),
            st.tuples(st.just("lose"), st.integers(0, 1000)),
            st.tuples(st.just("queue"), st.integers(0, 1000)),
            st.tuples(st.just("spoil"), st.integers(0, 1000)),
            st.tuples(st.just("count"), st.just(0)),
        )
    ),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_the_terms_add_up_to_what_was_seen(steps: list[tuple[str, int]], filtered: int, evicted: int) -> None:
    book, received, dropped = ledger(), 0, 0
    for what, n in steps:
        if what == "batch":
            book.add(batch(2, n))
            received += n
        elif what == "lose":
            dropped, received = dropped + n, received + n
        elif what == "spoil":
            book.add(batch(2, n))
            book.add_unreadable(2, n)
            received += n
        elif what == "queue":
            received += n
            book.add(gap(2, n, GapReason.QUEUE))
        else:
            book.add(Counters(2, 0, 0, received, dropped))
    book.add(Counters(2, 0, 0, received, dropped))
    book.set_filtered(2, filtered)
    book.set_evicted(2, evicted)
    row = book.row(2)
    assert row.seen == row.shown + row.filtered + row.evicted + row.unreadable + row.queue + row.kernel + row.in_flight
    assert (row.seen, row.kernel, row.in_flight) == (received, dropped, 0)
    assert row.shown >= 0
