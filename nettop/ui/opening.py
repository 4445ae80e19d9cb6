"""A session brought to the screen, live or from a file, and the options that decide what it looks like."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from nettop import arguments
from nettop.console import say
from nettop.errors import EXIT_FAILED
from nettop.ui.terminal import run_app

if TYPE_CHECKING:
    from nettop.session.base import RunSession

MAX_KEPT = 20_000_000  # events: about 200 bytes each


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every session that is shown."""
    parser.add_argument(
        "--keep-events", type=_kept, default=0, metavar="N", help="events kept in memory (default: the last 100000)"
    )
    parser.add_argument(
        "--speed", type=arguments.seconds, default=0.0, metavar="N", help="replay at N times the original pace"
    )
    parser.add_argument("--theme", metavar="NAME", default="", help="colours: a name from themes/ or your own")


def _kept(text: str) -> int:
    number = arguments.count(text)
    if number > MAX_KEPT:
        raise argparse.ArgumentTypeError(f"{text} events do not fit in memory: at most {MAX_KEPT} are kept")
    return number


def keep_events(options: argparse.Namespace) -> int:
    """Return how many events the session keeps."""
    from nettop.model.events.table import KEEP_EVENTS

    return options.keep_events or KEEP_EVENTS


def replay(path: str, options: argparse.Namespace, speed: float | None = None, notice: str = "") -> int:
    """Show a file; returns the exit code of the contract."""
    from nettop.session.replay import ReplaySession

    session = ReplaySession(path, speed or options.speed or None, keep_events(options))
    try:
        if os.geteuid() == 0:
            from nettop.broker.drop import drop_app

            drop_app()  # what a file says is decoded without any rights
        session.start()
    except BaseException:
        session.close()
        raise
    return show(session, options, notice)


def show(session: RunSession, options: argparse.Namespace, notice: str = "") -> int:
    """Show a session until the person leaves; returns the exit code of the contract."""
    try:
        code = run_app(session, theme=options.theme, notice=notice)
    finally:
        session.close()
    if session.problem():
        say(session.problem())
        return code or EXIT_FAILED
    return code
