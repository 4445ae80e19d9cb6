"""Programs that change rules again and again, beside what is tested or measured."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from tests.kernel.namespaces import command_in


@contextmanager
def repeated(change: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call `change` every so many seconds, in a thread."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every_s):
            change()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def commits(ns: str, script: Callable[[int], str], every_s: float) -> Iterator[None]:
    """One nft that commits `script(1)`, `script(2)`, …"""
    nft = subprocess.Popen(command_in(ns, "nft", "-i"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert nft.stdin is not None
    numbers, stdin = count(1), nft.stdin

    def commit() -> None:
        stdin.write(script(next(numbers)) + "\n")
        stdin.flush()

    try:
        with repeated(commit, every_s):
            yield
    finally:
        nft.communicate()
