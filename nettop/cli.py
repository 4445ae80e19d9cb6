"""The command line: its words, its exit codes, and the one place where an error becomes a line on stderr."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nettop import __version__
from nettop.console import printing, say
from nettop.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, FilterError, NettopError, StdoutError, UsageError

MAX_KEPT = 20_000_000  # events: about 200 bytes each
COMMANDS = {
    "demo": "build a lab of two NAT gateways in private namespaces and open the app in it",
    "record": "record packets, conntrack events, rules and counters to a pcapng file",
    "read": "print the packets of capture files, one a line, or export the matching ones",
    "flows": "print the conntrack table once",
    "events": "print conntrack events as they happen",
    "counters": "print all that is counted: conntrack, nft, nfacct, queues, TCP/IP drops",
    "rules": "print hooks, chains and rules with their counters, of all backends",
    "doctor": "say what this host allows, and what to do about what it does not",
}


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are one line and ours."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")

    def _print_message(self, message: str, file: Any = None) -> None:
        with printing():
            (file or sys.stdout).write(message)


class _Once(argparse.Action):
    """Stores a value, and refuses a second one, which would silently replace it."""

    _given = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        if self._given:
            what = f"{self.option_strings[0]} is given twice"
            raise UsageError(what, f"`{parser.prog}` looks at one namespace; run it for each")
        self._given = True
        setattr(namespace, self.dest, values)


def _live(parser: argparse.ArgumentParser, action: str | type[argparse.Action] = _Once) -> None:
    several = action == "append"
    parser.add_argument(
        "--netns",
        metavar="NS",
        action=action,
        default=[] if several else "",
        help="network namespace: a name in /run/netns, pid:N, or a path" + ("; may be repeated" if several else ""),
    )
    _read_only(parser)


def _read_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--read-only", action="store_true", help="refuse everything that would change the host")


def _capture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--interface", metavar="IF", action="append", default=[], help="capture on this device")
    parser.add_argument("-f", "--capture-filter", metavar="BPF", default="", help="libpcap filter, run in the kernel")
    parser.add_argument("--snaplen", type=_count, default=262_144, metavar="N", help="bytes kept of each packet")


def _select(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of text")
    parser.add_argument("--filter", metavar="EXPR", default="", help="display filter")


def _verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say on stderr which part of the filter runs in the kernel"
    )


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-r", "--read", metavar="FILE", default="", help="read a recording instead ('-': stdin)")


def _buffer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--buffer", type=_count, default=0, metavar="BYTES", help="the kernel's buffer for events (default: 128 MB)"
    )


def _until(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=_count, default=0, metavar="N", help="stop after N")
    parser.add_argument("--duration", type=_seconds, default=0.0, metavar="S", help="stop after S seconds")
    parser.add_argument("--fail-on-loss", action="store_true", help="exit with 5 when anything was lost")


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 62:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _kept(text: str) -> int:
    if _count(text) > MAX_KEPT:
        raise argparse.ArgumentTypeError(f"{text} events do not fit in memory: at most {MAX_KEPT} are kept")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _app_parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:9} {what}" for name, what in COMMANDS.items())
    parser = _Parser(
        prog="nettop",
        description="Conntrack, NAT, netfilter chains and packets of a host or namespace, live in the terminal.",
        epilog=f"commands (nettop COMMAND --help says more):\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"nettop {__version__}")
    _live(parser, "append")
    _capture(parser)
    parser.add_argument("--only", metavar="EXPR", default="", help="receive only flows and events that match")
    parser.add_argument(
        "--interval", type=_seconds, default=0.0, metavar="S", help="read the table every S seconds, whatever it costs"
    )
    _buffer(parser)
    _replay(parser)
    _looks(parser)
    parser.set_defaults(run="nettop.ui.start:run")
    return parser


def _looks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-events", type=_kept, default=0, metavar="N", help="events kept in memory (default: the last 100000)"
    )
    parser.add_argument("--speed", type=_seconds, default=0.0, metavar="N", help="replay at N times the original pace")
    parser.add_argument("--theme", metavar="NAME", default="", help="colours: a name from themes/ or your own")


def _command_parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"nettop {name}", description=COMMANDS[name])
    parser.set_defaults(run=f"nettop.headless.{name}:run")
    _OPTIONS[name](parser)
    return parser


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "lab", nargs="?", default="gateways", choices=["gateways"], help="which lab (default: gateways)"
    )
    parser.add_argument(
        "--netns", metavar="NS", action=_Once, default="gw-a", help="where to look first: lan-a gw-a net gw-b lan-b"
    )
    parser.add_argument("--replay", action="store_true", help="replay the bundled recording instead of building a lab")
    _read_only(parser)
    _looks(parser)
    parser.set_defaults(run="nettop.ui.start:run_demo")


def _record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-w", "--write", metavar="FILE", required=True, help="the recording ('-': stdout)")
    _capture(parser)
    _live(parser)
    _until(parser)
    parser.add_argument("--force", action="store_true", help="overwrite FILE if it is a capture")
    parser.add_argument(
        "--keyframe-seconds", type=_seconds, default=300.0, metavar="S", help="table, rules and counters each S s"
    )
    parser.add_argument("--rotate-bytes", type=_count, default=0, metavar="N", help="begin a new file after N bytes")
    parser.add_argument("--rotate-seconds", type=_seconds, default=0.0, metavar="S", help="begin a new file each S s")


def _read(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="pcap, pcapng or a recording ('-': stdin)")
    _select(parser)
    parser.add_argument("-w", "--write", metavar="OUT", default="", help="export the matching packets as pcapng")
    parser.add_argument("--force", action="store_true", help="overwrite OUT if it is a capture")


def _flows(parser: argparse.ArgumentParser) -> None:
    _select(parser)
    parser.add_argument("--sort", metavar="KEY", default="", help="a column: bytes, packets, rate, age, timeout, …")
    parser.add_argument(
        "--group", metavar="KEY", default="", help="add up by source, destination, service, nat, state, process, …"
    )
    parser.add_argument("-n", "--number", type=_count, default=0, metavar="N", help="print the first N")
    _verbose(parser)
    _live(parser)
    _replay(parser)


def _events(parser: argparse.ArgumentParser) -> None:
    _select(parser)
    _verbose(parser)
    _until(parser)
    _buffer(parser)
    _live(parser)
    _replay(parser)


def _counters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of text")
    parser.add_argument(
        "--interval", type=_seconds, default=0.0, metavar="S", help="all once, then every S seconds what has changed"
    )
    parser.add_argument(
        "--group", action="append", default=[], metavar="G", help="only this group: conntrack, nft-counter, tcp, …"
    )
    _until(parser)
    _live(parser)
    _replay(parser)


def _rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of text")
    _live(parser)
    _replay(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of text")


_OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "demo": _demo,
    "record": _record,
    "read": _read,
    "flows": _flows,
    "events": _events,
    "counters": _counters,
    "rules": _rules,
    "doctor": _doctor,
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; `run` says which function takes them. UsageError for what does not exist."""
    if argv and argv[0] in COMMANDS:
        return _command_parser(argv[0]).parse_args(argv[1:])
    if argv and not argv[0].startswith("-"):
        raise UsageError(f"no command '{argv[0]}'", "`nettop --help` lists them")
    options, left = _app_parser().parse_known_args(argv)
    if left:
        _refuse(argv, left)
    return options


