"""`nettop demo`: the app in the lab, or on the lab's recording where namespaces are not allowed."""

from __future__ import annotations

import argparse
import os

from nettop import arguments
from nettop.errors import BrokerError, NotPermitted
from nettop.labs.client import Demo, bundled
from nettop.ui import opening
from nettop.ui.terminal import keep_terminal


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop demo`."""
    parser.add_argument(
        "lab", nargs="?", default="gateways", choices=["gateways"], help="which lab (default: gateways)"
    )
    first = {"default": "gw-a", "help": "where to look first: lan-a gw-a net gw-b lan-b"}
    parser.add_argument("--netns", **arguments.OPTIONS["--netns"] | first)
    parser.add_argument("--replay", action="store_true", help="replay the bundled recording instead of building a lab")
    arguments.add(parser, "--read-only")
    opening.options(parser)


def run(options: argparse.Namespace) -> int:
    """Show the lab. Return the exit code."""
    keep_terminal()
    if options.replay:
        return opening.replay(bundled(), options, speed=options.speed or 1.0)
    try:
        demo = Demo(read_only=options.read_only)
    except BrokerError as error:
        return opening.replay(bundled(), options, speed=options.speed or 1.0, banner=_recording_banner(error))
    with demo as broker:
        from nettop.session.live import LiveSession

        limit = opening.keep_events(options)
        return opening.show(LiveSession(broker, options.netns, mode="DEMO", keep_events=limit), options)


def _recording_banner(error: BrokerError) -> str:
    """Return the line that says why a recording is shown, and how to build the lab."""
    denied = os.geteuid() != 0 and isinstance(error, NotPermitted)
    remedy = f". To build it: sudo {os.environ.get('NETTOP_COMMAND', 'nettop')} demo" if denied else ""
    return f"This is a recording of the lab, not the lab: {error}{remedy}"
