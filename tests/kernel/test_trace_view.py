"""Tracing in the app: t and S, the limits, the rule behind a packet, and nothing left on the host."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.start import start
from nettop.model.filter.expression import parse
from nettop.model.table import JourneyDetail, Snapshot, ViewSpec
from nettop.model.traces.ends import where
from nettop.model.traces.journeys import Journeys
from nettop.session.live import LiveSession
from nettop.session.status import TraceRequest
from tests.kernel.commands import holds, nettop
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.processes import children_of
from tests.kernel.pty_terminal import Terminal, terminal
from tests.kernel.test_trace import CASES, CLIENT, ROUTER_A, SERVER, Path3
from tests.kernel.test_trace_bridge import BRIDGE, Bridge

pytestmark = pytest.mark.kernel
DEEP = CASES["three chains deep"][0]


@pytest.fixture
def path(lab: Lab) -> Path3:
    made = Path3(lab)
    made.rules(DEEP)
    return made


def traced(ns: str) -> bool:
    """Whether a tracing table is there."""
    return "nettop-" in run_in(ns, "nft", "list", "tables")


# -- the screen ------------------------------------------------------------------------------------------------------


def start_trace(screen: Terminal, path: Path3, expression: str) -> None:
    poll(lambda: screen.shows("1 Flows"), what="the first screen")
    screen.key("7")
    poll(lambda: screen.shows("Nothing is traced."))
    screen.key(f"t{expression}\r")
    poll(lambda: screen.shows("Trace packets in"))
    screen.key("\r")
    poll(lambda: screen.shows("TRACING") and traced(path.router))


def test_after_s_without_a_packet_the_screen_says_that_the_trace_has_ended(path: Path3) -> None:
    with terminal("--netns", path.router) as screen:
        start_trace(screen, path, "udp port 9999")
        poll(lambda: screen.shows("No packet yet that matches."))
        screen.key("S")
        poll(lambda: screen.shows("The trace has ended: no packet matched."))


def test_t_names_the_rule_and_s_leaves_nothing(path: Path3) -> None:
    with terminal("--netns", path.router) as screen:
        start_trace(screen, path, f"host {SERVER}")
        began = time.monotonic()
        path.ping(SERVER)
        poll(lambda: screen.shows("▸ blocked rule 1 “counter drop"), what="the rule")
        assert time.monotonic() - began < 5
        screen.key("S")
        poll(lambda: not traced(path.router))
        assert screen.quit() == 0


@pytest.mark.parametrize("victim", ["app", "broker"])
def test_nothing_is_left_when_the_app_is_killed(path: Path3, victim: str) -> None:
    before = run_in(path.router, "nft", "-a", "list", "ruleset")
    with terminal("--netns", path.router) as screen:
        start_trace(screen, path, "icmp")
        pid = screen.process.pid if victim == "app" else children_of(screen.process.pid)[0]
        os.kill(pid, signal.SIGKILL)
        poll(lambda: run_in(path.router, "nft", "-a", "list", "ruleset") == before)


def test_read_only_says_why_nothing_is_traced(path: Path3) -> None:
    with terminal("--netns", path.router, "--read-only") as screen:
        poll(lambda: screen.shows("1 Flows"))
        screen.key("7t")
        poll(lambda: screen.shows("read-only: nettop changes nothing"))
        assert not traced(path.router)


# -- the session -----------------------------------------------------------------------------------------------------


@contextmanager
def session_on(broker: Broker, ns: str) -> Iterator[LiveSession]:
    session = LiveSession(broker, ns)
    broker_close, broker.close = broker.close, lambda: None  # type: ignore[method-assign]
    try:
        poll(lambda: "culprit" in str(rows(session, "rules", ("rule",))), what="the rules and their words")
        yield session
    finally:
        session.close()
        broker.close = broker_close  # type: ignore[method-assign]


def answer(ask: Any, *arguments: Any) -> Any:
    found: SimpleQueue[Any] = SimpleQueue()
    ask(*arguments, lambda *what: found.put(what[0] if len(what) == 1 else what))
    return found.get(timeout=30)


def rows(session: LiveSession, view: str, columns: tuple[str, ...], expression: str = "") -> list[tuple[str, ...]]:
    spec = ViewSpec(columns, height=500, filter=parse(expression, "traced packet"))
    shown: Snapshot = answer(session.ask, view, spec)
    return [row.cells for row in shown.rows]


def complete(model: Journeys) -> bool:
    """Whether nothing more is known of any packet later."""
    return all(model.worded(journey) and model.drops.knows(journey) for journey in model.ended)


def ended(session: LiveSession) -> list[str]:
    return session._run.waited(lambda engine, now_ns: [where(one) for one in engine.traces.kept.values() if one.end])


def trace(session: LiveSession, request: TraceRequest) -> None:
    assert answer(session.start_trace, request) is None
    assert session.status().tracing is not None


def test_only_packets_that_hit_a_rule_are_shown_and_their_count_ends_the_trace(path: Path3, broker: Broker) -> None:
    with session_on(broker, path.router) as session:
        drop = next(
            row
            for row in answer(session.ask, "rules", ViewSpec(("rule",), height=99)).rows
            if "culprit" in row.cells[0]
        )
        only, also, _, error = answer(session.rule_filter, "rules", drop.ident)
        assert only == 'rule "inet fw blocked handle 9"' and not also + error
        trace(session, TraceRequest(only=only, count=2))
        for _ in range(3):
            path.ping(SERVER)
            path.ping(ROUTER_A)
        poll(lambda: session.status().tracing is None, what="its count ends it")
        poll(lambda: not traced(path.router), what="the table's end")
        assert {row[0] for row in rows(session, "traces", ("destination",))} == {SERVER}


def test_a_rule_of_a_bridge_is_traced_in_the_hooks_of_the_bridge(lab: Lab, broker: Broker) -> None:
    bridge = Bridge(lab)
    bridge.rules(*BRIDGE, 'add rule bridge t f ip daddr 10.9.0.2 drop comment "the culprit"')
    with session_on(broker, bridge.router) as session:
        (drop,) = answer(session.ask, "rules", ViewSpec(("rule",), height=1)).rows
        only, also, packets, error = answer(session.rule_filter, "rules", drop.ident)
        assert (also, packets, error) == ("bridge", "", "") and only.startswith('rule "bridge t f handle')
        trace(session, TraceRequest(only=only, also=also))
        bridge.ping("10.9.0.2")
        poll(lambda: [row[0] for row in rows(session, "traces", ("end",))] == ["DROP"])
        assert rows(session, "traces", ("in", "destination")) == [("pa", "10.9.0.2")]


def test_its_time_ends_it_and_a_new_one_replaces_it(path: Path3, broker: Broker) -> None:
    with session_on(broker, path.router) as session:
        trace(session, TraceRequest("icmp"))
        trace(session, TraceRequest("udp", seconds=1))
        assert run_in(path.router, "nft", "list", "tables").count("nettop-") == 1
        poll(lambda: session.status().tracing is None and not traced(path.router), what="its time ends it")
        poll(lambda: "nettop-drop-records" not in thread_names(), what="the end of the reading of drops")


def thread_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_the_end_of_a_trace_does_not_end_the_next_one(path: Path3, broker: Broker) -> None:
    """Both are seen to at the same time: the model reports the first one's end when a person starts the second."""
    with session_on(broker, path.router) as session:
        trace(session, TraceRequest("icmp", seconds=1))
        tracer, later = session._tracer, time.time_ns() + 3600 * 10**9
        ended = session._run.waited(lambda engine, now_ns: tracer.look(engine, later))
        trace(session, TraceRequest("udp"))
        tracer.stop(ended)
        assert session.status().tracing is not None and traced(path.router)


