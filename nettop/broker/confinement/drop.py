"""Drop every privilege of the app, for good, and make sure that it can still run afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from nettop.broker import abi, privileges
from nettop.broker.identity import Account, become, can_change_ids, drop_target
from nettop.errors import NotPermitted
from nettop.linux.process import CAPABILITIES, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL


def drop_app(account: Account | None = None, *, preload: Sequence[str] = ()) -> None:
    """Give up every privilege of this process, for good: ids (where there are others), capabilities, setuid programs.

    `preload` names modules to import first; without it the interpreter and the package must stay readable.
    Raises NotPermitted when they would not, when a thread that runs already keeps its privileges, or when the kernel
    refuses: the process must then end.
    """
    account = (account or drop_target()) if can_change_ids() else Account(os.getuid(), os.getgid())
    if account.uid != os.getuid():
        _check_change_of_user(account)
        if not preload:
            check_readable(account)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads would keep capabilities in a user namespace
    for module in preload:
        __import__(module)
    try:
        _give_up(account)
    except OSError as error:
        raise NotPermitted(f"privileges cannot be dropped: {error}") from error
    if privileged := _privileged_threads(account.uid):
        # Those of a library (OpenBLAS below NumPy) lose theirs when libc changes the user of all threads at once.
        raise NotPermitted(f"privileges cannot be dropped: {privileged} threads keep theirs", "drop before any starts")


def _check_change_of_user(account: Account) -> None:
    missing = privileges.missing_capabilities(privileges.effective_capabilities(), "SETUID", "SETGID")
    if missing:
        added = ",".join(missing)
        remedy = f"nettop does not run as root but becomes {_user(account)}; a container needs --cap-add {added}"
        raise NotPermitted(privileges.missing_text(missing), remedy)


def _user(account: Account) -> str:
    return account.name or f"uid {account.uid}"


def check_readable(account: Account) -> None:
    """Raise NotPermitted, naming the directory, if `account` could not read the interpreter or this package.

    A child really becomes the account and tries, so that access lists and security modules count, too.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _try_reading(account, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        refused = os.fsdecode(answer.read())
    os.waitpid(pid, 0)
    if refused:
        user = _user(account)
        remedy = f"chmod o+rx {refused}, or install nettop where everybody may read it (for example /opt)"
        raise NotPermitted(f"{user} cannot read {refused}, and nettop does not run as root", remedy)


def _try_reading(account: Account, writing: int) -> None:
    try:
        become(account)
        os.write(writing, os.fsencode(_first_unreadable(_needed_paths())))
    except OSError as error:
        os.write(writing, os.fsencode(str(error.filename or "/")))
    finally:
        os._exit(0)


def _needed_paths() -> list[str]:
    modules = [find_spec(name) for name in ("nettop", "numpy", "textual", "scapy")]
    files = [spec.origin for spec in modules if spec and spec.origin]
    return [os.path.realpath(sys.executable), os.__file__, *files]


def _first_unreadable(paths: Iterable[str]) -> str:
    for path in paths:
        parts = path.split("/")
        for end in range(2, len(parts)):
            directory = "/".join(parts[:end])
            if not os.access(directory, os.X_OK):
                return directory
        if not os.access(path, os.R_OK):
            return path
    return ""


def _give_up(account: Account) -> None:
    if CAPABILITIES["SETPCAP"] in privileges.effective_capabilities():
        privileges.drop_bounding(frozenset())
    abi.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    privileges.become_for_good(account)


def _privileged_threads(uid: int) -> int:
    """Return the number of threads of this process that are still another user, or hold a capability."""
    count = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status", encoding="utf-8", errors="replace") as lines:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
        capabilities = int(status["CapPrm"], 16) | int(status["CapEff"], 16) | int(status["CapAmb"], 16)
        count += bool(capabilities) or status["Uid"].split() != [str(uid)] * 4
    return count
