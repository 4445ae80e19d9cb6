"""What a live session says of itself: the capture in force, and that the namespace shown is gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from nettop.broker.client import Broker
from nettop.broker.start import start
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from nettop.session.status import Capturing
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_session import RULES, Watched

pytestmark = pytest.mark.kernel


def tracked(lab: Lab, name: str) -> str:
    ns = lab.netns(name)
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    return ns


def ages(watched: Watched) -> list[str]:
    found: list[Snapshot] = []
    watched.session.ask("flows", ViewSpec(("age",), height=9), found.append)
    poll(lambda: found, what="the flows")
    return [row.cells[0] for row in found[0].rows]


def test_the_capture_in_force_is_told_until_it_ends(broker: Broker, lab: Lab) -> None:
    watched = Watched(LiveSession(broker, tracked(lab, "a"), ssh=("10.0.0.9", 51001, "10.0.0.1", 22)))
    session = watched.session
    try:
        assert session.status().capturing is None
        assert watched.do(session.start_capture, ["lo"], "icmp") is None
        assert session.status().capturing == Capturing(("lo",), "icmp"), "the ssh session is in another namespace"
        assert watched.do(session.start_capture, ["lo"], "nonsense here") is not None
        assert session.status().capturing == Capturing(("lo",), "icmp")
        assert watched.do(session.measure_rates) is None
        assert session.status().capturing == Capturing(("lo",), headers=True)
        session.stop_capture()
        assert session.status().capturing is None
    finally:
        session.close()


def test_a_new_capture_begins_a_list_and_the_headers_for_rates_are_in_none(broker: Broker, lab: Lab) -> None:
    name = tracked(lab, "a")
    watched = Watched(LiveSession(broker, name))
    session = watched.session

    def capture_ping(ask: Callable[..., None], *arguments: object) -> None:
        seen = int(session._run._packets)
        assert watched.do(ask, *arguments) is None
        run_in(name, "ping", "-c1", "127.0.0.1")
        poll(lambda: session._run._packets >= seen + 2, what="the ping and its answer")

    try:
        capture_ping(session.start_capture, ["lo"], "icmp")
        poll(lambda: len(watched.rows("packets")) == 2, what="two packets")
        capture_ping(session.measure_rates)
        assert len(watched.rows("packets")) == 2
        capture_ping(session.start_capture, ["lo"], "icmp or udp")
        poll(lambda: len(watched.rows("packets")) == 2, what="the new list")
        lists: list[tuple[int, str, int]] = []
        session.packet_lists(lists.extend)
        poll(lambda: lists, what="the lists")
        assert [(number, text.split(" ", 1)[1], count) for number, text, count in lists] == [
            (3, "lo icmp or udp", 2),
            (1, "lo icmp", 2),
        ]
    finally:
        session.close()


def test_a_namespace_that_is_gone_is_said_and_its_clock_stands_still(broker: Broker, lab: Lab) -> None:
    name, other = tracked(lab, "a"), tracked(lab, "b")
    watched = Watched(LiveSession(broker, name))
    try:
        run_in(name, "ping", "-c1", "127.0.0.1")
        poll(lambda: ages(watched), what="a flow")
        assert watched.session.status().mode == "LIVE"
        lab.remove(name)
        poll(lambda: watched.session.status().mode == "GONE", what="gone")
        poll(lambda: watched.session._run.stopped_ns, what="the models' clock stands")
        status, shown = watched.session.status(), ages(watched)
        assert abs(time.time_ns() - status.clock_ns) < 10e9 and len(shown) == 1
        poll(lambda: time.time_ns() > status.clock_ns + 2_500_000_000, what="time has passed")
        assert watched.session.status().clock_ns == status.clock_ns and ages(watched) == shown
        assert watched.do(watched.session.switch_namespace, other) is None
        assert watched.session.status().mode == "LIVE"
        assert watched.session.status().clock_ns > status.clock_ns
    finally:
        watched.session.close()


def test_one_of_several_namespaces_that_goes_is_not_the_one_shown(broker: Broker, lab: Lab) -> None:
    shown, beside = tracked(lab, "a"), tracked(lab, "b")
    watched = Watched(LiveSession(broker, shown, others=(beside,)))
    try:
        lab.remove(beside)
        poll(lambda: "gone" in watched.notes(), what="it is said")
        assert watched.session.status().mode == "LIVE" and watched.session.status().others == 0
        lab.remove(shown)
        poll(lambda: watched.session.status().mode == "GONE", what="gone")
    finally:
        watched.session.close()


def test_a_broker_that_has_ended_is_another_word(lab: Lab) -> None:
    name = tracked(lab, "a")
    with start("root", confine=False) as broker:
        watched = Watched(LiveSession(broker, name))
        try:
            os.kill(broker.pid, 9)
            poll(lambda: watched.session.status().mode == "ENDED", what="ended")
        finally:
            watched.session.close()
