"""The recordings of captures/ decode to what was written beside them, and cut anywhere they are still read."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nettop import cli
from nettop.errors import EXIT_DAMAGED, EXIT_OK, NettopError
from nettop.headless import flows as flows_command
from nettop.headless import load as feed
from nettop.headless import read as read_command
from nettop.labs.client import RECORDING
from tests.captures import oracles
from tests.captures.scenarios import SCENARIOS

CAPTURES = Path(__file__).parents[2] / "captures"
NAMES = sorted(path.stem for path in CAPTURES.glob("*.pcapng"))
KILOBYTE = 1000


def sections(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Each command with the lines that it prints."""
    argv: list[str] | None = None
    lines: list[str] = []
    for line in text.splitlines():
        row = json.loads(line)
        if row["kind"] == "command":
            if argv is not None:
                yield argv, lines
            argv, lines = row["argv"], []
        else:
            lines.append(line)
    assert argv is not None
    yield argv, lines


def expected(name: str) -> dict[str, list[Any]]:
    """The objects that each command prints, by its name."""
    text = (CAPTURES / f"{name}.expect.jsonl").read_text()
    return {argv[0]: [json.loads(line) for line in lines] for argv, lines in sections(text)}


def oracle(name: str) -> dict[str, str]:
    """What each tool said, by its command."""
    parts = re.split(r"^\$ (.*)\n", (CAPTURES / f"{name}.oracle.txt").read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_scenario_has_its_recording_and_the_demo_replays_one_of_them() -> None:
    assert sorted(scenario.name for scenario in SCENARIOS) == NAMES
    assert (CAPTURES / RECORDING).exists()


def test_recordings_are_small_enough_to_ship() -> None:
    sizes = {path.name: path.stat().st_size for path in CAPTURES.iterdir()}
    assert sum(sizes.values()) < 1500 * KILOBYTE
    assert max(sizes.values()) < 700 * KILOBYTE, sizes


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_decodes_to_exactly_what_is_expected(name: str) -> None:
    for argv, lines in sections((CAPTURES / f"{name}.expect.jsonl").read_text()):
        command = [sys.executable, "-m", "nettop", *argv]
        env = {**os.environ, "PYTHONPATH": str(CAPTURES.parent)}
        done = subprocess.run(command, cwd=CAPTURES, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == lines


@pytest.mark.parametrize("name", NAMES)
def test_what_is_expected_is_what_the_tools_said(name: str) -> None:
    ours, said = expected(name), oracle(name)
    checked = 0
    if "flows" in ours:
        oracles.check_flows(ours["flows"], said["conntrack -L"])
        checked += len(ours["flows"])
    if "counters" in ours:
        oracles.check_statistics(ours["counters"], said["conntrack -S"])
    oracles.check_rules(ours["rules"], said)
    assert checked + len(ours["rules"]) > 5


@pytest.mark.parametrize(
    ("tool", "counter"),
    [
        ("nft -a list ruleset", r'(iifname "lo" counter packets )(\d+)'),
        ("iptables-nft-save -c", r"(\n\[)(\d+)(?=.* -A SERVICES)"),
        ("ip6tables-nft-save -c", r"(\n\[)(\d+)(?=.* -A SIX)"),
        ("iptables-legacy-save -c", r"(\n\[)(\d+)(?=.* -A EARLY)"),
    ],
)
def test_a_counter_that_a_tool_sees_differently_is_noticed(tool: str, counter: str) -> None:
    ours, said = expected("three-backends")["rules"], oracle("three-backends")
    altered = re.sub(counter, r"\g<1>9\2", said[tool], count=1)
    assert altered != said[tool]
    with pytest.raises(NettopError, match="only they"):
        oracles.check_rules(ours, {**said, tool: altered})


def test_a_flow_that_conntrack_sees_differently_is_noticed() -> None:
    ours, said = expected("ipv6")["flows"], oracle("ipv6")["conntrack -L"]
    for altered in (
        said.replace("TIME_WAIT", "CLOSE", 1),
        said.replace("bytes=", "bytes=1", 1),
        said[said.index("\n") :],
    ):
        assert altered != said
        with pytest.raises(NettopError, match="only nettop"):
            oracles.check_flows(ours, altered)


EVENTS = """\
    [NEW] ipv4     2 udp      17 30 src=10.0.0.1 dst=10.0.0.2 sport=5 dport=53 [UNREPLIED] src=10.0.0.2 dst=10.9.9.9 \
sport=53 dport=5 id=77
[DESTROY] ipv4     2 udp      17 src=10.0.0.1 dst=10.0.0.2 sport=5 dport=53 packets=1 bytes=60 [UNREPLIED] \
src=10.0.0.2 dst=10.9.9.9 sport=53 dport=5 packets=0 bytes=0 id=77
[DESTROY] ipv4     2 icmp     1 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=300 packets=1 bytes=84 src=10.0.0.2 \
dst=10.0.0.1 type=0 code=0 id=300 packets=1 bytes=84 id=78
"""
PING = {"id": 78, "event": "destroy", "family": "ipv4", "proto": "icmp", "src": "10.0.0.1", "dst": "10.0.0.2"}
PING |= {"icmp_id": 300, "reply_src": "10.0.0.2", "reply_dst": "10.0.0.1"}
NAMED = {"id": 77, "event": "new", "family": "ipv4", "proto": "udp", "src": "10.0.0.1", "dst": "10.0.0.2", "sport": 5}
NAMED |= {"dport": 53, "reply_src": "10.0.0.2", "reply_dst": "10.9.9.9", "reply_sport": 53, "reply_dport": 5}


def test_events_that_conntrack_saw_must_have_been_recorded_but_for_flows_that_ended_later() -> None:
    ended = {**NAMED, "event": "destroy"}
    for ours in ([NAMED, ended, PING], [NAMED, ended], [NAMED]):
        oracles.check_events(ours, EVENTS)
    for ours in ([ended, PING], [NAMED, PING], [NAMED, {**ended, "dport": 54}, PING], [NAMED, NAMED, ended, PING]):
        with pytest.raises(NettopError, match="events"):
            oracles.check_events(ours, EVENTS)


# -- what each recording is for ---------------------------------------------------------------------------------------


def test_gateway_a_rewrites_the_source_and_gateway_b_the_destination() -> None:
    def nat(name: str, word: str) -> list[Any]:
        flows = expected(name)["flows"]
        return [f for f in flows if f["dst"] == "200.200.200.1" and f.get("dport") == 443 and f["nat"] == [word]]

    at_a, at_b = nat("demo-gw-a", "snat"), nat("demo-gw-b", "dnat")
    assert at_a and all((f["src"], f["reply_dst"]) == ("192.168.1.2", "100.100.100.1") for f in at_a)
    assert at_b and all((f["src"], f["reply_src"]) == ("100.100.100.1", "192.168.2.2") for f in at_b)
    assert all(f["reply_dport"] == f["sport"] and f["bytes"] for f in (*at_a, *at_b))


def test_the_demo_drops_three_chains_deep_and_has_three_backends() -> None:
    rules = [row for row in expected("demo-gw-a")["rules"] if row["kind"] == "rule"]
    assert {row["backend"] for row in rules} == {"nft", "iptables-nft", "iptables-legacy"}
    (dropping,) = [row for row in rules if row["chain"] == "blocked" and row["text"].startswith("ip daddr @bad")]
    assert dropping["packets"] > 10 and dropping["comment"] == "known bad"


def test_a_scan_leaves_flows_where_a_port_is_open_and_no_trace_where_it_was_dropped() -> None:
    ours = expected("port-scan")
    begun, ended = ({row["dport"] for row in ours["events"] if row["event"] == event} for event in ("new", "destroy"))
    assert {22, 80, 443} == {flow["dport"] for flow in ours["flows"]} == begun - ended
    assert len(ended) > 60 and not begun & {135, 136, 137, 138, 139, 445}


# -- damage -----------------------------------------------------------------------------------------------------------


def test_a_recording_cut_anywhere_is_read_up_to_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "drop", lambda: None)  # the test's own process keeps its rights
    whole = (CAPTURES / "icmp-errors.pcapng").read_bytes()
    path = tmp_path / "cut.pcapng"
    flows = cli.parse(["flows", "--json", "-r", str(path)])

    def read() -> int:
        sink = read_command.PacketPrinter(sys.stdout.buffer, as_json=True)
        return read_command.read_files(read_command.open_files([str(path)]), None, sink)

    lines = []
    for size in (*sorted(random.Random(9).sample(range(4, len(whole)), 200)), len(whole)):
        path.write_bytes(whole[:size])
        for command in (lambda: flows_command.run(flows), read):
            code, said = command(), capfd.readouterr()
            assert (code, len(said.err.splitlines())) in ((EXIT_OK, 0), (EXIT_DAMAGED, 1)), size
            lines.append(said.out.count("\n"))
    assert code == EXIT_OK
    assert lines[::2] == sorted(lines[::2]) and lines[1::2] == sorted(lines[1::2]), "more is read of more"
    assert lines[-2:] == [len(expected("icmp-errors")[name]) for name in ("flows", "read")]
