"""The confinement of the app, in every mode: before a byte from the network or of a file is parsed."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Sequence

from nettop.broker import abi
from nettop.broker.confinement import landlock, seccomp
from nettop.broker.confinement.drop import drop_app
from nettop.broker.confinement.refusals import Refusal, refusals
from nettop.console import say
from nettop.errors import NotPermitted
from nettop.linux.process import PR_SET_DUMPABLE

# Children, their ends, the network for names, and files.
_SERVICES_NEED = (
    "fork clone clone3 pidfd_send_signal kill prctl socket setsockopt sendto sendmsg sendmmsg fcntl open openat"
)


def confine_app(*, preload: Sequence[str] = ()) -> None:
    """Take from this process, for good, all rights that the app does not need; `preload` is drop_app's.

    It then makes threads and receives descriptors, but runs no program, opens nothing for writing or on the network,
    signals and traces no other process, and is not traced. Where the kernel has no seccomp or no Landlock, the rest
    holds (the first is reported on stderr, both by `nettop doctor`). To be called while the process has one thread:
    Landlock binds the caller only. Raises NotPermitted: the process must then end.
    """
    drop_app(preload=preload)
    try:
        landlock.restrict()
        if reason := _restrict(refusals(os.getpid())):
            say(f"this process is less confined than it should be: {reason}")
    except OSError as error:
        raise NotPermitted(f"nettop cannot confine itself: {error}") from error


def confine_services() -> None:
    """Confine the process that creates files and resolves names for an app, without what it needs for these."""
    needed = set(_SERVICES_NEED.split())
    _restrict(one for one in refusals(os.getpid()) if needed.isdisjoint(one.calls.split()))


def _restrict(refused: Iterable[Refusal]) -> str:
    """Return the reason why system calls are not filtered; "": they are."""
    abi.prctl(PR_SET_DUMPABLE, 0)  # after the change of user, which sets it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reason = seccomp.unsupported()  # asked before: a filter refuses the question
    if not reason:
        seccomp.install(refused)
    return reason
