"""The recorder writes in the order of seq, keeps the keyframes, and says when it cannot write."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from nettop.batch import Counter64, DumpMark, Item
from nettop.errors import NettopError
from nettop.pipeline.recorder import KEYFRAME_EVERY_NS, Keyframes, Recorder
from tests.unit.pipeline.test_handoff import batch


class ListWriter:
    """Keeps what is written; fails after `limit` items."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.items: list[Item] = []
        self.limit = limit
        self.closed = False

    def write(self, items: Iterable[Item]) -> None:
        self.items += items
        if len(self.items) >= self.limit:
            raise NettopError("no space left on device", "free some, or record elsewhere")

    def close(self) -> None:
        self.closed = True


def test_items_of_two_threads_are_written_in_order_of_seq() -> None:
    writer = ListWriter()
    recorder = Recorder(writer, Counter64())
    even, odd = ([batch(s, n) for n in range(s, 100, 2)] for s in (0, 1))
    threads = [threading.Thread(target=recorder.put, args=(items,)) for items in (odd, even)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert [item.seq for item in writer.items] == list(range(100))
    assert writer.closed
    assert recorder.records == {0: 50, 1: 50}


def test_a_full_disk_is_reported_once_and_does_not_hang() -> None:
    said: list[str] = []
    recorder = Recorder(ListWriter(limit=3), Counter64(), said.append)
    recorder.put([batch(1, n) for n in range(10)])
    with pytest.raises(NettopError, match="no space left"):
        recorder.close()
    assert said == ["no space left on device: free some, or record elsewhere"]


def test_polling_dumps_are_written_as_keyframes_only() -> None:
    keyframes = Keyframes()

    def dump(ts: int) -> list[bool]:
        marks = DumpMark(1, 0, ts, "conntrack", True), batch(1, 1), DumpMark(1, 2, ts, "conntrack", False, True)
        return [keyframes.wanted(item) for item in marks]

    assert dump(0) == [True, True, True]
    assert dump(1_000_000_000) == [False, False, False]
    assert dump(KEYFRAME_EVERY_NS) == [True, True, True]
    keyframes.ask()
    assert dump(KEYFRAME_EVERY_NS + 1) == [True, True, True]


def test_dumps_that_are_not_polled_are_always_written() -> None:
    keyframes = Keyframes()
    for ts in (0, 1, 2):
        assert keyframes.wanted(DumpMark(1, 0, ts, "nft-tables", True))
        assert keyframes.wanted(DumpMark(1, 0, ts, "nft-tables", False, True))


def test_a_poll_that_comes_a_little_early_is_still_the_next_keyframe() -> None:
    keyframes = Keyframes(every_ns=2_000_000_000)
    marks = [DumpMark(1, 0, ts, "conntrack", True) for ts in (0, 1_000_000_000, 1_999_000_000)]
    assert [keyframes.wanted(mark) for mark in marks] == [True, False, True]
