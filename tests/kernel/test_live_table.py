"""The session's flow table against the kernel's: how soon flows come and go, and what dumps and losses do to it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from statistics import median
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import FlowKey
from nettop.model.events.ring import EVENT_GAP
from nettop.model.filter.expression import parse
from nettop.model.table import Snapshot, ViewSpec
from nettop.pipeline import feeds
from nettop.session.live import LiveSession
from nettop.sources.dumps import DumpSource
from tests.interop.conntrack_xml import listed, unequal_by_events
from tests.interop.live_table import LiveTable
from tests.interop.nat_world import inside
from tests.kernel.commands import ROOT
from tests.kernel.namespaces import DEADLINE_S, Lab, command_in, never_answered, poll, run_in, settled

pytestmark = pytest.mark.kernel

FLOWS = 50
SOON_S = 0.2
RATE = 20_000
MANY = 12_000
ROUNDS = 3
TARGETS = [(n // 50, 1000 + n % 50) for n in range(MANY)]  # where tests.flood sends, from 10.128.0.0 on
RESET = (1).to_bytes(4, sys.byteorder) + bytes(4)  # struct linger: on, at once
LISTING = ("conntrack", "-L", "-o", "xml,id")
UDP_TIMEOUT = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"
TINY = 4096  # bytes of a listener's buffer: a few events


@pytest.fixture
def sender(lab: Lab) -> str:
    """A namespace whose packets to 10/8 go into a veth and are never answered."""
    return never_answered(lab, "live")


@pytest.fixture
def watched(broker: Broker, sender: str) -> Iterator[LiveSession]:
    with session_on(broker, sender) as session:
        yield session


@contextmanager
def session_on(broker: Broker, ns: str, **more: Any) -> Iterator[LiveSession]:
    """A session that has its first dump."""
    session = LiveSession(broker, ns, **more)
    try:
        poll(lambda: session._run.engine.flows.dumped_ns)
        yield session
    finally:
        session.close()


@contextmanager
def packets(ns: str) -> Iterator[Callable[[int], None]]:
    """Sends one UDP packet to a port of a silent host."""
    with inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        yield lambda port: sock.sendto(b"x", ("10.2.3.4", port)) and None


def flood(ns: str, *words: object) -> subprocess.Popen[bytes]:
    """tests.flood in that namespace."""
    argv = command_in(ns, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.flood", *map(str, words))
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL)


def window(session: LiveSession, expression: str = "") -> Snapshot:
    """A screenful of the flows that match."""
    answer: SimpleQueue[Snapshot] = SimpleQueue()
    flows = session.views["flows"]
    spec = ViewSpec(tuple(flows.default_columns), height=45, sort=flows.default_sort, filter=parse(expression, "flow"))
    session.ask("flows", spec, answer.put)
    return answer.get(timeout=30)


def shown_after(session: LiveSession, send: Callable[[int], None], port: int) -> float:
    """Seconds from the packet of a new flow to a window that has it, asked for anew: an order may be held longer."""
    began, asked = time.monotonic(), itertools.count()
    send(port)
    poll(lambda: window(session, f"dst port {port} or dst port {20_000 + next(asked)}").rows)
    return time.monotonic() - began


def gone_after(session: LiveSession, ns: str, port: int) -> float:
    """Seconds from the end of the command that deletes a flow to a window without it."""
    run_in(ns, "conntrack", "-D", "-p", "udp", "--dport", str(port))
    began = time.monotonic()
    poll(lambda: not window(session, f"dst port {port}").rows)
    return time.monotonic() - began


def in_kernel(ns: str) -> set[tuple[str, int]]:
    """Addresses and ports that conntrack lists."""
    lines = run_in(ns, "conntrack", "-L", "-o", "id").splitlines()
    words = [dict(word.split("=", 1) for word in reversed(line.split()) if "=" in word) for line in lines]
    return {(line["dst"], int(line["id"])) for line in words}


def in_table(session: LiveSession) -> set[tuple[str, int]]:
    """The same of our table."""
    rows = session._run.waited(lambda engine, now_ns: list(engine.flows.json_lines(engine.flows.rows())))
    return {(row["dst"], row["id"]) for row in map(json.loads, rows)}


def is_soon(times: Callable[[], list[float]]) -> None:
    """The median keeps the promise in one of some rounds: whatever else the machine does only adds."""
    medians = list[float]()
    while not any(one < SOON_S for one in medians):
        assert len(medians) < 8, medians
        medians.append(median(times()))


def test_new_flows_are_shown_within_200_ms(watched: LiveSession, sender: str) -> None:
    ports = itertools.count(2000)
    with packets(sender) as send:
        is_soon(lambda: [shown_after(watched, send, next(ports)) for _ in range(FLOWS)])


def test_new_flows_are_shown_within_200_ms_among_20_000_a_second(watched: LiveSession, sender: str) -> None:

    def among_others() -> list[float]:
        run_in(sender, "conntrack", "-F")
        poll(lambda: not window(watched).total)
        with packets(sender) as send, flood(sender, 8 * RATE, RATE) as flooding:
            poll(lambda: window(watched).total > RATE // 4)
            took: list[float] = []
            while flooding.poll() is None and len(took) < FLOWS:
                took.append(shown_after(watched, send, 2000 + len(took)))
        return took

    is_soon(among_others)
    assert watched.status().lost == "0"


def test_a_deleted_flow_is_gone_within_200_ms(watched: LiveSession, sender: str) -> None:
    ports = range(2000, 2009)

    def made_and_deleted() -> list[float]:
        with packets(sender) as send:
            for port in ports:
                send(port)
            poll(lambda: window(watched).total == len(ports))
        return [gone_after(watched, sender, port) for port in ports]

    is_soon(made_and_deleted)


def test_a_flow_older_than_every_listener_is_gone_with_the_next_dump(broker: Broker, sender: str) -> None:
    """The kernel sends no DESTROY of it (nf_conntrack_events=2)."""
    with packets(sender) as send:
        send(2000)
        with session_on(broker, sender) as session:
            send(2001)
            poll(lambda: window(session).total == 2)
            run_in(sender, "conntrack", "-F")
            send(2002)
            poll(lambda: in_table(session) == in_kernel(sender))
            assert window(session).total == 1


def test_a_timeout_that_has_run_out_on_the_screen_removes_nothing(broker: Broker, sender: str) -> None:
    """A packet puts it off in the kernel, which sends no event of that; only a dump tells."""
    timeout = inside(sender, lambda: open(UDP_TIMEOUT, "wb", buffering=0))  # noqa: SIM115
    table = LiveTable(broker, sender)
    try:
        with packets(sender) as send, timeout:
            poll(table.dumped)
            for seconds in (2, 600):
                os.pwrite(timeout.fileno(), b"%d\n" % seconds, 0)
                send(2000)
            poll(lambda: len(table.rows()) == 1)
            until = time.monotonic() + 3.5
            poll(lambda: time.monotonic() > until)
            (row,) = table.rows().values()
            assert row["timeout"] <= 2
            assert in_kernel(sender) == {(row["dst"], row["id"])}
    finally:
        table.close()


def test_after_a_loss_the_table_becomes_the_kernels(broker: Broker, sender: str) -> None:
    """A buffer for a handful of events: nearly all are lost. The ledger's equation holds to the last of them."""
    count = 20_000
    with session_on(broker, sender, buffer=TINY, interval=1000.0) as session:
        assert flood(sender, count).wait(30) == 0
        poll(lambda: len(in_table(session)) == count)
        assert in_table(session) == in_kernel(sender)
        poll(
            lambda: losses_among_events(session) == accounted(session, "conntrack", count).kernel, what="the last loss"
        )
        row = accounted(session, "conntrack", count)
        assert row.kernel > 0
        assert (row.seen, row.shown + row.filtered + row.evicted + row.kernel + row.queue) == (count, count)
        assert (row.in_flight, row.unknown) == (0, 0)
        poll(lambda: session.status().lost == f"{row.kernel:,} kernel")
        run_in(sender, "conntrack", "-F")
        poll(lambda: not in_table(session))


