"""Files as a person names them: what is refused, pipes, files that grow, shrink, or are bigger than a chunk."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest

from nettop.batch import Batch, Counter64, Item
from nettop.errors import InputError
from nettop.recording.chunks import CHUNK
from nettop.recording.reader import CaptureReader, open_reader
from nettop.recording.records import Numbering
from tests.unit.recording.handmade import block, end, epb, frames, idb, pcap, read, records, shb

PACKETS = [(i, 0, bytes([i % 256]) * (i % 1500)) for i in range(10_000)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello\n", "not a capture"),
        (b"\xd4", "not a capture"),
        (bytes(range(100)), "not a capture"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_line_with_what_to_do(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        open_reader(str(tmp_path / "f"))
    assert "name a pcap or pcapng file" in str(error.value) and "\n" not in str(error.value)


def test_a_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory"):
        open_reader(str(tmp_path))
    with pytest.raises(InputError, match="no such file"):
        open_reader(str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot open"):
        open_reader("nul\0byte")


def test_a_file_of_many_chunks_is_the_same_as_its_records(tmp_path: Path) -> None:
    data = pcap(PACKETS)
    assert len(data) > CHUNK
    items = read(data, tmp_path / "f")
    assert frames(items) == [d for _, _, d in PACKETS]
    ng = shb() + idb() + b"".join(epb(d, i) for i, (_, _, d) in enumerate(PACKETS))
    items = read(ng, tmp_path / "g")
    assert [(t, d) for _, t, d in records(items)] == [(i * 1000, d) for i, (_, _, d) in enumerate(PACKETS)]
    assert end(items).error == ""


def test_a_block_longer_than_a_chunk_is_passed_over(tmp_path: Path) -> None:
    items = read(shb() + idb() + block(0x77, bytes(CHUNK + 100)) + epb(b"after"), tmp_path / "f")
    assert frames(items) == [b"after"]


@pytest.mark.parametrize("size", [CHUNK, CHUNK + 100, 2 * CHUNK])
def test_a_block_that_claims_more_than_a_big_file_holds_is_damage(size: int, tmp_path: Path) -> None:
    before = shb() + idb() + epb(b"one")
    items = read(before + struct.pack("<II", 6, 100 << 20) + bytes(size), tmp_path / "f")
    assert frames(items) == [b"one"]
    assert end(items).offset == len(before)


def numbering() -> Numbering:
    return Numbering(Counter64().next, Counter64().next, seekable=False)


def test_a_pipe_gives_packets_as_soon_as_they_are_whole() -> None:
    out, into = os.pipe()
    reader = CaptureReader(out, "-", numbering())
    data = pcap([(1, 0, b"first"), (2, 0, b"second")])
    got: list[Item] = []
    for piece in (data[:3], data[3:30], data[30:45], data[45:60], data[60:]):
        os.write(into, piece)
        got += reader.read()
    assert frames(got) == [b"first", b"second"]
    os.close(into)
    got += [item for _ in range(3) for item in reader.read()]
    assert end(got).error == "" and reader.ended
    assert all(item.meta.file_off is None for item in got if isinstance(item, Batch))  # type: ignore[union-attr]
    reader.close()


def test_a_pipe_that_is_not_a_capture_is_refused_and_an_empty_one_too() -> None:
    for content in (b"", b"plain text\n"):
        out, into = os.pipe()
        os.write(into, content)
        os.close(into)
        reader = CaptureReader(out, "-", numbering())
        with pytest.raises(InputError):
            list(reader)
        reader.close()


def test_a_large_recording_comes_through_a_pipe_unchanged() -> None:
    out, into = os.pipe()
    data = pcap(PACKETS)

    def feed() -> None:
        with open(into, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    reader = CaptureReader(out, "-", numbering())
    items = list(reader)
    thread.join()
    reader.close()
    assert frames(items) == [d for _, _, d in PACKETS]


def test_a_file_that_grows_meanwhile_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    data = pcap(PACKETS)
    path.write_bytes(data[: CHUNK + 1000])
    reader = open_reader(str(path))
    got = reader.read()
    path.write_bytes(data)
    got += list(reader)
    assert frames(got) == [d for _, _, d in PACKETS] and end(got).error == ""
    reader.close()


def test_a_file_that_shrinks_while_read_ends_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(pcap(PACKETS))
    reader = open_reader(str(path))
    got = reader.read()
    os.truncate(path, 100)
    got += list(reader)
    assert len(frames(got)) > 1000
    assert "cut" in end(got).error or end(got).error == ""
    reader.close()
