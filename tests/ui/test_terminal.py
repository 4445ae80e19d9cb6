"""The terminal is found, and given back as it was, whatever ends the app. Real ptys, real signals."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from nettop.ui.terminal import _Guard, _hangup_noticed, _signals

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
ON = {b"?1049h": b"?1049l", b"?1000h": b"?1000l", b"?2004h": b"?2004l", b"?1004h": b"?1004l", b"?25l": b"?25h"}


class Terminal:
    """A pty with a child on it that has it as its controlling terminal."""

    def __init__(
        self,
        *args: str,
        streams: dict[str, int] | None = None,
        env: dict[str, str] | None = None,
        own: bool = True,
        shell: str = "",
    ) -> None:
        """`shell` is a script that runs the child as "$@"."""
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.master)
        self.slave = slave
        fds = {"stdin": slave, "stdout": slave, "stderr": slave, **(streams or {})}

        def own_terminal() -> None:
            os.setsid()
            if own:
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "NETTOP_DEBUG")}
        self.process = subprocess.Popen(
            [*(("sh", "-mc", shell, "sh") if shell else ()), sys.executable, "-m", "tests.ui.terminal_child", *args],
            cwd=ROOT,
            env={**base, "TERM": "xterm-256color", "HOME": "/nonexistent", **(env or {})},
            preexec_fn=own_terminal,
            pass_fds=(slave,),
            **fds,
        )
        self.seen = b""

    def read(self, seconds: float = 0.1) -> None:
        """Take what the child draws within `seconds`."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                self.seen += os.read(self.master, 1 << 16)
            except OSError:  # EIO: the other side is closed
                return

    def until(self, words: bytes) -> None:
        end = time.monotonic() + DEADLINE
        while words not in self.seen:
            assert time.monotonic() < end, f"never drawn: {words!r} in {self.seen[-2000:]!r}"
            self.read()

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def ended(self) -> int:
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self.read()
        before = -1
        while len(self.seen) != before:  # what it drew last may be more than one read takes
            before = len(self.seen)
            self.read(0)
        return self.process.returncode

    def restored(self) -> None:
        """Every mode that was switched on is off, the line discipline as before."""
        for on, off in ON.items():
            assert on in self.seen
            assert self.seen.rindex(off) > self.seen.rindex(on), f"{on!r} is still on"
        assert termios.tcgetattr(self.master)[:4] == self.before[:4]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def opened() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def test_q_leaves_and_restores(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark"))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"q")
    assert opened[0].ended() == 0
    opened[0].restored()


def test_ctrl_c_leaves_and_restores(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark"))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"\x03")
    assert opened[0].ended() == 0
    opened[0].restored()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 0),
        (signal.SIGTERM, 130),
        (signal.SIGHUP, 130),
        (signal.SIGQUIT, 130),
        (signal.SIGABRT, 130),
    ],
)
def test_signals_restore_the_terminal(opened: list[Terminal], number: signal.Signals, code: int) -> None:
    opened.append(Terminal("dark"))
    opened[0].until(b"200.200.200.1")
    opened[0].process.send_signal(number)
    assert opened[0].ended() == code
    opened[0].restored()
    assert b"Traceback" not in opened[0].seen


def test_ctrl_z_stops_the_job_with_the_terminal_restored_and_fg_shows_it_again(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark", shell='"$@"; echo STOPPED; read line; fg >/dev/null; echo ENDED $?'))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"\x1a")
    opened[0].until(b"STOPPED")
    opened[0].restored()
    opened[0].seen = b""
    opened[0].type(b"\n")
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"q")
    opened[0].until(b"ENDED 0")
    opened[0].restored()


