"""When `nettop counters --interval` prints, and what."""

from __future__ import annotations

import argparse
import json

import pytest

from nettop.batch import DumpMark, End, Item, Text
from nettop.errors import UsageError
from nettop.headless.counters import CounterPrinter, Rounds, run
from nettop.kinds import TextKind
from nettop.model.counters.series import Reading
from nettop.pipeline.engine import Engine

OPTIONS = argparse.Namespace(json=True, group=[])


def begin(what: str, stream: int = 1) -> DumpMark:
    return DumpMark(stream, 0, 0, what, True)


def end(what: str, stream: int = 1) -> DumpMark:
    return DumpMark(stream, 0, 0, what, False, True)


def text(kind: TextKind) -> Text:
    return Text(9, 0, 0, kind, b"", "")


OTHERS: list[Item] = [
    end("nft-objects"), end("nfacct"), end("nft-sets"), text(TextKind.NET_STATISTICS), text(TextKind.DROPS),
    text(TextKind.SYSCTLS),
]  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rounds(clock: Clock) -> Rounds:
    return Rounds(OPTIONS, Engine(""), clock)


def printed(rounds: Rounds, *items: Item) -> int:
    before = rounds.printed
    rounds.apply(list(items))
    rounds.print_due()
    return rounds.printed - before


def test_the_first_round_waits_for_every_source(rounds: Rounds) -> None:
    assert printed(rounds, end("ctstats")) == 0
    assert printed(rounds, *OTHERS[:-1]) == 0
    assert printed(rounds, OTHERS[-1]) == 1


def test_then_each_of_conntracks_rounds_prints_whatever_the_others_do(rounds: Rounds) -> None:
    printed(rounds, *OTHERS, end("ctstats"))
    assert printed(rounds, *OTHERS) == 0
    assert printed(rounds, begin("ctstats"), begin("nft-elements", 2)) == 0
    assert printed(rounds, end("ctstats")) == 1


def test_the_first_round_waits_for_the_elements_of_sets(rounds: Rounds) -> None:
    assert printed(rounds, *OTHERS, end("ctstats"), begin("nft-elements", 2)) == 0
    assert printed(rounds, end("nft-elements", 2), begin("nft-elements", 2)) == 0
    assert printed(rounds, end("nft-elements", 2)) == 1


def test_it_waits_for_two_seconds_at_most(rounds: Rounds, clock: Clock) -> None:
    assert printed(rounds, end("ctstats")) == 0
    clock.now = 2.5
    assert printed(rounds) == 1


def test_it_waits_no_more_when_a_source_has_failed(rounds: Rounds) -> None:
    assert printed(rounds, end("ctstats"), End(3, 0, error="gone")) == 1


def test_only_the_groups_that_are_wanted_are_printed(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    engine = Engine("")
    for group in ("tcp", "nfacct", "udp"):
        engine.counters._one("", Reading(group, "n", 1), 1)
    CounterPrinter(argparse.Namespace(json=True, group=["udp", "nfacct"]))(engine.counters)
    lines = capsysbinary.readouterr().out.splitlines()
    assert [json.loads(line)["group"] for line in lines] == ["nfacct", "udp"]


def test_a_group_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="no group 'tpc'"):
        run(argparse.Namespace(group=["tcp", "tpc"]))
