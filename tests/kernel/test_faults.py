"""What goes wrong on a busy or a bare host: losses, a hash that is resized, no accounting, no rights, no namespace.

Every one is told in a line that says what and what to do, and what is shown stays right.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.batch import Batch, Counter64, DumpMark, End
from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.start import start
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.table import Snapshot, ViewSpec
from nettop.pipeline import feeds
from nettop.session.live import LiveSession
from nettop.sources.dumps import DumpSource
from tests.kernel.app import message_types
from tests.kernel.commands import ROOT, environment, nettop, rows, running
from tests.kernel.counting import acknowledged, bind, nla
from tests.kernel.live import read_once, read_until
from tests.kernel.namespaces import TRACKING, Lab, netlink_sockets, never_answered, poll, run_in
from tests.kernel.rights import hash_of_the_host, named_namespaces

pytestmark = pytest.mark.kernel

WAITING = "*filter\n-A OUTPUT -p udp --dport 1045:1049 -j NFQUEUE --queue-num 5\nCOMMIT\n"
FLOWS = 20_000
CT_NEW = 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
TINY = 4096  # bytes: a few events
BUCKETS = Path("/proc/sys/net/netfilter/nf_conntrack_buckets")


@pytest.fixture
def sender(lab: Lab) -> str:
    """A namespace whose packets to 10/8 go into a veth and are never answered."""
    return never_answered(lab, "f")


def flood(ns: str, count: int) -> None:
    """So many flows, and NEW events."""
    run_in(ns, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.flood", str(count))


@contextmanager
def session_on(broker: Broker, ns: str, **more: Any) -> Iterator[LiveSession]:
    session = LiveSession(broker, ns, **more)
    try:
        yield session
    finally:
        session.close()


def window(session: LiveSession) -> Snapshot:
    answer: SimpleQueue[Snapshot] = SimpleQueue()
    session.ask("flows", ViewSpec(tuple(session.views["flows"].default_columns), height=45), answer.put)
    return answer.get(timeout=30)


def done(what: Callable[..., None], *arguments: Any) -> str | None:
    """Run an action of a session to its end; its error."""
    answer: SimpleQueue[str | None] = SimpleQueue()
    what(*arguments, answer.put)
    return answer.get(timeout=30)


# -- events at a rate that must lose ---------------------------------------------------------------------------------


def test_events_that_must_be_lost_are_counted_in_their_place(sender: str) -> None:
    with running("events", "--json", "--netns", sender, "--buffer", str(TINY), "--fail-on-loss") as events:
        poll(lambda: listening(sender))
        os.kill(events.pid, signal.SIGSTOP)
        flood(sender, FLOWS // 2)  # more than the buffer holds, and nobody reads
        os.kill(events.pid, signal.SIGCONT)
        flood(sender, FLOWS)  # the others: whoever reads comes too late, now and then
        poll(lambda: waiting(sender) == 0)
        events.signal(signal.SIGINT)
        code, out, err = events.end()
    lines = [json.loads(line) for line in out.splitlines()]
    told = [line for line in lines if line["kind"] == "event"]
    gaps = [line for line in lines if line["kind"] == "gap"]
    lost = sum(gap["lost"] for gap in gaps)
    assert len(told) + lost == FLOWS
    assert lost > 0
    assert {(gap["stream"], gap["reason"]) for gap in gaps} == {("conntrack", "kernel")}
    assert all(gap["from_ns"] <= gap["to_ns"] for gap in gaps)
    assert (code, err) == (5, f"nettop: lost {lost:,} kernel\n")


def listening(ns: str) -> bool:
    """Whether somebody has joined conntrack's NEW group."""
    return any(int(row[3], 16) & 1 for row in netfilter_sockets(ns))


def waiting(ns: str) -> int:
    """Bytes in the buffers of those sockets."""
    return sum(int(row[4]) for row in netfilter_sockets(ns))


