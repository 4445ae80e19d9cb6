"""Processes and devices joined to real flows: through NAT, redirects and loopback, live and from a recording."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nettop.batch import Counter64
from nettop.broker.client import Broker
from nettop.model.table import Snapshot, ViewSpec
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.recorder import Recorder
from nettop.recording.writer import RecordingWriter
from nettop.session.live import LiveSession
from nettop.session.run import Run
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

RULES = """
table inet nat {
  chain pre {
    type nat hook prerouting priority dstnat; tcp dport 80 redirect to :8080; tcp dport 8443 dnat ip to 10.2.0.2:443;
  }
  chain in { type nat hook input priority 100; tcp dport 8080 snat ip to 10.1.0.77; }
  chain post { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
  chain out { type nat hook output priority -100; tcp dport 53 dnat ip to 10.2.0.2:443; }
}
"""
# Answers on ports given as arguments, connects to ends given as HOST:PORT, says its own ports, and stays.
PROGRAM = """
import signal, socket, sys
kept, said = [], []
for word in sys.argv[1:]:
    host, _, port = word.rpartition(":")
    if host:
        one = socket.create_connection((host, int(port)), 30); one.sendall(b"x"); said.append(one.getsockname()[1])
    elif port.startswith("u"):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("", int(port[1:])))
    else:
        one = socket.create_server(("", int(port)))
    kept.append(one)
print(*said, flush=True)
while True:
    signal.pause()
"""


class World:
    """client 10.1.0.2 — lan0 10.1.0.1 [router] 10.2.0.1 wan0 — 10.2.0.2 server."""

    def __init__(self, lab: Lab, broker: Broker) -> None:
        self.lab, self.client, self.router, self.server = lab, lab.netns("c"), lab.netns("r"), lab.netns("s")
        lab.veth_pair(self.client, self.router, "eth0", "lan0", ("10.1.0.2/24",), ("10.1.0.1/24",))
        lab.veth_pair(self.router, self.server, "wan0", "eth0", ("10.2.0.1/24",), ("10.2.0.2/24",))
        run_in(self.client, "ip", "route", "add", "default", "via", "10.1.0.1")
        run_in(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_events=1")
        run_in(self.router, "nft", "-f", "-", stdin=RULES)
        self.run = Run("", True, Counter64(), Counter64())
        self.sources = LiveSources(broker, broker.netns(self.router), self.run.plumbing)
        self.run.engine.netns = self.sources.netns.label

    def watch(self) -> None:
        self.run.start()
        self.sources.events()
        self.sources.dump(replace(feeds.TABLE, every_s=0.2, share=None))
        self.sources.watch(feeds.ROUTES, feeds.ROUTE_EVENTS)
        self.sources.watch(feeds.PROCESSES, every_s=0.3)

    def program(self, ns: str, *words: str) -> tuple[int, list[int]]:
        """A process in the namespace: its pid, and the ports of its connections."""
        process = self.lab.spawn_in(ns, sys.executable, "-c", PROGRAM, *words, stdout=subprocess.PIPE)
        assert process.stdout is not None
        return process.pid, [int(port) for port in process.stdout.readline().split()]

    def drawn(self, sport: int) -> tuple[str, str]:
        """Process and device of the flow that began at this port, as the table draws them."""
        return cells(self.run).get(sport, ("", ""))

    def close(self) -> None:
        self.sources.close()
        self.run.close()


def cells(run: Run) -> dict[int, tuple[str, str]]:
    def drawn(engine: Engine, now_ns: int) -> dict[int, tuple[str, str]]:
        views, joins = engine.flows.views(engine.flows.rows()), engine.flows.joins
        pairs = zip(joins.process(views), joins.device(views), strict=True)
        return {view.value("osport"): (p[0], d[0]) for view, (p, d) in zip(views, pairs, strict=True)}

    found = run.waited(drawn)
    assert not run.failure, run.failure
    return found


def told_ns(engine: Engine, now_ns: int) -> int:
    return engine.processes.read_ns(engine.code(engine.netns))


@pytest.fixture
def world(lab: Lab, broker: Broker) -> Iterator[World]:
    made = World(lab, broker)
    try:
        yield made
    finally:
        made.close()


def test_who_owns_which_flow_through_every_kind_of_nat(world: World, tmp_path: Path) -> None:
    path = tmp_path / "joined.pcapng"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    recorder = Recorder(RecordingWriter(fd), world.run.plumbing.seq)
    world.run.plumbing.record(recorder)
    world.watch()
    world.program(world.server, "443", "22")
    listener, _ = world.program(world.router, "8080", "u5000")
    own, (direct, redirected, looped) = world.program(world.router, "10.2.0.2:22", "10.2.0.2:53", "127.0.0.1:8080")
    _, (forwarded, to_router, dnat) = world.program(world.client, "10.2.0.2:22", "10.1.0.1:80", "10.1.0.1:8443")
    name = Path(f"/proc/{own}/comm").read_text().strip()
    expected = {
        direct: (f"{name}[{own}]", "local→wan0"),
        redirected: (f"{name}[{own}]", "local→wan0"),  # DNAT in output
        looped: (f"{name}[{own}]→{name}[{listener}]?", "lo"),  # not accepted: the listener is likely
        forwarded: ("– forwarded", "lan0→wan0"),  # and masqueraded
        to_router: (f"{name}[{listener}]?", "lan0→local"),  # redirected, with another source for its server
        dnat: ("– forwarded", "lan0→wan0"),
    }

    def seen() -> dict[int, tuple[str, str]]:
        return {port: world.drawn(port) for port in expected}

    try:
        poll(lambda: seen() == expected)
    except AssertionError:
        assert seen() == expected
    recorder.keyframe()
    since = time.time_ns()
    poll(lambda: world.run.waited(told_ns) > since)
    world.run.plumbing.stop_recording()
    recorder.close()
    replayed = json.loads(
        subprocess.run([sys.executable, "-c", REPLAY, str(path)], capture_output=True, check=True).stdout
    )
    assert {port: tuple(replayed[str(port)]) for port in expected} == expected


REPLAY = """
import json, sys
from nettop.batch import Counter64
from nettop.pipeline.engine import Engine
from nettop.sources.replay import ReplaySource
source = ReplaySource(sys.argv[1], counter=Counter64(), stream_id=Counter64().next)
engine = Engine()
while not source.ended:
    for item in source.read(1 << 20):
        engine.apply(item, 1)
