"""The own ssh session is found and left out of a capture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nettop.broker.capture_filter.libpcap import compile_program
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.session.own_ssh import leaving_out, own_session

ROOT = Path(__file__).parents[3]
ASK = "import os; from nettop.session.own_ssh import own_session; print(own_session())"


def found_with(connection: str, before: tuple[str, ...] = ()) -> str:
    """What a nettop started below a shell with this SSH_CONNECTION finds."""
    inner = [*before, sys.executable, "-c", ASK]
    outer = [sys.executable, "-c", f"import subprocess; print(subprocess.check_output({inner!r}, text=True), end='')"]
    environment = {**os.environ, "SSH_CONNECTION": connection}
    done = subprocess.run(outer, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def test_the_session_is_found_where_sudo_dropped_the_variable() -> None:
    without = ("env", "-u", "SSH_CONNECTION")
    assert found_with("10.0.0.9 51515 10.0.0.1 22", without) == "('10.0.0.9', 51515, '10.0.0.1', 22)"


@pytest.mark.parametrize(
    ("said", "client"),
    [("fe80::1%eth0 1 fe80::2%eth0 22", "fe80::1"), ("::ffff:10.0.0.9 1 ::ffff:10.0.0.1 22", "10.0.0.9")],
)
def test_addresses_are_as_they_stand_in_packets(said: str, client: str) -> None:
    assert found_with(said).startswith(f"('{client}', 1,")


@pytest.mark.parametrize("said", ["", "x 1 y 22", "10.0.0.9 x 10.0.0.1 22", "10.0.0.9", "' or 1=1 1 2 3"])
def test_nonsense_is_no_session(said: str) -> None:
    if own_session() is None:
        assert found_with(said) == "None"


def test_the_filter_without_it_compiles() -> None:
    session = ("10.0.0.9", 51515, "10.0.0.1", 22)
    for expression in ("", "udp or icmp"):
        assert compile_program(LINKTYPE_ETHERNET, leaving_out(expression, session), 262144)
    assert leaving_out("udp", None) == "udp"
