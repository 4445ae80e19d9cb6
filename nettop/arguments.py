"""Command-line options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
from typing import Any

from nettop.errors import UsageError


class Once(argparse.Action):
    """An action that stores a value and refuses a second one, which would silently replace the first."""

    _given = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Store the value. UsageError if one is stored already."""
        if self._given:
            message = f"{self.option_strings[0]} is given twice"
            raise UsageError(message, f"`{parser.prog}` looks at one namespace; run it for each")
        self._given = True
        setattr(namespace, self.dest, values)


def live(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add --netns, which with `several` may be repeated, and --read-only."""
    parser.add_argument(
        "--netns",
        metavar="NS",
        action="append" if several else Once,
        default=[] if several else "",
        help="network namespace: a name in /run/netns, pid:N, or a path" + ("; may be repeated" if several else ""),
    )
    read_only(parser)


def read_only(parser: argparse.ArgumentParser) -> None:
    """Add --read-only."""
    parser.add_argument("--read-only", action="store_true", help="refuse everything that would change the host")


def capture(parser: argparse.ArgumentParser) -> None:
    """Add --interface, --capture-filter and --snaplen."""
    parser.add_argument("-i", "--interface", metavar="IF", action="append", default=[], help="capture on this device")
    parser.add_argument("-f", "--capture-filter", metavar="BPF", default="", help="libpcap filter, run in the kernel")
    parser.add_argument("--snaplen", type=count, default=262_144, metavar="N", help="bytes kept of each packet")


def as_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of text")


def display_filter(parser: argparse.ArgumentParser) -> None:
    """Add --filter."""
    parser.add_argument("--filter", metavar="EXPR", default="", help="display filter")


def verbose(parser: argparse.ArgumentParser) -> None:
    """Add --verbose."""
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say on stderr which part of the filter runs in the kernel"
    )


def replay(parser: argparse.ArgumentParser) -> None:
    """Add --read."""
    parser.add_argument("-r", "--read", metavar="FILE", default="", help="read a recording instead ('-': stdin)")


def buffer(parser: argparse.ArgumentParser) -> None:
    """Add --buffer."""
    parser.add_argument(
        "--buffer", type=count, default=0, metavar="BYTES", help="the kernel's buffer for events (default: 128 MB)"
    )


def until(parser: argparse.ArgumentParser) -> None:
    """Add --count, --duration and --fail-on-loss."""
    parser.add_argument("--count", type=count, default=0, metavar="N", help="stop after N")
    parser.add_argument("--duration", type=seconds, default=0.0, metavar="S", help="stop after S seconds")
    parser.add_argument("--fail-on-loss", action="store_true", help="exit with 5 when anything was lost")


def count(text: str) -> int:
    """Return a positive integer below 2**62. ArgumentTypeError for any other text."""
    if not text.isdecimal() or not 0 < int(text) < 1 << 62:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def seconds(text: str) -> float:
    """Return a positive number of seconds below 1e9, with or without decimals. ArgumentTypeError for any other text."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value
