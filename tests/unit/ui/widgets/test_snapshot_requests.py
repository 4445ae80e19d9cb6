"""When a table asks: where there may be something new, and again where it was shown less than there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from nettop.model.table import Snapshot, ViewSpec
from nettop.session.base import Session
from nettop.ui.widgets import snapshot_requests as questions
from nettop.ui.widgets.snapshot_requests import AGE_INTERVAL, SnapshotRequests

SPEC = ViewSpec(())


class Model:
    """A session whose model is at `version`, and shows what it was at `shown`."""

    def __init__(self) -> None:
        self.now = self.shown = 1
        self.asked = 0

    def version(self, view: str) -> int:
        return self.now

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        self.asked += 1
        deliver(Snapshot(spec, 0, (), 0, 0, None, version=self.shown))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(questions.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def asking(model: Model, clock: list[float]) -> SnapshotRequests:
    def post(function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)

    return SnapshotRequests("flows", cast(Session, model), post, lambda: SPEC, lambda snapshot: False)


def test_it_asks_when_something_changed_and_for_ages(
    model: Model, asking: SnapshotRequests, clock: list[float]
) -> None:
    assert [asking.tick(), asking.tick()] == [True, False]
    model.now = model.shown = 2
    assert [asking.tick(), asking.tick()] == [True, False]
    clock[0] += AGE_INTERVAL
    assert [asking.tick(), asking.tick()] == [True, False]
    assert model.asked == 3


def test_a_model_that_holds_its_order_is_asked_until_it_shows_what_it_has(
    model: Model, asking: SnapshotRequests
) -> None:
    asking.tick()
    model.now = 2
    assert [asking.tick(), asking.tick()] == [True, True], "what came is not shown yet"
    model.shown = 2
    assert [asking.tick(), asking.tick()] == [True, False]
