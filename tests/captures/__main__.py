"""`python -m tests.captures.__main__ [NAME...]`: makes the recordings of captures/ again, from real kernels.

Each is made in private namespaces: build, `nettop record`, pass traffic, end. Its decoded content is written with it
only when conntrack, nft, iptables-save and tshark print the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nettop.batch import DumpMark, Item, Text
from nettop.errors import NettopError
from nettop.kinds import TextKind
from nettop.labs import isolation
from nettop.pipeline.feeds import RULE_TEXTS
from nettop.recording.reader import open_reader
from tests.captures import oracles
from tests.captures.scenarios import SCENARIOS, Scenario
from tests.captures.topology import within

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
TIMEOUT_S = 60.0
_NETTOP = (sys.executable, "-m", "nettop")
_TOOL_NS = 500_000_000  # ns: a text gets its time when its tool has ended
_DUMPS = ("conntrack", "ctstats", "nft-chains", "nft-rules")
README = """# Recordings that nettop made of real kernels

Each `NAME.pcapng` is a recording of `nettop record` in throwaway network namespaces; Wireshark opens it too.
`NAME.expect.jsonl` is what it must decode to: a line names a command, the lines after it are what it prints.
`NAME.oracle.txt` is what conntrack, nft and iptables-save said in the namespace when the recording ended; the files are
only written when nettop says the same (and tshark counts the same records, none malformed).
`./dev captures [NAME...]` makes them again; addresses and ports stay, times and identifiers do not.
"""


@dataclass(frozen=True, slots=True)
class Oracle:
    """The output of the tools in the namespace after the traffic and the recording."""

    flows: str
    rules: dict[str, str]
    statistics: str

    def text(self) -> str:
        """Return the outputs as one text, for people and tests."""
        outputs = {"conntrack -L": self.flows, "conntrack -S": self.statistics, **self.rules}
        return "".join(f"$ {command}\n{answer}\n" for command, answer in outputs.items())


def main(names: list[str]) -> int:
    """Make these recordings, or all; return the exit code."""
    unknown = set(names) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        print(f"captures: no scenario {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    CAPTURES.mkdir(exist_ok=True)
    failed = [s.name for s in SCENARIOS if s.name in (names or [s.name]) and _make_isolated(s) != 0]
    shows = "".join(f"\n## {s.name}\n\n{_wrap(s.shows)}\n" for s in SCENARIOS)
    (CAPTURES / "README.md").write_text(README + shows)
    if failed:
        print(f"captures: not made: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _wrap(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120)


def _make_isolated(scenario: Scenario) -> int:
    """Make one recording in a child's private namespaces; return the child's exit code."""
    child = os.fork()
    if child == 0:
        os._exit(_run_isolated(scenario))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run_isolated(scenario: Scenario) -> int:
    try:
        inner = isolation.enter_private_namespaces()
        if inner:
            return os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 0xFF
        summary = make(scenario)
        print(f"captures: {scenario.name}: {summary}", file=sys.stderr)
        os._exit(0)
    except (NettopError, OSError) as error:
        print(f"captures: {scenario.name}: {error}", file=sys.stderr)
        return 1


def make(scenario: Scenario) -> str:
    """Build, record, check, and put the files into captures/; return the recorder's last line."""
    scenario.build()
    with tempfile.TemporaryDirectory() as scratch:
        path, events = Path(scratch, f"{scenario.name}.pcapng"), Path(scratch, "events")
        with _conntrack_events(scenario.netns, events):
            oracle, summary = _record(scenario, path)
        expect = _expectation(scenario, Path(scratch))
        _check(path, oracle, events.read_text(), summary)
        events.unlink()
        Path(scratch, f"{scenario.name}.expect.jsonl").write_text(expect)
        Path(scratch, f"{scenario.name}.oracle.txt").write_text(oracle.text())
        for made in Path(scratch).iterdir():
            shutil.copyfile(made, CAPTURES / made.name)
    return summary


# -- recording --------------------------------------------------------------------------------------------------------


def _record(scenario: Scenario, path: Path) -> tuple[Oracle, str]:
    """Record while the traffic passes; return the tools' output afterwards, and the recorder's last line."""
    options = ["--netns", scenario.netns, "-w", str(path), "--fail-on-loss"]
    nettop = (sys.executable, "-m", "tests.captures.tracing", scenario.traced) if scenario.traced else _NETTOP
    argv = [*nettop, "record", *options, *scenario.record]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_until(lambda: process.poll() is not None or _dumped_since(path, 0), "the first keyframe")
            scenario.pass_traffic()
            oracle = _settled_output(scenario.netns, path)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise NettopError(f"nettop record ended with {process.returncode}: {errors.strip()}")
    return oracle, errors.strip().splitlines()[-1].removeprefix("nettop: ")


