"""A session on a file: opened first, looked at only when it is started, closed as often as one likes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

from nettop.errors import InputError
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.replay import ReplaySession
from tests.kernel.namespaces import poll
from tests.unit.recording.handmade import epb, idb, shb


def rows(session: ReplaySession) -> int:
    answers: SimpleQueue[Snapshot] = SimpleQueue()
    session.ask("packets", ViewSpec(("number", "info")), answers.put)
    return len(answers.get(timeout=30).rows)


def test_its_packets_are_shown_and_nothing_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "f"
    path.write_bytes(shb() + idb("<", (9, b"\x09")) + epb(bytes(60), 1_000) + epb(bytes(60), 2_000))
    threads = set(threading.enumerate())
    session = ReplaySession(str(path))
    assert set(threading.enumerate()) <= threads
    session.start()
    poll(lambda: rows(session) == 2)
    session.close()
    session.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_nothing_of_the_file_is_looked_at_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("no capture")
    session = ReplaySession(str(tmp_path / "f"))
    with pytest.raises(InputError, match="not a capture"):
        session.start()
    session.close()


def test_what_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        ReplaySession(str(tmp_path))


def test_it_may_be_closed_before_it_was_started(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "f").write_text("whatever")
    session = ReplaySession(str(tmp_path / "f"))
    session.close()
    assert len(os.listdir("/proc/self/fd")) <= before
