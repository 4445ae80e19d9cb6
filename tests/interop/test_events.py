"""Events under load: none lost, as many as conntrack counts, and each what `conntrack -E` prints."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.kernel.commands import ROOT, nettop, running
from tests.kernel.namespaces import Lab, command_in, netlink_sockets, poll, run_in

pytestmark = pytest.mark.kernel

COUNT = 20_000


def listeners(ns: str) -> int:
    """How many sockets of this namespace have joined conntrack's NEW group."""
    lines = netlink_sockets(ns)
    return sum(line[1] == "12" and bool(int(line[3], 16) & 1) for line in lines)


def waiting(ns: str) -> int:
    """Bytes in the buffers of this namespace's netlink sockets."""
    return sum(int(row[4]) for row in netlink_sockets(ns))


def flood(ns: str, count: int) -> None:
    run_in(ns, "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.flood", str(count))


def test_no_event_is_lost_under_load(sender: str, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    printing = running("events", "--json", "--netns", sender, "--count", str(COUNT), "--fail-on-loss")
    writing = running("record", "--netns", sender, "-i", "lo", "-w", str(path), "--fail-on-loss")
    with printing as live, writing as recording:
        poll(lambda: listeners(sender) == 2)
        flood(sender, COUNT)
        code, out, err = live.end()
        poll(lambda: waiting(sender) == 0, what="the recorder has read all")
        recording.signal()
        assert recording.end()[0] == 0
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert Counter(event["event"] for event in events) == {"new": COUNT}
    ids = {(event["dst"], event["dport"]) for event in events}
    assert len(ids) == COUNT
    replayed = nettop("events", "-r", str(path), "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert sorted(strip_time(json.loads(line)) for line in replayed.stdout.splitlines()) == sorted(
        map(strip_time, events)
    )


def strip_time(event: dict[str, object]) -> str:
    """Two listeners stamp at different moments."""
    return json.dumps({key: value for key, value in event.items() if key != "ts_ns"}, sort_keys=True)


def test_events_are_those_that_conntrack_prints(sender: str, lab: Lab, tmp_path: Path) -> None:
    printed = tmp_path / "conntrack.xml"
    with printed.open("wb") as out:
        conntrack = subprocess.Popen(
            command_in(sender, "conntrack", "-E", "-o", "xml,id"), stdout=out, stderr=subprocess.DEVNULL
        )
    try:
        with running("events", "--json", "--netns", sender) as live:
            poll(lambda: listeners(sender) == 2)
            run_in(sender, "ping", "-c1", "127.0.0.1")
            flood(sender, 50)
            run_in(sender, "conntrack", "-F")
            poll(lambda: listeners(sender) == 2 and printed.read_bytes().count(b'type="destroy"') >= 51)
            live.signal(signal.SIGINT)
            code, text, err = live.end()
    finally:
        conntrack.terminate()
        conntrack.wait()
    assert (code, err) == (0, "")
    xml = printed.read_text()
    body = xml[xml.index("<flow ") : xml.rindex("</flow>") + len("</flow>")]
    wanted = Counter(
        (flow.get("type"), flow.findtext(".//id")) for flow in ElementTree.fromstring(f"<all>{body}</all>")
    )
    rows = [json.loads(line) for line in text.splitlines()]
    assert Counter((row["event"], str(row["id"])) for row in rows) == wanted


def test_what_a_program_did_is_told_from_what_the_kernel_did(sender: str, tmp_path: Path) -> None:
    made = ("-I", "-p", "udp", "-s", "10.1.1.1", "-d", "10.1.1.9", "--sport", "5", "--dport", "6", "-t", "900")
    printed = tmp_path / "conntrack.txt"
    with printed.open("wb") as out:
        conntrack = subprocess.Popen(
            command_in(sender, "conntrack", "-E", "-o", "id"), stdout=out, stderr=subprocess.DEVNULL
        )
    try:
        with running("events", "--netns", sender) as text, running("events", "--json", "--netns", sender) as rows:
            poll(lambda: listeners(sender) == 3)
            run_in(sender, "conntrack", *made)
            run_in(sender, "conntrack", "-U", "-p", "udp", "-s", "10.1.1.1", "--mark", "7")
            run_in(sender, "conntrack", "-D", "-p", "udp")
            run_in(sender, "ping", "-c1", "127.0.0.1")
            poll(lambda: printed.read_bytes().count(b"[NEW]") == 2 and waiting(sender) == 0)
            for one in (text, rows):
                one.signal()
            ended = [one.end()[1].splitlines() for one in (text, rows)]
    finally:
        conntrack.terminate()
        conntrack.wait()
    theirs = [re.findall(r"portid=(\d+)", line) for line in printed.read_text().splitlines()]
    assert [len(one) for one in theirs] == [1, 1, 1, *[0] * (len(theirs) - 3)] and len(theirs) >= 4
    assert [json.loads(line).get("portid") for line in ended[1]] == [int(one[0]) if one else None for one in theirs]
    assert [re.findall(r" USERSPACE portid (\d+)", line) for line in ended[0]] == theirs
