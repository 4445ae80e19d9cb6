"""The confinement of the app, in every mode: before a byte from the network or of a file is parsed."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

from nettop.broker import abi
from nettop.broker.confinement import landlock, seccomp
from nettop.broker.confinement.drop import drop_app
from nettop.broker.confinement.refusals import refusals
from nettop.errors import NotPermitted
from nettop.linux.process import PR_SET_DUMPABLE


def confine_app(*, preload: Sequence[str] = ()) -> None:
    """Take from this process, for good, all rights that the app does not need; `preload` is drop_app's.

    It then makes threads and receives descriptors, but runs no program, opens nothing for writing or on the network,
    signals and traces no other process, and is not traced. Where the kernel has no seccomp or no Landlock, the rest
    holds (`nettop doctor` reports it). To be called while the process has one thread: Landlock binds the caller only.
    Raises NotPermitted: the process must then end.
    """
    drop_app(preload=preload)
    try:
        abi.prctl(PR_SET_DUMPABLE, 0)  # after the change of user, which sets it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        landlock.restrict()
        if not seccomp.unsupported():
            seccomp.install(refusals(os.getpid()))
    except OSError as error:
        raise NotPermitted(f"nettop cannot confine itself: {error}") from error
