"""The one thread on which every model lives: applies items in order, answers calls in between, ticks by time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from nettop.batch import Item
from nettop.pipeline.handoff import Call, Handoff

TICK_S = 0.25


class ModelThread(threading.Thread):
    """Takes from the hand-off. `apply` gets each item, `tick` is called four times a second.

    A call (a view's question) waits for at most one item. `failed` is called when anything raises, which is a bug:
    after an item or a tick that did, models are fed no more, but calls are answered still, and nobody has to wait.
    """

    def __init__(
        self,
        handoff: Handoff,
        apply: Callable[[Item], None],
        tick: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="nettop-models", daemon=True)
        self._handoff = handoff
        self._apply = apply
        self._tick = tick
        self._failed = failed
        self._stopping = False

    def stop(self) -> None:
        """End after the item under way; what waits is not applied."""
        self._stopping = True
        self._handoff.close()

    def run(self) -> None:
        """Until stop()."""
        try:
            self._loop()
        except Exception as error:
            self._failed(error)
            self._answer_only()

    def _loop(self) -> None:
        next_tick = time.monotonic() + TICK_S
        while not self._stopping:
            calls, items = self._handoff.take(max(0.0, next_tick - time.monotonic()))
            self._answer(calls)
            for item in items:
                if self._stopping:
                    return
                self._apply(item)
                if self._handoff.called():
                    self._answer(self._handoff.take(0, most=0)[0])
            if time.monotonic() >= next_tick:
                self._tick()
                next_tick = time.monotonic() + TICK_S

    def _answer_only(self) -> None:
        """What sources put is let go: they must not block, and memory must not fill."""
        while not self._stopping:
            self._answer(self._handoff.take(TICK_S)[0])

    def _answer(self, calls: list[Call]) -> None:
        for call in calls:
            try:
                call()
            except Exception as error:
                self._failed(error)
