"""Starting a broker with the rights it needs, which the app then gives up."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

from nettop.broker import installation, options, privileges, wire
from nettop.broker.calls import EXIT_SECONDS
from nettop.broker.client import Broker
from nettop.broker.confinement import own_namespace
from nettop.broker.confinement.app import confine_app
from nettop.broker.confinement.own_namespace import Child
from nettop.broker.failures import from_fields
from nettop.broker.identity import is_host_root
from nettop.broker.options import Options
from nettop.errors import BrokerError, NotPermitted

Mode = Literal["auto", "root", "sudo", "doas", "pkexec"]

Started = subprocess.Popen[bytes] | Child  # by this program, or by an earlier one of this process

HELLO_SECONDS = 15.0
_NO_RIGHTS = "run `sudo nettop`, or `nettop demo`, or open a recording with -r"
_CONTAINER = "a container needs --cap-add NET_ADMIN,NET_RAW,SETUID,SETGID"
_PROMPT = "[sudo] nettop starts its broker as root; password for %p: "
_SUDO_READY = ("sudo", "-n", "--")
_ESCALATIONS: dict[Mode, tuple[str, ...]] = {
    "sudo": ("sudo", "-k", "-p", _PROMPT, "--"),  # -k: it uses no ticket, and leaves none behind
    "doas": ("doas", "--"),
    "pkexec": ("pkexec",),
}


def start(
    mode: Mode = "auto",
    *,
    allowed: Options | None = None,
    confine: bool = True,
    while_starting: Callable[[], None] = lambda: None,
) -> Broker:
    """Start a broker, then give up all privileges of this process and confine it (`confine`).

    Root starts it directly, a user by sudo, doas or pkexec, which may ask for the password on the terminal (so: before
    the screen opens). `allowed` None: an app that may change the kernel and create captures.
    To be called while the process has one thread. `while_starting` is called while the broker starts (imports cost as
    much as it does). Raises NotPermitted with the remedy.
    """
    if (before := own_namespace.handed_over()) is not None:
        return _greeted(*before, None, confine, while_starting)
    if mode == "auto":
        mode = "root" if _has_rights() else _escalation()
    allowed = allowed or options.for_app()
    _check_files(mode, allowed)
    command = broker_command(allowed)
    if mode == "root":
        return launch(command, confine=confine, while_starting=while_starting)
    if shutil.which(mode) is None:
        raise NotPermitted(f"{mode} is not installed", _NO_RIGHTS)
    escalation = _SUDO_READY if mode == "sudo" and _sudo_is_ready() else _ESCALATIONS[mode]
    return launch([*escalation, *command], confine=confine, asks=True, while_starting=while_starting)


def can_start() -> bool:
    """Return whether a broker starts without a password, or has been started before restart()."""
    return own_namespace.is_restarted() or _has_rights() or _sudo_is_ready()


@cache
def _sudo_is_ready() -> bool:
    """Return whether sudo starts the broker without a password."""
    sudo = shutil.which("sudo")
    if sudo is None:
        return False
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run([sudo, "-n", "true"], capture_output=True, timeout=5, check=False).returncode == 0
    return False


def _check_files(mode: Mode, allowed: Options) -> None:
    """Raise NotPermitted, before a password is asked for, if the broker would refuse to run from these files."""
    if allowed.development or (mode == "root" and not is_host_root()):
        return
    if (error := installation.refusal()) is not None:
        raise error


def attach(sock: socket.socket, *, confine: bool = False) -> Broker:
    """Return the broker that runs at the other end of `sock` (one end of wire.pair()); raises BrokerError."""
    greeting = _with_rights(_hello(sock, None, HELLO_SECONDS))
    if confine:
        own_namespace.enter()
        confine_app()
    return Broker(sock, greeting)


def fork() -> Broker:
    """Confine this process, which shows a file, after forking a broker without privileges.

    That broker creates outputs and resolves names as the invoking user (nobody for root), and nothing else. Raises
    NotPermitted.
    """
    from nettop.broker import program  # with all that a broker needs, which is much

    allowed = options.for_app()
    ours, theirs = wire.pair()
    if os.fork() == 0:
        program.serve_files(theirs, allowed)
    theirs.close()
    greeting = _hello(ours, None, HELLO_SECONDS)
    confine_app()
    return Broker(ours, greeting)


def broker_command(allowed: Options) -> list[str]:
    """Return the command that runs a broker, for a caller that starts one with a socket as its stdin."""
    return isolated("nettop.broker", *allowed.arguments())


def isolated(package: str, *arguments: str) -> list[str]:
    """Return the command of a package's __main__ file with the standard library alone: no site, no environment."""
    path = Path(__file__).parents[2].joinpath(*package.split("."), "__main__.py")
    return [sys.executable, "-I", "-S", "-B", str(path), *arguments]