def test_the_first_rules_of_legacy_that_come_meanwhile_are_seen(path: Path3, broker: Broker) -> None:
    logger = "/proc/sys/net/netfilter/nf_log/2"
    before = run_in(path.router, "cat", logger)
    with session_on(broker, path.router) as session:
        trace(session, TraceRequest("icmp"))
        path.rules("iptables-legacy -t mangle -A PREROUTING -p icmp -j DROP")
        switched = lambda: "nfnetlink_log" in run_in(path.router, "cat", logger)  # noqa: E731
        poll(lambda: session._request("traces") or switched(), what="the records to be switched on")
        path.ping(SERVER)
        expected = "dropped by ip mangle PREROUTING rule 1 “-p icmp -j DROP” (iptables-legacy)"
        poll(lambda: expected in str(ended(session)), what="its end")
        session._tracer.stop()
        poll(lambda: run_in(path.router, "cat", logger) == before, what="nf_log as it was")


def test_what_the_limit_left_unmarked_is_counted(path: Path3, broker: Broker) -> None:
    with session_on(broker, path.router) as session:
        trace(session, TraceRequest(f"src host {CLIENT}", per_second=5))
        run_in(path.client, "ping", "-f", "-c", "100", "-W", "1", SERVER, check=False)

        def over() -> int:
            now = session.status().tracing
            return now.over or 0 if now else 0

        poll(lambda: over() >= 50, what="what is over the limit")
        assert answer(session.stop_trace) is None
        assert "of 100 that matched were over the limit" in session.status().notes[-1]


