"""The live sources of a namespace poll what is looked at, and read at once what comes on the screen."""

from __future__ import annotations

import time
from typing import cast

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.kinds import TextKind
from nettop.pipeline import feeds
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from tests.kernel.namespaces import poll


class Texts:
    """A broker of texts only, which notes when it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def text_cost(self, netns: Netns, what: TextKind, part: str) -> tuple[bytes, int]:
        self.asked.append(time.monotonic())
        return b"", 0


def test_what_comes_on_the_screen_is_read_at_once_and_once() -> None:
    broker, plumbing = Texts(), Plumbing()
    live = LiveSources(cast(Broker, broker), Netns(0, "", 1), plumbing)
    live.watch(feeds.NET_STATISTICS)
    live.pace(frozenset({"flows"}), recorded=False)
    poll(lambda: len(broker.asked) == 1)
    for _ in range(3):
        live.pace(frozenset({"flows", "counters"}), recorded=False)
    poll(lambda: len(broker.asked) == 2)
    assert broker.asked[1] - broker.asked[0] < feeds.NET_STATISTICS.every_s  # type: ignore[operator]
    poll(lambda: len(broker.asked) == 3)
    assert broker.asked[2] - broker.asked[1] >= feeds.NET_STATISTICS.every_s  # type: ignore[operator]
    live.close()
    plumbing.close()


def test_a_feed_that_is_read_already_goes_on() -> None:
    broker, plumbing = Texts(), Plumbing()
    live = LiveSources(cast(Broker, broker), Netns(0, "", 1), plumbing)
    for _ in range(3):
        live.watch(feeds.LEGACY_TEXTS)
    poll(lambda: len(broker.asked) >= 2)
    assert len(plumbing._threads) == 1
    live.close()
    plumbing.close()
