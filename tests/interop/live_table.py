"""A live flow table in the test's own process, as the session keeps one, with the dumps it is to have."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from nettop.batch import Counter64
from nettop.broker.client import Broker
from nettop.pipeline import feeds
from nettop.pipeline.live_sources import LiveSources
from nettop.session.run import Run
from tests.interop.conntrack_xml import Key, Row, by_key

T = TypeVar("T")

NEVER_S = 100_000.0


class LiveTable:
    """Events, and a dump every `interval` seconds (the first at the start); `rows` is what it would show now."""

    def __init__(self, broker: Broker, netns: str, interval: float = NEVER_S) -> None:
        self.netns = broker.netns(netns)
        self.run = Run(self.netns.label, True, Counter64(), Counter64())
        self.sources = LiveSources(broker, self.netns, self.run.plumbing)
        self.run.start()
        self.sources.events()
        self.sources.dump(replace(feeds.TABLE, every_s=interval, share=None))

    def on_models(self, question: Callable[[], T]) -> T:
        """The answer, given on the model thread."""
        answer: Future[T] = Future()
        self.run.plumbing.handoff.call(lambda: answer.set_result(question()))
        return answer.result(30)

    def dumped(self) -> bool:
        """Whether a complete dump is in it."""
        return bool(self.dumps())

    def dumps(self) -> int:
        """When the last complete dump ended, in ns since the epoch; 0 before the first."""
        return max(self.run.engine.flows.dumped_ns.values(), default=0)

    def rows(self) -> dict[Key, Row]:
        """The contract's objects by key."""
        flows = self.run.engine.flows
        lines = self.on_models(lambda: list(flows.json_lines(flows.rows())))
        found = [json.loads(line) for line in lines]
        assert not self.run.failure, self.run.failure
        return by_key(found)

    def close(self) -> None:
        """End every thread."""
        self.sources.close()
        self.run.close()
