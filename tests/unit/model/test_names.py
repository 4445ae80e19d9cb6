"""Names are off until wanted, are never waited for, and cannot say more than a name."""

from __future__ import annotations

from typing import Any

import pytest

from nettop.model import names as module
from nettop.model.names import MAX_HOST, NEGATIVE_TTL_NS, RETRY_NS, TTL_NS, Names, Query


class Asked:
    """A resolver that answers when the test says so."""

    made = 0

    def __init__(self) -> None:
        self.questions: list[Query] = []
        self.ready: list[tuple[Query, str | None]] = []
        self.full = self.closed = False
        Asked.made += 1

    def ask(self, question: Query) -> bool:
        if not self.full:
            self.questions.append(question)
        return not self.full

    def answers(self) -> list[tuple[Query, str | None]]:
        ready, self.ready = self.ready, []
        return ready

    def forget(self) -> None:
        self.questions.clear()

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self, on: bool = True) -> None:
        self.now, self.resolver = 0, Asked()
        self.names = Names(lambda: self.resolver, lambda: self.now)
        self.names.switch(on)

    def says(self, question: Query, name: str | None) -> None:
        self.resolver.ready.append((question, name))
        self.names.collect()


def test_nothing_is_asked_before_names_are_wanted() -> None:
    made = Asked.made
    names = Names(Asked, lambda: 0)
    assert names.host("9.9.9.9") is None and names.service(6, 443) is None
    names.collect()
    assert Asked.made == made
    names.switch(True)
    assert Asked.made == made + 1 and names.version == 1


def test_a_name_is_shown_once_it_came_and_asked_for_once() -> None:
    world = World()
    version = world.names.version
    assert [world.names.host("9.9.9.9") for _ in range(3)] == [None] * 3
    assert world.names.service(6, 443) is None
    assert world.resolver.questions == [("9.9.9.9",), (6, 443)] and world.names.version == version
    world.says(("9.9.9.9",), "dns9.quad9.net")
    world.says((6, 443), "https")
    assert world.names.host("9.9.9.9") == "dns9.quad9.net" and world.names.service(6, 443) == "https"
    assert world.names.version == version + 2 and len(world.resolver.questions) == 2


def test_that_there_is_no_name_is_remembered_for_a_while() -> None:
    world = World()
    world.names.host("10.0.0.1")
    version = world.names.version
    world.says(("10.0.0.1",), None)
    world.now = NEGATIVE_TTL_NS - 1
    assert world.names.host("10.0.0.1") is None and len(world.resolver.questions) == 1
    assert world.names.version == version  # nothing looks different
    world.now = NEGATIVE_TTL_NS
    world.names.host("10.0.0.1")
    assert len(world.resolver.questions) == 2


def test_an_old_name_is_shown_while_it_is_asked_again() -> None:
    world = World()
    world.names.host("9.9.9.9")
    world.says(("9.9.9.9",), "old.example")
    world.now = TTL_NS
    assert world.names.host("9.9.9.9") == "old.example" and len(world.resolver.questions) == 2
    world.says(("9.9.9.9",), "new.example")
    assert world.names.host("9.9.9.9") == "new.example"


def test_what_was_not_answered_is_asked_again_after_a_while_and_what_had_no_room_at_once() -> None:
    world = World()
    world.resolver.full = True
    world.names.host("9.9.9.9")
    world.resolver.full = False
    for world.now in (0, RETRY_NS - 1, RETRY_NS):
        world.names.host("9.9.9.9")
    assert world.resolver.questions == [("9.9.9.9",)] * 2


def test_switched_off_nothing_is_asked_or_shown_and_what_waits_is_forgotten() -> None:
    world = World()
    world.names.host("9.9.9.9")
    world.says(("9.9.9.9",), "dns9.quad9.net")
    world.names.host("8.8.8.8")
    version = world.names.version
    world.names.switch(False)
    assert world.names.version > version and world.resolver.questions == []
    assert world.names.host("9.9.9.9") is None and world.names.host("1.1.1.1") is None and not world.resolver.questions
    world.names.switch(True)
    assert world.names.host("9.9.9.9") == "dns9.quad9.net"
    world.names.close()
    assert world.resolver.closed


@pytest.mark.parametrize(
    "said, shown",
    [
        ("\x1b]0;owned\x07host.example", "\\x1b]0;owned\\x07host.example"),
        ("host\u202eelpmaxe.", "host\\u202eelpmaxe"),
        ("a" * 300, "a" * (MAX_HOST - 1) + "…"),
        ("\x00" * 5000, "\\x00" * 11 + "\\x0…"),
        ("10.0.0.99", None),  # would pass for another address
        ("fd00::1", None),
        ("", None),
        ("...", None),
    ],
)
def test_a_hostile_name_is_cleaned_cut_or_none(said: str, shown: str | None) -> None:
    world = World()
    world.names.host("9.9.9.9")
    world.says(("9.9.9.9",), said)
    assert world.names.host("9.9.9.9") == shown


def test_names_and_questions_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 10)
    world = World()
    for i in range(50):
        world.names.host(f"10.0.0.{i}")
        world.says((f"10.0.0.{i}",), f"host{i}")
    assert len(world.names._names) == 10
    assert world.names.host("10.0.0.49") == "host49"
    for i in range(50):
        world.names.host(f"10.0.1.{i}")
    assert len(world.names._sent) <= 12
