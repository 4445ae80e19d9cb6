"""The user who called us, the user the app becomes, and the change of user."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass

NOBODY = 65534
_OWN_USER, _FIRST_PERSON = "nettop", 1000  # a system user (login.defs(5), UID_MIN)
_ANCESTORS = 32


@dataclass(frozen=True, slots=True)
class Account:
    """A user: ids, and the login name where there is one (needed for the supplementary groups)."""

    uid: int
    gid: int
    name: str = ""


def invoker() -> Account:
    """Return the user who called us: the one behind sudo, doas or pkexec, else our own."""
    uid = _behind_tool() if can_change_ids() else None
    if uid is None:
        uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        by_sudo = uid == _number(os.environ.get("SUDO_UID"))
        return Account(uid, _number(os.environ.get("SUDO_GID")) or uid if by_sudo else uid)
    return Account(uid, entry.pw_gid, entry.pw_name)


def _behind_tool() -> int | None:
    """Return the user whom the tool that started us names, in the variable that this tool sets and no other.

    The others may come from the user: doas and sudo can be configured to keep them. A tool that is no longer there (it
    may have become us) is known by its variable alone, if that is the only one.
    """
    uids = {
        "sudo": _number(os.environ.get("SUDO_UID")),
        "pkexec": _number(os.environ.get("PKEXEC_UID")),
        "doas": _uid_of(os.environ.get("DOAS_USER")),
    }
    tool = _nearest_tool(uids)
    if tool is not None:
        return uids[tool]
    known = [uid for uid in uids.values() if uid is not None]
    return known[0] if len(known) == 1 else None


def _nearest_tool(names: Container[str]) -> str | None:
    """Return which of these setuid-root programs is the nearest of our ancestors; None: none is."""
    pid = os.getppid()
    for _ in range(_ANCESTORS):
        try:
            program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            status = os.stat(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/stat", "rb") as fields:
                pid = int(fields.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
        if program in names and status.st_uid == 0 and status.st_mode & stat.S_ISUID:
            return program
    return None


def drop_target() -> Account:
    """Return the user the app becomes when started as root: the system user "nettop" if there is one, else the invoker,
    or nobody when that is root itself.
    """
    with suppress(KeyError):
        entry = pwd.getpwnam(_OWN_USER)
        if 0 < entry.pw_uid < _FIRST_PERSON:
            return Account(entry.pw_uid, entry.pw_gid)
    account = invoker()
    return account if account.uid != 0 else Account(NOBODY, NOBODY)


def become(account: Account) -> None:
    """Take on the account's ids and groups; raises OSError. Root's own account changes nothing."""
    if account.uid == os.getuid() == os.geteuid():
        return
    if account.name:
        os.initgroups(account.name, account.gid)
    else:
        os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def can_change_ids() -> bool:
    """Return True for root where there are other users: not in a user namespace of one user (`unshare -Ur`)."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        mapped = sum(int(line.split()[2]) for line in lines)
    return mapped > 1


def is_host_root() -> bool:
    """Return True for root outside of every user namespace: there all uids are mapped (user_namespaces(7))."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        return lines.read().split() == ["0", "0", str(2**32 - 1)]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _uid_of(name: str | None) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid if name else None
    except KeyError:
        return None
