"""Privileges of commands on files: a process that was started as root drops them before it reads a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

from nettop.broker.drop import drop_app
from nettop.broker.identity import invoker

T = TypeVar("T")


def unprivileged(make: Callable[[], T]) -> T:
    """Call `make` as the user who started us, drop all privileges, and return its result."""
    if os.geteuid() != 0:
        return make()
    # Given a module to import, drop_app does not ask whether others may read our files: all is imported by now.
    formats = [name for name in ("bz2", "lzma", "zstandard", "lz4") if find_spec(name)]
    if invoker().uid == 0:
        result = make()
        drop_app(preload=formats)
        return result
    drop_app(preload=formats)
    return make()


def drop() -> None:
    """Drop all privileges, if there are any."""
    unprivileged(lambda: None)
