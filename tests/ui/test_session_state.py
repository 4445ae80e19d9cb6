"""What the session says of itself on the screen: the capture in force, and that its namespace is gone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from nettop.session.status import Capturing, Status
from nettop.ui.screens import main
from nettop.ui.screens.capture import CaptureScreen
from nettop.ui.widgets.header import Header
from tests.ui.plain_session import FACTS, NOON, PlainSession, session
from tests.ui.screen_text import SMALL, WIDE, running

FILTER = "(host 192.168.1.2 and port 56303) or (host 100.100.100.1 and port 56303)"
LONG = " or ".join(f"(src host 192.168.1.{n} and tcp port 443)" for n in range(12)) + " or the end"


def capturing(now: Capturing) -> PlainSession:
    source = session()
    source.facts = replace(FACTS, capture="41 pkt/s", capturing=now)
    return source


def emptied(source: PlainSession) -> PlainSession:
    for model in source.views.values():
        model.order = []
    return source


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=str)
async def test_packets_say_what_is_captured_and_where(size: tuple[int, int]) -> None:
    source = capturing(Capturing(("eth0", "eth1"), "tcp port 443", "your ssh session, 10.0.0.9:51001"))
    async with running(size=size, source=source) as seen:
        assert "tcp port 443" not in seen.text
        await seen.press("4")
        await seen.see(" B  eth0 eth1  tcp port 443  (and not your ssh session, 10.0.0.9:51001)")
        source.facts = replace(FACTS, capturing=Capturing(("eth1",), LONG))
        await seen.see(" B  eth1  (src host 192.168.1.0 and")
        assert next(line for line in seen.lines if " B  eth1" in line).rstrip().endswith("…")
        source.facts = FACTS
        await seen.see_no(" B  eth")


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=str)
async def test_b_begins_with_the_capture_in_force(size: tuple[int, int]) -> None:
    source = capturing(Capturing(("eth1",), FILTER))
    async with running(size=size, source=source) as seen:
        await seen.press("4", "B")
        await seen.see("Capture packets")
        await seen.see("up, mtu 1500, captured now")
        dialog = seen.app.screen
        assert isinstance(dialog, CaptureScreen)
        assert dialog.choices.chosen == ["eth1"] and dialog.expression.value == FILTER
        await seen.press("enter")
        await seen.until(lambda: ("start_capture", ("eth1",), FILTER) in source.done, "the same again")


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=str)
async def test_a_filter_longer_than_its_line_is_read_whole_in_the_dialog(size: tuple[int, int]) -> None:
    async with running(size=size, source=capturing(Capturing(("eth1",), LONG))) as seen:
        await seen.press("4", "B")
        await seen.see("Capture packets")
        await seen.until(lambda: all(f"192.168.1.{n} " in seen.text for n in range(12)), "all of it")
        assert "the end" in seen.text and "Ctrl-S" in seen.text and "eth1" in seen.text


async def test_ending_a_capture_in_its_dialog_says_so() -> None:
    source = capturing(Capturing(("eth1",), "icmp"))
    async with running(source=source) as seen:
        await seen.press("4", "B")
        await seen.see("Capture packets")
        await seen.press("ctrl+s")
        await seen.see("capture stopped, packets kept")
        assert source.done == [("stop_capture",)]


async def test_a_second_h_ends_the_rates_from_headers() -> None:
    source = session()
    async with running(size=WIDE, source=source) as seen:
        await seen.press("H")
        await seen.see("rates come from packets' headers now (128 bytes of each); H ends that")
        source.facts = replace(FACTS, capturing=Capturing(("eth0",), headers=True))
        await seen.press("H")
        await seen.see("rates from packet headers stopped")
        assert source.done[-1] == ("stop_capture",) and source.done.count(("measure_rates",)) == 1


async def test_h_says_that_it_takes_the_place_of_a_capture() -> None:
    async with running(source=capturing(Capturing(("eth0",), "icmp"))) as seen:
        await seen.press("H")
        await seen.see("in place of the capture on eth0; H ends that")


async def test_ending_a_capture_by_the_palette_says_so() -> None:
    source = capturing(Capturing(("eth0",), "icmp"))
    async with running(source=source) as seen:
        for words, facts in (("capture stopped, packets kept", FACTS), ("no capture is running", FACTS)):
            await seen.press("colon")
            await seen.write("Stop cap")
            await seen.press("enter")
            await seen.see(words)
            source.facts = facts


@pytest.mark.parametrize("size", [SMALL, WIDE], ids=str)
async def test_a_namespace_that_is_gone_is_said_in_place_of_live(size: tuple[int, int]) -> None:
    source = session()
    source.views["chains"].notes = ((("something of the model's", ""),),)
    async with running(size=size, source=source) as seen:
        emptied(source)
        await seen.see("LIVE 12:04:31")
        await seen.press("2")
        await seen.see("No events yet.")
        source.facts = replace(FACTS, mode="GONE", clock_ns=NOON)
        await seen.see("GONE 12:04:31")
        assert "LIVE" not in seen.text
        for view in "213":
            await seen.press(view)
            await seen.see("nothing will come: the namespace is gone.")
            assert "No events yet." not in seen.text and "something of" not in seen.text
        source.facts = replace(source.facts, others=1)
        await seen.press("2")
        await seen.see("No events yet.")
        await seen.press("3")
        await seen.see("nothing will come: the namespace is gone.")
        source.facts = FACTS
        await seen.see("something of the model's")


def changing_cpu(source: PlainSession) -> Status:
    source.ticks += 1
    return replace(source.facts, cpu_percent=source.ticks + 0.5)


async def test_our_own_cpu_is_written_with_the_seconds_and_other_facts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Status] = []
    monkeypatch.setattr(Header, "show", lambda header, status, width: written.append(status))
    monkeypatch.setattr(PlainSession, "status", changing_cpu)
    clock = [1000.0]
    monkeypatch.setattr(main, "time", SimpleNamespace(time=lambda: clock[0]))
    source = session()
    async with running(source=source) as seen:
        since = source.ticks
        await seen.until(lambda: source.ticks > since + 2, "ticks")
        writes = len(written)
        await seen.until(lambda: source.ticks > since + 5, "ticks in the same second")
        assert len(written) == writes
        clock[0] += 1
        await seen.until(lambda: len(written) == writes + 1, "the next second")
        source.facts = replace(FACTS, count=7)
        await seen.until(lambda: written[-1].count == 7, "another fact in the same second")
