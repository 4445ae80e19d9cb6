"""The command line: its commands and exit codes, and the one place where an error becomes a line on stderr.

A command is a module with `options(parser)` and `run(options)`, which returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from nettop import __version__
from nettop.console import printing, say
from nettop.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, FilterError, NettopError, StdoutError, UsageError
from nettop.text.signs import without_escapes

COMMANDS = {
    "demo": "build a lab in private namespaces and open the app in it (demo --list: the labs)",
    "record": "record packets, conntrack events, rules and counters to a pcapng file",
    "read": "print the packets of capture files, one a line, or export the matching ones",
    "flows": "print the conntrack table once",
    "events": "print conntrack events as they happen",
    "counters": "print all counters: conntrack, nft, nfacct, queues, TCP/IP drops",
    "map": "print namespaces, devices, addresses, routes, rules, neighbours and sysctls",
    "rules": "print hooks, chains and rules with their counters, of all backends",
    "trace": "show the way of packets through the chains, and the rule that ends it",
    "doctor": "report what this host allows, and what to do about what is missing",
}


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of exiting, and checks its writes to stdout."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")

    def _print_message(self, message: str, file: Any = None) -> None:
        with printing():
            (file or sys.stdout).write(message)


def _app_parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:9} {summary}" for name, summary in COMMANDS.items())
    parser = _Parser(
        prog="nettop",
        description="Conntrack, NAT, netfilter chains and packets of a host or namespace, live in the terminal.",
        epilog=f"commands (nettop COMMAND --help says more):\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"nettop {__version__}")
    return _completed(parser, "nettop.ui.start")


def _command_parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"nettop {name}", description=COMMANDS[name])
    return _completed(parser, "nettop.ui.demo" if name == "demo" else f"nettop.headless.{name}")


def _completed(parser: argparse.ArgumentParser, module: str) -> argparse.ArgumentParser:
    """Import a command's module, add its `options` and set its `run`."""
    command = importlib.import_module(module)
    command.options(parser)
    parser.set_defaults(run=command.run)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line with the command's function in `run`. UsageError for unknown words."""
    if argv and argv[0] in COMMANDS:
        return _command_parser(argv[0]).parse_args(argv[1:])
    if argv and not argv[0].startswith("-"):
        raise UsageError(f"no command '{argv[0]}'", "`nettop --help` lists them")
    options, unknown = _app_parser().parse_known_args(argv)
    if unknown:
        _refuse(argv, unknown)
    return options


def _refuse(argv: Sequence[str], unknown: Sequence[str]) -> NoReturn:
    """Raise UsageError for unknown words; for a command after its options it shows the right order."""
    words = list(argv)
    commands = (at for at, word in enumerate(words) if word in COMMANDS and word in unknown)
    at = next((at for at in commands if _complete(words[:at])), None)
    if at is None:
        _app_parser().error(f"unrecognized arguments: {' '.join(unknown)}")
    rest = [*words[:at], *words[at + 1 :]]
    one = _first_netns_only(rest)
    message = "options follow the command" + ("" if one == rest else ", which looks at one namespace")
    raise UsageError(message, f"`{shlex.join(['nettop', words[at], *one])}`")


def _first_netns_only(words: Sequence[str]) -> list[str]:
    """Return the words with the first --netns and without all others."""
    rest, result, found = iter(words), list[str](), False
    for word in rest:
        name, equals, _ = word.partition("=")
        value = [next(rest, "")] if name == "--netns" and not equals else []
        if name != "--netns" or not found:
            result += [word, *value]
        found = found or name == "--netns"
    return result


def _complete(argv: Sequence[str]) -> bool:
    """Return whether every option there has its value."""
    try:
        _app_parser().parse_known_args(argv)
    except UsageError:
        return False
    return True


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. Raises nothing, except internal errors if NETTOP_DEBUG is set."""
    _open_missing_streams()
    # A shell starts background jobs with SIGINT ignored; Python then installs no handler of its own.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
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
        say(f"internal error, please report it: {error!r} (NETTOP_DEBUG=1 shows more)")
        return EXIT_FAILED


def _run(argv: Sequence[str]) -> int:
    try:
        options = parse(argv)
        code: int = options.run(options)
        return code
    except SystemExit as end:  # argparse, after --help and --version
        return end.code if isinstance(end.code, int) else EXIT_OK


def _open_missing_streams() -> None:
    """Open the standard streams that were closed when we were started, so that no other file gets their numbers.

    Stdout becomes a pipe without a reader, so that writing ends us as it does after `| head`; the others /dev/null.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _move(_pipe_without_reader() if number == 1 else os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    without_escapes(sys.stderr)


def _pipe_without_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _move(descriptor: int, number: int) -> None:
    """Make `number` the only number of the open file."""
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)


def _report(error: NettopError) -> int:
    if isinstance(error, StdoutError):
        _closed_stdout()
    say(*(f"filter: {error}" if isinstance(error, FilterError) else str(error)).split("\n"))
    return error.exit_code


def _closed_stdout() -> int:
    """Redirect stdout, whose reader is gone (`| head`), so that the flush at exit does not fail. Return EXIT_OK."""
    _move(os.memfd_create("nettop-null"), 1)
    return EXIT_OK
