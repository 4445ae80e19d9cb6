"""The only thread of all models: it applies items in order, runs calls between them, and ticks by time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from nettop.batch import Item
from nettop.pipeline.handoff import Call, Handoff

TICK_S = 0.25
IDLE_TICK_S = 0.5  # while nothing changes by time


class ModelThread(threading.Thread):
    """Reads the hand-off: `apply` gets each item, and `tick` is called four times a second.

    While `due`, called after each tick and after items, returns False, nothing changes by time alone: ticks come half
    as often. A call (a view's request) waits for at most one item. `on_failure` is called after an exception, which is
    a bug. After one in `apply` or `tick` items are discarded, but calls still run, so that no caller waits for ever.
    """

    def __init__(
        self,
        handoff: Handoff,
        apply: Callable[[Item], None],
        tick: Callable[[], None],
        on_failure: Callable[[Exception], None],
        due: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(name="nettop-models", daemon=True)
        self._handoff = handoff
        self._apply = apply
        self._tick, self._due = tick, due
        self._on_failure = on_failure
        self._stopping = False

    def stop(self) -> None:
        """End after the current item; queued items are not applied."""
        self._stopping = True
        self._handoff.close()

    def run(self) -> None:
        """Run until stop()."""
        try:
            self._loop()
        except Exception as error:
            self._on_failure(error)
            self._discard_items()

    def _loop(self) -> None:
        last, idle = time.monotonic(), False
        while not self._stopping:
            pause = IDLE_TICK_S if idle else TICK_S
            calls, items = self._handoff.get(max(0.0, last + pause - time.monotonic()))
            self._run_calls(calls)
            for item in items:
                if self._stopping:
                    return
                self._apply(item)
                if self._handoff.has_calls():
                    self._run_calls(self._handoff.get(0, max_items=0)[0])
            idle = idle and not (items and self._due())
            if time.monotonic() >= last + (IDLE_TICK_S if idle else TICK_S):
                self._tick()
                last, idle = time.monotonic(), not self._due()

    def _discard_items(self) -> None:
        """Run calls and discard items until stop(): sources must not block, and memory must not fill."""
        while not self._stopping:
            self._run_calls(self._handoff.get(TICK_S)[0])

    def _run_calls(self, calls: list[Call]) -> None:
        for call in calls:
            try:
                call()
            except Exception as error:
                self._on_failure(error)
