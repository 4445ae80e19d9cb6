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


def add(parser: argparse.ArgumentParser, *options: str) -> None:
    """Add these options of OPTIONS."""
    for flags in options:
        parser.add_argument(*flags.split(), **OPTIONS[flags])


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


OPTIONS: dict[str, dict[str, Any]] = {
    "--netns": {
        "default": "",
        "action": Once,
        "metavar": "NS",
        "help": "network namespace: a name in /run/netns, pid:N, or a path",
    },
    "--read-only": {"action": "store_true", "help": "refuse everything that would change the host"},
    "-i --interface": {"action": "append", "default": [], "metavar": "IF", "help": "capture on this device"},
    "-f --capture-filter": {"default": "", "metavar": "BPF", "help": "libpcap filter, run in the kernel"},
    "--snaplen": {"type": count, "default": 262_144, "metavar": "N", "help": "bytes kept of each packet"},
    "--json": {"action": "store_true", "help": "JSON Lines instead of text"},
    "--filter": {"default": "", "metavar": "EXPR", "help": "display filter"},
    "-v --verbose": {"action": "store_true", "help": "say on stderr which part of the filter runs in the kernel"},
    "-r --read": {"default": "", "metavar": "FILE", "help": "read a recording instead ('-': stdin)"},
    "--buffer": {
        "type": count,
        "default": 0,
        "metavar": "BYTES",
        "help": "the kernel's buffer for events (default: 128 MB)",
    },
    "--count": {"type": count, "default": 0, "metavar": "N", "help": "stop after N"},
    "--duration": {"type": seconds, "default": 0.0, "metavar": "S", "help": "stop after S seconds"},
    "--fail-on-loss": {"action": "store_true", "help": "exit with 5 when anything was lost"},
}
LIVE = ("--netns", "--read-only")
CAPTURE = ("-i --interface", "-f --capture-filter", "--snaplen")
UNTIL = ("--count", "--duration", "--fail-on-loss")
