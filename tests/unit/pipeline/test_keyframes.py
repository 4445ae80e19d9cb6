"""Which dumps a recording keeps: the first, after a loss or a change, and one every so often."""

from __future__ import annotations

import pytest

from nettop.batch import DumpMark, Gap, Stream, StreamAdded, Text
from nettop.kinds import GapReason, StreamKind, TextKind
from nettop.pipeline.feed import OFTEN_S
from nettop.pipeline.keyframes import KEYFRAME_EVERY_NS, Keyframes
from tests.unit.pipeline.test_handoff import batch

SECOND = 1_000_000_000
EVENTS, TABLE, NFT_EVENTS, NFT, STATS = 1, 2, 3, 4, 5
NAMES = {EVENTS: "conntrack", TABLE: "conntrack-dump", NFT_EVENTS: "nft-events", NFT: "nft", STATS: "ctstats"}


@pytest.fixture
def keyframes() -> Keyframes:
    found = Keyframes()
    for stream, name in NAMES.items():
        assert found.includes(StreamAdded(Stream(stream, StreamKind.NETLINK, name, "gw-a"), 0))
    return found


def written(keyframes: Keyframes, stream: int, what: str, at_s: float, complete: bool = True) -> bool:
    """Whether a dump is written; it is written whole or not at all."""
    ts = int(at_s * SECOND)
    items = DumpMark(stream, 0, ts, what, True), batch(stream, 1), DumpMark(stream, 2, ts, what, False, complete)
    wanted = {keyframes.includes(item) for item in items}
    assert len(wanted) == 1
    return wanted.pop()


def test_the_table_is_written_first_and_every_five_minutes(keyframes: Keyframes) -> None:
    assert written(keyframes, TABLE, "conntrack", 0)
    assert not written(keyframes, TABLE, "conntrack", 2)
    assert written(keyframes, TABLE, "conntrack", KEYFRAME_EVERY_NS / SECOND)


def test_a_clock_that_is_set_back_ends_no_keyframes(keyframes: Keyframes) -> None:
    assert written(keyframes, TABLE, "conntrack", 3600)
    assert not written(keyframes, TABLE, "conntrack", 3601)
    assert written(keyframes, TABLE, "conntrack", 10)
    assert not written(keyframes, TABLE, "conntrack", 11)


def test_after_a_loss_of_events_the_next_table_is_written(keyframes: Keyframes) -> None:
    assert written(keyframes, TABLE, "conntrack", 0)
    assert keyframes.includes(Gap(EVENTS, 9, 5, GapReason.KERNEL, 0, 1))
    assert written(keyframes, TABLE, "conntrack", 1)
    assert not written(keyframes, TABLE, "conntrack", 2)


def test_a_loss_elsewhere_asks_for_no_table(keyframes: Keyframes) -> None:
    other = Stream(9, StreamKind.NETLINK, "conntrack", "gw-b")
    keyframes.includes(StreamAdded(other, 0))
    assert written(keyframes, TABLE, "conntrack", 0)
    keyframes.includes(Gap(9, 9, 5, GapReason.KERNEL, 0, 1))
    assert not written(keyframes, TABLE, "conntrack", 1)


def test_a_table_that_was_not_complete_is_written_again(keyframes: Keyframes) -> None:
    assert written(keyframes, TABLE, "conntrack", 0, complete=False)
    assert written(keyframes, TABLE, "conntrack", 1)
    assert not written(keyframes, TABLE, "conntrack", 2)


def test_after_a_change_of_the_ruleset_every_nft_dump_is_written(keyframes: Keyframes) -> None:
    kinds = ("nft-tables", "nft-chains", "nft-rules", "nft-objects")
    assert all(written(keyframes, NFT, what, 0) for what in kinds)
    assert not any(written(keyframes, NFT, what, 1) for what in kinds[1:])
    assert keyframes.includes(batch(NFT_EVENTS, 1))
    assert all(written(keyframes, NFT, what, 2) for what in kinds)


def test_what_counts_in_the_ruleset_is_written_every_ten_seconds(keyframes: Keyframes) -> None:
    for what in ("nft-chains", "nft-rules", "nft-rules *", "nft-rules inet fw", "nft-objects"):
        at = [second for second in range(31) if written(keyframes, NFT, what, second)]
        assert at == [0, 9, 18, 27]  # each up to a tenth early
    assert OFTEN_S == 10


def test_statistics_are_always_written(keyframes: Keyframes) -> None:
    assert all(written(keyframes, STATS, "ctstats", second) for second in range(5))


def test_what_was_asked_for_is_written_once(keyframes: Keyframes) -> None:
    assert written(keyframes, TABLE, "conntrack", 0)
    keyframes.request()
    assert written(keyframes, TABLE, "conntrack", 1)
    assert not written(keyframes, TABLE, "conntrack", 2)


def test_routes_are_written_every_five_minutes_and_after_a_change(keyframes: Keyframes) -> None:
    for stream, name in ((11, "routes"), (12, "route-events")):
        keyframes.includes(StreamAdded(Stream(stream, StreamKind.NETLINK, name, "gw-a"), 0))
    assert written(keyframes, 11, "links", 0) and written(keyframes, 11, "routes", 0)
    assert not written(keyframes, 11, "links", 30) and not written(keyframes, 11, "routes", 30)
    assert keyframes.includes(batch(12, 9))
    assert written(keyframes, 11, "links", 31) and written(keyframes, 11, "routes", 31)
    assert not written(keyframes, 11, "routes", 61)


def test_of_the_lists_of_processes_one_every_so_often_is_written(keyframes: Keyframes) -> None:
    def listed(at_s: float, what: TextKind = TextKind.PROCESSES) -> bool:
        return keyframes.includes(Text(20, 0, int(at_s * SECOND), what, b""))

    assert [listed(at) for at in (0, 3, 6, 9, 12, 18, 20)] == [True, False, False, True, False, True, False]
    keyframes.request()
    assert listed(21)
    assert all(listed(at, TextKind.SYSCTLS) for at in (0, 1, 1, 0))


def test_statistics_of_proc_are_written_as_often_as_what_counts_in_the_ruleset(keyframes: Keyframes) -> None:
    every = int(OFTEN_S)
    texts = [Text(9, n, n * SECOND, TextKind.NET_STATISTICS, b"", "") for n in range(0, 3 * every, 2)]
    assert sum(map(keyframes.includes, texts)) == 3


def test_the_elements_of_every_set_are_written(keyframes: Keyframes) -> None:
    assert all(written(keyframes, 9, "nft-elements", 0) for _ in range(5))
