"""recvmmsg into dense buffers, over a Unix datagram socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nettop.sources.datagrams import Received, Slots, joined


@pytest.fixture(scope="module")
def slots() -> Slots:
    return Slots()


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.setblocking(False)  # nobody reads meanwhile: a full buffer is a failure, not a wait without end
    with sender, receiver:
        yield sender, receiver


def cut(received: Received) -> list[bytes]:
    pairs = zip(received.off.tolist(), received.length.tolist(), strict=True)
    return [bytes(received.buf[start : start + length]) for start, length in pairs]


datagrams = st.lists(
    st.one_of(st.binary(min_size=1, max_size=60), st.integers(1, 60_000).map(bytes)), min_size=1, max_size=6
).filter(lambda sent: sum(map(len, sent)) <= 120_000)  # what the socket takes before anybody reads


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(datagrams)
def test_what_was_sent_is_what_comes(
    slots: Slots, ends: tuple[socket.socket, socket.socket], sent: list[bytes]
) -> None:
    for one in sent:
        ends[0].send(one)
    received = slots.receive(ends[1].fileno())
    assert cut(received) == sent
    assert all(start % 8 == 0 for start in received.off.tolist())
    assert len(received.buf) % 8 == 0


def test_many_parts_join_in_order(slots: Slots, ends: tuple[socket.socket, socket.socket]) -> None:
    parts = []
    for number in range(3):
        for size in (number + 1, 3000 * (number % 2) + 5):
            ends[0].send(bytes([number]) * size)
        parts.append(slots.receive(ends[1].fileno()))
    assert cut(joined(parts)) == [one for part in parts for one in cut(part)]


def test_no_more_than_asked_for(slots: Slots, ends: tuple[socket.socket, socket.socket]) -> None:
    for _ in range(3):
        ends[0].send(b"x")
    assert len(slots.receive(ends[1].fileno(), 2).off) == 2
    assert len(slots.receive(ends[1].fileno(), 2).off) == 1


def test_nothing_waiting_is_said_at_once(slots: Slots, ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        slots.receive(ends[1].fileno())


def test_an_empty_datagram_is_a_record_of_no_bytes(slots: Slots, ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].send(b"")
    ends[0].send(b"")
    assert cut(slots.receive(ends[1].fileno())) == [b"", b""]


def test_a_closed_descriptor_is_an_error(slots: Slots) -> None:
    with pytest.raises(OSError, match="descriptor"):
        slots.receive(-1)
