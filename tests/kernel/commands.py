"""nettop as its users run it: a process, what it printed, how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nettop.broker.identity import can_change_ids
from tests.kernel.namespaces import poll
from tests.kernel.processes import children_of

ROOT = Path(__file__).parents[2]
# tcpdump as root changes its user, which a user namespace does not allow: to read files it is nobody in one more.
TCPDUMP = ("tcpdump", "-Z", "root") if can_change_ids() else ("unshare", "-U", "tcpdump")
NOBODY = ("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
_INHERITED = ("SUDO_", "DOAS_", "PKEXEC_", "SSH_", "COLUMNS", "LINES")


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would make somebody else of us, or another size of the terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_INHERITED)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "nettop", *argv]


def nettop(
    *argv: str, before: tuple[str, ...] = (), stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*before, *command(*argv)],
        input=stdin.decode("latin-1"),
        encoding="latin-1" if stdin else "utf-8",
        capture_output=True,
        timeout=60,
        check=False,
        env=environment(**env),
        cwd="/",
    )


def rows(*argv: str) -> list[dict[str, Any]]:
    """The JSON lines of a command that must succeed."""
    done = nettop(*argv, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Running:
    """A command under way: its output is read when it has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def broker(self) -> int:
        """The broker's pid."""
        return poll(lambda: children_of(self.pid), what="the broker")[0]

    def line(self, errors: bool = False) -> bytes:
        """The next line of its output, or of its stderr."""
        out = self.process.stderr if errors else self.process.stdout
        assert out is not None
        poll(lambda: select.select([out], [], [], 0)[0], what="a line")
        return out.readline()

    def end(self, deadline_s: float = 30.0) -> tuple[int, str, str]:
        """Wait for its end; exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=deadline_s)
        return self.process.returncode, (out or b"").decode(), (err or b"").decode()


@contextmanager
def running(*argv: str, before: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Iterator[Running]:
    """Start it; it is killed at the end of the block, if it has not ended."""
    process = subprocess.Popen(
        [*before, *command(*argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what line() leaves is there for end()
        env=environment(**(env or {})),
        cwd="/",
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def size_of(path: Path) -> int:
    """Bytes of a file; 0 while there is none."""
    return path.stat().st_size if path.exists() else 0


def holds(path: Path, *needles: bytes) -> bool:
    """Whether the recording in the making has these bytes by now."""
    data = path.read_bytes() if path.exists() else b""
    return all(needle in data for needle in needles)
