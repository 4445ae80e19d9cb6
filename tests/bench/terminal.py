"""A pty for the app: what it draws comes in as bytes, keys go out, a resize draws it all anew."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.bench.measure import NETTOP, ROOT

DEADLINE_S = 30.0
_CONTROL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()].|[=>78cDEHM])")
_LAST_WORDS = b"help"  # of the line of keys, at the bottom right
_NOT_INHERITED = ("NO_COLOR", "COLUMNS", "LINES", "SSH_CONNECTION", "COLORTERM")


class Terminal:
    """A pty of 160 by 45 cells. `seen` is what was drawn since it was last emptied."""

    def __init__(self, columns: int = 160, lines: int = 45) -> None:
        self.size = columns, lines
        self.master, self.slave = os.openpty()
        self._resize(lines)
        self.seen = b""
        self.began = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *argv: str) -> None:
        """Run a program on it, as its controlling terminal."""
        slave = self.slave

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        base = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv,
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**base, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            preexec_fn=own_terminal,
        )

    def look(self, seconds: float) -> None:
        """Take what is drawn within `seconds`."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._read(left)

    def until(self, words: bytes, deadline_s: float = DEADLINE_S) -> float:
        """Until these words are drawn; returns the moment (time.perf_counter)."""
        end = time.perf_counter() + deadline_s
        while words not in self.seen:
            if time.perf_counter() > end:
                raise RuntimeError(f"never drawn: {words!r}; last {plain(self.seen)[-800:]!r}")
            self._read(0.1)
        return time.perf_counter()

    def type(self, keys: bytes) -> None:
        """Press keys; what was drawn before is forgotten."""
        self.seen = b""
        os.write(self.master, keys)

    def ended(self) -> float:
        """Until the program ends; returns the moment."""
        assert self.process is not None
        while self.process.poll() is None:
            self._read(0.002)
        return time.perf_counter()

    def screen(self) -> bytes:
        """Everything that is on the screen, drawn anew, as plain text."""
        for lines in (self.size[1] - 1, self.size[1]):
            self.seen = b""
            self._resize(lines)
            if self.process is not None:
                os.kill(self.process.pid, signal.SIGWINCH)
            self.until(_LAST_WORDS)
            self.look(0.1)
        return plain(self.seen)

    def close(self) -> None:
        """End the program and let go of the terminal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            end = time.perf_counter() + 10
            while self.process.poll() is None and time.perf_counter() < end:
                self._read(0.05)
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)

    def _read(self, seconds: float) -> None:
        if select.select([self.master], [], [], max(0.0, seconds))[0]:
            with suppress(OSError):  # EIO: the other side is closed
                self.seen += os.read(self.master, 1 << 16)

    def _resize(self, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, self.size[0], 0, 0))


@contextmanager
def nettop_on(terminal: Terminal, *words: str) -> Iterator[Terminal]:
    """The real app on a terminal, ended afterwards."""
    terminal.start(NETTOP, *words)
    try:
        yield terminal
    finally:
        terminal.close()


def lost_of(screen: bytes) -> str:
    """What the header says was lost."""
    found = re.findall(rb"lost ((?:[\d,]+\+? ?\w*(?:, )?)+?)\s{2}", screen)
    return found[-1].decode().strip() if found else "?"


def number_of(screen: bytes, pattern: bytes) -> int:
    """The last number on a screen that this pattern finds; 0 where there is none."""
    found = re.findall(pattern, screen)
    return int(found[-1].replace(b",", b"")) if found else 0


def plain(drawn: bytes) -> bytes:
    """What was drawn, without the terminal's control sequences."""
    return _CONTROL.sub(b"", drawn)
