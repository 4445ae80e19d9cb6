"""Commands on a recording with damaged messages: what cannot be read is counted, not passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nettop.batch import Batch, StreamAdded
from nettop.errors import EXIT_DAMAGED, EXIT_LOSS, EXIT_OK
from nettop.recording.reader import open_reader
from nettop.recording.writer import RecordingWriter
from tests.unit.test_captures import CAPTURES

CAPTURE = CAPTURES / "demo-gw-a.pcapng"
FIRST_ATTRIBUTE = 20  # behind nlmsghdr and nfgenmsg


def first_damaged(out: Path, count: int) -> Path:
    """The recording with the first attribute of its first `count` events longer than the message."""
    reader = open_reader(str(CAPTURE))
    items, events = list(reader), set[int]()
    reader.close()
    for at, item in enumerate(items):
        if isinstance(item, StreamAdded) and item.stream.name == "conntrack":
            events.add(item.stream.id)
        elif isinstance(item, Batch) and item.stream in events:
            buf = bytearray(item.buf)
            for off in item.off[:count].tolist():
                buf[off + FIRST_ATTRIBUTE : off + FIRST_ATTRIBUTE + 2] = b"\xff\xff"
            count -= min(count, len(item))
            items[at] = replace(item, buf=bytes(buf))
    writer = RecordingWriter(os.open(out, os.O_WRONLY | os.O_CREAT, 0o600))
    writer.write(items)
    writer.close()
    return out


def printed(command: str, path: Path, *words: str) -> tuple[int, int, str]:
    """Its exit code, how many lines it printed, and what it said."""
    argv = [sys.executable, "-m", "nettop", command, "-r", str(path), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, len(done.stdout.splitlines()), done.stderr


@pytest.mark.parametrize("count", [1, 3])
def test_damaged_events_are_counted(tmp_path: Path, count: int) -> None:
    code, every, said = printed("events", CAPTURE)
    assert (code, said) == (EXIT_OK, "") and every > 100
    bad = first_damaged(tmp_path / "bad.pcapng", count)
    noun = "message is" if count == 1 else "messages are"
    assert printed("events", bad) == (EXIT_DAMAGED, every - count, f"nettop: {count} damaged {noun} left out\n")
    assert printed("events", bad, "--fail-on-loss") == (EXIT_LOSS, every - count, f"nettop: lost {count} unreadable\n")


@pytest.mark.parametrize("command", ["flows", "counters", "rules"])
def test_every_command_that_reads_a_recording_says_so(tmp_path: Path, command: str) -> None:
    code, lines, said = printed(command, CAPTURE)
    assert (code, said) == (EXIT_OK, "") and lines > 10
    code, lines, said = printed(command, first_damaged(tmp_path / "bad.pcapng", 3))
    assert (code, said) == (EXIT_DAMAGED, "nettop: 3 damaged messages are left out\n") and lines > 10


def test_counters_that_fail_on_loss_say_what_was_lost(tmp_path: Path) -> None:
    assert printed("counters", CAPTURE, "--fail-on-loss")[0] == EXIT_OK
    code, lines, said = printed("counters", first_damaged(tmp_path / "bad.pcapng", 3), "--fail-on-loss")
    assert (code, said) == (EXIT_LOSS, "nettop: lost 3 unreadable\n") and lines > 10