def netfilter_sockets(ns: str) -> list[list[str]]:
    """Rows of /proc/net/netlink: sk Eth Pid Groups Rmem …"""
    found = netlink_sockets(ns)
    return [row for row in found if row[1] == "12" and row[2] != "0"]  # 0: the kernel's own


# -- the hash resized during dumps -----------------------------------------------------------------------------------


@hash_of_the_host
def test_no_flow_leaves_while_the_hash_is_resized(broker: Broker, sender: str) -> None:
    """Flows older than the session: only a dump could make them leave, and a dump of a resized hash has a third."""
    flood(sender, FLOWS)
    with session_on(broker, sender, interval=0.05) as session:
        poll(lambda: window(session).total == FLOWS)
        flows, seen = session._run.engine.flows, set()
        with resizing() as resized:
            poll(lambda: seen.add(window(session).total) or resized() > 6)
        last = max(flows.dumped_ns.values())
        poll(lambda: seen.add(window(session).total) or max(flows.dumped_ns.values()) > last)
        assert seen == {FLOWS}
    with resizing():
        found = nettop("flows", "--netns", sender)
        complete = len(found.stdout.splitlines()) == FLOWS and found.returncode == 0
        assert complete or "changed too much" in found.stderr


@hash_of_the_host
def test_a_hash_resized_and_resized_back_while_a_dump_runs_makes_it_incomplete(broker: Broker, sender: str) -> None:
    flood(sender, 2 * FLOWS)
    size = int(BUCKETS.read_text())
    with dumping(broker, sender) as source:
        items = source.read(1) + source.read(1)  # the request is sent, the first answers wait
        try:
            for buckets in (size * 2, size):
                BUCKETS.write_text(str(buckets))
                items += read_once(source, 5.0)
        finally:
            BUCKETS.write_text(str(size))
        items += read_until(source, lambda items: any(isinstance(item, End) for item in items))
    assert [item.complete for item in items if isinstance(item, DumpMark) and not item.begin] == [False, True]


@contextmanager
def dumping(broker: Broker, ns: str, interval: float | None = None) -> Iterator[DumpSource]:
    netns = broker.netns(ns)
    sock, feed = broker.netlink_socket(netns, NETLINK_NETFILTER), replace(feeds.TABLE, every_s=interval, share=None)
    source = feed.dump(feed.new_stream(1, netns.label), broker, sock, Counter64())
    try:
        yield source
    finally:
        source.close()


