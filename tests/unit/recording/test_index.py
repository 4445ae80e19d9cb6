"""Random access to the frames of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nettop.errors import InputError
from nettop.recording.index import frames_of
from nettop.recording.reader import Reader, open_reader
from nettop.recording.records import Numbering
from tests.unit.recording.handmade import epb, idb, pcap, shb

DATA = [bytes([i % 251]) * (i % 900) for i in range(20_000)]


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_every_frame_is_found_again_and_the_first_chunk_is_usable_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    if kind == "pcap":
        path.write_bytes(pcap([(i, 0, d) for i, d in enumerate(DATA)]))
    else:
        path.write_bytes(shb() + idb() + b"".join(epb(d, i * 1_000_000, wire=2000) for i, d in enumerate(DATA)))
    reader = open_reader(str(path))
    with frames_of(str(path)) as index:
        first = index.add(reader.read())
        assert 0 < first < len(DATA)
        assert index.frame(first - 1) == DATA[first - 1]
        index.add(reader)
        assert len(index) == len(DATA)
        assert [index.frame(i) for i in range(0, len(DATA), 37)] == DATA[::37]
        assert index["caplen"].tolist() == [len(d) for d in DATA]
        assert index["ts_ns"].tolist() == [i * 10**9 for i in range(len(DATA))]
        assert index["number"].tolist() == list(range(1, len(DATA) + 1))
        assert set(index["stream"].tolist()) == {0}
    reader.close()


def test_a_pipe_cannot_be_indexed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="save it"), frames_of("-"):
        pass
    out, into = os.pipe()
    os.write(into, pcap([(1, 0, b"x")]))
    os.close(into)
    reader = Reader(out, "-", Numbering(lambda: 0, lambda: 0, seekable=False))
    (tmp_path / "f").write_bytes(b"")
    with frames_of(str(tmp_path / "f")) as index, pytest.raises(ValueError, match="does not say"):
        index.add(reader)
    reader.close()