def _refuse(argv: Sequence[str], left: Sequence[str]) -> NoReturn:
    """What the app does not take: a command behind its options, or nothing that there is."""
    words = list(argv)
    at = next((at for at, word in enumerate(words) if word in COMMANDS and word in left and _whole(words[:at])), None)
    if at is None:
        _app_parser().error(f"unrecognized arguments: {' '.join(left)}")
    rest = [*words[:at], *words[at + 1 :]]
    one = _of_one_namespace(rest)
    what = "options follow the command" + ("" if one == rest else ", which looks at one namespace")
    raise UsageError(what, f"`{shlex.join(['nettop', words[at], *one])}`")


def _of_one_namespace(words: Sequence[str]) -> list[str]:
    """The words without every --netns but the first."""
    left, kept, found = iter(words), list[str](), False
    for word in left:
        name, given, _ = word.partition("=")
        value = [next(left, "")] if name == "--netns" and not given else []
        if name != "--netns" or not found:
            kept += [word, *value]
        found = found or name == "--netns"
    return kept


def _whole(argv: Sequence[str]) -> bool:
    """Whether no option there waits for a value."""
    try:
        _app_parser().parse_known_args(argv)
    except UsageError:
        return False
    return True


def _terminate(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code of the contract. Nothing is raised."""
    _open_missing_streams()
    # A shell starts background jobs with SIGINT ignored; Python then installs no handler of its own.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        code = _run(argv)
        with printing():
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _closed_stdout()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except NettopError as error:
        return _report(error)
    except Exception as error:
        if os.environ.get("NETTOP_DEBUG"):
            raise
        _say(f"internal error, please report it: {error!r} (NETTOP_DEBUG=1 shows more)")
        return EXIT_FAILED


def _run(argv: Sequence[str]) -> int:
    try:
        options = parse(argv)
        module, function = options.run.split(":")
        code: int = getattr(importlib.import_module(module), function)(options)
        return code
    except SystemExit as end:  # argparse, after --help and --version
        return end.code if isinstance(end.code, int) else EXIT_OK


def _open_missing_streams() -> None:
    """A standard stream that was closed when we were started is one that has ended; no other file may get its number.

    For stdout that is a pipe without a reader, so that writing ends us as it does after `| head`.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _give(number, _ended_pipe() if number == 1 else os.open(os.devnull, os.O_RDWR))
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _ended_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _give(number: int, descriptor: int) -> None:
    """Have the descriptor under that number, and no other."""
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)


def _report(error: NettopError) -> int:
    if isinstance(error, StdoutError):
        _closed_stdout()
    _say(f"filter: {error}" if isinstance(error, FilterError) else str(error))
    return error.exit_code


def _say(text: str) -> None:
    """A line (of a filter's error: two) on stderr, where somebody may still read it."""
    try:
        say(*text.split("\n"))
    except OSError:
        _give(2, os.open(os.devnull, os.O_WRONLY))


def _closed_stdout() -> int:
    """The reader went away (`| head`): that is an end like any other. Python must not try what is left at exit."""
    _give(1, os.open(os.devnull, os.O_WRONLY))
    return EXIT_OK
