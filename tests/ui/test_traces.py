"""The view of traced packets, on a recording that has some: what a person reads, and where the keys lead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from nettop.labs.client import bundled
from nettop.session.base import Session
from nettop.session.replay import ReplaySession
from nettop.session.status import Done, Status, TraceRequest, Tracing
from tests.kernel.namespaces import poll
from tests.ui.screen_text import SMALL, WIDE, Seen, running

BLOCKED = "inet fw ▸ lan ▸ blocked rule 1 “ip daddr @bad counter drop"


class Traced(ReplaySession):
    """A recording as if it were live: it notes what is to be traced."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.requests: list[TraceRequest] = []
        self.refusal: str | None = None
        self.facts = Status()

    def status(self) -> Status:
        now = None
        if self.requests:
            now = Tracing(self.requests[-1], "nettop-7-abc", super().status().clock_ns + 60_000_000_000, 12, 3)
        return replace(super().status(), mode="LIVE", tracing=now, read_only=self.facts.read_only)

    def start_trace(self, request: TraceRequest, done: Done) -> None:
        if self.refusal is None:
            self.requests.append(request)
        done(self.refusal)

    def stop_trace(self, done: Done) -> None:
        self.requests.clear()
        done(None)


def opened(kind: type[ReplaySession]) -> Iterator[ReplaySession]:
    session = kind(bundled())
    session.start()
    try:
        poll(lambda: session._run.ended, what="the recording is read")
        yield session
    finally:
        session.close()


@pytest.fixture(scope="module")
def recorded() -> Iterator[Session]:
    yield from opened(ReplaySession)


@pytest.fixture
def live() -> Iterator[Session]:
    yield from opened(Traced)


async def first_drop(seen: Seen) -> None:
    """The traces, with the cursor on the first packet that was dropped."""
    await seen.press("7")
    await seen.see("[7 Traces]")
    await seen.press("slash")
    await seen.write("verdict drop")
    await seen.press("enter", "g")
    await seen.until(lambda: "DROP" in seen.cursor_line(), "a dropped packet")


async def test_a_replay_shows_each_packet_with_its_end_and_rule(recorded: Session) -> None:
    async with running(WIDE, recorded) as seen:
        await first_drop(seen)
        assert BLOCKED in seen.cursor_line() and "203.0.113.66" in seen.cursor_line()
        await seen.see("/ verdict drop")
        await seen.press("escape")
        await seen.see("out of eth1, NAT src → 100.100.100.1")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_enter_shows_the_steps_and_enter_on_a_step_its_rule(recorded: Session, size: tuple[int, int]) -> None:
    async with running(size, recorded) as seen:
        await first_drop(seen)
        await seen.press("enter")
        await seen.see("dropped by inet fw ▸ lan ▸ blocked rule 1")
        if size == WIDE:
            await seen.press("tab")
        await seen.press("G", *"kkkkk")  # past the lines of its way
        await seen.until(lambda: any("▶ " in line and " lan " in line for line in seen.lines), "its step")
        await seen.press("enter")
        await seen.see("[3 Chains]")
        await seen.until(lambda: any(line.startswith("▶") and "→ blocked" in line for line in seen.lines), "its rule")
        await seen.press("left_square_bracket")
        await seen.see("[7 Traces]")


@pytest.mark.parametrize("size", [SMALL, (120, 16), (120, 40), WIDE])
async def test_the_detail_begins_at_the_step_that_ended_it(recorded: Session, size: tuple[int, int]) -> None:
    async with running(size, recorded) as seen:
        await first_drop(seen)
        assert "blocked rule 1 “ip" in seen.cursor_line()
        await seen.press("enter")
        await seen.until(
            lambda: any(" 1  drop " in line and "ip daddr" in line for line in seen.lines), "the last step"
        )
        if size != (120, 16):
            assert "  DROP  dropped by inet fw ▸ lan ▸ blocked rule 1" in seen.text
        if size == (120, 40):
            assert "ITS WAY" in seen.text and "postrouting not reached" in seen.text
        if size == WIDE:
            assert any("dropped by" in line and ", reached by " in line for line in seen.lines), seen.text


async def test_the_rule_of_a_step_whose_line_is_cut_is_in_full_below(recorded: Session) -> None:
    async with running(SMALL, recorded) as seen:
        await first_drop(seen)
        await seen.press("enter")
        await seen.until(lambda: any("drop " in line and "▶" in line for line in seen.lines), "the last step")
        await seen.press("k")
        await seen.until(lambda: seen.lines[-2].startswith(" ip daddr 203.0.113.0/24 counter jump blocked"), "its rule")


