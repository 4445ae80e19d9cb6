"""The plumbing tells a new recorder of the streams there are, and starts nothing once it has been told to end."""

from __future__ import annotations

import threading

from nettop.batch import Counter64, End, Item, Stream, StreamAdded
from nettop.kinds import StreamKind
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.recorder import Recorder
from tests.kernel.namespaces import poll
from tests.unit.pipeline.test_handoff import batch
from tests.unit.pipeline.test_recorder import ListWriter


class OneStream:
    """A source that announces its stream and then stands by, or ends."""

    def __init__(self, stream: int, ends: bool = False) -> None:
        self._items: list[Item] = [StreamAdded(Stream(stream, StreamKind.NETLINK, "conntrack"), stream)]
        if ends:
            self._items.append(End(stream, stream))
        self.closed = threading.Event()

    def fileno(self) -> None:
        return None

    def due_ns(self) -> int | None:
        return 0 if self._items else None

    def read(self, max_bytes: int) -> list[Item]:
        items, self._items = self._items, []
        return items

    def losses(self) -> list[Item]:
        return []

    def close(self) -> None:
        self.closed.set()


def streams_told(plumbing: Plumbing) -> list[int]:
    """What a recorder that begins now is told."""
    writer = ListWriter()
    recorder = Recorder(writer, Counter64())
    plumbing.record(recorder)
    plumbing.stop_recording()
    recorder.close()
    return [item.stream.id for item in writer.items if isinstance(item, StreamAdded)]


def test_streams_that_are_over_are_not_in_a_later_recording() -> None:
    plumbing = Plumbing()
    stopped = plumbing.start(OneStream(1), "stopped", stream=1)
    plumbing.start(OneStream(2), "runs", stream=2)
    ended = plumbing.start(OneStream(3, ends=True), "ended", stream=3)
    poll(lambda: len(plumbing._streams) == 2 and not ended.is_alive())
    plumbing.stop([stopped])
    assert streams_told(plumbing) == [2]
    plumbing.close()


def test_a_source_that_comes_too_late_is_closed() -> None:
    plumbing = Plumbing()
    plumbing.close()
    source = OneStream(1)
    thread = plumbing.start(source, "late")
    thread.join(30)
    assert source.closed.is_set()
    assert plumbing.handoff.get(0)[1] == []


def test_close_ends_a_source_that_waits_for_room_and_may_come_twice() -> None:
    plumbing = Plumbing(limit=100)
    writer = threading.Thread(target=plumbing.put, args=([batch(1, n) for n in range(5)], True))
    writer.start()
    plumbing.close()
    plumbing.close()
    writer.join(30)
    assert not writer.is_alive()
