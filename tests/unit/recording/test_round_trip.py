"""What is written is what is read; and hostile changes to it never crash or hang the reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nettop.batch import Batch, Counters, DumpMark, End, Gap, Item, PacketMeta, Text
from nettop.errors import InputError
from nettop.kinds import GapReason, StreamKind, TextKind
from nettop.recording import blocks, interfaces
from nettop.recording import marks as module
from tests.profiles import examples
from tests.unit.recording import items as run
from tests.unit.recording.handmade import cooked, decode_chunks, end, epb, idb, pcap, read, shb


def _recording() -> bytes:
    heads = b"".join(interfaces.encode(s) for s in run.STREAMS if s.kind is not StreamKind.TEXT)
    heads += blocks.annotation(module.pack({"item": "stream", **module.stream_fields(run.TEXTS)}))
    body = b"".join(epb(bytes(i), i, (2, b"\x01\0\0\0"), (1, b"note")) for i in range(6))
    body += b"".join(epb(cooked(bytes(i)), i, interface=2) for i in range(4))
    body += b"".join(module.encode(DumpMark(2, 0, 1, "conntrack", True)))
    body += b"".join(module.encode(Text(4, 0, 1, TextKind.SYSCTLS, b"a = 1\n")))
    return shb() + heads + body + idb() + body


PCAP = pcap([(i, i, bytes(i)) for i in range(10)])
RECORDING = _recording()
FEW = settings(
    max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def by_stream(flat: list[object]) -> dict[object, list[object]]:
    """Records and marks apart by stream: packet streams that alternate may move against each other."""
    out: dict[object, list[object]] = {}
    for item in flat:
        out.setdefault(item[0] if isinstance(item, tuple) else getattr(item, "stream", None), []).append(item)
    return out


def distinct(some: list[Item]) -> list[Item]:
    """Without Counters that repeat the last ones of their stream: a reader leaves those out."""
    last: dict[int, Counters] = {}
    kept: list[Item] = []
    for item in some:
        if isinstance(item, Counters):
            if last.get(item.stream) == item:
                continue
            last[item.stream] = item
        kept.append(item)
    return kept


@FEW
@given(some=run.items())
def test_every_item_comes_back(some: list[Item], tmp_path: Path) -> None:
    run.record(tmp_path / "r.pcapng", some)
    back = read((tmp_path / "r.pcapng").read_bytes(), tmp_path / "again.pcapng")
    assert end(back).error == ""
    assert by_stream(run.flat(back)) == by_stream([*run.STREAMS, *run.flat(distinct(some))])


@FEW
@given(some=run.items())
def test_the_order_of_all_but_alternating_packets_is_kept(some: list[Item], tmp_path: Path) -> None:
    some = [item for item in some if not (isinstance(item, Batch) and isinstance(item.meta, PacketMeta))]
    run.record(tmp_path / "r.pcapng", some)
    back = decode_chunks((tmp_path / "r.pcapng").read_bytes(), 64)
    assert run.flat(back) == [*run.STREAMS, *run.flat(distinct(some))]
    assert [item.seq for item in back] == list(range(len(back)))


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (8 << 20) + 1, (16 << 20) + 5])
def test_texts_of_any_size_come_back_whole(size: int, tmp_path: Path) -> None:
    text = Text(4, 0, 5, TextKind.NFT_RULESET, b"\n" * size)
    run.record(tmp_path / "r.pcapng", [text])
    back = [
        item for item in read((tmp_path / "r.pcapng").read_bytes(), tmp_path / "r.pcapng") if isinstance(item, Text)
    ]
    assert [item.body for item in back] == [text.body]


def test_a_text_beyond_the_limit_is_recorded_as_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXT", 100)
    run.record(tmp_path / "r.pcapng", [Text(4, 0, 5, TextKind.NFT_RULESET, bytes(101))])
    (back,) = [item for item in decode_chunks((tmp_path / "r.pcapng").read_bytes()) if isinstance(item, Text)]
    assert back.body == b"" and "too large to record (101 bytes)" in back.error


def small(path: Path) -> bytes:
    """A recording with one of everything."""
    some: list[Item] = [
        DumpMark(2, 0, 1, "conntrack", True),
        run.batches(2).example(),
        DumpMark(2, 0, 9, "conntrack", False, True),
        DumpMark(2, 0, 9, "nft-rules", False, False, True),
        DumpMark(2, 0, 9, "map-links", True, netns="gw-a"),
        run.batches(0).example(),
        Gap(0, 0, None, GapReason.RING, 1, 2),
        Text(4, 0, 5, TextKind.SYSCTLS, b"a = 1\n"),
        Text(4, 0, 5, TextKind.MAP_SYSCTLS, b"a = 1\n", netns="gw-a"),
        Counters(0, 0, 7, 10, 2),
    ]
    run.record(path, some)
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
def test_a_recording_cut_at_every_byte_gives_a_prefix_and_an_end(tmp_path: Path) -> None:
    data = small(tmp_path / "r.pcapng")
    whole = run.flat(decode_chunks(data))
    for size in range(4, len(data)):
        back = decode_chunks(data[:size])
        got = run.flat(back)
        assert got == whole[: len(got)]
        assert isinstance(back[-1], End)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(out) - 1))
        what = draw(st.sampled_from(["byte", "word", "cut out", "repeat"]))
        if what == "byte":
            out[at] = draw(st.integers(0, 255))
        elif what == "word":
            out[at & ~3 : (at & ~3) + 4] = draw(st.sampled_from([0, 1, 4, 12, 0x7FFFFFFF, 0xFFFFFFFF])).to_bytes(
                4, "little"
            )
        elif what == "cut out":
            del out[at : at + draw(st.integers(1, 40))]
        else:
            out[at:at] = out[at : at + draw(st.integers(1, 400))]
        if not out:
            break
    return bytes(out)


def survives(data: bytes) -> None:
    try:
        back = decode_chunks(data, None)
    except InputError:
        return
    assert isinstance(back[-1], End)
    for item in back:
        if isinstance(item, Batch):
            assert len(item.ts_ns) == len(item.caplen) == len(item)
            assert all(int(o) + int(c) <= len(item.buf) for o, c in zip(item.off, item.caplen, strict=True))


@settings(max_examples=examples(400))
@given(st.data())
def test_no_change_to_a_recording_crashes_the_reader(data: st.DataObject) -> None:
    survives(data.draw(mutations(RECORDING)))


@settings(max_examples=examples(200))
@given(st.data())
def test_no_change_to_a_pcap_file_crashes_the_reader(data: st.DataObject) -> None:
    survives(data.draw(mutations(PCAP)))


@settings(max_examples=examples(200))
@given(st.binary(max_size=300))
def test_no_bytes_behind_a_section_header_crash_the_reader(tail: bytes) -> None:
    survives(RECORDING[: RECORDING.index(b"\x01\0\0\0", 28)] + tail)


def test_marks_and_texts_of_a_stream_of_many_namespaces_keep_theirs(tmp_path: Path) -> None:
    some: list[Item] = [
        DumpMark(2, 0, 9, "map-links", True, netns="gw-a"),
        DumpMark(2, 0, 9, "map-links", False, True),
        Text(4, 0, 5, TextKind.MAP_SYSCTLS, b"a = 1\n", netns="pid:7"),
    ]
    run.record(tmp_path / "r.pcapng", some)
    back = [item for item in decode_chunks((tmp_path / "r.pcapng").read_bytes()) if isinstance(item, DumpMark | Text)]
    assert [item.netns for item in back] == ["gw-a", "", "pid:7"]
