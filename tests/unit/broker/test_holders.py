"""The processes that hold sockets: /proc is walked only where there are sockets."""

from __future__ import annotations

import os
import socket

import pytest

from nettop.broker.processes.holders import holders


def test_a_namespace_without_sockets_costs_no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
        assert holders([inode])[inode].pid == os.getpid()
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail(f"{path} is read"))
    assert holders([]) == {}