def test_flows_that_have_expired_but_are_counted_still_make_no_dump_incomplete(broker: Broker, sender: str) -> None:
    """The kernel sweeps up at its leisure: its count says more than any dump has."""
    run_in(sender, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1")
    poll(lambda: counted_when_expired(sender) > FLOWS // 2, 120.0, "a time when it has not just swept")
    found = nettop("flows", "--json", "--netns", sender)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def counted_when_expired(ns: str) -> int:
    """The kernel's count of flows of a second's timeout, a moment after they have all expired."""
    flood(ns, FLOWS)
    expired = time.monotonic() + 1.2
    poll(lambda: time.monotonic() > expired)
    return int(run_in(ns, "sysctl", "-n", "net.netfilter.nf_conntrack_count"))


@hash_of_the_host
def test_no_dump_is_complete_that_a_storm_of_resizes_cut_short(broker: Broker, sender: str) -> None:
    """Two resizes between two looks at the hash's size cannot be seen: there the count of flows tells."""
    flood(sender, FLOWS)
    ends, flows = list[tuple[int, bool]](), 0
    with dumping(broker, sender, interval=0.01) as source, resizing(pause_s=0.005) as resized:
        until = time.monotonic() + 90
        while (resized() < 100 or len(ends) < 20 or not cut_short(ends)) and time.monotonic() < until:
            for item in read_once(source):
                if isinstance(item, Batch):
                    flows += sum(message_types(item.record(i)).count(CT_NEW) for i in range(len(item)))
                elif isinstance(item, DumpMark) and not item.begin:
                    ends.append((flows, item.complete))
                    flows = 0
    assert len(ends) >= 20
    assert [flows for flows, complete in ends if complete and flows < FLOWS and not is_usual(flows, ends)] == []
    assert cut_short(ends)


def is_usual(flows: int, ends: list[tuple[int, bool]]) -> bool:
    """Whether three dumps were about as short: by then it is taken for what the kernel counts and never dumps."""
    return sum(abs(other - flows) <= 32 for other, _ in ends) >= 3


def cut_short(ends: list[tuple[int, bool]]) -> bool:
    """Whether there was a dump with fewer flows than there are."""
    return min((flows for flows, _ in ends), default=FLOWS) < FLOWS * 0.9


def test_flows_of_packets_that_wait_in_a_queue_are_counted_but_make_no_dump_incomplete(
    broker: Broker, sender: str
) -> None:
    """Not confirmed yet, they are in no dump; nor do they leave as long as nobody decides on their packets."""
    queue = acknowledged(broker, sender, 3 << 8 | 2, bind(5, b"\1\0\0\2"))  # NFQNL_MSG_CONFIG, PF_INET
    try:
        copied = nla(2, b"\0\0\0\0\1")  # NFQA_CFG_PARAMS: NFQNL_COPY_META
        queue.send(struct.pack("=IHHIIBBH", 20 + len(copied), 3 << 8 | 2, 0x1, 2, 0, 0, 0, socket.htons(5)) + copied)
        run_in(sender, "iptables-restore", stdin=WAITING)
        flood(sender, FLOWS)
        assert int(run_in(sender, "sysctl", "-n", "net.netfilter.nf_conntrack_count")) == FLOWS * 9 // 10 + 1024
        found = nettop("flows", "--netns", sender)
        assert (found.returncode, len(found.stdout.splitlines()), found.stderr) == (0, FLOWS * 9 // 10, "")
    finally:
        queue.close()


@contextmanager
def resizing(pause_s: float = 0.15) -> Iterator[Callable[[], int]]:
    """The hash is resized again and again, at last to what it was; tells how often by now."""
    size, stop, turns = int(BUCKETS.read_text()), threading.Event(), itertools.count(1)
    done: list[int] = []

    def resize() -> None:
        while not stop.wait(pause_s):
            done.append(next(turns))
            BUCKETS.write_text(str(size * (1 + done[-1] % 2)))

    thread = threading.Thread(target=resize)
    thread.start()
    try:
        yield lambda: len(done)
    finally:
        stop.set()
        thread.join()
        BUCKETS.write_text(str(size))


# -- what a kernel or a namespace does not have ----------------------------------------------------------------------


def test_without_accounting_and_timestamps_nothing_is_zero_that_is_not_known(broker: Broker, sender: str) -> None:
    run_in(sender, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=0", "net.netfilter.nf_conntrack_timestamp=0")
    flood(sender, 1)
    (row,) = rows("flows", "--netns", sender)
    unknown = ("packets", "bytes", "reply_packets", "reply_bytes", "start_ns")
    assert {key: row[key] for key in unknown} == dict.fromkeys(unknown)
    with session_on(broker, sender) as session:
        (shown,) = poll(lambda: window(session).rows)
        cells = dict(zip(session.views["flows"].default_columns, shown.cells, strict=True))
        assert {cells[key] for key in cells if key in ("bytes", "rate", "packets")} == {"–"}
        poll(lambda: session.status().acct == "off", what="the header says so")


def test_a_namespace_without_conntrack_is_empty_and_says_why(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("none")
    said = nettop("flows", "--netns", ns)
    assert (said.returncode, said.stdout) == (0, "")
    assert "only when a rule there needs it (ct state, NAT)" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    with session_on(broker, ns) as session:
        poll(lambda: session.status().count == 0)
        assert (window(session).total, session.status().notes) == (0, ())


@named_namespaces
@pytest.mark.parametrize(
    "words", [["events", "--json"], ["flows", "--json", "--sort", "rate"], ["counters", "--json", "--interval", "0.2"]]
)
def test_a_namespace_that_goes_is_one_line(lab: Lab, words: list[str]) -> None:

    def bereft() -> tuple[int, str]:
        ns = lab.netns("gone")
        run_in(ns, "nft", "-f", "-", stdin=TRACKING)
        with running(*words, "--netns", ns) as command:
            poll(lambda: netfilter_sockets(ns) or command.process.poll() is not None)
            lab.remove(ns)
            code, _, err = command.end()
        return code, err

    code, err = poll(lambda: end if (end := bereft()) != (0, "") else None, what="a removal before its result")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "namespace is gone" in err


@named_namespaces
def test_a_session_whose_namespace_goes_keeps_what_it_showed_and_says_so(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("gone")
    run_in(ns, "nft", "-f", "-", stdin=TRACKING)
    with session_on(broker, ns) as session:
        run_in(ns, "ping", "-c1", "127.0.0.1")
        poll(lambda: window(session).total == 1)
        lab.remove(ns)
        poll(lambda: any("@ chooses another" in note for note in session.status().notes))
        assert window(session).total == 1


# -- what is refused -------------------------------------------------------------------------------------------------


def test_under_read_only_nothing_is_changed_and_the_remedy_is_named(sender: str) -> None:
    flood(sender, 3)
    with start("root", allowed=Options(read_only=True), confine=False) as broker, session_on(broker, sender) as session:
        (ident, *_) = (row.ident for row in poll(lambda: window(session).rows))
        told: list[str] = []
        for refused in (
            done(lambda *more: session.delete_flow(ident, *more, told.append)),
            done(lambda *more: session.delete_matching(None, *more, told.append)),
            done(session.set_acct, True),
        ):
            assert refused is not None
            assert "--read-only" in refused
        assert not told
        assert len(run_in(sender, "conntrack", "-L").splitlines()) == 3
        assert session.status().read_only


def test_a_sysctl_that_cannot_be_written_is_one_line(sender: str) -> None:
    """As in a container, where /proc/sys is mounted read-only."""
    read_only = ["unshare", "--mount", "sh", "-c", 'mount --bind -o ro /proc/sys /proc/sys && exec "$@"', "sh"]
    argv = [*read_only, sys.executable, "-c", SWITCH_ACCOUNTING, sender]
    found = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert "nf_conntrack_acct" in found.stdout
    assert len(found.stdout.splitlines()) == 1
    assert "Traceback" not in found.stdout + found.stderr


SWITCH_ACCOUNTING = """
import sys
from queue import SimpleQueue
from nettop.broker.start import start
from nettop.session.live import LiveSession
with start("root", confine=False) as broker:
    session = LiveSession(broker, sys.argv[1])
    answer = SimpleQueue()
    session.set_acct(True, answer.put)
    print(answer.get(timeout=30))
    session.close()
"""


FILTERED = (["flows"], ["events"], ["flows", "-r", "/dev/null"], ["events", "-r", "/dev/null"], ["read", "/dev/null"])


@pytest.mark.parametrize("words", FILTERED)
@pytest.mark.parametrize(
    ("expression", "under"), [("tcp and and", 8), ("(port 80", 0), ("net 1.2.3.4/99", 4), ("port 80 beauty", 8)]
)
def test_a_wrong_filter_has_its_caret_under_the_error(words: list[str], expression: str, under: int) -> None:
    found = nettop(*words, "--filter", expression)
    assert (found.returncode, found.stdout) == (2, "")
    what, line, caret = found.stderr.splitlines()
    assert what.startswith("nettop: filter: ")
    assert (line, caret) == (f"  {expression}", " " * (2 + under) + "^")


@pytest.mark.parametrize("words", [["--only", "mark 0x"], ["--only", "bytes > 1k or mark 0x"]])
def test_a_wrong_filter_of_the_app_is_said_before_the_screen_opens(words: list[str]) -> None:
    found = nettop(*words)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.splitlines()[-1].strip() == "^"
