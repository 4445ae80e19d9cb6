"""Creating the output file of a recording: never through a link, never over a file that is no capture."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from nettop.errors import BrokerError

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o644
# First bytes of pcapng and of the pcap variants, https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
_CAPTURE_MAGIC = ("0a0d0d0a", "a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1")
_CAPTURE_NAMES = (".pcapng", ".pcap", ".cap")
# Directories where root's daemons read files of any name (cron.d, logrotate.d), and no captures are kept.
_SYSTEM = tuple(f"/{name}/" for name in ("boot", "dev", "etc", "lib", "proc", "run", "sys", "usr", "var/spool"))
_MEMORY = "/dev/shm/"  # but fast captures are kept there
_REMEDY = "root's captures end in .pcapng, .pcap or .cap, are not hidden, and lie outside the system's directories"


def open_new(path: str, force: bool) -> int:
    """Return a descriptor of the new, empty file `path`, with the rights of the calling process.

    With `force` an existing file is emptied, if it is a regular file of the caller's, or a capture. Raises BrokerError.
    """
    return _create(_OutputPath(path, path), force)


def open_capture(path: str, force: bool) -> int:
    """Return the same on behalf of an app that has fewer rights than the calling process, which is root.

    Root may write nearly any file, and with some of them an app could become root. So only files named like a capture
    are created, none in the system's directories, and only captures are emptied.
    """
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error
    try:
        return _create(_OutputPath(path, os.path.basename(path), folder), force)
    finally:
        os.close(folder)


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

    def check(self) -> None:
        """Raise BrokerError for a file that must not be created for an app."""
        if self.folder is None:
            return
        folder = os.readlink(f"/proc/self/fd/{self.folder}") + "/"
        hidden = self.name.startswith(".") or "/." in folder
        system = folder.startswith(_SYSTEM) and not folder.startswith(_MEMORY)
        if hidden or system or not self.name.endswith(_CAPTURE_NAMES):
            raise BrokerError(f"cannot write {self.path}", _REMEDY)


def _create(target: _OutputPath, force: bool) -> int:
    try:
        target.check()
        return target.open(os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return _overwrite(target, force)
    except (OSError, ValueError) as error:
        raise _cannot_write(target.path, error) from error


def _overwrite(target: _OutputPath, force: bool) -> int:
    path = target.path
    try:
        if target.is_link():
            raise BrokerError(f"{path} is a symbolic link", "give the file itself")
        if not force:
            raise BrokerError(f"{path} exists", "give another name, or --force")
        fd = target.open()
    except OSError as error:
        raise _cannot_write(path, error) from error
    if _may_be_emptied(fd, captures_only=target.folder is not None):
        os.ftruncate(fd, 0)
        return fd
    os.close(fd)
    raise BrokerError(f"{path} is neither yours nor a capture", "give another name")


def _may_be_emptied(fd: int, captures_only: bool) -> bool:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return False
    own = status.st_uid == os.geteuid() and not (captures_only and status.st_size)
    return own or os.pread(fd, 4, 0).hex() in _CAPTURE_MAGIC


def _cannot_write(path: str, error: Exception) -> BrokerError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return BrokerError(f"cannot write {path}", reason)