async def test_the_keys_shown_are_not_those_of_a_table_that_the_detail_covers(recorded: Session) -> None:
    async with running(SMALL, recorded) as seen:
        await first_drop(seen)
        assert "s sort  C columns" in seen.lines[-1]
        await seen.press("enter")
        await seen.see("dropped by inet fw")
        await seen.see("Enter open  Esc back  F its flow  R its rule  y copy  w write")
        await seen.press("escape")
        await seen.see("s sort  C columns")


async def test_r_on_a_packet_goes_to_the_rule_that_ended_it_and_t_back_to_its_packets(recorded: Session) -> None:
    async with running(WIDE, recorded) as seen:
        await first_drop(seen)
        await seen.press("R")
        await seen.until(lambda: any(line.startswith("▶") and "known bad" in line for line in seen.lines), "its rule")
        await seen.see("way: through it   packet #")
        await seen.press("T")
        await seen.see('/ rule "inet fw blocked handle')
        await seen.until(lambda: "DROP" in seen.cursor_line(), "its packets")
        assert "accept " not in seen.cursor_line()


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_esc_leads_from_the_rule_of_a_step_back_to_the_step(recorded: Session, size: tuple[int, int]) -> None:
    async with running(size, recorded) as seen:
        await first_drop(seen)
        await seen.press("enter")
        await seen.see("dropped by inet fw ▸ lan ▸ blocked rule 1")
        if size == WIDE:
            await seen.press("tab")
        await seen.press("k")
        on_its_step = lambda: any("▶ " in line and " jump " in line for line in seen.lines)  # noqa: E731
        await seen.until(on_its_step, "the step before")
        await seen.press("R")
        await seen.until(lambda: "→ blocked" in seen.cursor_line(), "its rule")
        assert "Esc back" in seen.lines[-1]
        await seen.press("d", "escape")  # what was opened there is left first
        await seen.until(lambda: "→ blocked" in seen.cursor_line(), "its rule again")
        await seen.press("escape")
        await seen.see("[7 Traces]")
        await seen.until(on_its_step, "the step it came from")
        await seen.press("escape")
        await seen.until(lambda: "DROP" in seen.cursor_line(), "the list")
        await seen.press("left_square_bracket")
        await seen.until(lambda: "→ blocked" in seen.cursor_line(), "[ leads to the rule again")


async def go_to_the_flow_of_a_ping(seen: Seen) -> None:
    await seen.press("7", "slash")
    await seen.write("verdict accept")
    await seen.press("enter", "g", "F")
    await seen.see("[1 Flows]")
    await seen.until(lambda: "icmp" in seen.cursor_line(), "its flow")


async def test_esc_leads_through_every_jump_back_to_the_first_row(recorded: Session) -> None:
    async with running(WIDE, recorded) as seen:
        await go_to_the_flow_of_a_ping(seen)
        flow = seen.cursor_line()[:60]
        await seen.press("T", "R")
        await seen.see("[3 Chains]")
        await seen.press("escape")
        await seen.see("/ icmp and (")
        await seen.press("escape")
        await seen.until(lambda: seen.cursor_line()[:60] == flow, "the flow")
        await seen.press("escape")
        await seen.see("/ verdict accept")
        await seen.press("escape")  # no jump led to it: the filter is cleared
        await seen.see_no("/ verdict accept")


async def test_f_goes_to_the_flow_and_t_from_a_flow_to_its_packets(recorded: Session) -> None:
    async with running(WIDE, recorded) as seen:
        await seen.press("7", "slash")
        await seen.write("verdict accept")
        await seen.press("enter", "g")
        await seen.until(lambda: "out of eth" in seen.cursor_line(), "a ping")
        await seen.press("F")
        await seen.see("[1 Flows]")
        await seen.until(lambda: "192.168.1.2" in seen.cursor_line() and "icmp" in seen.cursor_line(), "its flow")
        await seen.press("T")
        await seen.see("/ icmp and (")
        await seen.until(lambda: "accept" in seen.cursor_line(), "its packets")


