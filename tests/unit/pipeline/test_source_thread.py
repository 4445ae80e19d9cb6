"""A source's thread reads when there is something, polls losses by time, and stops at once."""

from __future__ import annotations

import os
import threading
import time

import pytest

from nettop.batch import Counter64, Counters, End, Item
from nettop.broker.calls import ENDED
from nettop.errors import BrokerError, NettopError
from nettop.pipeline import source_thread
from nettop.pipeline.source_thread import LOSSES_EVERY_NS, SourceThread
from tests.kernel.namespaces import poll


class PipeSource:
    """A source over a pipe: each byte is one item."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        os.set_blocking(self.out, False)
        self.closed = threading.Event()
        self.polled = threading.Event()
        self.fails: Exception | None = None

    def fileno(self) -> int | None:
        return self.out

    def due_ns(self) -> int | None:
        return None

    def read(self, max_bytes: int) -> list[Item]:
        if self.fails:
            raise self.fails
        data = os.read(self.out, max_bytes)
        if not data:
            return [End(1, 99, "the writer closed")]
        return [Counters(1, byte, 0, byte, 0) for byte in data]

    def losses(self) -> list[Item]:
        self.polled.set()
        return []

    def close(self) -> None:
        os.close(self.out)
        self.closed.set()


def started(
    source: PipeSource,
    gather_ns: int = 0,
    drain_ns: int | None = None,
    stream: int | None = None,
    listens: bool = True,
) -> tuple[SourceThread, list[Item], threading.Event]:
    items: list[Item] = []
    arrived = threading.Event()

    def put(new: list[Item]) -> None:
        items.extend(new)
        arrived.set()

    thread = SourceThread(source, put, Counter64(), "test", gather_ns, drain_ns, stream, listens)
    thread.start()
    return thread, items, arrived


def test_what_can_be_read_is_put() -> None:
    source = PipeSource()
    thread, items, arrived = started(source)
    os.write(source.into, b"\x05")
    assert arrived.wait(30)
    assert items == [Counters(1, 5, 0, 5, 0)]
    thread.stop()
    thread.join(30)


def test_stop_ends_a_thread_that_waits() -> None:
    source = PipeSource()
    thread, _, _ = started(source)
    began = time.monotonic()
    thread.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert time.monotonic() - began < 5
    assert source.closed.is_set()


def test_losses_are_polled_without_any_traffic() -> None:
    source = PipeSource()
    thread, _, _ = started(source)
    assert source.polled.wait(30)
    thread.stop()
    thread.join(30)


def test_losses_are_polled_again_after_a_read_when_the_descriptor_was_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_thread, "LOSSES_FOR_NS", 0)
    source = PipeSource()
    thread, _, _ = started(source)
    assert source.polled.wait(30)
    source.polled.clear()
    assert not source.polled.wait(2 * LOSSES_EVERY_NS / 1e9)
    os.write(source.into, b"\x05")
    assert source.polled.wait(30)
    thread.stop()
    thread.join(30)


def test_the_losses_of_a_source_that_only_asks_come_with_what_it_reads_and_never_wake_it() -> None:
    source = PipeSource()
    thread, items, arrived = started(source, listens=False)
    assert not source.polled.wait(3 * LOSSES_EVERY_NS / 1e9)
    os.write(source.into, b"\x05")
    assert arrived.wait(30)
    assert source.polled.is_set() and items == [Counters(1, 5, 0, 5, 0)]
    os.close(source.into)
    thread.join(30)
    assert items[-1] == End(1, 99, "the writer closed")


def test_an_end_closes_the_source() -> None:
    source = PipeSource()
    thread, items, _ = started(source)
    os.close(source.into)
    thread.join(30)
    assert items[-1] == End(1, 99, "the writer closed")
    assert source.closed.is_set()


def test_an_error_becomes_an_end_with_one_line() -> None:
    source = PipeSource()
    source.fails = NettopError("device eth9 is gone", "choose another")
    thread, items, _ = started(source)
    os.write(source.into, b"x")
    thread.join(30)
    assert isinstance(items[-1], End)
    assert items[-1].error == "device eth9 is gone: choose another"


def test_wake_after_the_end_is_harmless() -> None:
    source = PipeSource()
    thread, _, _ = started(source)
    thread.stop()
    thread.join(30)
    thread.wake()
    assert not thread.is_alive()


def test_a_bug_in_a_source_ends_its_stream_and_says_so() -> None:
    source = PipeSource()
    source.fails = ValueError("not so many bits")
    thread, items, _ = started(source, stream=7)
    os.write(source.into, b"x")
    thread.join(30)
    end = items[-1]
    assert isinstance(end, End)
    assert end.stream == 7
    assert "internal error" in end.error
    assert source.closed.is_set()


def test_a_source_that_the_broker_left_does_not_report_its_end_again() -> None:
    source = PipeSource()
    source.fails = BrokerError(ENDED, "start nettop again")
    thread, items, _ = started(source)
    os.write(source.into, b"x")
    thread.join(30)
    assert isinstance(items[-1], End) and not items[-1].error


def test_what_the_kernel_has_at_stop_is_read() -> None:
    source = PipeSource()
    thread, items, _ = started(source, drain_ns=0, gather_ns=10_000_000_000)
    os.write(source.into, b"a")
    poll(lambda: items)  # it gathers now, for ten seconds
    os.write(source.into, b"b")
    thread.stop()
    thread.join(30)
    assert [item.seq for item in items] == [97, 98]


def test_failing_while_it_is_stopped_is_no_news() -> None:
    source = PipeSource()
    thread, items, _ = started(source, drain_ns=0, gather_ns=10_000_000_000)
    os.write(source.into, b"a")
    poll(lambda: items)
    source.fails = NettopError("the broker ended")
    os.write(source.into, b"b")
    thread.stop()
    thread.join(30)
    assert [item.seq for item in items] == [97]
