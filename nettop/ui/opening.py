"""Shows a session in the app, live or from a file, with the options they share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nettop import arguments
from nettop.console import say
from nettop.errors import EXIT_FAILED
from nettop.ui.terminal import run_app

if TYPE_CHECKING:
    from nettop.session.base import Session

MAX_EVENTS = 20_000_000  # of about 200 bytes each


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options that live sessions and replays share."""
    parser.add_argument(
        "--keep-events",
        type=_event_count,
        default=0,
        metavar="N",
        help="events kept in memory (default: the last 100000)",
    )
    parser.add_argument(
        "--speed", type=arguments.factor, default=0.0, metavar="N", help="replay at N times the original pace"
    )
    parser.add_argument("--theme", metavar="NAME", default="", help="colours: a name from themes/ or your own")


def _event_count(text: str) -> int:
    number = arguments.count(text)
    if number > MAX_EVENTS:
        raise argparse.ArgumentTypeError(f"{text} events do not fit in memory: at most {MAX_EVENTS} are kept")
    return number


def keep_events(options: argparse.Namespace) -> int:
    """Return the number of events that the session keeps in memory."""
    from nettop.model.events.table import KEEP_EVENTS

    return options.keep_events or KEEP_EVENTS


def replay(path: str, options: argparse.Namespace, speed: float | None = None, banner: str = "") -> int:
    """Show a file, below `banner` if there is one. Return the exit code."""
    from nettop.broker.start import fork
    from nettop.session.replay import ReplaySession

    session = ReplaySession(path, speed or options.speed or None, keep_events(options))
    try:
        session.start(fork())  # a file is decoded without privileges
    except BaseException:
        session.close()
        raise
    return show(session, options, banner)


def show(session: Session, options: argparse.Namespace, banner: str = "", tip: str = "") -> int:
    """Show a session until the user quits, then close it. `tip` is shown at first. Return the exit code."""
    try:
        code = run_app(session, theme=options.theme, banner=banner, tip=tip)
    finally:
        session.close()
    if session.problem():
        say(session.problem())
        return code or EXIT_FAILED
    return code