def test_ctrl_z_is_refused_where_no_shell_could_continue_it(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark"))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"\x1a")
    opened[0].until(b"no shell to return to")
    opened[0].type(b"q")
    assert opened[0].ended() == 0


@pytest.mark.parametrize("told", [True, False])
def test_a_terminal_that_goes_away_ends_the_app(told: bool) -> None:
    """With SIGHUP, and where the terminal is not the session's, so that nobody sends one."""
    terminal = Terminal("dark", own=told)
    try:
        terminal.until(b"200.200.200.1")
        os.close(terminal.slave)
        os.close(terminal.master)
        assert terminal.process.wait(DEADLINE) == 130
    finally:
        terminal.process.kill()
        terminal.process.wait()


def test_a_terminal_that_goes_away_is_noticed_after_drawing_on_it_failed() -> None:
    """The descriptor that was drawn on is then a file's, and a watcher that wakes later finds that file."""
    hangups: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: hangups.append(number))
    master, slave = os.openpty()
    with _hangup_noticed(slave), TemporaryFile() as file:
        os.dup2(file.fileno(), slave)
        os.close(master)
        end = time.monotonic() + DEADLINE
        while not hangups and time.monotonic() < end:
            select.select([], [], [], 0.01)
    os.close(slave)
    signal.signal(signal.SIGHUP, before)
    assert hangups == [signal.SIGHUP]


def test_a_hangup_that_is_reported_twice_ends_the_app_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel and by our watcher; a signal of another kind after it is one of impatience."""
    left: list[int] = []
    ended_at_once: list[int] = []
    monkeypatch.setattr(os, "_exit", ended_at_once.append)
    with open("/dev/null", "rb") as no_terminal, _signals(left.append, _Guard(no_terminal.fileno())):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert (left, ended_at_once) == ([130], [])
        signal.raise_signal(signal.SIGTERM)
        assert (left, ended_at_once) == ([130], [130])


def test_an_exception_is_one_line_after_the_terminal_is_restored(opened: list[Terminal], tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        opened.append(Terminal("dark", "fail", streams={"stderr": err.fileno()}))
        assert opened[0].ended() == 1
    opened[0].restored()
    said = (tmp_path / "err").read_text()
    assert said.count("\n") == 1 and "RuntimeError: broken on" in said and "\x1b" not in said
    assert b"Traceback" not in opened[0].seen


def test_the_traceback_is_there_for_who_asks(opened: list[Terminal], tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        opened.append(Terminal("dark", "fail", streams={"stderr": err.fileno()}, env={"NETTOP_DEBUG": "1"}))
        assert opened[0].ended() == 1
    assert "Traceback" in (tmp_path / "err").read_text()


def test_draws_and_takes_keys_when_stdin_stdout_and_stderr_are_no_terminals(
    opened: list[Terminal], tmp_path: Path
) -> None:
    with (tmp_path / "out").open("wb") as out, open("/dev/null", "rb") as null:
        streams = {"stdin": null.fileno(), "stdout": out.fileno(), "stderr": out.fileno()}
        opened.append(Terminal("dark", streams=streams))
        opened[0].until(b"200.200.200.1")
        opened[0].type(b"q")
        assert opened[0].ended() == 0
    opened[0].restored()
    assert (tmp_path / "out").read_bytes() == b"", "nothing of the screen went into the files"


def test_without_any_terminal_it_says_what_else_there_is() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.ui.terminal_child", "dark"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=DEADLINE,
        check=False,
    )
    assert found.returncode == 1
    assert found.stderr.decode().count("\n") == 1 and "needs a terminal" in found.stderr.decode()


def test_an_unknown_theme_is_refused_before_the_screen_opens(opened: list[Terminal], tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        opened.append(Terminal("mauve", streams={"stderr": err.fileno()}))
        assert opened[0].ended() == 2
    assert b"?1049h" not in opened[0].seen
    assert "known are dark, light" in (tmp_path / "err").read_text()


def test_no_color_draws_without_any_colour(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark", env={"NO_COLOR": "1"}))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"q")
    opened[0].ended()
    for start in (b"\x1b[38;", b"\x1b[48;", b";38;", b";48;"):
        assert start not in opened[0].seen
    assert b"SNAT" in opened[0].seen


def test_keys_typed_in_one_go_arrive_in_order(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark"))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"/port 56310\r")
    opened[0].until(b"300 flows, 1 match")
    opened[0].type(b"q")
    assert opened[0].ended() == 0


def test_a_text_that_replaces_another_in_one_go_is_whole(opened: list[Terminal]) -> None:
    opened.append(Terminal("dark"))
    opened[0].until(b"200.200.200.1")
    opened[0].type(b"/")
    opened[0].until(b"Enter shows")
    opened[0].type(b"port 1")
    opened[0].type(b"\x15port 56310\r")
    opened[0].until(b"300 flows, 1 match")
    opened[0].type(b"q")
    assert opened[0].ended() == 0
