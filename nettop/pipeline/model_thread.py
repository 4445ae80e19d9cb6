"""The one thread on which every model lives: applies items in order, answers calls in between, ticks by time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from nettop.batch import Item
from nettop.pipeline.handoff import Call, Handoff

TICK_S = 0.25
QUIET_TICK_S = 0.5  # in a calm


class ModelThread(threading.Thread):
    """Takes from the hand-off. `apply` gets each item, `tick` is called four times a second, half as often in a calm.

    In a calm `due` says, after a tick and after items, that nothing changes by time alone.

    A call (a view's question) waits for at most one item. `failed` is called when anything raises, which is a bug:
    after an item or a tick that did, models are fed no more, but calls are answered still, and nobody has to wait.
    """

    def __init__(
        self,
        handoff: Handoff,
        apply: Callable[[Item], None],
        tick: Callable[[], None],
        failed: Callable[[Exception], None],
        due: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(name="nettop-models", daemon=True)
        self._handoff = handoff
        self._apply = apply
        self._tick, self._due = tick, due
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
        last, calm = time.monotonic(), False
        while not self._stopping:
            pause = QUIET_TICK_S if calm else TICK_S
            calls, items = self._handoff.take(max(0.0, last + pause - time.monotonic()))
            self._answer(calls)
            for item in items:
                if self._stopping:
                    return
                self._apply(item)
                if self._handoff.called():
                    self._answer(self._handoff.take(0, most=0)[0])
            calm = calm and not (items and self._due())
            if time.monotonic() >= last + (QUIET_TICK_S if calm else TICK_S):
                self._tick()
                last, calm = time.monotonic(), not self._due()

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
