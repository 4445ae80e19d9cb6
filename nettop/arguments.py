"""Command-line options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from nettop.errors import UsageError
from nettop.text.units import parse_duration, parse_size

EVERY = "*"  # the value of an option that names one of several, given without a name


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
    """Return a positive integer below 2**62, with or without a unit (`60k`, `64M`, `1Gi`).

    ArgumentTypeError for any other text.
    """
    return int(_positive(text, parse_size, 1 << 62, int))


def device_name(text: str) -> str:
    """Return a device's name as nettop shows it: bytes that are not UTF-8 are `\\xNN`."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def seconds(text: str) -> float:
    """Return a positive number of seconds below 1e9, with or without a unit (`2.5`, `10s`, `5m`).

    ArgumentTypeError for any other text.
    """
    return _positive(text, parse_duration, 1e9, (int, float))


def factor(text: str) -> float:
    """Return a positive number below 1e9, with or without an x behind it. ArgumentTypeError for any other text."""
    return seconds(text.removesuffix("x"))


def _positive(text: str, parse: Callable[[str], float], below: float, kinds: type | tuple[type, ...]) -> float:
    try:
        value = parse(text)
    except ValueError:
        value = 0
    if not 0 < value < below or not isinstance(value, kinds):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


OPTIONS: dict[str, dict[str, Any]] = {
    "--netns": {
        "default": "",
        "action": Once,
        "metavar": "NS",
        "help": "network namespace: a name in /run/netns, a container, pid:N, or a path",
    },
    "--read-only": {"action": "store_true", "help": "refuse everything that would change the host"},
    "-i --interface": {
        "type": device_name,
        "action": "append",
        "default": [],
        "metavar": "IF",
        "help": "device to capture on, or 'veth*', or any",
    },
    "-f --capture-filter": {"default": "", "metavar": "BPF", "help": "libpcap filter, run in the kernel"},
    "--snaplen": {"type": count, "default": 262_144, "metavar": "N", "help": "bytes kept of each packet"},
    "--json": {"action": "store_true", "help": "JSON Lines instead of text"},
    "--time": {
        "default": "auto",
        "metavar": "FORMAT",
        "help": "time, date, utc, utc-date, epoch, delta, relative or none; also tcpdump's t to ttttt and Wireshark's "
        "a, ad, u, ud, e, d, r (default: time, with the date if several days are shown)",
    },
    "--filter": {"default": "", "metavar": "EXPR", "help": "display filter"},
    "-v --verbose": {"action": "store_true", "help": "say on stderr which part of the filter runs in the kernel"},
    "-r --read": {"default": "", "metavar": "FILE", "help": "read a recording instead ('-': stdin)"},
    "--buffer": {
        "type": count,
        "default": 0,
        "metavar": "BYTES",
        "help": "the kernel's buffer for events (default: 128M)",
    },
    "--count": {"type": count, "default": 0, "metavar": "N", "help": "stop after N"},
    "--duration": {"type": seconds, "default": 0.0, "metavar": "S", "help": "stop after S seconds, or 10m"},
    "--fail-on-loss": {"action": "store_true", "help": "exit with 5 when anything was lost"},
}
LIVE = ("--netns", "--read-only")
CAPTURE = ("-i --interface", "-f --capture-filter", "--snaplen")
UNTIL = ("--count", "--duration", "--fail-on-loss")
