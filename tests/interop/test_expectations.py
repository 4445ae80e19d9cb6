"""Expectations of FTP's helper: events and table are what conntrack prints, live and from a recording."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from xml.etree import ElementTree

import pytest

from nettop.broker.client import Broker
from nettop.linux.socket import AF_INET
from nettop.model.expectations.expectation import ConntrackTuple, Expectation
from nettop.model.table import Detail, Snapshot, ViewSpec
from nettop.session.live import LiveSession
from nettop.text.address import address_text
from tests.kernel.commands import nettop, running
from tests.kernel.namespaces import Lab, command_in, netlink_sockets, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.interop]

RULES = """
table inet t {
    ct helper ftp { type "ftp" protocol tcp; }
    chain o { type filter hook output priority 0; tcp dport 21 ct helper set "ftp"; ct state new counter; }
    chain i { type filter hook input priority 0; ct state new counter; }
}
"""

# A server that answers anything, and a client that does what stdin says, one line each.
FTP = """
import socket, sys, threading
def serve(conn):
    conn.sendall(b"220 hello\\r\\n")
    while conn.recv(1000):
        conn.sendall(b"200 ok\\r\\n")
def accept(server):
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    server = socket.socket(family)
    server.bind((host, 21))
    server.listen()
    threading.Thread(target=accept, args=(server,), daemon=True).start()
kept, listening = {}, {}
for line in sys.stdin:
    what, host, *rest = line.split()
    if what == "login":
        kept[host] = socket.create_connection((host, 21))
        kept[host].recv(1000)
        command = "USER x"
    elif what == "port":
        one = socket.socket(kept[host].family)
        one.bind((host, int(rest[0])))
        one.listen()
        listening[host, rest[0]] = one
        port = int(rest[0])
        v4 = "PORT " + ",".join([*host.split("."), str(port >> 8), str(port & 255)])
        command = v4 if "." in host else f"EPRT |2|{host}|{port}|"
    elif what == "data":
        sender = socket.socket(kept[host].family)
        sender.bind((host, 0))
        sender.connect((host, int(rest[0])))
        kept[host, rest[0]] = sender
        print("done", flush=True)
        continue
    kept[host].sendall(command.encode() + b"\\r\\n")
    kept[host].recv(1000)
    print(kept[host].getsockname()[1], flush=True)
