"""Messages and descriptors over a real socketpair: what is malformed is refused, and leaks no descriptor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nettop.broker import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Pair]:
    a, b = wire.pair()
    with a, b:
        yield a, b


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_arrives_with_its_descriptors(ends: Pair) -> None:
    reading, writing = os.pipe()
    wire.send(ends[0], {"id": 1}, [writing])
    os.close(writing)
    received = wire.receive(ends[1])
    assert received is not None
    message, fds = received
    assert message == {"id": 1}
    assert not os.get_inheritable(fds[0])
    os.write(fds[0], b"x")
    os.close(fds[0])
    assert os.read(reading, 9) == b"x"
    os.close(reading)


def test_a_message_too_long_for_a_packet_arrives_whole(ends: Pair) -> None:
    before = open_descriptors()
    message = {"devices": ["x" * 100] * 20_000}
    wire.send(ends[0], message)
    assert wire.receive(ends[1]) == (message, [])
    assert open_descriptors() <= before


def test_the_end_is_none(ends: Pair) -> None:
    ends[0].close()
    assert wire.receive(ends[1]) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(payload=st.binary(min_size=1, max_size=200))
def test_any_bytes_are_a_message_or_refused_and_the_next_one_arrives(ends: Pair, payload: bytes) -> None:
    ends[0].send(payload)
    try:
        received = wire.receive(ends[1])
    except wire.WireError:
        pass
    else:
        assert received is not None and isinstance(received[0], dict)
    wire.send(ends[0], {"id": 2})
    assert wire.receive(ends[1]) == ({"id": 2}, [])


@pytest.mark.parametrize("payload", [b"[" * 60_000, b"[]", b"\xff\xfe", b"9" * 60_000, b'{"a":' * 10_000])
def test_hostile_json_is_refused(ends: Pair, payload: bytes) -> None:
    ends[0].send(payload)
    with pytest.raises(wire.WireError):
        wire.receive(ends[1])


def test_an_oversized_packet_is_refused_and_the_next_one_arrives(ends: Pair) -> None:
    ends[0].send(b'{"a":"' + b"x" * (wire.MAX_PACKET + 1000) + b'"}')
    with pytest.raises(wire.WireError, match="more than"):
        wire.receive(ends[1])
    wire.send(ends[0], {})
    assert wire.receive(ends[1]) == ({}, [])


def test_too_many_descriptors_are_refused_and_closed(ends: Pair) -> None:
    before = open_descriptors()
    socket.send_fds(ends[0], [b"{}"], [0] * (wire.MAX_FDS + 8))
    with pytest.raises(wire.WireError):
        wire.receive(ends[1])
    assert open_descriptors() <= before


def test_the_broker_takes_no_descriptors(ends: Pair) -> None:
    before = open_descriptors()
    wire.send(ends[0], {"id": 1}, [0])
    with pytest.raises(wire.WireError, match="not taken"):
        wire.receive(ends[1], allow_fds=False)
    assert open_descriptors() <= before


def test_a_sealed_body_cannot_be_changed() -> None:
    fd = wire.sealed_memfd("test", b"abc")
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    assert wire.read_memfd(fd, 3) == b"abc"


def test_an_answer_above_the_limit_is_refused() -> None:
    with pytest.raises(wire.WireError, match="limit 2"):
        wire.read_memfd(wire.sealed_memfd("test", b"abc"), 2)


def test_a_message_too_long_for_the_broker_is_not_sent(ends: Pair) -> None:
    with pytest.raises(wire.WireError, match="more than 131072 bytes"):
        wire.send(ends[0], {"x": "y" * wire.MAX_PACKET}, long_allowed=False)
    wire.send(ends[0], {"id": 2}, long_allowed=False)
    received = wire.receive(ends[1])
    assert received is not None and received[0] == {"id": 2}
