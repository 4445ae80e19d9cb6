"""A standard output that takes no more is said in one line, whatever the command prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.kernel.commands import command, environment
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

CAPTURE = str(Path(__file__).parents[2] / "captures" / "demo-gw-a.pcapng")
RULES = "table ip t { chain c { type filter hook output priority 0; ct state new counter; }; }"
FLOW = "-p udp -s 10.1.0.1 -d 10.2.0.1 --sport 1 --dport 2 -t 60"


@pytest.mark.parametrize(
    "words",
    ["flows", "flows --json", "flows --group source", "counters", "counters --interval 0.1", "rules --json"],
)
def test_live_commands_end_in_one_line_when_stdout_is_full(lab: Lab, words: str) -> None:
    ns = lab.netns()
    run_in(ns, "nft", RULES)
    run_in(ns, "conntrack", "-I", *FLOW.split())
    assert full(*words.split(), "--netns", ns) == (1, "nettop: standard output: No space left on device\n")


@pytest.mark.parametrize("words", ["flows", "events", "events --json", "counters", "rules"])
def test_commands_on_a_recording_do_so_too(words: str) -> None:
    assert full(*words.split(), "-r", CAPTURE) == (1, "nettop: standard output: No space left on device\n")


def full(*words: str) -> tuple[int, str]:
    """The exit code of a command whose output goes to a full device, and what it says."""
    with open("/dev/full", "w") as out:
        argv, env = command(*words), environment()
        done = subprocess.run(argv, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, env=env, check=False)
    return done.returncode, done.stderr


def test_a_recording_whose_file_is_removed_ends_and_says_so(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "r.pcapng"
    argv = command("record", "-w", str(path), "--netns", lab.netns(), "--duration", "60")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment()) as recording:
        poll(lambda: path.exists() and path.stat().st_size > 100, what="the recording")
        path.unlink()
        said = recording.communicate(timeout=30)[1]
    assert recording.returncode == 1
    assert said.splitlines()[-1] == f"nettop: {path} was removed while it was written: its content is lost"
