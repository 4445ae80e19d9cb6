"""nettop in a terminal of its own: keys in, what was drawn out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.commands import command, environment
from tests.kernel.namespaces import poll


class Terminal:
    """nettop in a pty of its own, and what it drew."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self.master = process, master
        self.drawn = b""

    def read(self) -> bytes:
        while select.select([self.master], [], [], 0)[0]:
            try:
                part = os.read(self.master, 1 << 16)
            except OSError:  # nobody has the other end any more
                break
            if not part:
                break
            self.drawn += part
        return self.drawn

    def shows(self, text: str) -> bool:
        """Whether this was drawn (attributes and moves of the cursor apart)."""
        return text in re.sub(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))", b"", self.read()).decode(
            errors="replace"
        )

    def key(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def quit(self) -> int:
        """Press q until it is heard."""

        def left() -> bool:
            self.read()
            if self.process.poll() is None:
                self.key("q")
            return self.process.poll() is not None

        poll(left, what="the app ends")
        return self.end()

    def end(self, deadline_s: float = 30.0) -> int:
        end = time.monotonic() + deadline_s
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
            select.select([self.master], [], [], 0.02)
        self.read()
        return self.process.wait(0.1)


@contextmanager
def terminal(
    *argv: str, size: tuple[int, int] = (45, 160), before: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """Start it in a pty of so many lines and columns; it is killed at the end of the block, if it has not ended."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
    process = subprocess.Popen(
        [*before, *command(*argv)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(**{"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor", **(env or {})}),
        cwd="/",
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
