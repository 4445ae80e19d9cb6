"""What is said of a flow when it ends: its final totals and how long it lived, as conntrack -E prints them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from queue import SimpleQueue

import pytest

from nettop.broker.client import Broker
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from nettop.text import units
from tests.kernel.namespaces import Lab, command_in, netlink_sockets, poll, run_in

pytestmark = pytest.mark.kernel

RULES = "table inet t { chain o { type filter hook output priority 0; ct state new counter; }; }"
COLUMNS = ("event", "original", "up", "down", "lasted")
PING = 5


def rows(session: LiveSession) -> list[tuple[str, ...]]:
    answers: SimpleQueue[Snapshot] = SimpleQueue()
    session.ask("events", ViewSpec(COLUMNS, height=100), answers.put)
    return [row.cells for row in answers.get(timeout=30).rows]


def ended(session: LiveSession) -> list[tuple[str, ...]]:
    return [row for row in rows(session) if row[0] == "DESTROY"]


@pytest.mark.parametrize("acct", [True, False])
def test_a_flows_end_tells_its_totals_and_how_long_it_lived(
    broker: Broker, lab: Lab, tmp_path: Path, acct: bool
) -> None:
    ns, printed = lab.netns("tot"), tmp_path / "conntrack.txt"
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    for name in ("acct", "timestamp"):
        run_in(ns, "sysctl", "-qw", f"net.netfilter.nf_conntrack_{name}={int(acct)}")
    with printed.open("wb") as out:
        conntrack = subprocess.Popen(command_in(ns, "conntrack", "-E", "-o", "ktimestamp"), stdout=out)
    session = LiveSession(broker, ns)
    try:
        poll(lambda: _listeners(ns) == 2, what="both listen")
        run_in(ns, "ping", "-c", str(PING), "-i", "0.2", "127.0.0.1")
        run_in(ns, "conntrack", "-F")
        [row] = poll(lambda: ended(session), what="its end")
        poll(lambda: b"[DESTROY]" in printed.read_bytes(), what="conntrack prints it")
    finally:
        session.close()
        conntrack.terminate()
        conntrack.wait()
    line = next(line for line in printed.read_text().splitlines() if "[DESTROY]" in line)
    up, down = ([*re.findall(r"bytes=(\d+)", line), None, None])[:2]
    assert row[2:4] == tuple(units.scaled(None if n is None else int(n)) for n in (up, down))
    if acct:
        assert row[2] != units.ABSENT
        printed_s = int(re.findall(r"delta-time=([0-9]+)", line)[0])  # a difference of whole seconds
        assert abs(int(row[4].removesuffix("s")) - printed_s) <= 1
    else:
        assert row[2:] == (units.ABSENT,) * 3


def _listeners(ns: str) -> int:
    lines = netlink_sockets(ns)
    return sum(line[1] == "12" and bool(int(line[3], 16) & 1) for line in lines)