views = engine.flows.views(engine.flows.rows())
joins = engine.flows.joins
pairs = zip(joins.process(views), joins.device(views), strict=True)
print(json.dumps({view.value("osport"): [p[0], d[0]] for view, (p, d) in zip(views, pairs, strict=True)}))
"""


def test_in_a_session_the_process_of_a_new_flow_is_shown_within_seconds(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("p")
    run_in(ns, "nft", "-f", "-", stdin="table ip t { chain c { type filter hook input priority 0; ct state new; }; }")
    session = LiveSession(broker, ns)

    def drawn() -> list[tuple[str, ...]]:
        found: list[Snapshot] = []
        session.ask("flows", ViewSpec(("process", "device")), found.append)
        poll(lambda: found)
        return [row.cells for row in found[0].rows]

    try:
        assert drawn() == []
        server = lab.spawn_in(ns, sys.executable, "-c", PROGRAM, "5555", stdout=subprocess.PIPE)
        assert server.stdout is not None and server.stdout.readline()
        client = lab.spawn_in(ns, sys.executable, "-c", PROGRAM, "127.0.0.1:5555", stdout=subprocess.PIPE)
        assert client.stdout is not None and client.stdout.readline()
        name = Path(f"/proc/{client.pid}/comm").read_text().strip()
        wanted = (f"{name}[{client.pid}]→{name}[{server.pid}]?", "lo")
        poll(lambda: drawn() == [wanted], what=str(wanted))
    finally:
        session.close()
