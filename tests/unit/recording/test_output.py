"""Where blocks go: pipes that take a little at a time or close, disks that fill up, files that rotate."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nettop.batch import Batch, Counters, Item, PacketMeta, StreamAdded
from nettop.errors import NettopError
from nettop.recording.output import BlockOutput, OutputClosed
from nettop.recording.rotation import Limits, RecordingFiles, numbered
from nettop.recording.writer import RecordingWriter
from tests.unit.recording import items as run
from tests.unit.recording.handmade import decode_chunks, end, frames, read, streams


def batch(*data: bytes, ts: int = 0) -> Batch:
    length = np.array([len(d) for d in data], np.uint32)
    off = (np.cumsum(length) - length).astype(np.uint32)
    return Batch(0, 0, b"".join(data), off, length, np.full(len(data), ts, np.int64), PacketMeta(length))


def file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def test_header_and_interfaces_are_there_before_the_first_packet(tmp_path: Path) -> None:
    writer = RecordingWriter(file(tmp_path / "r"), run.STREAMS)
    items = decode_chunks((tmp_path / "r").read_bytes())
    assert [s.name for s in streams(items)] == [s.name for s in run.STREAMS]
    assert end(items).error == ""
    writer.close()


def test_a_slow_pipe_gets_every_byte() -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    got = bytearray()

    def drain() -> None:
        while data := os.read(out, 4096):
            got.extend(data)

    thread = threading.Thread(target=drain)
    thread.start()
    output = BlockOutput(into)
    output.write([bytes([i % 256]) * 1000 for i in range(3000)])
    output.close()
    thread.join()
    assert bytes(got) == b"".join(bytes([i % 256]) * 1000 for i in range(3000))
    os.close(out)


def test_a_reader_that_went_away_is_told_apart_from_a_failure() -> None:
    out, into = os.pipe()
    writer = RecordingWriter(into, [run.PACKETS])
    os.close(out)
    with pytest.raises(OutputClosed):
        writer.write([batch(b"x")])
    with pytest.raises(OutputClosed):
        writer.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(into)


def test_a_full_disk_says_what_to_do_and_leaves_a_whole_recording(tmp_path: Path) -> None:
    """A limit on the file's size stands for the disk: write() is cut short in the same way."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = RecordingWriter(file(tmp_path / "r"), [run.PACKETS])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(NettopError, match="cannot write the recording") as error:
            for _ in range(100):
                writer.write([batch(b"y" * 999)])
        with pytest.raises(NettopError):
            writer.write([batch(b"y" * 9990)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
        writer.close()
    assert error.value.remedy
    items = read((tmp_path / "r").read_bytes(), tmp_path / "copy")
    assert end(items).error == ""
    assert set(frames(items)) == {b"y" * 999} and len(frames(items)) == 48


def test_no_space_on_the_device_is_named() -> None:
    with pytest.raises(NettopError, match="no space left on device: free some space"):
        BlockOutput(os.open("/dev/full", os.O_WRONLY)).write([b"x"])


def test_an_item_of_a_stream_that_was_never_added_is_a_mistake(tmp_path: Path) -> None:
    writer = RecordingWriter(file(tmp_path / "r"))
    with pytest.raises(ValueError, match="never added"):
        writer.write([batch(b"x")])
    writer.write([StreamAdded(run.PACKETS, 0), StreamAdded(run.PACKETS, 1), batch(b"x")])
    writer.close()
    items = decode_chunks((tmp_path / "r").read_bytes())
    assert frames(items) == [b"x"] and len(streams(items)) == 1


@pytest.mark.parametrize(
    "lengths", [[0], [1, 2, 3, 4, 5, 0, 0, 7], [60] * 50, [1514, 54, 9000, 65535, 0, 1], [1 << 17]]
)
def test_frames_of_any_mix_of_lengths_are_copied_exactly(lengths: list[int], tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    data = [rng.bytes(n) for n in lengths]
    writer = RecordingWriter(file(tmp_path / "r"), [run.PACKETS])
    writer.write([batch(*data)])
    writer.close()
    assert frames(decode_chunks((tmp_path / "r").read_bytes())) == data


def test_what_pads_a_frame_is_zero(tmp_path: Path) -> None:
    """Else bytes of freed memory would go into the file."""
    for n in range(1, 200):
        path = tmp_path / str(n)
        writer = RecordingWriter(file(path), [run.PACKETS])
        before = writer.written
        writer.write([batch(b"\xff" * n, b"\xff" * (n + 1))])
        blocks = path.read_bytes()[before:]
        writer.close()
        assert blocks[28 + n : 28 + n + (-n % 4)] == bytes(-n % 4)


def rotate(tmp_path: Path, limits: Limits, times: list[int]) -> list[list[Item]]:
    """The items of each file after a batch of one 600-byte frame at each of the times."""
    clock = iter([0, 0, *times])
    writer = RecordingFiles(lambda name: file(tmp_path / name), "r.pcapng", lambda: next(clock), limits)
    writer.write([StreamAdded(run.PACKETS, 0), StreamAdded(run.TEXTS, 0), Counters(0, 0, 0, 10, 1)])
    for now in times:
        writer.write([batch(b"z" * 600, ts=now)])
    writer.close()
    return [decode_chunks(path.read_bytes()) for path in sorted(tmp_path.glob("r-*.pcapng"))]


def test_each_rotated_file_is_a_recording_of_its_own(tmp_path: Path) -> None:
    files = rotate(tmp_path, Limits(size=2500), list(range(20)))
    assert len(files) > 3
    assert sum(len(frames(items)) for items in files) == 20
    for items in files:
        assert [s.name for s in streams(items)] == ["eth0", "text"]
        assert end(items).error == ""
        assert [(i.received, i.dropped) for i in items if isinstance(i, Counters)] == [(10, 1)]


def test_rotation_by_age_begins_a_file_when_the_time_is_over(tmp_path: Path) -> None:
    files = rotate(tmp_path, Limits(age_ns=10), [0, 5, 9, 10, 12, 25])
    assert [len(frames(items)) for items in files] == [3, 2, 1]


def test_joined_rotated_files_are_one_recording(tmp_path: Path) -> None:
    rotate(tmp_path, Limits(age_ns=10), [0, 15, 30])
    joined = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("r-*.pcapng")))
    items = read(joined, tmp_path / "joined")
    assert len(frames(items)) == 3
    assert [s.name for s in streams(items)] == ["eth0", "text"]


def test_numbered_names_sort_and_keep_the_suffix() -> None:
    assert numbered("dir.d/out.pcapng", 7) == "dir.d/out-00007.pcapng"
    assert numbered("out", 12) == "out-00012"


def test_a_file_that_is_removed_while_it_is_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    path = tmp_path / "r.pcapng"
    for closes in (True, False):
        output = BlockOutput(os.open(path, os.O_RDWR | os.O_CREAT), "r.pcapng")
        output.write([b"1"])
        path.rename(tmp_path / "moved.pcapng")
        now[0] += 2_000_000_000
        output.write([b"2"])  # it has a name, though another one
        (tmp_path / "moved.pcapng").unlink()
        now[0] += 2_000_000_000
        with pytest.raises(NettopError, match=r"r\.pcapng was removed while it was written"):
            output.close() if closes else output.write([])


def test_a_file_without_a_name_from_the_start_is_none_that_was_removed(tmp_path: Path) -> None:
    output = BlockOutput(os.open(tmp_path, os.O_RDWR | os.O_TMPFILE))
    output.write([b"1"])
    output.close()
