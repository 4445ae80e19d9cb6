"""The app's session on a live namespace: switched, captured, recorded, and gone without a trace when it is closed."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.start import start
from nettop.errors import BrokerError
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.rights import named_namespaces

pytestmark = pytest.mark.kernel

RULES = "table inet t { chain o { type filter hook output priority 0; ct state new counter; }; }"


class Watched:
    """A session, and how a test asks it things."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session

    def do(self, what: Callable[..., None], *arguments: Any) -> str | None:
        """Run an action to its end; its error, or None."""
        answers: SimpleQueue[str | None] = SimpleQueue()
        what(*arguments, answers.put)
        return answers.get(timeout=30)

    def rows(self, view: str) -> list[tuple[str, ...]]:
        """The visible rows of a view."""
        answers: SimpleQueue[Snapshot] = SimpleQueue()
        columns = self.session.views[view].default_columns
        self.session.ask(view, ViewSpec(tuple(columns), height=100), answers.put)
        return [row.cells for row in answers.get(timeout=30).rows]

    def notes(self) -> str:
        return " / ".join(self.session.status().notes)


@pytest.fixture
def nettop_threads() -> Iterator[None]:
    """Nothing of a session is left after the test: no thread, no descriptor."""
    descriptors, threads = len(os.listdir("/proc/self/fd")), set(threading.enumerate())
    yield
    poll(lambda: threads.issuperset(threading.enumerate()), what="threads end")
    poll(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, what="descriptors are closed")


@pytest.fixture
def own_broker(nettop_threads: None) -> Iterator[Broker]:
    with start("root", confine=False) as running:
        yield running


@pytest.fixture
def tracked(lab: Lab) -> str:
    ns = lab.netns("a")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    return ns


def test_every_view_fills_and_closing_leaves_nothing(own_broker: Broker, tracked: str) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        assert watched.do(watched.session.start_capture, ["lo"], "icmp") is None
        poll(lambda: (run_in(tracked, "ping", "-c1", "127.0.0.1"), watched.rows("packets"))[1])
        poll(lambda: watched.rows("flows"))
        poll(lambda: watched.rows("events"))
        poll(lambda: watched.rows("chains"))
        poll(lambda: watched.rows("counters"))
        poll(lambda: watched.session.status().count)
        assert watched.session.status().capture != "off"
    finally:
        watched.session.close()
        watched.session.close()


def test_closing_does_not_wait_for_the_broker(own_broker: Broker, tracked: str) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    poll(lambda: watched.rows("chains"))
    began = time.monotonic()
    watched.session.close()
    assert time.monotonic() - began < 10


def test_switching_while_recording_goes_on_in_one_file(
    own_broker: Broker, tracked: str, lab: Lab, tmp_path: Path
) -> None:
    other = lab.netns("b")
    run_in(other, "nft", "-f", "-", stdin=RULES.replace("table inet t", "table inet other"))
    path = tmp_path / "r.pcapng"
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        assert watched.do(watched.session.start_recording, str(path)) is None
        poll(lambda: b"table inet t " in path.read_bytes())
        assert watched.do(watched.session.switch_namespace, other) is None
        assert watched.session.status().netns == other
        run_in(other, "ping", "-c1", "127.0.0.1")
        poll(lambda: watched.rows("flows"))
        poll(lambda: b"table inet other " in path.read_bytes())
        assert watched.session.status().recording
        assert watched.do(watched.session.stop_recording) is None
        assert watched.session.status().recording == ""
    finally:
        watched.session.close()


def test_a_switch_keeps_nothing_of_the_namespace_before(own_broker: Broker, tracked: str, lab: Lab) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        models = weakref.ref(watched.session._run.engine)
        assert watched.do(watched.session.switch_namespace, lab.netns("b")) is None
        poll(lambda: models() is None, what="the end of the models")
    finally:
        watched.session.close()


def test_several_namespaces_are_watched_at_once_and_then_one_again(own_broker: Broker, tracked: str, lab: Lab) -> None:
    other = lab.netns("b")
    run_in(other, "nft", "-f", "-", stdin=RULES)
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        assert watched.do(watched.session.watch_namespaces, (other, tracked)) is None
        assert watched.session.status().others == 1 and watched.session.status().netns == f"{other} +1"
        run_in(tracked, "ping", "-c1", "127.0.0.1")
        run_in(other, "ping", "-c1", "127.0.0.1")
        poll(lambda: len(watched.rows("flows")) == 2, what="a flow of each")
        assert "netns" in watched.session.views["flows"].default_columns
        assert watched.do(watched.session.watch_namespaces, (other, "no-such-namespace")) is not None
        assert watched.session.status().others == 1
        assert watched.do(watched.session.watch_namespaces, (tracked,)) is None
        assert watched.session.status().netns == tracked and watched.session.status().others == 0
    finally:
        watched.session.close()


