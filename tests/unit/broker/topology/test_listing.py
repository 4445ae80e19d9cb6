"""The namespaces of the listing are opened by paths that other processes choose, and may change meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nettop.broker.topology.census import SeenNamespace
from nettop.broker.topology.listing import _ids


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fail a test whose body blocks."""

    def fail(_number: int, _frame: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("bounded")
def test_what_is_no_namespace_any_more_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    held = os.open(tmp_path / "fifo", os.O_RDWR)
    seen = [
        SeenNamespace(1, mounts=[str(tmp_path / "fifo")]),
        SeenNamespace(2, thread=str(tmp_path / "file")),
        SeenNamespace(3, descriptor=f"/proc/self/fd/{held}"),
        SeenNamespace(4, mounts=["/dev/zero"]),
        SeenNamespace(5),
    ]
    with ExitStack() as opened:
        ids, refusals = _ids(seen, opened)
    os.close(held)
    assert not ids
    assert [refusals[inode] for inode in (1, 2, 3, 4)] == ["it is no namespace"] * 4 and 5 in refusals
