"""The files that a broker runs as root: nobody else may change them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import sys
from collections.abc import Iterable
from functools import cache

from nettop.errors import NotPermitted

REMEDY = "install nettop as root, for example with pip into a venv in /opt, or start it by ./dev run"
DEVELOPMENT = "NETTOP_DEV"  # set by ./dev, which may run the broker from files of the user's own


def refusal() -> NotPermitted | None:
    """Return the error for files of the loaded program that others than root may change; None: there are none."""
    modules = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    found = first_changeable([sys.executable, *filter(None, modules)])
    if not found:
        return None
    return NotPermitted(f"{found}, and the broker would run it as root", REMEDY)


def first_changeable(paths: Iterable[str]) -> str:
    """Return the first of these paths, and of the directories above them, that others than root may change, and who."""
    seen: set[str] = set()
    for path in paths:
        for each in (os.path.abspath(path), os.path.realpath(path)):
            if who := _who_changes(each, seen):
                return who
    return ""


def _who_changes(path: str, seen: set[str]) -> str:
    while path not in seen:
        seen.add(path)
        try:
            status = os.lstat(path)
        except OSError:
            return ""  # a module in an archive, for example
        if who := _writer(status):
            return f"{path} may be changed by {who}"
        path = os.path.dirname(path)
    return ""


def _writer(status: os.stat_result) -> str:
    if status.st_uid != 0:
        return _user_name(status.st_uid)
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:  # sticky: only an owner replaces an entry
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    return _other_members(status.st_gid) if status.st_mode & stat.S_IWGRP else ""


@cache
def _other_members(gid: int) -> str:
    """Return the group if it has members other than root; "": none (Debian's group staff below /usr/local)."""
    if gid == 0:
        return ""
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return f"group {gid}"
    primary = any(entry.pw_gid == gid and entry.pw_uid for entry in pwd.getpwall())
    return f"group {group.gr_name}" if primary or set(group.gr_mem) - {"root"} else ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