def test_the_rule_of_a_step_and_the_flow_of_a_packet_are_found(path: Path3, broker: Broker) -> None:
    run_in(path.router, "nft", "insert rule inet fw forward ct state established,related accept")
    with session_on(broker, path.router) as session:
        trace(session, TraceRequest("icmp"))
        path.ping(SERVER)
        path.ping(ROUTER_A)
        poll(lambda: [row[0] for row in rows(session, "traces", ("end",))] == ["DROP", "accept", "accept"])
        shown = answer(session.ask, "traces", ViewSpec(("end",)))
        detail = answer(session.detail, "traces", shown.rows[0].ident)
        assert isinstance(detail, JourneyDetail)
        assert detail.decisive is not None and detail.decisive.chain == "blocked"
        hit = answer(session.rule_position, detail.decisive)
        found = answer(session.ask, "rules", ViewSpec(("rule",), height=99, scope=hit.chain))
        assert ["the culprit" in row.cells[0] for row in found.rows if row.ident == hit.rule] == [True]
        related = lambda: answer(session.related, "traces", shown.rows[1].ident, "flows")  # noqa: E731
        poll(lambda: related()[0] is not None, what="the event of its flow")
        ident, text = related()
        flow = answer(session.detail, "flows", ident)
        assert CLIENT in str(flow.title) and "osrc" in text
        _, text = answer(session.related, "flows", ident, "traces")
        assert len(rows(session, "traces", ("end",), text)) == 2


def test_a_recording_of_the_app_replays_the_packets_that_it_showed(path: Path3, tmp_path: Path) -> None:
    recording = str(tmp_path / "app.pcapng")
    options = Options(directories=(str(tmp_path),))
    with start("root", confine=False, allowed=options) as broker, session_on(broker, path.router) as session:
        assert answer(session.start_recording, recording) is None
        poll(lambda: holds(Path(recording), b"lan0\0"), what="the names of devices, which come before the packets")
        trace(session, TraceRequest(f"host {SERVER}"))
        path.ping(SERVER, 3)
        poll(lambda: len(rows(session, "traces", ("end",))) == 3)
        poll(lambda: session._run.waited(lambda engine, _: complete(engine.traces)), what="words and drop reasons")
        for name in ("a-traces.txt", "a-traces.jsonl"):
            done: SimpleQueue[str | None] = SimpleQueue()
            assert answer(session.export_traces, str(tmp_path / name), None, done.put).startswith("3 packets written")
            assert done.get(timeout=30) is None
        poll(lambda: "culprit" in nettop("rules", "-r", recording).stdout)
        answer(session.stop_trace)
        assert answer(session.stop_recording) is None
    for name, options in (("a-traces.txt", ()), ("a-traces.jsonl", ("--json",))):
        again = nettop("trace", "-r", recording, *options)
        assert (again.returncode, again.stdout) == (0, (tmp_path / name).read_text())
