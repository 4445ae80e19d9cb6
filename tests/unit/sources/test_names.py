"""The system is asked aside: putting a query never waits, and the answers are the system's own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from nettop.sources import names as module
from nettop.sources.names import MAX_QUEUED, MAX_THREADS, NameResolver, Query, lookup


def wait_for(condition: Callable[[], Any]) -> None:
    never, end = threading.Event(), time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        never.wait(0.005)


def test_a_service_has_the_systems_name_and_bad_questions_have_none() -> None:
    assert lookup((6, 22)) == socket.getservbyport(22, "tcp") == "ssh"
    assert lookup((17, 53)) == socket.getservbyport(53, "udp")
    nothing: list[Query] = [(6, 60_999), (1, 8), (6, 99_999_999), (6, -1), ("no address",), ("10.0.0.1\0",)]
    assert [lookup(query) for query in nothing] == [None] * len(nothing)


def test_loopback_has_the_name_that_the_system_gives_it() -> None:
    assert lookup(("127.0.0.1",)) == socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]


def test_questions_are_answered_on_other_threads() -> None:
    resolver, answers = NameResolver(), {}
    assert not resolver._threads
    for port in (22, 80, 1):
        assert resolver.ask((6, port))
    wait_for(lambda: answers.update(resolver.answers()) or len(answers) == 3)
    assert answers == {(6, port): lookup((6, port)) for port in (22, 80, 1)}
    threads = list(resolver._threads)
    assert all(thread.daemon for thread in threads)
    resolver.close()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


def test_a_silent_name_server_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()

    def stuck(query: Query) -> str | None:
        silent.wait(30)
        return None

    monkeypatch.setattr(module, "lookup", stuck)
    resolver = NameResolver()
    began = time.monotonic()
    taken = sum(resolver.ask((6, port)) for port in range(1000))
    assert time.monotonic() - began < 10
    assert MAX_QUEUED <= taken <= MAX_QUEUED + MAX_THREADS and len(resolver._threads) == MAX_THREADS
    assert resolver.answers() == []
    resolver.forget()
    assert resolver.ask((6, 1))
    threads = list(resolver._threads)
    resolver.close()
    silent.set()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))
