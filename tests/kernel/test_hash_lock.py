"""The lock on the conntrack hash: tests that need it run beside each other, one that resizes it alone."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from tests.kernel import hash_lock
from tests.kernel.namespaces import poll


def test_one_that_resizes_waits_for_the_others_and_is_not_overtaken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hash_lock, "FOLDER", tmp_path)
    order: list[str] = []

    def run(name: str, exclusive: bool) -> None:
        with hash_lock.held(exclusive):
            order.append(name)

    alone = threading.Thread(target=run, args=("alone", True))
    late = threading.Thread(target=run, args=("late", False))
    with hash_lock.held(exclusive=False), hash_lock.held(exclusive=False):
        alone.start()
        poll(lambda: somebody_waits(tmp_path), what="it waits for us")
        late.start()
        assert not order
    alone.join(30)
    late.join(30)
    assert order == ["alone", "late"]


def somebody_waits(folder: Path) -> bool:
    """Whether one has its turn, but not the hash."""
    with (folder / "nettop-tests.turn").open() as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