"""


class Ftp:
    """A client and its server in a namespace."""

    def __init__(self, ns: str) -> None:
        self.process = subprocess.Popen(
            command_in(ns, sys.executable, "-u", "-c", FTP), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, *words: object) -> str:
        """One command; its answer (the client's control port)."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        assert answer, "the client has ended"
        return answer


@pytest.fixture
def ns(lab: Lab) -> str:
    spec = lab.netns("exp")
    run_in(spec, "nft", "-f", "-", stdin=RULES)
    return spec


@pytest.fixture
def ftp(ns: str) -> Iterator[Ftp]:
    made = Ftp(ns)
    try:
        poll(lambda: ":21 " in run_in(ns, "ss", "-Hltn"), what="the server")
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def inserted(port: str) -> list[str]:
    """conntrack -I expect for the control connection from this port, with a mask that is neither all nor nothing."""
    words = "-I expect --orig-src 127.0.0.1 --orig-dst 127.0.0.1 -p tcp --dport 21 -t 60 --tuple-src 10.1.0.0"
    words += " --tuple-dst 10.2.0.1 --mask-src 255.255.0.0 --mask-dst 255.255.255.255"
    words += " --tuple-port-src 0 --tuple-port-dst 4242 --mask-port-src 0 --mask-port-dst 65535 --sport"
    return ["conntrack", *words.split(), port]


def traffic(ns: str, ftp: Ftp) -> None:
    """Expectations made, used, replaced, inserted and flushed; IPv4 and IPv6."""
    port = ftp.do("login", "127.0.0.1")
    ftp.do("login", "::1")
    ftp.do("port", "127.0.0.1", 40001)
    ftp.do("data", "127.0.0.1", 40001)
    ftp.do("port", "127.0.0.1", 40002)
    ftp.do("port", "127.0.0.1", 40003)
    ftp.do("port", "::1", 40004)
    run_in(ns, "conntrack", "-F", "expect")
    ftp.do("port", "::1", 40005)
    run_in(ns, *inserted(port))


# -- what conntrack says -----------------------------------------------------------------------------------------------


def flows_of(xml: str) -> list[dict[str, Any]]:
    body = xml[xml.index("<flow") : xml.rindex("</flow>") + len("</flow>")] if "<flow" in xml else ""
    return [in_words(flow) for flow in ElementTree.fromstring(f"<all>{body}</all>")]


def in_words(flow: ElementTree.Element) -> dict[str, Any]:
    """An expectation as conntrack's XML has it, in the words of our JSON."""
    found: dict[str, Any] = {"event": flow.get("type"), "helper": flow.findtext("meta/helper-name")}
    found |= {name: int(flow.findtext(f"meta/{name}") or 0) for name in ("timeout", "class")}
    for part in ("expected", "mask", "master"):
        ends: dict[str, Any] = {end: flow.findtext(f"layer3/{part}/{end}") for end in ("src", "dst")}
        ports = {end: flow.findtext(f"layer4/{part}/{end}") for end in ("sport", "dport")}
        found[part] = ends | {end: None if port is None else int(port) for end, port in ports.items()}
    return found


def of_json(row: dict[str, Any]) -> dict[str, Any]:
    ends = ("src", "sport", "dst", "dport")
    found = {name: row[name] for name in ("event", "helper", "timeout", "class", "mask")}
    found |= {"expected": {end: row[end] for end in ends}}
    return found | {"master": {end: row["master"][end] for end in ends}}


def of_table(one: Expectation) -> dict[str, Any]:
    assert one.expected and one.mask and one.master and one.helper is not None
    found: dict[str, Any] = {"event": None, "helper": one.helper.decode(), "class": one.klass}
    return found | {name: of_ends(getattr(one, name)) for name in ("expected", "mask", "master")}


def of_ends(ends: ConntrackTuple) -> dict[str, Any]:
    src, dst = (
        address_text(ends.family, address >> 64, address & (1 << 64) - 1) if ends.family != AF_INET
        else address_text(ends.family, 0, address)
        for address in (ends.src, ends.dst)
    )  # fmt: skip
    return {"src": src, "sport": ends.sport, "dst": dst, "dport": ends.dport}


def listed(ns: str) -> list[dict[str, Any]]:
    """conntrack -L expect, both families, without the timeouts: they run."""
    both = (run_in(ns, "conntrack", "-L", "expect", "-f", family, "-o", "xml") for family in ("ipv4", "ipv6"))
    found = [one for xml in both for one in flows_of(xml)]
    return sorted(({k: v for k, v in one.items() if k != "timeout"} for one in found), key=str)


def listeners(ns: str) -> int:
    """How many sockets have joined the group of new expectations (4)."""
    lines = netlink_sockets(ns)
    return sum(line[1] == "12" and bool(int(line[3], 16) & 8) for line in lines)


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_events_are_those_that_conntrack_prints_live_and_from_a_recording(ns: str, ftp: Ftp, tmp_path: Path) -> None:
    printed, recorded = tmp_path / "conntrack.xml", tmp_path / "r.pcapng"
    with printed.open("wb") as out:
        conntrack = subprocess.Popen(
            command_in(ns, "conntrack", "-E", "expect", "-o", "xml"), stdout=out, stderr=subprocess.DEVNULL
        )
    try:
        with (
            running("events", "--json", "--netns", ns) as live,
            running("record", "--netns", ns, "-i", "lo", "-w", str(recorded)) as recording,
        ):
            poll(lambda: listeners(ns) == 3)
            traffic(ns, ftp)
            poll(lambda: printed.read_bytes().count(b'type="') >= 15)
            for process in (live, recording):
                process.signal(signal.SIGINT)
            code, text, err = live.end()
            assert recording.end()[0] == 0
    finally:
        conntrack.terminate()
        conntrack.wait()
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in text.splitlines()]
    ours = [of_json(row) for row in rows if row.get("expectation")]
    theirs = flows_of(printed.read_text())
    assert ours == theirs
    assert {one["event"] for one in ours} == {"new", "destroy"}
    assert {one["mask"]["src"] for one in ours} >= {"255.255.0.0", "255.255.255.255"}
    _are_in_order(rows)
    replayed = nettop("events", "-r", str(recorded), "--json")
    assert replayed.returncode == 0, replayed.stderr
    again = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert sorted(map(without_time, again)) == sorted(map(without_time, rows))
    _are_in_order(again)


def _are_in_order(rows: list[dict[str, Any]]) -> None:
    """An expectation comes after its master and before the connection that it let through."""
    first = {(row.get("expectation", False), row["dport"]): at for at, row in reversed(list(enumerate(rows)))}
    assert first[False, 21] < first[True, 40001] < first[False, 40001]


