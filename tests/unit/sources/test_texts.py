"""A text snapshot is of the moment its tool was started."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from nettop.batch import Counter64, End, Stream, Text
from nettop.broker.calls import ENDED
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.kinds import StreamKind, TextKind
from nettop.sources.texts import TextSource


class SlowBroker:
    """Notes when the tool was done."""

    done_ns = 0

    def text_cost(self, ns: Netns, what: TextKind, part: str) -> tuple[bytes, int]:
        while time.time_ns() <= SlowBroker.done_ns + 1000:
            pass
        SlowBroker.done_ns = time.time_ns()
        return b"table ip t {\n}\n", 0


class EndedBroker:
    """A broker that ends while a tool runs."""

    def text_cost(self, ns: Netns, what: TextKind, part: str) -> tuple[bytes, int]:
        raise BrokerError(ENDED, "start nettop again")


def test_the_end_of_nettop_is_no_failure_of_a_tool() -> None:
    stream, broker = Stream(1, StreamKind.TEXT, "text"), cast(Broker, EndedBroker())
    source = TextSource(stream, broker, cast(Netns, None), (TextKind.NFT_RULESET,), Counter64(), None, True)
    items = source.read(0)
    assert not [item for item in items if isinstance(item, Text)] and isinstance(items[-1], End)


def test_a_text_is_stamped_before_its_tool_runs() -> None:
    stream = Stream(1, StreamKind.TEXT, "text")
    broker = cast(Broker, SlowBroker())
    source = TextSource(stream, broker, Netns(0, "", 1), (TextKind.NFT_RULESET,), Counter64(), once=True)
    SlowBroker.done_ns = asked = time.time_ns()
    text = next(item for item in source.read(1 << 20) if isinstance(item, Text))
    assert asked <= text.ts_ns < SlowBroker.done_ns


class Costing:
    """A broker whose tools take `wall_ns` and report `cost_ns` of processor time."""

    def __init__(self, wall_ns: int, cost_ns: int) -> None:
        self._wall_ns, self._cost_ns = wall_ns, cost_ns

    def text_cost(self, ns: Netns, what: TextKind, part: str) -> tuple[bytes, int]:
        end = time.monotonic_ns() + self._wall_ns
        while time.monotonic_ns() < end:
            threading.Event().wait(0.01)
        return b"", self._cost_ns


def test_a_tool_that_waits_for_a_busy_machine_takes_nothing_of_its_share() -> None:
    stream, kinds = Stream(1, StreamKind.TEXT, "text"), (TextKind.SYSCTLS,)
    source = TextSource(stream, cast(Broker, Costing(100_000_000, 0)), Netns(0, "", 1), kinds, Counter64(), share=0.001)
    source.read(0)
    source.poke()
    due = source.due_ns()
    assert due is not None and due - time.monotonic_ns() < 20_000_000_000, "100 ms would be 100 s"


def test_the_interval_stretches_so_that_the_tools_take_their_share_at_most() -> None:
    stream = Stream(1, StreamKind.TEXT, "text")
    kinds = (TextKind.SYSCTLS, TextKind.PROCESSES)
    busy = cast(Broker, Costing(0, 20_000_000))
    source = TextSource(stream, busy, Netns(0, "", 1), kinds, Counter64(), 0.5, share=0.01)
    began = time.monotonic_ns()
    assert len(source.read(0)) == 2 and source.due_ns() == 0 and len(source.read(0)) == 1
    due = source.due_ns()
    assert due is not None and due - began > 3_900_000_000
    source.poke()
    assert source.due_ns() == due


class Asked:
    """A broker that notes what it was asked for; a whole text costs much, a part little."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text_cost(self, ns: Netns, what: TextKind, part: str) -> tuple[bytes, int]:
        self.parts.append(part)
        return b"", 10_000_000 if part else 1_000_000_000


def test_parts_do_not_wait_for_the_share_of_the_whole_and_the_whole_is_read_once_it_is_wanted() -> None:
    stream, asked = Stream(1, StreamKind.TEXT, "text"), Asked()
    kinds = (TextKind.NFT_RULESET,)
    source = TextSource(stream, cast(Broker, asked), Netns(0, "", 1), kinds, Counter64(), share=0.01)
    source.read(0)
    source.want(("inet a", "inet b"))
    assert len(source.read(0)) == len(source.read(0)) == 1
    assert asked.parts == ["", "inet a", "inet b"] and source.due_ns() is None
    source.want(("inet a",))
    due = source.due_ns()
    assert due is not None and 1e9 < due - time.monotonic_ns() < 3e9
    source.want(())
    assert source.due_ns() is None, "what is not wanted any more is not read"
    source.want(("",))
    due = source.due_ns()
    assert due is not None and due - time.monotonic_ns() > 90e9


def test_parts_wanted_again_and_again_are_read_soon_at_first_then_each_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_000_000_000_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    kinds, stream = (TextKind.NFT_RULESET,), Stream(1, StreamKind.TEXT, "text")
    source = TextSource(stream, cast(Broker, Asked()), Netns(0, "", 1), kinds, Counter64())

    def pause() -> float:
        """The seconds until a part is read that is wanted now; it is read then."""
        source.want(("inet a",))
        wait_ns = max(0, (source.due_ns() or 0) - now[0])
        now[0] += wait_ns
        assert source.read(0)
        return wait_ns / 1e9

    source.read(0)
    assert [pause() for _ in range(6)] == [0, 1, 2, 4, 5, 5]
    now[0] += 60_000_000_000
    assert [pause() for _ in range(3)] == [0, 1, 2]
