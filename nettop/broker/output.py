"""Creating the file a recording goes to: never through a link, never over a file that nobody offered."""

from __future__ import annotations

import os
import stat

from nettop.errors import BrokerError

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o644
# First bytes of pcapng and of the pcap variants, https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
_CAPTURE_MAGIC = ("0a0d0d0a", "a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1")


def open_new(path: str, force: bool) -> int:
    """A descriptor of the new, empty file `path`, with the rights of the calling process.

    With `force` an existing file is emptied, if it is a regular file of the caller's, or a capture. Raises BrokerError.
    """
    try:
        return os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        return _overwrite(path, force)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error


def _overwrite(path: str, force: bool) -> int:
    if os.path.islink(path):
        raise BrokerError(f"{path} is a symbolic link", "give the file itself")
    if not force:
        raise BrokerError(f"{path} exists", "give another name, or --force")
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise _cannot_write(path, error) from error
    if _may_be_emptied(fd):
        os.ftruncate(fd, 0)
        return fd
    os.close(fd)
    raise BrokerError(f"{path} is neither yours nor a capture", "give another name")


def _may_be_emptied(fd: int) -> bool:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return False
    return status.st_uid == os.geteuid() or os.pread(fd, 4, 0).hex() in _CAPTURE_MAGIC


def _cannot_write(path: str, error: Exception) -> BrokerError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return BrokerError(f"cannot write {path}", reason)
