"""Blocks of a TPACKET_V3 ring, built by hand after linux/if_packet.h, as columns."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nettop.linux.packet import TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID
from nettop.sources.tpacket import frames_of

NO_LIMIT = 262_144
MACS = bytes(range(12))


@dataclass
class Frame:
    data: bytes
    wirelen: int
    seconds: int = 1_700_000_000
    nsec: int = 5
    status: int = 1
    tci: int = 0
    tpid: int = 0
    direction: int = 0


def block_of(frames: list[Frame]) -> bytearray:
    """The block as the kernel lays it out: frames 8-byte aligned, the network header 16-byte aligned."""
    body = b""
    for number, frame in enumerate(frames):
        mac = 82
        size = (mac + len(frame.data) + 7) // 8 * 8
        following = size if number + 1 < len(frames) else 0
        head = struct.pack(
            "=IIIIIIHHIIHH8x", following, frame.seconds, frame.nsec, len(frame.data), frame.wirelen, frame.status,
            mac, mac + 14, 0, frame.tci, frame.tpid, 0,
        )  # fmt: skip
        link = struct.pack("=HHiHBB8s", 17, 0, 2, 1, frame.direction, 6, b"\0" * 8)
        body += (head + link).ljust(mac, b"\xee") + frame.data + bytes(size - mac - len(frame.data))
    header = struct.pack("=IIIIII24x", 1, 48, 1, len(frames), 48, 48 + len(body))
    return bytearray(header + body)


frames = st.lists(
    st.builds(
        Frame,
        data=st.binary(min_size=14, max_size=120),
        wirelen=st.integers(14, 2**31),
        seconds=st.integers(0, 2**32 - 1),
        nsec=st.integers(0, 999_999_999),
        direction=st.integers(0, 7),
    ),
    max_size=30,
)


@given(frames, st.integers(1, 200))
def test_columns_are_what_was_laid_out(made: list[Frame], snaplen: int) -> None:
    block = block_of(made)
    got = frames_of(block, snaplen, ethernet=True)
    cut = [bytes(block[o : o + n]) for o, n in zip(got.off.tolist(), got.caplen.tolist(), strict=True)]
    assert cut == [one.data[:snaplen] for one in made]
    assert got.wirelen.tolist() == [one.wirelen for one in made]
    assert got.ts_ns.tolist() == [one.seconds * 10**9 + one.nsec for one in made]
    assert got.direction.tolist() == [one.direction for one in made]
    assert (got.off.dtype, got.caplen.dtype, got.ts_ns.dtype) == (np.uint32, np.uint32, np.int64)


def test_a_stripped_tag_is_put_back_and_its_neighbours_stay() -> None:
    known = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID
    made = [
        Frame(MACS + b"\x08\x00first", 19),
        Frame(MACS + b"\x08\x00tagged", 20, status=known, tci=0x2005, tpid=0x88A8),
        Frame(MACS + b"\x08\x00old kernel", 24, status=TP_STATUS_VLAN_VALID, tci=7),
        Frame(MACS + b"\x08\x00last", 18),
    ]
    block = block_of(made)
    got = frames_of(block, NO_LIMIT, ethernet=True)
    data = [bytes(block[o : o + n]) for o, n in zip(got.off.tolist(), got.caplen.tolist(), strict=True)]
    assert data == [
        MACS + b"\x08\x00first",
        MACS + b"\x88\xa8\x20\x05\x08\x00tagged",
        MACS + b"\x81\x00\x00\x07\x08\x00old kernel",
        MACS + b"\x08\x00last",
    ]
    assert got.wirelen.tolist() == [19, 24, 28, 18]


def test_the_tag_counts_against_the_snaplen() -> None:
    block = block_of([Frame(MACS + bytes(50), 100, status=TP_STATUS_VLAN_VALID, tci=7)])
    got = frames_of(block, 20, ethernet=True)
    assert got.caplen.tolist() == [20]
    assert got.wirelen.tolist() == [104]


def test_other_link_types_have_no_tags() -> None:
    block = block_of([Frame(b"E" * 40, 40, status=TP_STATUS_VLAN_VALID, tci=7)])
    got = frames_of(block, NO_LIMIT, ethernet=False)
    assert got.caplen.tolist() == [40]


def test_a_block_may_be_empty() -> None:
    assert len(frames_of(block_of([]), NO_LIMIT, ethernet=True)) == 0