def launch(
    command: Sequence[str], *, confine: bool, asks: bool = False, while_starting: Callable[[], None] = lambda: None
) -> Broker:
    """Return the broker that `command` runs; `asks`: it may ask for a password first. For the rest see start()."""
    ours, theirs = wire.pair()
    with theirs:
        # sudo and doas need the terminal's session to ask for a password.
        process = subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=not asks)
    if confine:
        own_namespace.restart(ours, process.pid)
    return _greeted(ours, process, None if asks else HELLO_SECONDS, confine, while_starting)


def _greeted(
    ours: socket.socket, process: Started, seconds: float | None, confine: bool, while_starting: Callable[[], None]
) -> Broker:
    try:
        while_starting()
        greeting = _with_rights(_hello(ours, process, seconds))
        if confine:
            confine_app()
    except BaseException:
        ours.close()
        _reap(process)
        raise
    return Broker(ours, greeting, process=process)


def _hello(sock: socket.socket, process: Started | None, seconds: float | None) -> dict[str, Any]:
    sock.settimeout(seconds)
    try:
        received = wire.receive(sock)
    except TimeoutError:
        raise BrokerError("the broker does not answer") from None
    except OSError:
        received = None
    sock.settimeout(None)
    if received and isinstance(refused := received[0].get("refused"), dict):
        raise from_fields(refused)
    greeting = received[0].get("hello") if received else None
    if not isinstance(greeting, dict):
        raise _start_error(process)
    return greeting


def _start_error(process: Started | None) -> BrokerError:
    if process is None:
        return BrokerError("there is no broker at the other end")
    status = _reap(process)
    command = process.args if isinstance(process, subprocess.Popen) else None
    program = os.path.basename(command[0]) if isinstance(command, list) else "the broker"
    if program in _ESCALATIONS:
        return NotPermitted(f"{program} did not start the broker (status {status})", _NO_RIGHTS)
    return BrokerError(f"the broker did not start (status {status})", f"try `{' '.join(broker_command(Options()))}`")


def _with_rights(greeting: dict[str, Any]) -> dict[str, Any]:
    if privileges.NET_ADMIN not in greeting.get("capabilities", ()):
        raise NotPermitted("CAP_NET_ADMIN is missing even for root", _CONTAINER)
    return greeting


def _has_rights() -> bool:
    return os.geteuid() == 0 or privileges.NET_ADMIN in privileges.effective_capabilities()


def _escalation() -> Mode:
    for mode in _ESCALATIONS:
        if shutil.which(mode):
            return mode
    raise NotPermitted("nettop needs CAP_NET_ADMIN, and neither sudo, doas nor pkexec is installed", _NO_RIGHTS)


def _reap(process: Started) -> int | None:
    if isinstance(process, Child):
        return process.wait(EXIT_SECONDS)
    try:
        return process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(PermissionError):  # sudo is not ours to kill; it ends with the broker, whose socket is closed
            process.kill()
        return process.poll()
