"""A text snapshot is of the moment its tool was started."""

from __future__ import annotations

import time
from typing import cast

from nettop.batch import Counter64, Stream, Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.kinds import StreamKind, TextKind
from nettop.sources.texts import TextSource


class SlowBroker:
    """Notes when the tool was done."""

    done_ns = 0

    def text(self, ns: Netns, what: TextKind) -> bytes:
        while time.time_ns() <= SlowBroker.done_ns + 1000:
            pass
        SlowBroker.done_ns = time.time_ns()
        return b"table ip t {\n}\n"


def test_a_text_is_stamped_before_its_tool_runs() -> None:
    stream = Stream(1, StreamKind.TEXT, "text")
    broker = cast(Broker, SlowBroker())
    source = TextSource(stream, broker, Netns(0, "", 1), (TextKind.NFT_RULESET,), Counter64(), once=True)
    SlowBroker.done_ns = asked = time.time_ns()
    text = next(item for item in source.read(1 << 20) if isinstance(item, Text))
    assert asked <= text.ts_ns < SlowBroker.done_ns


def test_the_interval_stretches_so_that_the_tools_take_their_share_at_most() -> None:
    class Busy:
        def text(self, ns: Netns, what: TextKind) -> bytes:
            end = time.monotonic_ns() + 20_000_000
            while time.monotonic_ns() < end:
                pass
            return b""

    stream = Stream(1, StreamKind.TEXT, "text")
    kinds = (TextKind.SYSCTLS, TextKind.PROCESSES)
    source = TextSource(stream, cast(Broker, Busy()), Netns(0, "", 1), kinds, Counter64(), 0.5, share=0.01)
    began = time.monotonic_ns()
    assert len(source.read(0)) == 2 and source.due_ns() == 0 and len(source.read(0)) == 1
    due = source.due_ns()
    assert due is not None and due - began > 3_900_000_000
    source.poke()
    assert source.due_ns() == due
