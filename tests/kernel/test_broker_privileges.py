"""What the app and the broker may do: read from /proc while the app receives what only the broker may ask for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from nettop.broker.identity import can_change_ids
from nettop.broker.privileges import BROKER_KEEPS
from tests.kernel.processes import App, status_of, threads_of

pytestmark = pytest.mark.kernel

DROP_BESIDE_A_THREAD = """
import threading
from nettop.broker import identity
from nettop.broker.confinement import drop
from nettop.errors import NotPermitted
stop = threading.Event()
threading.Thread(target=stop.wait).start()
try:
    drop.drop_app(identity.Account(0, 0))
except NotPermitted as error:
    print(error)
stop.set()
"""
NO_CAPABILITIES = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0}


def add_flows(run_in: Callable[..., str], ns: str, count: int) -> None:
    for port in range(1000, 1000 + count):
        tuple_ = ("-s", "10.0.0.1", "-d", "10.0.0.2", "-p", "udp", "--sport", str(port), "--dport", "53")
        run_in(ns, "conntrack", "-I", *tuple_, "-t", "300")


def capabilities(status: dict[str, str]) -> dict[str, int]:
    return {name: int(status[name], 16) for name in NO_CAPABILITIES}


def test_the_app_has_no_privilege_in_any_thread_while_it_receives_a_dump(
    netns: Callable[..., str], run_in: Callable[..., str]
) -> None:
    ns = netns()
    add_flows(run_in, ns, 5)
    with App({"netns": ns, "do": ["dump", "capture", "whoami"]}) as app:
        pid = app.expect("ready")["pid"]
        assert app.expect("dump") == {"what": "dump", "flows": 5, "own_request_refused": True}
        assert app.expect("capture")["size"] == 4 << 16
        app.expect("whoami")
        for thread in threads_of(pid):
            status = status_of(pid, thread)
            assert capabilities(status) == NO_CAPABILITIES
            assert status["NoNewPrivs"] == "1"
            if can_change_ids():
                assert status["Uid"].split() == ["65534"] * 4
                assert status["Gid"].split() == ["65534"] * 4
                assert status["Groups"] == ""


def test_the_broker_keeps_only_its_capabilities(netns: Callable[..., str]) -> None:
    with App({"netns": netns()}) as app:
        status = status_of(app.expect("ready")["broker"])
    kept = sum(1 << bit for bit in BROKER_KEEPS)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) & ~kept == 0
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_the_app_cannot_drop_while_a_thread_would_keep_its_privileges() -> None:
    command = [sys.executable, "-c", DROP_BESIDE_A_THREAD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "1 threads keep theirs" in done.stdout
