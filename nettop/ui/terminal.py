"""Owns the terminal: finds it if a stream is a pipe, handles signals, and always restores it."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO, cast

from nettop.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, NettopError
from nettop.text.sanitize import clean
from nettop.text.signs import without_escapes

if TYPE_CHECKING:
    from textual.app import App

    from nettop.session.base import Session
    from nettop.ui.screens.start import StartChoice

# What Textual switches on, switched off: mouse (four modes), focus, paste, in-band resize, kitty keys; wrap and the
# cursor on; last the alternate screen (xterm's ctlseqs).
RESTORE = (
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[<u"
    "\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m"
)

# Ctrl-C ends a stream, which is no failure; a signal from others is an interruption (exit codes).
_OTHERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT)
SIGNALS = {signal.SIGINT: EXIT_OK, **dict.fromkeys(_OTHERS, EXIT_INTERRUPTED)}


class NoTerminal(NettopError):
    """The app was started without a terminal."""


class _OutputStream:
    """The stream that Textual draws on. After the terminal is gone it writes nothing and never blocks.

    Otherwise Textual's writer thread would end at the first error, and the app wait forever for room in its queue.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._gone = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not self._gone:
            self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        if not self._gone:
            self._try(self._stream.flush)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError:
            self._gone = True
            null = os.memfd_create("nettop-null")  # buffered output must not fail again at exit; /dev/null is refused
            os.dup2(null, self._stream.fileno())
            os.close(null)


@cache
def _controlling_terminal() -> int:
    """Return a descriptor of /dev/tty. Raises OSError."""
    return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def keep_terminal() -> None:
    """Open the terminal if there is one, for later: once confined, nettop opens nothing for writing."""
    with suppress(OSError):
        _controlling_terminal()


