"""The packets that passed: found by their address in the samples of a ring, whatever else these hold."""

from __future__ import annotations

import os
import selectors
import struct
from collections.abc import Iterator

import pytest

from nettop.broker.tracing.passing import PassingPackets
from nettop.broker.tracing.perf import Tracepoint
from nettop.linux.perf import PERF_RECORD_SAMPLE

RECEIVED = Tracepoint(301, {"skbaddr": (8, 8), "len": (16, 4), "name": (20, 4)}, {})
SENT = Tracepoint(302, {"skbaddr": (16, 8)}, {})
PACKET, OTHER = 0xFFFF_8881_0000_0100, 0xFFFF_8881_0000_0200
SECOND = 1_000_000_000


def record(time_ns: int, raw: bytes) -> bytes:
    raw += bytes(-(len(raw) + 20) % 8)
    return struct.pack("=IHHQI", PERF_RECORD_SAMPLE, 0, 20 + len(raw), time_ns, len(raw)) + raw


def received(time_ns: int, address: int, length: int = 100, name: bytes = b"eth0\0") -> bytes:
    return record(time_ns, struct.pack("=H6xQII", 301, address, length, len(name) << 16 | 24) + name)


def sent(time_ns: int, address: int) -> bytes:
    return record(time_ns, struct.pack("=H14xQ", 302, address))


class _Ring:
    """A ring of these samples."""

    def __init__(self) -> None:
        self.fd, self.data = -1, b""

    def take(self) -> bytes:
        data, self.data = self.data, b""
        return data


class Passing(PassingPackets):
    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(RECEIVED, SENT, selector)
        self._rings = {0: _Ring(), 1: _Ring()}  # type: ignore[dict-item]
        self.switched: list[int] = []

    def _switch(self, request: int) -> None:
        self.switched.append(request)

    def write(self, *samples: bytes, cpu: int = 0) -> None:
        self._rings[cpu].data += b"".join(samples)  # type: ignore[attr-defined]
        self.read()


@pytest.fixture
def passing() -> Iterator[Passing]:
    with selectors.DefaultSelector() as selector:
        yield Passing(selector)


def test_a_packet_has_the_length_and_device_of_its_receipt(passing: Passing) -> None:
    passing.write(received(5, OTHER), received(10, PACKET, 84, b"a-longer-name\0"), received(12, OTHER))
    assert passing.find(PACKET, 15, 0) == (84, "a-longer-name", False)
    assert passing.find(PACKET + 8, 15, 0) is None


def test_the_latest_sample_before_the_drop_counts_on_any_cpu(passing: Passing) -> None:
    passing.write(received(30, PACKET, 30), cpu=1)
    passing.write(received(10, PACKET, 10), received(40, PACKET, 40))
    passing.write(received(20, OTHER))
    assert passing.find(PACKET, 25, 0) == (10, "eth0", False), "those of later readings may be earlier"
    assert passing.find(PACKET, 45, 0) == (40, "eth0", False)


def test_a_packet_that_was_sent_or_dropped_or_is_old_is_another_one(passing: Passing) -> None:
    passing.write(received(10, PACKET), sent(20, PACKET), received(10, OTHER))
    assert passing.find(PACKET, 30, 0) is None
    assert passing.find(OTHER, 30, 20) is None, "dropped at 20"
    found = passing.find(OTHER, 10 + SECOND, 0)
    assert found is not None and found[2], "it waited, or another one is at its address"
    assert passing.find(OTHER, 10 + 10 * SECOND, 0) is None


def test_an_address_elsewhere_in_a_sample_is_no_packet(passing: Passing) -> None:
    inside = received(10, OTHER, name=PACKET.to_bytes(8, "little"))
    passing.write(inside, record(11, struct.pack("=H6xQ", 999, PACKET)))
    assert passing.find(PACKET, 20, 0) is None


def test_too_many_packets_are_left_out_until_the_next_turn(passing: Passing) -> None:
    many = received(1, OTHER) * (1 << 14)
    while not passing.switched:
        passing.write(many)
    passing.write(received(10, PACKET))
    passing.renew()
    passing.renew()
    assert len(passing.switched) == 2
    assert passing.find(PACKET, 20, 0) == (100, "eth0", False) and passing._size < 2 << 20


def test_any_bytes_can_be_searched(passing: Passing) -> None:
    for size in range(64):
        passing.write(os.urandom(size) + PACKET.to_bytes(8, "little") + os.urandom(size))
    assert passing.find(PACKET, 1 << 62, 0) is None


def test_each_device_is_followed_whatever_its_name_and_however_many_there_are(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(passing, "_open", lambda event, cpu, accepts: opened.append(accepts))
    passing.follow(["lan0", 'we"r\udcff d*'], (0,))
    assert opened == ['name ~ "lan0" || name ~ "we?r??d?"'] * 2, "one for each tracepoint"
    passing.follow(["lan0", *(f"x{number}" for number in range(40))], (0,))
    assert [accepts.count("~") for accepts in opened[2:]] == [32, 32, 8, 8]
    passing._rings.clear()  # they have no memory that close() could give back
    passing.follow((f"y{number}" for number in range(300)), (0,))
    passing.follow(["z"], (0,))
    assert opened[6:] == ["", ""], "every device"


def test_what_is_rare_is_found_when_a_flood_of_others_took_the_time_to_search(passing: Passing) -> None:
    passing.write(*(received(time_ns, PACKET) for time_ns in range(1, 5000)), received(6000, OTHER, 84))
    passing._searched_ns = SECOND
    assert passing.find(PACKET, 7000, 0) is None
    assert passing.find(OTHER, 7000, 0, True) == (84, "eth0", False)


def test_of_many_samples_with_an_address_the_last_one_before_the_drop_is_it(passing: Passing) -> None:
    passing.write(*(received(time_ns, PACKET, time_ns) for time_ns in range(1, 3000)), sent(3000, PACKET))
    assert passing.find(PACKET, 2000, 0) == (2000, "eth0", False)
    assert passing.find(PACKET, 3000, 0) is None, "it was sent"
