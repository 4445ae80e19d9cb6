"""Names in a session: none is asked for before they are wanted; then they are those that the system gives."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nettop.broker.client import Broker
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.kernel.namespaces import Lab, poll

pytestmark = pytest.mark.kernel


def originals(session: LiveSession) -> list[str]:
    found: list[Snapshot] = []
    session.ask("flows", ViewSpec(("original",)), found.append)
    poll(lambda: found)
    return [row.cells[0] for row in found[0].rows]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "nettop-names"]


def test_names_are_shown_when_they_are_wanted_and_not_before(
    lab: Lab, broker: Broker, run_in: Callable[..., str], tmp_path: Path
) -> None:
    ns = lab.netns("n")
    run_in(
        ns,
        "nft",
        "add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c ct state new",
    )
    session = LiveSession(broker, ns)
    try:
        lab.spawn_in(
            ns, "python3", "-c", "import socket; s = socket.create_server(('127.0.0.1', 80)); s.accept(); s.accept()"
        )
        send = "import socket; s = socket.create_connection(('127.0.0.1', 80))"
        poll(lambda: run_in(ns, "python3", "-c", send, check=False) == "" and originals(session))
        assert all("→ 127.0.0.1:80" in text for text in originals(session)) and not threads()
        session.set_names(True)
        host = socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]
        poll(lambda: all(f"→ {host}:http" in text for text in originals(session)))
        session.set_names(False)
        poll(lambda: all("→ 127.0.0.1:80" in text for text in originals(session)))
    finally:
        session.close()
    poll(lambda: not threads())


SILENT = """
import socket
from nettop.broker.start import start
from nettop.sources.names import NameResolver
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.9", 53))
silent.settimeout(60)
broker = start("root", confine=False)
resolver = NameResolver(broker.resolve)
assert all(resolver.ask((f"10.1.2.{number}",)) for number in range(50))
assert silent.recv(512)
resolver.close()
broker.close()
print("closed", flush=True)
"""


def test_a_name_server_that_never_answers_holds_up_neither_the_app_nor_its_end(tmp_path: Path) -> None:
    """In a namespace of its own, whose name server takes questions and keeps silent for minutes."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.9\noptions timeout:30 attempts:5\n")
    prepare = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf; ip link set lo up"
    command = ["unshare", "--net", "--mount", "sh", "-ec", f'{prepare}; exec "$@"', "sh", sys.executable, "-c", SILENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")