def test_a_capture_has_devices_of_every_watched_namespace(own_broker: Broker, tracked: str, lab: Lab) -> None:
    other = lab.netns("b")
    watched = Watched(LiveSession(own_broker, tracked, (other,)))
    try:
        poll(lambda: watched.session.status().others == 1)
        found: SimpleQueue[Any] = SimpleQueue()
        watched.session.devices(found.put)
        names = [choice.name for choice in found.get(timeout=30)]
        assert "lo" in names and f"lo @ {other}" in names
        assert watched.do(watched.session.start_capture, ("lo", f"lo @ {other}"), "icmp") is None
        capturing = watched.session.status().capturing
        assert capturing is not None and set(capturing.devices) == {"lo", f"lo @ {other}"}
        for netns in (tracked, other):
            run_in(netns, "ping", "-c1", "127.0.0.1")
        at = watched.session.views["packets"].default_columns.index("netns")
        poll(lambda: {row[at] for row in watched.rows("packets")} == {tracked, other}, what="packets of both")
        assert watched.do(watched.session.start_capture, ("lo",), "icmp") is None
        poll(lambda: watched.session.status().capturing.devices == ("lo",))  # type: ignore[union-attr]
        assert "no device" in str(watched.do(watched.session.start_capture, (f"nothere @ {other}",), ""))
        watched.session.stop_capture()
        poll(lambda: watched.session.status().capturing is None)
    finally:
        watched.session.close()


def test_a_switch_that_fails_leaves_the_present_one_running(own_broker: Broker, tracked: str) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        error = watched.do(watched.session.switch_namespace, "no-such-namespace")
        assert error is not None
        assert "no namespace" in error
        run_in(tracked, "ping", "-c1", "127.0.0.1")
        poll(lambda: watched.rows("flows"))
        assert watched.session.status().netns == tracked
    finally:
        watched.session.close()


def test_a_capture_that_fails_in_part_holds_no_descriptor(own_broker: Broker, tracked: str) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        poll(lambda: watched.rows("chains"))
        before = sorted(link for link in packet_sockets(tracked))
        error = watched.do(watched.session.start_capture, ["lo", "nodev"], "")
        assert error is not None
        assert "no device 'nodev'" in error
        poll(lambda: sorted(packet_sockets(tracked)) == before)
    finally:
        watched.session.close()


def packet_sockets(ns: str) -> list[str]:
    return run_in(ns, "cat", "/proc/net/packet").splitlines()[1:]


@named_namespaces
def test_a_deleted_namespace_is_let_go_within_a_second(own_broker: Broker, lab: Lab) -> None:
    ours, theirs = lab.netns("a"), lab.netns("b")
    lab.veth_pair(ours, theirs)
    watched = Watched(LiveSession(own_broker, ours))
    try:
        assert watched.do(watched.session.start_capture, ["veth0"], "") is None
        lab.remove(ours)
        poll(lambda: "veth0" not in run_in(theirs, "ip", "link"), what="the veth's end is gone")
        poll(lambda: "namespace is gone" in watched.notes())
        assert watched.do(watched.session.switch_namespace, theirs) is None
        assert "gone" not in watched.notes()
    finally:
        watched.session.close()


def test_a_broker_that_dies_is_told_and_closing_still_works(own_broker: Broker, tracked: str) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        os.kill(own_broker.pid, 9)
        poll(lambda: "start nettop again" in watched.notes())
        assert watched.do(watched.session.switch_namespace, "") is not None
    finally:
        watched.session.close()


def test_an_unknown_namespace_leaves_nothing_open(own_broker: Broker) -> None:
    with pytest.raises(BrokerError, match="no namespace"):
        LiveSession(own_broker, "no-such-namespace")


def test_many_captures_leave_no_descriptors(own_broker: Broker, tracked: str) -> None:
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        assert watched.do(watched.session.start_capture, ["lo"], "") is None
        poll(lambda: watched.rows("chains") and watched.rows("counters"))
        poll(lambda: watched.session._run.engine.flows.dumped_ns)  # its sysctls are opened with the first dump
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            assert watched.do(watched.session.start_capture, ["lo"], "") is None
        poll(lambda: len(os.listdir("/proc/self/fd")) <= before)
        poll(lambda: len(packet_sockets(tracked)) == 1)
    finally:
        watched.session.close()


def test_an_existing_file_is_not_overwritten_and_the_recording_goes_on(
    own_broker: Broker, tracked: str, tmp_path: Path
) -> None:
    first, other = tmp_path / "a.pcapng", tmp_path / "b.pcapng"
    other.write_text("mine")
    watched = Watched(LiveSession(own_broker, tracked))
    try:
        assert watched.do(watched.session.start_recording, str(first)) is None
        error = watched.do(watched.session.start_recording, str(other))
        assert error is not None
        assert "exists" in error
        assert watched.session.status().recording
    finally:
        watched.session.close()
    assert other.read_text() == "mine"
    assert watched.session.problem() == ""