def without_time(row: dict[str, Any]) -> str:
    """Two listeners stamp at different moments."""
    return json.dumps({key: value for key, value in row.items() if key not in ("ts_ns", "netns")}, sort_keys=True)


class Watched:
    """A session, asked."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.engine = session._run.engine

    def rows(self, view: str, *columns: str) -> list[tuple[int, tuple[str, ...]]]:
        answers: SimpleQueue[Snapshot] = SimpleQueue()
        self.session.ask(view, ViewSpec(columns, height=200), answers.put)
        return [(row.ident, row.cells) for row in answers.get(timeout=30).rows]

    def detail(self, view: str, ident: int) -> list[str]:
        answers: SimpleQueue[Detail | None] = SimpleQueue()
        self.session.detail(view, ident, answers.put)
        found = answers.get(timeout=30)
        return ["".join(text for text, _ in line) for line in (found.lines if found else ())]

    def says(self, ident: int, *words: str) -> bool:
        """Whether a line of a flow's detail has these words."""
        return any(all(word in line for word in words) for line in self.detail("flows", ident))

    def seen_and_shown(self) -> set[int]:
        """What the ledger says of the events."""
        rows = self.session._run.waited(lambda engine, now_ns: engine.ledger.rows())
        row = next(row for row in rows if row.name == "conntrack")
        return {row.seen, row.shown}

    def flow(self, ends: str) -> int:
        """The identity of the flow to these ends."""
        return poll(lambda: next((i for i, cells in self.rows("flows", "original") if ends in cells[0]), 0), what=ends)

    def table(self) -> list[dict[str, Any]]:
        answers: SimpleQueue[list[Expectation]] = SimpleQueue()
        self.session._run.on_models(lambda engine, now_ns: answers.put(list(engine.expectations)))
        return sorted((of_table(one) for one in answers.get(timeout=30)), key=str)


def test_the_table_is_conntracks_and_flows_say_what_they_expect(broker: Broker, ns: str, ftp: Ftp) -> None:
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")  # also of flows that begin before anybody looks
    port = ftp.do("login", "127.0.0.1")
    ftp.do("login", "::1")
    ftp.do("port", "127.0.0.1", 40001)  # before anybody looks: only a dump tells of these
    ftp.do("data", "127.0.0.1", 40001)
    ftp.do("port", "127.0.0.1", 40002)
    session = LiveSession(broker, ns)
    try:
        watched = Watched(session)
        poll(lambda: watched.table() == listed(ns) != [], what="the dump")
        ftp.do("port", "::1", 40004)
        poll(lambda: len(watched.table()) == 2 and watched.table() == listed(ns), what="a new one, by its event")
        master, child = watched.flow(f"127.0.0.1:{port} → 127.0.0.1:21"), watched.flow("127.0.0.1:40001")
        for ident, *words in (
            (master, "expects", "127.0.0.1:40002"),
            (master, "related", "127.0.0.1:40001"),
            (child, "expected  by", f"127.0.0.1:{port}"),
        ):
            poll(lambda i=ident, w=words: watched.says(i, *w), what=" ".join(words))  # type: ignore[misc]
        run_in(ns, "conntrack", "-F", "expect")
        poll(lambda: watched.table() == [], what="the end of them, by events")
        run_in(ns, *inserted(port))
        poll(lambda: watched.table() == listed(ns) != [], what="one that a program made")
        told = ("EXP NEW", "10.1.0.0/16 → 10.2.0.1")
        poll(lambda: watched.rows("events", "event", "original")[-1][1] == told, what="its event")
        poll(lambda: watched.seen_and_shown() == {len(session._run.engine.events.ring)}, what="the ledger's equation")
    finally:
        session.close()


def test_those_of_a_master_that_sends_no_events_come_by_dumps(broker: Broker, ns: str, ftp: Ftp) -> None:
    """nf_conntrack_events=2: a flow that began while nobody on the host listened is silent, its expectations too."""
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")
    ftp.do("login", "127.0.0.1")
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")
    session = LiveSession(broker, ns)
    try:
        watched = Watched(session)
        master = watched.flow("127.0.0.1:21")
        ftp.do("port", "127.0.0.1", 40002)
        # Whoever looks at the flow gets dumps more often.
        poll(lambda: watched.detail("flows", master) and watched.table() == listed(ns) != [], what="the expectation")
        run_in(ns, "conntrack", "-F", "expect")
        poll(lambda: watched.detail("flows", master) and watched.table() == [], what="its end")
        assert not [row for row in watched.rows("events", "event") if "EXP" in row[1][0]]
    finally:
        session.close()
