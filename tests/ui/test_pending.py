"""Dialogs that open with an answer of the session: never over another dialog, never for another namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from nettop.model.filter.expression import Filter
from nettop.session.status import DeviceChoice, Done, NetnsChoice
from nettop.ui.screens import pending
from tests.ui.plain_session import FACTS, PlainSession, session
from tests.ui.screen_text import Seen, running
from tests.ui.test_flow_actions import type_filter
from tests.ui.test_typed_ahead import typed_ahead


@dataclass
class LateSession(PlainSession):
    """Answers what a dialog asks for when it is told to."""

    late: list[Callable[[], None]] = field(default_factory=list)

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice] | str], None]) -> None:
        self.late.append(lambda: PlainSession.namespaces(self, deliver))

    def devices(self, deliver: Callable[[Sequence[DeviceChoice] | str], None]) -> None:
        self.late.append(lambda: PlainSession.devices(self, deliver))

    def count_flows(self, wanted: Filter | None, deliver: Callable[[int], None]) -> None:
        self.late.append(lambda: PlainSession.count_flows(self, wanted, deliver))

    def watch_namespaces(self, specs: Sequence[str], done: Done) -> None:
        self.late.append(lambda: PlainSession.watch_namespaces(self, specs, done))

    def answer(self) -> None:
        late, self.late = self.late, []
        for each in late:
            each()

    def switched(self) -> None:
        """Another run: its rows are others, whatever their identities."""
        self.views = dict(self.views)
        self.facts = replace(FACTS, netns="gw-b")


def late() -> LateSession:
    return LateSession(session().views)


def dialogs(seen: Seen) -> list[str]:
    return [type(screen).__name__ for screen in seen.app.screen_stack[2:]]


async def test_keys_typed_ahead_belong_to_the_dialog_that_is_on_its_way() -> None:
    source = late()
    async with running(source=source) as seen:
        asyncio.get_running_loop().call_later(0.1, source.answer)
        await typed_ahead(seen, "at", "D")
        await seen.see("Watch a namespace")
        await seen.until(lambda: " D  " in seen.text, "the key is text in it")
        assert dialogs(seen) == ["ChooseScreen"] and not source.done


async def test_a_late_answer_opens_nothing_over_another_dialog() -> None:
    source = late()
    async with running(source=source) as seen:
        await typed_ahead(seen, "at")
        await seen.press("question_mark")
        await seen.until(lambda: dialogs(seen) == ["HelpScreen"], "keys do not wait for ever")
        source.answer()
        await seen.press("j")
        assert dialogs(seen) == ["HelpScreen"]


async def test_a_late_answer_about_a_namespace_that_is_watched_no_more_opens_nothing() -> None:
    source = late()
    async with running(source=source) as seen:
        await type_filter(seen, "port 563")
        for key in ("D", "at", "B"):
            await typed_ahead(seen, key)
            await seen.until(lambda: bool(source.late), "asked")
            source.switched()
            source.answer()
            await seen.press("j")
            assert not dialogs(seen)


@pytest.mark.parametrize("keys", ["D", "A", "c", "y", "B"])
async def test_a_dialog_about_a_namespace_ends_when_another_is_watched(keys: str) -> None:
    source = late()
    async with running(source=source) as seen:
        await typed_ahead(seen, *keys)
        await seen.until(lambda: bool(source.late or dialogs(seen)), "asked")
        source.answer()
        await seen.until(lambda: bool(dialogs(seen)), "a dialog")
        source.switched()
        await seen.until(lambda: not dialogs(seen), "it ended")


async def test_a_yes_that_comes_after_the_switch_deletes_nothing() -> None:
    source = late()
    async with running(source=source) as seen:
        await seen.press("D")
        await seen.see("Delete this flow")
        source.switched()
        await typed_ahead(seen, "y")
        await seen.until(lambda: not dialogs(seen), "answered")
        assert not source.done


async def ask_for_another_namespace(seen: Seen, source: LateSession) -> None:
    """Leave the answer to the switch pending."""
    await typed_ahead(seen, "at")
    source.answer()
    await seen.see("Watch a namespace")
    await seen.press("down", "enter")
    await seen.until(lambda: bool(source.late), "the switch is asked for")


async def test_nothing_is_deleted_while_another_namespace_is_being_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    # The dialog is answered before it looks for the first time whether its namespace is still watched.
    monkeypatch.setattr(pending, "_LOOK", pending._LOOK * 36_000)
    source = late()
    async with running(source=source) as seen:
        await ask_for_another_namespace(seen, source)
        await typed_ahead(seen, "D", "y")
        await seen.see("nothing was done: another namespace")
        assert not source.done
        source.refusal = "no such namespace"
        source.answer()
        await seen.see("no such namespace")
        source.refusal = None
        await seen.press("D", "y")
        await seen.see("deleted 1 flow")


async def test_a_dialog_opened_while_another_namespace_is_being_opened_ends_and_deletes_nothing() -> None:
    source = late()
    async with running(source=source) as seen:
        await ask_for_another_namespace(seen, source)
        await typed_ahead(seen, "D")
        await seen.until(lambda: not dialogs(seen), "it ended before it was answered")
        await typed_ahead(seen, "y", "enter")
        await seen.until(lambda: not dialogs(seen), "the keys are not for it")
        assert not source.done
