"""Brings the app up: the broker or the file first, then the drop, then the screen."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nettop import arguments
from nettop.broker.client import Broker
from nettop.broker.libpcap import compile_program
from nettop.broker.start import Mode, start
from nettop.errors import BrokerError
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.session.own_ssh import own_session
from nettop.ui import demo, opening
from nettop.ui.terminal import ask_start

if TYPE_CHECKING:
    from nettop.pipeline.receive_filter import ReceiveFilter


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the app."""
    arguments.live(parser, several=True)
    arguments.capture(parser)
    parser.add_argument("--only", metavar="EXPR", default="", help="receive only flows and events that match")
    parser.add_argument(
        "--interval",
        type=arguments.seconds,
        default=0.0,
        metavar="S",
        help="read the table every S seconds, whatever it costs",
    )
    arguments.buffer(parser)
    arguments.replay(parser)
    opening.options(parser)


def run(options: argparse.Namespace) -> int:
    """`nettop [--netns NS]... [-i IF]... [-f BPF] [-r FILE]`: the app; the exit code of the contract."""
    if options.read:
        return opening.replay(options.read, options)
    if os.geteuid() and not _sudo_is_ready():
        return _ask(options)
    return _live(options, "auto")


def _live(options: argparse.Namespace, mode: Mode) -> int:
    if options.capture_filter:
        compile_program(LINKTYPE_ETHERNET, options.capture_filter, options.snaplen)  # FilterError before anything opens
    receive_filter = _receive_filter(options.only)
    ssh = own_session()  # before the drop: afterwards nobody may read it
    with start(mode, read_only=options.read_only, while_starting=_load) as broker:
        from nettop.pipeline.feeds import EVENT_RCVBUF
        from nettop.session.live import LiveSession

        first, *others = options.netns or [""]
        _check_devices(broker, first, options.interface)
        table, buffer = options.interval or None, options.buffer or EVENT_RCVBUF
        kept = opening.keep_events(options)
        session = LiveSession(
            broker,
            first,
            others,
            ssh=ssh,
            receive_filter=receive_filter,
            interval=table,
            buffer=buffer,
            keep_events=kept,
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
    """Import what the app is made of: none of it is garbage, so the collector need not look."""
    gc.disable()
    try:
        import nettop.session.live
        import nettop.ui.app  # noqa: F401
    finally:
        gc.enable()


def _check_devices(broker: Broker, netns: str, wanted: Sequence[str]) -> None:
    """BrokerError for a device that is not there: said before the screen opens."""
    if not wanted:
        return
    present = [device.name for device in broker.devices(broker.netns(netns))]
    for name in wanted:
        if name not in present:
            raise BrokerError(f"no device {name!r}", f"there are {', '.join(present[:10])}")


def _ask(options: argparse.Namespace) -> int:
    """Return the start screen: what a person without rights can do instead."""
    choice = ask_start("Watching a live host needs CAP_NET_ADMIN and CAP_NET_RAW.", theme=options.theme)
    if choice is None:
        return 0
    if choice.what == "open":
        return opening.replay(choice.path, options)
    if choice.what == "demo":
        options.netns, options.replay = "gw-a", False
        return demo.run(options)
    return _live(options, "auto")


def _sudo_is_ready() -> bool:
    """Return whether sudo would start the broker without asking: then there is nothing to choose."""
    sudo = shutil.which("sudo")
    if sudo is None:
        return False
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run([sudo, "-n", "true"], capture_output=True, timeout=5, check=False).returncode == 0
    return False
