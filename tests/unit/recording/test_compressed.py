"""Compressed captures: the same packets as from the plain file, and damage in the compression named with its place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from nettop.errors import InputError
from nettop.recording.compressed import PIECE, Decompression
from nettop.recording.reader import open_reader
from tests.unit.recording.handmade import end, frames, pcap, read

Compress = Callable[[bytes], bytes]
KINDS: dict[str, Compress] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}
EACH = pytest.mark.parametrize("compress", KINDS.values(), ids=KINDS.keys())
PACKETS = [(i, i, i.to_bytes(4, "big") * (i % 300)) for i in range(3000)]
PLAIN = pcap(PACKETS)


@EACH
def test_the_packets_are_those_of_the_plain_file(compress: Compress, tmp_path: Path) -> None:
    items = read(compress(PLAIN), tmp_path / "c")
    assert frames(items) == [d for _, _, d in PACKETS]
    assert end(items).error == ""


@EACH
def test_members_one_after_another_are_one_file(compress: Compress, tmp_path: Path) -> None:
    items = read(compress(PLAIN[:1000]) + compress(PLAIN[1000:]), tmp_path / "c")
    assert frames(items) == [d for _, _, d in PACKETS]
    assert end(items).error == ""


@EACH
def test_a_cut_gives_what_was_there_and_names_the_compression(compress: Compress, tmp_path: Path) -> None:
    data = compress(PLAIN)
    items = read(data[:-3], tmp_path / "c")
    got = frames(items)
    assert got == [d for _, _, d in PACKETS][: len(got)]
    assert "data ends too early" in end(items).error


@EACH
def test_what_is_inside_must_be_a_capture(compress: Compress, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(compress(b"hello world\n" * 100))
    with pytest.raises(InputError, match="holds no capture"):
        open_reader(str(tmp_path / "c"))


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"])
def test_garbage_behind_a_magic_number_is_refused(magic: bytes, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(magic + b"\xff\x13garbage" * 50)
    with pytest.raises(InputError, match="holds no capture"):
        open_reader(str(tmp_path / "c"))


@EACH
def test_a_bomb_is_given_in_small_pieces(compress: Compress) -> None:
    bomb = compress(bytes(100 << 20))
    one = Decompression(next(name for name, c in KINDS.items() if c is compress))
    sizes = [len(piece) for piece in one.feed(bomb)]
    one.finish()
    assert sum(sizes) == 100 << 20
    assert max(sizes) <= PIECE + (16 << 20)
    assert one.error == ""


@pytest.mark.parametrize(("name", "module"), [("zstd", "zstandard"), ("lz4", "lz4.frame")])
def test_without_its_package_the_extra_is_named(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "c").write_bytes(KINDS[name](PLAIN))
    with pytest.raises(InputError, match=r"nettop\[compression\]"):
        open_reader(str(tmp_path / "c"))