def _settled_output(netns: str, path: Path) -> Oracle:
    """Return the output of the tools when it is the same before and after a keyframe."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        rules, since_ns = oracles.rules(netns), time.time_ns()
        _wait_until(partial(_dumped_since, path, since_ns), "a keyframe")
        if oracles.rules(netns) == rules:
            return Oracle(oracles.flows(netns), rules, oracles.statistics(netns))
    raise NettopError("the counters of the rules never come to rest")


def _dumped_since(path: Path, since_ns: int) -> bool:
    """Return True if the recording has every dump begun and completed since then, and any legacy rules."""
    begun: dict[tuple[int, str], int] = {}
    completed: set[str] = set()
    texts: dict[TextKind, Text] = {}
    for item in _items(path):
        if isinstance(item, DumpMark) and item.begin:
            begun[item.stream, item.what] = item.ts_ns
        elif isinstance(item, DumpMark) and item.complete and begun.get((item.stream, item.what), 0) >= since_ns:
            completed.add(item.what)
        elif isinstance(item, Text):
            texts[item.what] = item
    rules = (kind for feed in RULE_TEXTS for kind in feed.texts)
    legacy = (texts.get(kind) for kind in (TextKind.IPTABLES_LEGACY_SAVE, TextKind.IP6TABLES_LEGACY_SAVE))
    polled = all(text.ts_ns - since_ns > _TOOL_NS for text in legacy if text is not None and text.body)
    return completed >= set(_DUMPS) and texts.keys() >= {TextKind.SYSCTLS, *rules} and polled


def _items(path: Path) -> Iterator[Item]:
    """Yield the items that the growing file holds so far."""
    if not path.exists() or not path.stat().st_size:
        return
    reader = open_reader(str(path))
    try:
        yield from reader
    finally:
        reader.close()


def _wait_until(condition: Callable[[], bool], event: str) -> None:
    deadline, never = time.monotonic() + TIMEOUT_S, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise NettopError(f"{event} did not come within {TIMEOUT_S:.0f} s")
        never.wait(0.1)


@contextmanager
def _conntrack_events(netns: str, into: Path) -> Iterator[None]:
    """Run `conntrack -E` during the recording; its output goes to the file."""
    argv = ["ip", "netns", "exec", netns, "conntrack", "-E", "-o", "extended,id", "-b", str(8 << 20)]
    with into.open("w") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
        try:
            _wait_until(lambda: _has_listener(netns), "conntrack -E")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)


def _has_listener(netns: str) -> bool:
    """Return True if a socket there has joined groups of NETLINK_NETFILTER (12): /proc/net/netlink's Eth and Groups."""
    rows = within(netns, lambda: Path("/proc/thread-self/net/netlink").read_text()).splitlines()[1:]
    return any(row[1] == "12" and int(row[3], 16) for row in map(str.split, rows))


# -- decoded content --------------------------------------------------------------------------------------------------


def _nettop(directory: Path, *argv: str) -> str:
    """Return the output of a nettop command there; NettopError when it fails or writes to stderr."""
    result = subprocess.run([*_NETTOP, *argv], cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode or result.stderr:
        raise NettopError(f"nettop {' '.join(argv)}: {result.returncode} {result.stderr.strip()}")
    return result.stdout


def on_recording(argv: tuple[str, ...], name: str) -> list[str]:
    """Return the command of a scenario, with the recording it reads."""
    return [*argv, f"{name}.pcapng"] if argv[0] == "read" else [*argv, "-r", f"{name}.pcapng"]


def _expectation(scenario: Scenario, directory: Path) -> str:
    parts = []
    for command in scenario.expect:
        argv = on_recording(command, scenario.name)
        parts.append(json.dumps({"kind": "command", "argv": argv}) + "\n" + _nettop(directory, *argv))
    return "".join(parts)


def _check(path: Path, oracle: Oracle, events: str, summary: str) -> None:
    """Raise NettopError unless the whole recording decodes to the output of the tools."""

    def objects(command: str) -> list[oracles.Object]:
        text = _nettop(path.parent, *on_recording((command, "--json"), path.stem))
        return [json.loads(line) for line in text.splitlines()]

    oracles.check_flows(objects("flows"), oracle.flows)
    oracles.check_events(objects("events"), events)
    oracles.check_rules(objects("rules"), oracle.rules)
    oracles.check_statistics(objects("counters"), oracle.statistics)
    counts = re.match(r"([\d,]+) packets, ([\d,]+) netlink messages", summary)
    if counts is None:
        raise NettopError(f"the recorder's last line is {summary!r}")
    oracles.check_file(str(path), *(int(count.replace(",", "")) for count in counts.groups()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
