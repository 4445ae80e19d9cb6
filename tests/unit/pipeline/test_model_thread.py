"""The model thread survives bad questions; where it cannot go on, nobody waits for it."""

from __future__ import annotations

import threading

from nettop.batch import Item
from nettop.pipeline.handoff import Handoff
from nettop.pipeline.model_thread import ModelThread
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
