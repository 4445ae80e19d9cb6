"""Compressed captures: the same packets as from the plain file, and damage in the compression named with its place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from nettop.batch import Item
from nettop.errors import InputError
from nettop.recording.compressed import PIECE, Decompression
from nettop.recording.reader import open_reader
from tests.unit.recording.handmade import decode_chunks, end, frames, pcap, read

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


def _by_hand(compress: Compress, damaged: bytes) -> bytes:
    """All that the library gives of damaged data, fed a byte at a time and asked for a byte at a time."""
    run, found = Decompression(next(name for name, one in KINDS.items() if one is compress)), b""
    for at in range(len(damaged)):
        found += b"".join(run.feed(damaged[at : at + 1], lambda: 1))
    return found


FEW = pcap([(i, i, bytes([i, i * 7 % 256]) * 30) for i in range(60)])


@EACH
@pytest.mark.parametrize("piped", [False, True])
def test_damage_anywhere_costs_nothing_that_still_decompresses(compress: Compress, piped: bool, tmp_path: Path) -> None:
    whole = compress(FEW)
    for at in [*range(12, len(whole), max(1, len(whole) // 12)), len(whole) - 1, len(whole) - 6]:
        damaged = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        plain = _by_hand(compress, damaged)
        if len(plain) < 24 or plain[:4] != FEW[:4]:
            continue
        expected = frames(decode_chunks(plain))
        items = _read_piped(damaged) if piped else read(damaged, tmp_path / "c")
        assert frames(items) == expected, at
        last = end(items)
        if len(plain) < len(FEW):
            assert last.error
        if "is damaged" in last.error:
            assert last.offset is not None and last.offset < len(damaged)


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2", "lz4"])
def test_a_wrong_checksum_at_the_end_loses_no_packet(name: str, tmp_path: Path) -> None:
    whole = KINDS[name](FEW) if name != "lz4" else lz4.frame.compress(FEW, content_checksum=True)
    back = {"gzip": 8, "xz": 25, "bzip2": 5, "lz4": 1}[name]
    at = len(whole) - back
    items = read(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], tmp_path / "c")
    assert frames(items) == frames(decode_chunks(FEW))
    assert end(items).error and abs((end(items).offset or 0) - at) <= 64


def test_the_offset_of_damage_is_where_the_data_is_wrong(tmp_path: Path) -> None:
    """A block of the reserved type (RFC 1951: BTYPE 11) after a stored one: its first byte is wrong."""
    stored = b"\x00" + struct.pack("<HH", len(FEW), len(FEW) ^ 0xFFFF) + FEW
    data = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + stored + b"\x07" + bytes(40)
    items = read(data, tmp_path / "c")
    assert frames(items) == frames(decode_chunks(FEW))
    assert end(items).offset == 10 + len(stored)


def test_a_cut_is_reported_at_the_end_of_the_file(tmp_path: Path) -> None:
    data = gzip.compress(PLAIN)[:-9]
    assert end(read(data, tmp_path / "c")).offset == len(data)


def _read_piped(data: bytes) -> list[Item]:
    receiver, sender = os.pipe()
    writing = threading.Thread(target=lambda: (os.write(sender, data), os.close(sender)))
    writing.start()
    reader = open_reader("-", fd=receiver)
    items = list(reader)
    reader.close()
    writing.join()
    return items