@contextmanager
def _standard_streams_on_tty() -> Iterator[int]:
    """Replace standard streams that are no terminal by /dev/tty, and yield a descriptor of the terminal.

    Textual reads sys.__stdin__, draws on sys.__stderr__ and measures sys.__stdout__. Descriptors 0 to 2 do not change.
    """
    saved = sys.__stdin__, sys.__stdout__, sys.__stderr__
    opened: list[Any] = []

    def on_tty(stream: TextIO | None, mode: str) -> TextIO:
        if stream is not None and _is_tty(stream):
            return stream
        try:
            opened.append(os.fdopen(os.dup(_controlling_terminal()), mode))
        except OSError as error:
            message = "the app needs a terminal, and there is none"
            raise NoTerminal(message, "for scripts there are nettop flows, events, rules, read") from error
        tty: TextIO = opened[-1]
        if mode == "w":
            without_escapes(tty)
        return tty

    try:
        streams: Any = sys
        streams.__stdin__ = on_tty(saved[0], "r")
        streams.__stdout__ = on_tty(saved[1], "w")
        streams.__stderr__ = _OutputStream(on_tty(saved[2], "w"))
        yield streams.__stderr__.fileno()
    finally:
        streams.__stdin__, streams.__stdout__, streams.__stderr__ = saved
        for stream in opened:
            with suppress(OSError):
                stream.close()


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class _Guard:
    """Restores the terminal's modes, also from a signal handler while the app's own exit is blocked."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.clean_exit = False
        self._modes: Any = None
        with suppress(termios.error):
            self._modes = termios.tcgetattr(fd)

    def restore(self) -> None:
        if self._modes is not None:
            with suppress(termios.error, OSError):
                termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
        if not self.clean_exit:
            with suppress(OSError):
                os.write(self.fd, RESTORE.encode())


@contextmanager
def _signals(leave: Callable[[int], None], guard: _Guard) -> Iterator[None]:
    """Handle signals: the first one asks the app to exit, the second one exits at once.

    A second SIGHUP does not: the kernel and _hangup_noticed both send one when the terminal is gone.
    """
    received: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        code = SIGNALS[signal.Signals(number)]
        if not received:
            received.append(code)
            leave(code)
        elif number != signal.SIGHUP:
            guard.restore()
            os._exit(code)

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _hangup_noticed(fd: int) -> Iterator[None]:
    """Send ourselves SIGHUP when the terminal is gone: the kernel sends it only to the terminal's own session."""
    fd, stop = os.dup(fd), os.eventfd(0, os.EFD_CLOEXEC)  # a copy: _OutputStream replaces the file behind the other
    main = threading.get_ident()

    def watch() -> None:
        poller = select.poll()
        poller.register(fd, 0)  # POLLHUP and POLLERR are always reported
        poller.register(stop, select.POLLIN)
        if stop not in dict(poller.poll()):
            signal.pthread_kill(main, signal.SIGHUP)

    watcher = threading.Thread(target=watch, name="nettop-hangup", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.eventfd_write(stop, 1)
        watcher.join()
        os.close(stop)
        os.close(fd)


def separate_escape_from_alt() -> None:
    """Make Textual's parser report Esc and Enter in one read as two keys.

    It reads them as Alt-Enter, and that as Enter: a dialog that was cancelled would confirm its action.
    """
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
    from textual.keys import Keys

    cast(dict[str, Any], ANSI_SEQUENCES_KEYS)["\x1b\r"] = (Keys.Escape, Keys.Enter)


def run_on_terminal(make: Callable[[], App[Any]]) -> Any:
    """Run a Textual app on the terminal. Return its return value, or an exit code after a signal.

    Raise NoTerminal if there is none, and an exception of the app after the terminal is restored.
    """
    separate_escape_from_alt()
    with _standard_streams_on_tty() as fd:
        guard = _Guard(fd)
        try:
            app = make()
            with _signals(lambda code: _leave(app, code), guard), _hangup_noticed(fd):
                result = app.run()
            guard.clean_exit = app.return_code == 0 and app._exception is None
            if app._exception is not None:
                raise app._exception
            return result
        finally:
            guard.restore()


def _leave(app: App[Any], code: int) -> None:
    """Ask the app's loop to end the app, from a signal handler."""
    loop = getattr(app, "_loop", None)
    if app.is_running:
        if loop is None:
            app.exit(code)
        else:
            loop.call_soon_threadsafe(app.exit, code)
    else:
        raise SystemExit(code)


def run_app(session: Session, *, theme: str = "", banner: str = "", tip: str = "") -> int:
    """Run the app on this session until the user quits. Return the exit code. The session is not closed.

    `banner` stays on the screen, above the view; `tip` is shown for some seconds.

    Raise UsageError for an unknown theme and NoTerminal without a terminal. Any other exception is printed in one line
    on stderr (with NETTOP_DEBUG=1 also the traceback) after the terminal is restored.
    """
    from nettop.ui import theme as themes

    known, problems = themes.load()
    chosen = themes.choose(known, theme)

    def make() -> App[int]:
        from nettop.ui.app import NettopApp

        app = NettopApp(session, chosen, known, banner)
        app.notice, app.tip = problems, tip
        return app

    return _reporting_errors(lambda: run_on_terminal(make))


def ask_start(reason: str, *, theme: str = "") -> StartChoice | None:
    """Show the start screen, for a user without privileges. Return the choice, or None to quit."""
    from nettop.ui import theme as themes

    chosen = themes.choose(themes.load()[0], theme)

    def make() -> App[Any]:
        from nettop.ui.screens.start import StartApp

        return StartApp(reason, chosen)

    choice = run_on_terminal(make)
    return None if isinstance(choice, int) else choice


def _reporting_errors(run: Callable[[], Any]) -> int:
    try:
        result = run()
    except NettopError:
        raise
    except Exception as error:
        if os.environ.get("NETTOP_DEBUG"):
            traceback.print_exception(error)
        message = clean(f"{type(error).__name__}: {error}")[:300]
        print(f"nettop: internal error, please report it: {message} (NETTOP_DEBUG=1 shows where)", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK if result is None else int(result)
