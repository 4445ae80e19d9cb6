"""The broker that an app finds when it was executed again in a user namespace."""

from __future__ import annotations

import os
import socket

import pytest

from nettop.broker.confinement import own_namespace

VARIABLE = "NETTOP_BROKER"


@pytest.mark.parametrize("value", ["", "99", "999 1", "0 999999999", "-1 1", "x y", "9" * 30 + " 1", f"1 {1 << 40}"])
def test_a_variable_that_somebody_else_has_set_is_no_broker(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert own_namespace.handed_over() is None and VARIABLE not in os.environ


def test_the_broker_of_the_program_before_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(VARIABLE, f"{os.dup(ours.fileno())} {os.getpid()}")
    taken = own_namespace.handed_over()
    assert taken is not None and own_namespace.handed_over() is None
    with ours, theirs, taken[0] as sock:
        theirs.send(b"hello")
        assert sock.recv(5) == b"hello" and not sock.get_inheritable()
