"""The model thread survives bad questions; where it cannot go on, nobody waits for it."""

from __future__ import annotations

import threading
import time

from nettop.batch import Batch, DumpMark, Item
from nettop.pipeline.handoff import Handoff
from nettop.pipeline.model_thread import IDLE_TICK_S, TICK_S, ModelThread
from tests.kernel.namespaces import poll
from tests.unit.pipeline.test_handoff import batch


class Models:
    """Takes items, and fails when told to."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.failures: list[Exception] = []
        self.fails = False
        self.handoff = Handoff(3000)
        self.thread = ModelThread(self.handoff, self.apply, lambda: None, self.failures.append)
        self.thread.start()

    def apply(self, item: Item) -> None:
        if self.fails:
            raise ValueError("a bug")
        self.items.append(item)

    def __enter__(self) -> Models:
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_a_question_that_fails_does_not_end_the_models() -> None:
    with Models() as models:
        models.handoff.call(lambda: [].pop())
        models.handoff.put([batch(1, 0)], wait=True)
        poll(lambda: models.items)
        assert len(models.failures) == 1


def test_after_a_failure_sources_do_not_block_and_questions_are_answered() -> None:
    with Models() as models:
        models.fails = True
        source = threading.Thread(target=models.handoff.put, args=([batch(1, n) for n in range(200)], True))
        source.start()
        source.join(30)
        assert not source.is_alive()
        answered = threading.Event()
        models.handoff.call(answered.set)
        assert answered.wait(30)
        assert len(models.failures) == 1


def test_in_a_calm_ticks_are_half_as_many_until_something_happens() -> None:
    handoff, due, ticks = Handoff(3000), [False], list[float]()
    thread = ModelThread(
        handoff, lambda item: None, lambda: ticks.append(time.monotonic()), lambda error: None, lambda: due[0]
    )
    thread.start()
    poll(lambda: len(ticks) >= 3)
    assert ticks[2] - ticks[1] >= IDLE_TICK_S
    due[0] = True
    handoff.put([batch(1, 0)], wait=True)
    poll(lambda: len(ticks) >= 5)
    thread.stop()
    thread.join(30)
    assert TICK_S <= ticks[4] - ticks[3] < IDLE_TICK_S


def test_the_beginning_of_a_dump_waits_for_what_follows() -> None:
    handoff = Handoff(3000)
    taken: list[Item] = []
    taker = threading.Thread(target=lambda: taken.extend(handoff.get(30)[1]))
    taker.start()
    handoff.put([DumpMark(1, 0, 0, "conntrack", begin=True)], wait=True)
    handoff.put([batch(1, 1)], wait=True)
    taker.join(30)
    assert [type(item) for item in taken] == [DumpMark, Batch]