async def test_r_on_a_flow_lists_the_rules_that_its_traced_packets_met_and_goes_to_one(recorded: Session) -> None:
    async with running(WIDE, recorded) as seen:
        await go_to_the_flow_of_a_ping(seen)
        await seen.press("R")
        await seen.see("Rules that its traced packets met")
        await seen.see("forward  inet fw forward 1  ct state")
        await seen.press("enter")
        await seen.see("[3 Chains]")
        await seen.press("1", "g", "slash")
        await seen.write("port 53")
        await seen.press("enter", "R")
        await seen.see("no packet of it was traced")


async def test_a_recording_without_traces_and_keys_of_the_live_host_say_so(recorded: Session) -> None:
    async with running(WIDE, recorded) as seen:
        await seen.press("7", "t")
        await seen.see("needs a live namespace")


async def test_a_flow_is_traced_by_its_tuple_and_limits_are_chosen(live: Traced) -> None:
    async with running(WIDE, live) as seen:
        await seen.press("slash")
        await seen.write("udp and port 443")
        await seen.press("enter")
        await seen.until(lambda: "udp" in seen.cursor_line(), "a flow")
        await seen.press("t")
        await seen.see("Trace packets in")
        await seen.see("at most 50 packets a second")
        await seen.press("down", "space")
        await seen.see("and those of bridges")
        await seen.press("down", "space")
        await seen.see("at most 200 packets a second")
        await seen.press("enter")
        await seen.see("[7 Traces]")
        await seen.see("TRACING")
        await seen.see("12 of 200 pkt/s, 3 over the limit")
        await seen.see("table inet nettop-7-abc")
    (request,) = live.requests
    assert (request.per_second, request.also) == (200, "bridge")
    assert (
        request.expression.startswith("udp and ((src 192.168.1.2:")
        and ") or (src 198.51.100.4:443 and dst" in request.expression
    )


async def test_a_group_is_traced_by_its_key_or_its_filter_is_shown_with_the_reason_why_not(live: Traced) -> None:
    async with running(WIDE, live) as seen:
        await seen.press("b")
        await seen.see("Group flows by")
        await seen.press("enter")
        await seen.until(lambda: seen.cursor_line().startswith("▶192.168.1.2"), "the group of a source")
        await seen.press("t")
        await seen.see("│ src host 192.168.1.2")
        await seen.press("escape", "slash")
        await seen.write("state established")
        await seen.press("enter", "t")
        await seen.see("“state” does not apply to traces")


async def test_a_rule_is_traced_by_the_packets_that_hit_it(live: Traced) -> None:
    async with running(WIDE, live) as seen:
        await first_drop(seen)
        await seen.press("R")
        await seen.until(lambda: any(line.startswith("▶") and "known bad" in line for line in seen.lines), "its rule")
        await seen.see("way: through it   packet #")
        await seen.press("t")
        await seen.see("every packet")
        await seen.press("enter")
        await seen.see("TRACING  every packet")
    assert live.requests[0].only.startswith('rule "inet fw blocked handle')


async def test_typed_packets_are_checked_with_a_caret_and_s_stops(live: Traced) -> None:
    async with running(WIDE, live) as seen:
        await seen.press("7", "t")
        await seen.write("host 10.0.0.1 and rate")
        await seen.see("“rate” does not apply to traces")
        assert any(line.index("^") for line in seen.lines if "does not apply to traces" in line)
        await seen.press("ctrl+u")
        await seen.write("host 10.0.0.1")
        await seen.press("enter")
        await seen.see("Trace packets in")
        await seen.press("e")
        await seen.see(" trace host 10.0.0.1")
        await seen.press("enter", "enter")
        await seen.see("TRACING  host 10.0.0.1")
        await seen.press("q")
        await seen.see("A trace is running")
        await seen.press("escape", "S")
        await seen.see_no("TRACING")


async def test_a_refusal_is_shown(live: Traced) -> None:
    live.refusal = "not permitted: CAP_NET_ADMIN is missing"
    async with running(WIDE, live) as seen:
        await seen.press("7", "t", "enter")
        await seen.see("Trace packets in")
        await seen.press("enter")
        await seen.see("CAP_NET_ADMIN is missing")


async def test_read_only_does_not_offer_it(live: Traced) -> None:
    live.facts = Status(read_only=True)
    async with running(WIDE, live) as seen:
        await seen.press("7")
        await seen.see("[7 Traces]")
        assert "t trace" not in seen.lines[-1]
        await seen.press("t")
        await seen.see("read-only: nettop changes nothing on this host")
