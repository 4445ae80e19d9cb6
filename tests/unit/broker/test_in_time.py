"""A file that takes too long to open costs neither the caller nor a descriptor."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from nettop.broker.in_time import open_in_time


def poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_what_opens_in_time_is_returned_and_an_error_is_raised() -> None:
    fd = open_in_time(lambda: os.open("/dev/null", os.O_RDONLY))
    os.close(fd)
    with pytest.raises(FileNotFoundError):
        open_in_time(lambda: os.open("/nowhere", os.O_RDONLY))


def test_what_opens_later_is_closed_and_stuck_opens_have_a_limit() -> None:
    answer, opened = threading.Event(), list[int]()

    def slow() -> int:
        answer.wait()
        opened.append(os.open("/dev/null", os.O_RDONLY))
        return opened[-1]

    for _ in range(4):
        with pytest.raises(TimeoutError):
            open_in_time(slow, 0.01)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        open_in_time(slow, 60)
    assert time.monotonic() - began < 30 and not opened
    answer.set()
    poll(lambda: len(opened) == 4 and not any(os.path.exists(f"/proc/self/fd/{fd}") for fd in opened))
