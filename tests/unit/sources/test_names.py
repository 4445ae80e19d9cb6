"""The system is asked aside: putting a query never waits, and the answers are the system's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from nettop.broker.requests import ResolveName
from nettop.sources.names import MAX_QUEUED, MAX_THREADS, NameResolver


def wait_for(condition: Callable[[], Any]) -> None:
    never, end = threading.Event(), time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        never.wait(0.005)


def test_questions_are_answered_on_other_threads() -> None:
    resolver, answers = NameResolver(lambda query: f"port {query.port}"), {}
    assert not resolver._threads
    for port in (22, 80, 1):
        assert resolver.ask((6, port))
    wait_for(lambda: answers.update(resolver.answers()) or len(answers) == 3)
    assert answers == {(6, port): f"port {port}" for port in (22, 80, 1)}
    threads = list(resolver._threads)
    assert all(thread.daemon for thread in threads)
    resolver.close()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


def test_a_silent_name_server_holds_up_nobody() -> None:
    silent = threading.Event()

    def stuck(query: ResolveName) -> str | None:
        silent.wait(30)
        return None

    resolver = NameResolver(stuck)
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
