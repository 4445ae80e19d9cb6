"""Privileges of commands on files: a process that was started as root drops them before it reads a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

from nettop.broker.confinement.app import confine_app
from nettop.broker.confinement.drop import drop_app
from nettop.broker.identity import invoker

T = TypeVar("T")


def unprivileged(make: Callable[[], T]) -> T:
    """Call `make` as the user who started us, drop all privileges, confine this process, and return its result."""
    # Given a module to import, it does not ask whether others may read our files: all is imported by now.
    formats = [name for name in ("bz2", "lzma", "zstandard", "lz4") if find_spec(name)]
    if os.geteuid() == 0 and invoker().uid != 0:
        drop_app(invoker(), preload=formats)  # whose file it is
    result = make()
    confine_app(preload=formats)
    return result


def drop() -> None:
    """Drop all privileges and confine this process."""
    unprivileged(lambda: None)