def accounted(session: LiveSession, stream: str, count: int) -> Any:
    """That stream's row of the ledger, when it has seen so many."""

    def found() -> Any:
        rows = session._run.waited(lambda engine, now_ns: engine.ledger.rows())
        return next((row for row in rows if row.name == stream and row.seen == count), None)

    return poll(found, what=f"{count} of {stream}")


def losses_among_events(session: LiveSession) -> int:
    """What the rows in the events view that stand for losses say, added up."""
    ring = session._run.engine.events.ring

    def added_up(engine: Any, now_ns: int) -> int:
        rows = ring.rows(ring.start, ring.end)
        return int(rows["opackets"][rows["event"] == EVENT_GAP].sum())

    return session._run.waited(added_up)


def test_flows_that_end_and_return_during_a_dump_are_right_without_another(broker: Broker, sender: str) -> None:
    """Flows are deleted, and some of them made again, until the dump is over: none is revived, none is forgotten."""
    table = LiveTable(broker, sender)
    try:
        poll(table.dumped)
        assert flood(sender, MANY).wait(30) == 0
        keys = [FlowKey(2, 17, 0, "10.0.0.1", f"10.128.{n >> 8}.{n & 255}", 5555, port, None) for n, port in TARGETS]
        left = iter(keys)
        with inside(sender, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.bind(("10.0.0.1", 5555))
            for turns in rounds():
                for turn in during_one_dump(table):
                    turns.append(turn)
                    some = list(itertools.islice(left, 40))
                    broker.delete_flows(table.netns, some)
                    for key in some[:10]:
                        sock.sendto(b"x", (key.dst, key.dport))
                assert not settled(lambda: unequal_by_events(listed(run_in(sender, *LISTING)), table.rows()))
    finally:
        table.close()


def test_connections_of_the_same_ports_during_a_dump_are_right_without_another(broker: Broker, sender: str) -> None:
    """Connections of few tuples are reset and made again until the dump is over: many lives of few keys."""
    table = LiveTable(broker, sender)
    try:
        poll(table.dumped)
        assert flood(sender, MANY).wait(30) == 0
        ports = itertools.cycle(range(40_000, 40_004))
        with inside(sender, lambda: socket.create_server(("127.0.0.1", 80), backlog=64)) as listener:
            for turns in rounds():
                for turn in during_one_dump(table):
                    turns.append(turn)
                    connected_and_reset(sender, listener, next(ports))
                assert not settled(lambda: unequal_by_events(listed(run_in(sender, *LISTING)), table.rows()))
    finally:
        table.close()


def rounds() -> Iterator[list[int]]:
    """One list after another, until more than one turn was noted in so many of them."""
    given = list[list[int]]()
    while sum(len(turns) > 1 for turns in given) < ROUNDS:
        assert len(given) < 50, "no dump lasts long enough"
        given.append([])
        yield given[-1]


def during_one_dump(table: LiveTable) -> Iterator[int]:
    """Counts from before one dump of the table begins until it has ended; no other begins."""
    before, until = table.dumps(), time.monotonic() + DEADLINE_S
    table.sources.poke(feeds.TABLE)
    for turn in itertools.count():
        if table.dumps() != before:
            return
        assert time.monotonic() < until, "the dump has no end"
        yield turn


def connected_and_reset(ns: str, listener: socket.socket, port: int) -> None:
    """One connection from this port."""
    with inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.connect(("127.0.0.1", 80))
        accepted = listener.accept()[0]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    accepted.close()


def pause_s(session: LiveSession) -> float:
    """Seconds between two dumps of the flow table, as it is read now."""
    source = session._sources._running[feeds.TABLE.name][1]
    assert isinstance(source, DumpSource)
    assert source._interval_ns is not None
    return source._interval_ns / 1e9


def test_flows_that_are_still_are_read_less_often_until_an_event_or_a_key_comes(
    watched: LiveSession, sender: str
) -> None:
    flows = watched._run.engine.flows
    with packets(sender) as send:
        send(1)
        poll(lambda: pause_s(watched) == feeds.STILL_S)
        send(2)
        poll(lambda: pause_s(watched) == feeds.TABLE.every_s)
        poll(lambda: pause_s(watched) == feeds.STILL_S)
        last = max(flows.dumped_ns.values())
        watched.note_input()
        poll(lambda: pause_s(watched) == feeds.TABLE.every_s)
        poll(lambda: max(flows.dumped_ns.values()) > last)
        assert max(flows.dumped_ns.values()) - last < feeds.STILL_S * 1e9
