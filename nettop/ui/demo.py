"""`nettop demo`: the app in the lab, or on the lab's recording where namespaces are not allowed."""

from __future__ import annotations

import argparse

from nettop import arguments
from nettop.console import say
from nettop.errors import NotPermitted
from nettop.labs.client import Demo, bundled
from nettop.ui import opening


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
    if options.replay:
        return opening.replay(bundled(), options, speed=options.speed or 1.0)
    try:
        demo = Demo(read_only=options.read_only)
    except NotPermitted as error:
        say(f"{error}; replaying the lab's recording instead")
        notice = f"This host allows no private namespaces ({error.message}): this is a recording of the lab"
        return opening.replay(bundled(), options, speed=options.speed or 1.0, notice=notice)
    with demo as broker:
        from nettop.session.live import LiveSession

        limit = opening.keep_events(options)
        return opening.show(LiveSession(broker, options.netns, mode="DEMO", keep_events=limit), options)
