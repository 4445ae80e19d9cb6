"""Creating the output file of a recording: never through a link, never over a file that is no capture."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from nettop.broker.options import Options
from nettop.errors import BrokerError, NotPermitted
from nettop.text.sanitize import clean

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o600  # a capture holds passwords and other people's words
# First bytes of pcapng and of the pcap variants, https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
_CAPTURE_MAGIC = ("0a0d0d0a", "a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1")
_CAPTURE_NAMES = (".pcapng", ".pcap", ".cap")
_TRACE_NAMES = ("-traces.jsonl", "-traces.txt")  # no name that a program looks for (requirements.txt)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def open_for_app(path: str, options: Options) -> int:
    """Return a descriptor of the new, empty file `path`, which an app names that may be hostile. Raises BrokerError.

    The file that the command line named is created as asked there. Any other is named like a capture or like exported
    traces, is not hidden, and lies in one of the directories of `options`: with other files an app could become the
    user, or root.
    """
    if options.names(path):
        return open_new(path, options.force)
    if options.read_only:
        raise NotPermitted(f"cannot write {clean(path)}", "nettop runs with --read-only")
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error
    try:
        target = _OutputPath(path, os.path.basename(path), folder)
        target.check(options.directories)
        return _create(target, force=False)
    finally:
        os.close(folder)


def open_new(path: str, force: bool) -> int:
    """Return a descriptor of the new, empty file `path`, which a person has named on the command line.

    With `force` an existing file is emptied, if it is a regular file with one name, and the caller's or a capture.
    Raises BrokerError.
    """
    if _CONTROL.search(path):
        raise BrokerError(f"cannot write {clean(path)}", "its name has control characters")
    return _create(_OutputPath(path, path), force)


@dataclass(frozen=True, slots=True)
class _OutputPath:
    """A file's path as it was given, and its name in the directory `folder` (None: any path)."""

    path: str
    name: str
    folder: int | None = None  # open, so that no link can replace it

    def open(self, extra_flags: int = 0) -> int:
        return os.open(self.name, _FLAGS | extra_flags, _MODE, dir_fd=self.folder)

    def is_link(self) -> bool:
        return stat.S_ISLNK(os.stat(self.name, dir_fd=self.folder, follow_symlinks=False).st_mode)

    def check(self, directories: tuple[str, ...]) -> None:
        """Raise BrokerError for a file that must not be created for an app."""
        folder = os.readlink(f"/proc/self/fd/{self.folder}") + "/"
        if clean(self.name) != self.name or not self.name.endswith((*_CAPTURE_NAMES, *_TRACE_NAMES)):
            remedy = f"a capture's name ends in .pcapng, .pcap or .cap, that of traces in {' or '.join(_TRACE_NAMES)}"
            raise BrokerError(f"cannot write {clean(self.path)}", remedy)
        if self.name.startswith(".") or "/." in folder:
            raise BrokerError(f"cannot write {clean(self.path)}", "captures are not hidden")
        if not folder.startswith(tuple(f"{directory}/" for directory in directories)):
            remedy = f"captures go to {', '.join(directories)}, or where -w says at the start"
            raise BrokerError(f"cannot write {clean(self.path)}", remedy)


def _create(target: _OutputPath, force: bool) -> int:
    try:
        return target.open(os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return _overwrite(target, force)
    except (OSError, ValueError) as error:
        raise _cannot_write(target.path, error) from error


def _overwrite(target: _OutputPath, force: bool) -> int:
    path = clean(target.path)
    try:
        if target.is_link():
            raise BrokerError(f"{path} is a symbolic link", "give the file itself")
        if not force:
            raise BrokerError(f"{path} exists", "give another name, or --force")
        fd = target.open()
    except OSError as error:
        raise _cannot_write(target.path, error) from error
    reason = _reason_to_keep(fd)
    if not reason:
        os.ftruncate(fd, 0)
        return fd
    os.close(fd)
    raise BrokerError(f"{path} {reason}", "give another name")


def _reason_to_keep(fd: int) -> str:
    """Return the reason why an existing file is not emptied; "": it is a capture, or the caller's own file."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        return "has other names, too (hard links)"
    own = status.st_uid == os.geteuid()
    if stat.S_ISREG(status.st_mode) and (own or os.pread(fd, 4, 0).hex() in _CAPTURE_MAGIC):
        return ""
    return "is neither yours nor a capture"


def _cannot_write(path: str, error: Exception) -> BrokerError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return BrokerError(f"cannot write {clean(path)}", reason)
