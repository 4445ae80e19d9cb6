"""A recording played again: at its own pace, at another, paused, or as fast as it goes. The clock is the test's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nettop.batch import Batch, Counter64, DumpMark, End, Item, PacketMeta, StreamAdded
from nettop.errors import InputError
from nettop.sources.replay import MAX_WAIT_NS, SLICE_NS, ReplaySource
from tests.unit.recording import items as run
from tests.unit.recording.handmade import cooked, epb, idb, pcap, shb

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * MS

    def __call__(self) -> int:
        return self.now


def capture(path: Path, times_ms: list[int]) -> str:
    path.write_bytes(shb() + idb("<", (9, b"\x09")) + b"".join(epb(b"%d" % t, t * MS) for t in times_ms))
    return str(path)


def source(path: str, clock: Clock, speed: float | None = 1.0) -> ReplaySource:
    return ReplaySource(path, speed, counter=Counter64(), stream_id=Counter64().next, clock=clock)


def given(items: list[Item]) -> list[int]:
    """The times, in ms, of the records given."""
    return [int(t) // MS for item in items if isinstance(item, Batch) for t in item.ts_ns]


def drain(replay: ReplaySource, clock: Clock) -> list[tuple[int, int]]:
    """(clock, record time) in ms of every record, moving the clock to whatever is due next."""
    seen = []
    while not replay.ended:
        due = replay.due_ns()
        assert due is not None
        clock.now = max(clock.now, due)
        seen += [(clock.now // MS - 1000, t) for t in given(replay.read(1 << 20))]
    return seen


def test_records_come_at_their_recorded_pace(tmp_path: Path) -> None:
    clock = Clock()
    replay = source(capture(tmp_path / "f", [500, 510, 1500, 1501, 3000]), clock)
    assert given(replay.read(1 << 20)) == [500]
    assert given(replay.read(1 << 20)) == []
    assert replay.due_ns() == clock.now + 10 * MS
    clock.now += 9 * MS
    assert given(replay.read(1 << 20)) == []
    assert drain(replay, clock) == [(10, 510), (1000, 1500), (1001, 1501), (2500, 3000)]
    replay.close()


@pytest.mark.parametrize("speed", [0.5, 4.0])
def test_another_speed_stretches_the_pace(tmp_path: Path, speed: float) -> None:
    clock = Clock()
    replay = source(capture(tmp_path / "f", [7, 107, 207]), clock, speed)
    assert drain(replay, clock) == [(int((t - 7) / speed), t) for t in (7, 107, 207)]
    replay.close()


def test_packets_that_alternate_with_netlink_messages_keep_the_pace_of_both(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "f"
    both = b"".join(epb(b"p", t * MS) + epb(cooked(b"m"), t * MS, interface=1) for t in range(500, 9000, 100))
    path.write_bytes(shb() + idb("<", (9, b"\x09")) + idb("<", (9, b"\x09"), link=253) + both)
    replay = source(str(path), clock)
    assert drain(replay, clock) == [(t - 500, t) for t in range(500, 9000, 100) for _ in range(2)]
    replay.close()


def test_without_pacing_everything_comes_at_once_in_order(tmp_path: Path) -> None:
    clock = Clock()
    replay = source(capture(tmp_path / "f", [0, 5_000_000, 10]), clock, None)
    items = replay.read(1 << 20)
    assert given(items) == [0, 5_000_000, 10]
    assert isinstance(items[0], StreamAdded) and isinstance(items[-1], End) and replay.ended
    assert [item.seq for item in items] == list(range(len(items)))
    replay.close()


def test_a_late_reader_gets_slices_of_at_most_50_ms(tmp_path: Path) -> None:
    clock = Clock()
    replay = source(capture(tmp_path / "f", list(range(0, 400, 10))), clock)
    items = replay.read(1 << 20)
    clock.now += 10_000 * MS
    items += replay.read(1 << 20)
    batches = [item for item in items if isinstance(item, Batch)]
    assert given(items) == list(range(0, 400, 10))
    assert all(int(b.ts_ns[-1] - b.ts_ns[0]) <= SLICE_NS for b in batches) and len(batches) >= 8
    assert [item.seq for item in items] == list(range(len(items)))
    numbers = [n for b in batches if isinstance(b.meta, PacketMeta) for n in b.meta.number.tolist()]  # type: ignore[union-attr]
    assert numbers == list(range(1, 41))
    replay.close()


def test_a_pause_holds_recorded_time(tmp_path: Path) -> None:
    clock = Clock()
    replay = source(capture(tmp_path / "f", [7, 107, 207]), clock)
    assert given(replay.read(1 << 20)) == [7]
    clock.now += 50 * MS
    replay.pause(True)
    clock.now += 5000 * MS
    assert replay.due_ns() is None and replay.read(1 << 20) == []
    replay.pause(False)
    assert replay.due_ns() == clock.now + 50 * MS
    clock.now += 50 * MS
    assert given(replay.read(1 << 20)) == [107]
    assert replay.due_ns() == clock.now + 100 * MS
    clock.now += 100 * MS
    assert given(replay.read(1 << 20)) == [207]
    replay.close()


def test_a_long_silence_is_cut_and_time_that_goes_back_a_little_does_not_wait(tmp_path: Path) -> None:
    clock = Clock()
    year = 365 * 86_400_000
    replay = source(capture(tmp_path / "f", [1, year, year + 5, year + 3, year + 10]), clock)
    seen = drain(replay, clock)
    wait = MAX_WAIT_NS // MS
    assert seen == [(0, 1), *((wait + at, year + t) for at, t in ((0, 0), (5, 5), (5, 3), (10, 10)))]
    replay.close()


def test_a_clock_that_stepped_back_goes_on_at_its_pace(tmp_path: Path) -> None:
    clock = Clock()
    hour = 3_600_000
    replay = source(capture(tmp_path / "f", [hour, hour + 100, 1000, 1100, 1200]), clock)
    assert drain(replay, clock) == [(0, hour), (100, hour + 100), (100, 1000), (200, 1100), (300, 1200)]
    replay.close()


def test_garbage_timestamps_neither_wait_for_ever_nor_overflow(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(
        shb() + idb("<", (9, b"\0")) + b"".join(epb(b"x", t) for t in (0, 1 << 63, (1 << 64) - 1, 5))
    )
    clock = Clock()
    replay = source(str(tmp_path / "f"), clock, 0.001)
    assert len(drain(replay, clock)) == 4
    assert clock.now <= 1000 * MS + 4 * MAX_WAIT_NS
    replay.close()


def test_marks_come_at_their_time_between_the_batches(tmp_path: Path) -> None:
    length = np.array([1], np.uint32)
    some: list[Item] = [
        DumpMark(2, 0, 100 * MS, "conntrack", True),
        Batch(0, 0, b"x", length - 1, length, np.array([200 * MS]), PacketMeta(length)),
        DumpMark(2, 0, 300 * MS, "conntrack", False, True),
    ]
    run.record(tmp_path / "r", some)
    clock = Clock()
    replay = source(str(tmp_path / "r"), clock)
    seen = []
    while not replay.ended:
        due = replay.due_ns()
        assert due is not None
        clock.now = max(clock.now, due)
        seen += [(clock.now // MS - 1000, type(i).__name__) for i in replay.read(1) if not isinstance(i, StreamAdded)]
    assert seen[:3] == [(0, "DumpMark"), (100, "Batch"), (200, "DumpMark")]
    replay.close()


def test_two_files_share_one_numbering(tmp_path: Path) -> None:
    counter, ids, clock = Counter64(), Counter64(), Clock()
    paths = [capture(tmp_path / name, [1]) for name in "ab"]
    both = [ReplaySource(p, None, counter=counter, stream_id=ids.next, clock=clock) for p in paths]
    items = [item for replay in both for item in replay.read(1 << 20)]
    assert [item.seq for item in items] == list(range(len(items)))
    assert [(i.stream.id, i.stream.file) for i in items if isinstance(i, StreamAdded)] == [(0, paths[0]), (1, paths[1])]
    for replay in both:
        replay.close()


def test_a_pipe_is_waited_for_and_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    before = os.dup(0)
    os.dup2(out, 0)
    os.close(out)
    try:
        replay = source("-", Clock(), None)
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert replay.fileno() is not None and replay.due_ns() is None
    os.write(into, pcap([(1, 0, b"first")]))
    assert given(replay.read(1 << 20)) == [1000]
    assert replay.fileno() is not None and not replay.ended
    os.write(into, pcap([(2, 0, b"second")])[24:])
    os.close(into)
    items = replay.read(1 << 20) + replay.read(1 << 20)
    assert given(items) == [2000] and replay.ended
    replay.close()


def test_what_is_no_capture_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    with pytest.raises(InputError):
        source(str(tmp_path / "f"), Clock())


def test_a_clock_that_goes_on_between_two_looks_does_not_hold_the_replay(tmp_path: Path) -> None:
    class Going(Clock):
        def __call__(self) -> int:
            self.now += 1000
            return self.now

    replay = source(capture(tmp_path / "f", [500, 501]), Going())
    assert given(replay.read(1 << 20))[:1] == [500]
