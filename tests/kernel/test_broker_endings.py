"""Each process killed with SIGKILL: the others end clearly, nobody is left over, the host is as it was."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nettop.broker import texts
from nettop.broker.children import ChildProcess
from nettop.broker.client import Broker
from nettop.broker.start import start
from nettop.errors import BrokerError
from nettop.kinds import TextKind
from tests.kernel.namespaces import Lab, add_rules, poll, run_in
from tests.kernel.processes import App, forked_broker, is_gone, status_of, stop_a_child

pytestmark = pytest.mark.kernel


@pytest.fixture
def big_ruleset(lab: Lab) -> str:
    """A namespace whose ruleset takes a moment to list."""
    ns = lab.netns("big")
    add_rules(ns, 9_000)
    return ns


@pytest.fixture
def stopped_child(big_ruleset: str) -> Iterator[tuple[App, int, int]]:
    """An app, its broker, and a listing child of the broker that was stopped in the middle."""
    child = 0
    while not child:  # again, where it was quicker than we
        with App({"netns": big_ruleset, "do": ["listing"]}) as app:
            broker = app.expect("ready")["broker"]
            child = stop_a_child(broker, app.has_said)
            if child:
                yield app, broker, child


def host_state(ns: str) -> tuple[list[str], str, str, str]:
    """What nettop could have left changed: mounts of ours, and the namespace's rules, devices and sysctls."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        ours = [line for line in lines if f"nt-{os.getpid()}-" in line]
    rules = run_in(ns, "nft", "-a", "list", "ruleset")
    sysctls = run_in(ns, "sh", "-c", "cd /proc/sys/net/netfilter; grep -s . nf_conntrack_acct nf_log/2 nf_log/10")
    return ours, rules, run_in(ns, "ip", "-d", "link"), sysctls


def test_killing_the_app_ends_the_broker_and_its_children(
    stopped_child: tuple[App, int, int], big_ruleset: str
) -> None:
    app, broker, child = stopped_child
    before = host_state(big_ruleset)
    app.kill()
    poll(lambda: is_gone(broker), what="the broker's end")
    poll(lambda: is_gone(child), what="the child's end")
    assert host_state(big_ruleset) == before


def test_killing_the_broker_ends_its_children_and_tells_the_app(stopped_child: tuple[App, int, int]) -> None:
    app, broker, child = stopped_child
    os.kill(broker, signal.SIGKILL)
    poll(lambda: is_gone(child), what="the child's end")
    poll(lambda: is_gone(broker), what="the broker's end (the app reaps it)")
    said = {message["what"]: message for message in (app.any_line(), app.any_line())}  # from two threads
    assert said["gone"]["why"] == "the broker ended"
    assert said["listing"]["error"].startswith("the broker ended")
    assert app.end() == 0


def test_killing_a_child_is_an_error_of_that_call_only(stopped_child: tuple[App, int, int]) -> None:
    app, broker, child = stopped_child
    os.kill(child, signal.SIGKILL)
    assert "was ended by SIGKILL" in app.expect("listing")["error"]
    assert not is_gone(broker)
    assert app.end() == 0
    poll(lambda: is_gone(broker), what="the broker's end")


def test_a_child_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, big_ruleset: str) -> None:
    """The limit is set in a broker forked from here: the server's loop, not a mock, ends the child."""
    monkeypatch.setattr(texts, "SECONDS", 0.0)
    with forked_broker() as broker, pytest.raises(BrokerError, match="nft-ruleset: it took too long and was ended"):
        broker.text(broker.netns(big_ruleset), TextKind.NFT_RULESET)


def test_a_child_that_cannot_be_ended_is_the_only_one_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that waits for a network file system; the map asks for its list again and again."""

    def hang(seconds: float) -> texts.Tool:
        def run() -> None:
            signal.alarm(0)  # the one that would end it
            select.select([], [], [], seconds)

        return texts.Tool(run)

    monkeypatch.setattr(texts, "SECONDS", 0.0)
    monkeypatch.setitem(texts.TOOLS, TextKind.PROCESSES, hang(4.0))
    monkeypatch.setitem(texts.TOOLS, TextKind.NFT_RULESET, hang(1.5))
    monkeypatch.setattr(ChildProcess, "kill", lambda child, reason: setattr(child, "kill_reason", reason))
    with forked_broker() as broker, ThreadPoolExecutor() as calls:
        own = broker.netns("")
        hanging = calls.submit(broker.text, own, TextKind.PROCESSES)
        broker.text(own, TextKind.NFT_RULESET)
        with pytest.raises(BrokerError, match="processes: an earlier call cannot be ended"):
            broker.text(own, TextKind.PROCESSES)
        broker.text(own, TextKind.NFT_RULESET)
        hanging.result()
        broker.text(own, TextKind.PROCESSES)


def test_every_call_after_the_brokers_death_says_so(broker: Broker) -> None:
    os.kill(broker.pid, signal.SIGKILL)
    poll(lambda: broker.ended)
    with pytest.raises(BrokerError, match="the broker ended: start nettop again"):
        broker.netns("")


def test_the_terminals_interrupt_does_not_end_the_broker(broker: Broker) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP):
        os.kill(broker.pid, number)
    assert broker.netns("").label == ""
    assert status_of(broker.pid)["State"][0] in "SR"


def test_closing_leaves_no_process_no_thread_and_no_descriptor() -> None:
    import threading

    descriptors, threads = len(os.listdir("/proc/self/fd")), set(threading.enumerate())
    broker = start("root", confine=False)
    pid = broker.pid
    broker.netns("")
    broker.close()
    broker.close()
    assert is_gone(pid)
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # an earlier test's may have gone meanwhile
    assert set(threading.enumerate()) <= threads


def test_a_broker_that_does_not_start_is_an_error_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BrokerError, match=r"did not start \(status 1\)"):
        start("root", confine=False)
    assert subprocess.run(["pgrep", "-P", str(os.getpid()), "false"], check=False, capture_output=True).stdout == b""
