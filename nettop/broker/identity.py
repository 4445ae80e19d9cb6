"""The user who called us, the user the app becomes, and the change of user."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """A user: ids, and the login name where there is one (needed for the supplementary groups)."""

    uid: int
    gid: int
    name: str = ""


def invoker() -> Account:
    """Return the user who called us: the one behind sudo, doas or pkexec, else our own."""
    uid = _number(os.environ.get("SUDO_UID"), os.environ.get("PKEXEC_UID"), _uid_of(os.environ.get("DOAS_USER")))
    if uid is None or not can_change_ids():
        uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, _number(os.environ.get("SUDO_GID")) or uid)
    return Account(uid, entry.pw_gid, entry.pw_name)


def drop_target() -> Account:
    """Return the user the app becomes when started as root: the invoker, or nobody when that is root itself."""
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


def _number(*texts: str | None) -> int | None:
    return next((int(text) for text in texts if text and text.isdecimal()), None)


def _uid_of(name: str | None) -> str | None:
    try:
        return str(pwd.getpwnam(name).pw_uid) if name else None
    except KeyError:
        return None
