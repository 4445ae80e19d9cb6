"""Capture files made of frames, and the packet list that shows one."""

from __future__ import annotations

import struct
from pathlib import Path

from nettop.model.filter.expression import parse
from nettop.model.packets.table import PacketModel
from nettop.model.table import ViewSpec
from nettop.recording.reader import open_reader


def write_pcap(path: Path, frames: list[bytes], snaplen: int = 65535, link: int = 1) -> Path:
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link))
        for number, frame in enumerate(frames):
            kept = frame[:snaplen]
            out.write(struct.pack("<IIII", 1_700_000_000 + number, number, len(kept), len(frame)) + kept)
    return path


def listed(
    path: Path, columns: tuple[str, ...], expression: str = "", first: int = 0, height: int = 1000
) -> list[tuple[str, ...]]:
    """The cells of the packet list, whose bytes remain in the file."""
    model = PacketModel()
    reader = open_reader(str(path))
    while not reader.ended:
        for item in reader.read():
            model.apply(item, 0, 0)
    reader.close()
    spec = ViewSpec(columns, first, height, parse(expression, "packet"))
    snapshot = model.snapshot(spec, 1 << 62)
    model.close()
    return [row.cells for row in snapshot.rows]
