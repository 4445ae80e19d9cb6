"""The recorder writes in the order of seq, keeps the keyframes, and says when it cannot write."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from nettop.batch import Counter64, Gap, Item
from nettop.errors import NettopError
from nettop.kinds import GapReason
from nettop.pipeline import recorder as recorder_module
from nettop.pipeline.recorder import Recorder
from tests.kernel.namespaces import poll
from tests.unit.pipeline.test_handoff import batch


class ListWriter:
    """Keeps what is written; fails after `limit` items."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.items: list[Item] = []
        self.limit = limit
        self.bug: Exception | None = None
        self.turns = 0
        self.closed = False

    def write(self, items: Iterable[Item]) -> None:
        if self.bug:
            raise self.bug
        self.items += items
        self.turns += 1
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


def test_an_item_that_comes_a_turn_late_still_stands_in_its_place() -> None:
    writer = ListWriter()
    recorder = Recorder(writer, Counter64())
    recorder.put([batch(1, 1), batch(1, 2)])
    poll(lambda: writer.turns >= 1)  # a turn has passed since
    recorder.put([batch(2, 0)])  # its thread took the number first, and was slow to put it
    recorder.close()
    assert [item.seq for item in writer.items] == [0, 1, 2]


def test_after_a_failure_the_thread_is_gone_the_file_closed_and_nothing_kept() -> None:
    writer = ListWriter(limit=1)
    recorder = Recorder(writer, Counter64())
    recorder.put([batch(1, 0)])
    poll(lambda: recorder.error)
    poll(lambda: not recorder._thread.is_alive())
    assert writer.closed
    recorder.put([batch(1, n) for n in range(1, 100)])
    assert not recorder._queue._items
    with pytest.raises(NettopError):
        recorder.close()


def test_a_bug_in_the_writer_is_said_too() -> None:
    writer = ListWriter()
    writer.bug = ValueError("stream 7 was never added")
    said: list[str] = []
    recorder = Recorder(writer, Counter64(), said.append)
    with pytest.raises(NettopError, match="never added"):
        recorder.close()
    assert len(said) == 1


def test_what_the_recorder_has_no_room_for_is_its_own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_BYTES", 5000)
    writer = ListWriter()
    recorder = Recorder(writer, Counter64())
    recorder.put([batch(1, n, records=3) for n in range(20)])
    recorder.close()
    written = sum(recorder.records.values())
    assert [gap.why for gap in recorder.gaps] == [GapReason.RECORDER]
    assert written + (recorder.gaps[0].lost or 0) == 60
    assert sum(item.lost or 0 for item in writer.items if isinstance(item, Gap)) == recorder.gaps[0].lost
