"""`nettop demo`: the app in a lab, or on the default lab's recording where namespaces are not allowed."""

from __future__ import annotations

import argparse
import os
import sys

from nettop import arguments
from nettop.console import printing
from nettop.errors import EXIT_OK, BrokerError, NotPermitted, UsageError
from nettop.labs.catalogue import DEFAULT, LABS
from nettop.labs.client import Demo, bundled
from nettop.ui import opening
from nettop.ui.terminal import keep_terminal


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop demo`."""
    parser.add_argument(
        "lab", nargs="?", default=DEFAULT, choices=LABS, metavar="LAB", help=f"a name of --list (default: {DEFAULT})"
    )
    parser.add_argument("--list", action="store_true", help="print the labs, each with what to look at")
    parser.add_argument(
        "--show", action="store_true", help="print the commands that build the lab, for a shell as root"
    )
    first = {"default": "", "help": "where to look first: a namespace of the lab"}
    parser.add_argument("--netns", **arguments.OPTIONS["--netns"] | first)
    parser.add_argument("--replay", action="store_true", help="replay the bundled recording instead of building a lab")
    arguments.add(parser, "--read-only")
    opening.options(parser)


def run(options: argparse.Namespace) -> int:
    """Print what is asked for, or show the lab. Return the exit code."""
    if options.list or options.show:
        with printing():
            sys.stdout.write(LABS[options.lab].shown() if options.show else _listed())
        return EXIT_OK
    keep_terminal()
    if options.replay:
        return _replay(options, options.lab)
    return open_lab(options, options.lab, options.netns)


def _listed() -> str:
    width = max(map(len, LABS))
    return "".join(f"{name:{width}}  {lab.look}\n" for name, lab in LABS.items())


def open_lab(options: argparse.Namespace, name: str = DEFAULT, netns: str = "") -> int:
    """Show a lab in this or its own first namespace; for the default one also its recording. Return the exit code."""
    try:
        demo = Demo(name, read_only=options.read_only)
    except BrokerError as error:
        return _replay(options, name, error)
    with demo as broker:
        from nettop.session.live import LiveSession

        limit, lab = opening.keep_events(options), LABS[name]
        session = LiveSession(broker, netns or lab.opens, mode="DEMO", keep_events=limit)
        return opening.show(session, options, tip=lab.look)


def _replay(options: argparse.Namespace, name: str, error: BrokerError | None = None) -> int:
    """Show the recording of the default lab, below the error for which it could not be built. Return the exit code."""
    denied = os.geteuid() != 0 and isinstance(error, NotPermitted)
    command = f"sudo {os.environ.get('NETTOP_COMMAND', 'nettop')} demo"
    if name == DEFAULT:
        remedy = f". To build it: {command}" if denied else ""
        banner = f"This is a recording of the lab, not the lab: {error}{remedy}" if error else ""
        return opening.replay(bundled(), options, speed=options.speed or 1.0, banner=banner)
    if error is None:
        raise UsageError(f"the lab {name} has no recording", f"only {DEFAULT} has one")
    raise NotPermitted(str(error), f"run `{command} {name}`") if denied else error
