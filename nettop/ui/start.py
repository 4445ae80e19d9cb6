"""Starts the app: first the broker or the file, then the drop of privileges, then the screen."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nettop import arguments
from nettop.broker.capture_filter.libpcap import compile_program
from nettop.broker.client import Broker
from nettop.broker.options import for_app
from nettop.broker.start import can_start, start
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.session.own_ssh import own_session
from nettop.ui import demo, opening
from nettop.ui.terminal import ask_start, keep_terminal

if TYPE_CHECKING:
    from nettop.pipeline.receive_filter import ReceiveFilter


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the app."""
    netns = arguments.OPTIONS["--netns"]
    several = {"action": "append", "default": [], "help": f"{netns['help']}; may be repeated"}
    parser.add_argument("--netns", **netns | several)
    arguments.add(parser, "--read-only", *arguments.CAPTURE)
    parser.add_argument("--only", metavar="EXPR", default="", help="receive only flows and events that match")
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        default=0.0,
        metavar="S",
        help="read the table every S seconds, at any CPU cost",
    )
    arguments.add(parser, "--buffer", "-r --read")
    opening.options(parser)


def run(options: argparse.Namespace) -> int:
    """Run `nettop [--netns NS]... [-i IF]... [-f BPF] [-r FILE]`: the app. Return the exit code."""
    keep_terminal()
    if options.read:
        return opening.replay(options.read, options)
    if not can_start():
        return _ask(options)
    return _live(options)


def _live(options: argparse.Namespace) -> int:
    if options.capture_filter:
        compile_program(LINKTYPE_ETHERNET, options.capture_filter, options.snaplen)  # FilterError before anything opens
    receive_filter = _receive_filter(options.only)
    ssh = own_session()  # before the drop: it cannot be read afterwards
    with start(allowed=for_app(read_only=options.read_only), while_starting=_load) as broker:
        from nettop.pipeline.feeds import EVENT_RCVBUF
        from nettop.session.live import LiveSession

        first, *others = options.netns or [""]
        _check_devices(broker, first, options.interface)
        table, buffer = options.interval or None, options.buffer or EVENT_RCVBUF
        limit = opening.keep_events(options)
        session = LiveSession(
            broker,
            first,
            others,
            ssh=ssh,
            receive_filter=receive_filter,
            interval=table,
            buffer=buffer,
            keep_events=limit,
        )
        if options.interface or options.capture_filter:
            session.start_capture(options.interface, options.capture_filter, session.note_failure, options.snaplen)
        return opening.show(session, options)


def _receive_filter(expression: str) -> ReceiveFilter | None:
    """Return the filter of --only. FilterError is raised before anything opens."""
    if not expression.strip():
        return None
    from nettop.pipeline.receive_filter import ReceiveFilter

    return ReceiveFilter(expression)


def _load() -> None:
    """Import the app's modules with garbage collection off: none of this is garbage."""
    gc.disable()
    try:
        import nettop.session.live
        import nettop.ui.app  # noqa: F401
    finally:
        gc.enable()


def _check_devices(broker: Broker, netns: str, names: Sequence[str]) -> None:
    """Raise BrokerError if a device does not exist, before the screen opens."""
    if names:
        from nettop.pipeline.captures import CaptureRequest

        CaptureRequest(tuple(names)).check(broker.devices(broker.netns(netns)))


def _ask(options: argparse.Namespace) -> int:
    """Show the start screen and run the choice: what a user without privileges can do. Return the exit code."""
    choice = ask_start("Watching a live host needs CAP_NET_ADMIN and CAP_NET_RAW.", theme=options.theme)
    if choice is None:
        return 0
    if choice.action == "open":
        return opening.replay(choice.path, options)
    if choice.action == "demo":
        return demo.open_lab(options)
    return _live(options)
