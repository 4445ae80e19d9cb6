"""The options of a broker: what it may do for its app, fixed at its start by the command line of nettop."""

from __future__ import annotations

import getopt
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nettop.broker import installation
from nettop.broker.identity import invoker
from nettop.errors import UsageError

_TEMPORARY = ("/tmp", "/var/tmp")
# Directories where root's daemons read files of any name (cron.d, logrotate.d).
_SYSTEM = tuple(f"/{name}/" for name in ("boot", "dev", "etc", "lib", "proc", "run", "sys", "usr", "var/spool"))
_LONG = ["read-only", "force", "development", "write=", "directory="]


@dataclass(frozen=True, slots=True)
class Options:
    """`write` is the output that the command line names; `directories` are those of outputs that the app names."""

    read_only: bool = False  # no change of the kernel, and no file but `write`
    write: str = ""  # an absolute path, also of its numbered files (recording.rotation); "": none
    force: bool = False  # `write` may replace a file
    directories: tuple[str, ...] = ()
    development: bool = False  # root runs it from files that others may change (./dev)

    def names(self, path: str) -> bool:
        """Return True for the output of the command line, and its numbered files."""
        stem, suffix = os.path.splitext(self.write)
        return bool(self.write) and bool(
            path == self.write or re.fullmatch(rf"{re.escape(stem)}-\d{{5,}}{re.escape(suffix)}", path)
        )

    def arguments(self) -> list[str]:
        """Return the options as arguments of the broker's command line."""
        return [
            *["--read-only"] * self.read_only,
            *["--force"] * self.force,
            *["--development"] * self.development,
            *[f"--write={path}" for path in [self.write] if path],
            *[f"--directory={path}" for path in self.directories],
        ]


def parse(arguments: Sequence[str]) -> Options:
    """Return the options of a broker's command line. Raises UsageError."""
    try:
        found, rest = getopt.getopt(arguments, "", _LONG)
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from error
    if rest:
        raise UsageError(f"unknown argument {rest[0]}")
    flags = dict(found)
    directories = tuple(value for name, value in found if name == "--directory")
    write, development = flags.get("--write", ""), "--development" in flags
    return Options("--read-only" in flags, write, "--force" in flags, directories, development)


def for_app(*, read_only: bool = False, write: str = "", force: bool = False) -> Options:
    """Return the options of an app that is started now by this user, in this directory."""
    paths = (*_own_directories(invoker().uid), *_TEMPORARY)
    found = dict.fromkeys(os.path.realpath(path) for path in paths if path)
    usable = tuple(path for path in found if path != "/" and not f"{path}/".startswith(_SYSTEM))
    named = os.path.abspath(write) if write else ""
    return Options(read_only, named, force, usable, bool(os.environ.get(installation.DEVELOPMENT)))


def _own_directories(uid: int) -> Iterator[str]:
    with suppress(OSError):  # it was removed
        yield os.getcwd()
    with suppress(KeyError):
        yield pwd.getpwuid(uid).pw_dir
