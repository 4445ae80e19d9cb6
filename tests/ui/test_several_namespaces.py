"""Several namespaces are shown, or the one shown is gone: what is said of whose flow it is before anything is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.ui.plain_session import FACTS, PlainSession, session
from tests.ui.screen_text import SMALL, running
from tests.ui.test_flow_actions import type_filter


@dataclass
class SeveralSession(PlainSession):
    """The flow 1 is of gw-b, beside gw-a."""

    def copy_as(self, view: str, ident: int, form: str, deliver: Callable[[str], None]) -> None:
        deliver(json.dumps({"netns": "gw-b" if ident == 1 else "gw-a"}))


def several() -> SeveralSession:
    return SeveralSession(session().views, replace(FACTS, netns="gw-a +1", others=1))


async def test_d_names_the_namespace_that_the_flow_is_of() -> None:
    async with running(SMALL, several()) as seen:
        for name in ("gw-a", "gw-b"):
            await seen.press("D")
            await seen.see(f"This flow is of {name}. If the")
            await seen.press("escape", "j")
        await type_filter(seen, "port 56303")
        await seen.press("D")
        await seen.see("those that match are of every")
        assert "Delete the 1 flow that matches / port 56303" in seen.text


async def test_c_says_where_it_captures_and_refuses_a_flow_of_another_namespace() -> None:
    async with running(SMALL, several()) as seen:
        await seen.press("c")
        await seen.see("Capture exactly this flow in gw-a")
        await seen.press("escape", "j", "c")
        await seen.see("captures are of gw-a: @ chooses gw-b")
        assert seen.app.screen is seen.main


async def test_r_proposes_a_name_with_the_first_namespaces_own() -> None:
    async with running(source=several()) as seen:
        await seen.press("r")
        await seen.see("record to")
        assert "nettop-gw-a-" in seen.text and "gw-a--1" not in seen.text


@pytest.mark.parametrize(("mode", "why"), [("GONE", "the namespace is gone: @"), ("ENDED", "broker has ended: start")])
@pytest.mark.parametrize("key", ["A", "H", "c", "D", "B"])
async def test_what_cannot_be_is_not_asked_about(mode: str, why: str, key: str) -> None:
    source = session()
    source.facts = replace(FACTS, mode=mode, acct="off")
    async with running(source=source) as seen:
        assert "switches it on" not in seen.text
        await seen.press(key)
        await seen.see(why)
        assert seen.app.screen is seen.main and not source.done


async def test_a_flow_beside_one_that_is_gone_can_be_deleted() -> None:
    source = several()
    source.facts = replace(source.facts, mode="GONE")
    async with running(source=source) as seen:
        await seen.press("D")
        await seen.see("the namespace is gone: @")
        await seen.press("j", "D")
        await seen.see("This flow is of gw-b.")


async def test_flows_get_a_column_for_namespaces_when_several_are_ticked() -> None:
    source = session()
    flows = source.views["flows"]
    async with running(source=source) as seen:
        await seen.see("REPLY TO")
        assert "MARK" not in seen.text
        source.views = {**source.views, "flows": replace(flows, default_columns=(*flows.default_columns, "mark"))}
        source.facts = replace(FACTS, netns="gw-a +1", others=1)
        await seen.see("MARK")
