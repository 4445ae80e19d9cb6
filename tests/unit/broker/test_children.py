"""Children of the broker: their answer, their failures, their time limit, and what they inherit."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

import pytest

from nettop.broker import children, texts
from nettop.broker.children import ChildProcess, ChildTask
from nettop.broker.failures import from_fields
from nettop.errors import BrokerError, FilterError


def child_of(run: Callable[[], object], seconds: float = 10.0) -> ChildProcess:
    return children.start(ChildTask("the test", lambda: run() and None, None, seconds))


def outcome(child: ChildProcess) -> bytes:
    """What the child wrote, once it has ended; fails after thirty seconds."""
    assert select.select([child.pidfd], [], [], 30)[0], "the child does not end"
    fd = child.outcome()
    body = os.pread(fd, 1 << 20, 0)
    os.close(fd)
    return body


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def test_what_a_child_writes_is_its_answer() -> None:
    assert outcome(child_of(lambda: os.write(1, b"hello\xff"))) == b"hello\xff"


def test_an_error_of_the_child_arrives_as_the_same_error() -> None:
    child = child_of(raising(FilterError("syntax", "tcp prot", 4)))
    with pytest.raises(children.RemoteFailure) as failed:
        outcome(child)
    error = from_fields(failed.value.fields())
    assert isinstance(error, FilterError)
    assert (error.message, error.expression, error.position) == ("syntax", "tcp prot", 4)


def test_a_crash_of_the_child_is_an_error_that_names_the_signal() -> None:
    with pytest.raises(BrokerError, match="the test was ended by SIGSEGV"):
        outcome(child_of(lambda: os.kill(os.getpid(), signal.SIGSEGV)))


def test_a_child_that_is_ended_says_why() -> None:
    child = child_of(signal.pause)
    child.kill("it took too long")
    with pytest.raises(BrokerError, match="the test: it took too long"):
        outcome(child)


def test_a_tool_that_fails_gives_its_first_line() -> None:
    with pytest.raises(BrokerError, match=r"status 2 .*no such option"):
        outcome(child_of(lambda: children.execute("/bin/sh", "-c", "echo no such option >&2; echo more >&2; exit 2")))


def test_output_beyond_the_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "OUTPUT_LIMIT", 4096)
    with pytest.raises(BrokerError, match="more than 4096 bytes"):
        outcome(child_of(lambda: children.execute("/bin/sh", "-c", "head -c 10000 /dev/zero; exit 0")))


def test_a_child_inherits_no_descriptor_but_its_own_three() -> None:
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        listed = outcome(child_of(lambda: children.execute("/bin/sh", "-c", "ls /proc/$$/fd")))
    finally:
        os.close(secret)
    assert set(listed.split()) <= {b"0", b"1", b"2"}


def test_a_program_runs_with_a_fixed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_TEST", "1")
    environment = outcome(child_of(lambda: children.execute("/usr/bin/env")))
    assert b"LD_PRELOAD_TEST" not in environment
    assert b"LC_ALL=C" in environment


def test_a_tool_that_is_not_installed_is_named_with_a_remedy() -> None:
    with pytest.raises(BrokerError, match="nettop-no-such-tool is not installed: apt install"):
        children.find_tool("nettop-no-such-tool")


def test_every_kind_of_text_has_its_tool() -> None:
    from nettop.kinds import TextKind

    of_server = {TextKind.DROPS, TextKind.DROP_RECORDS, TextKind.NAMESPACES}
    assert set(texts.TOOLS) == set(TextKind) - set(texts.PROC) - of_server
