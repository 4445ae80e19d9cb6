"""The lab's process: builds the lab in private namespaces, sends traffic, and serves a broker.

stdin is the broker's socket; the arguments: the lab's name, then the broker's. One line on stdout reports "ready" or
the error as JSON. All processes die with the parent of this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from nettop.broker import privileges
from nettop.broker.failures import error_fields
from nettop.broker.start import isolated
from nettop.errors import NettopError, NotPermitted
from nettop.labs import isolation, traffic
from nettop.labs.build import build
from nettop.labs.catalogue import LABS
from nettop.labs.lab import Lab


def _start_traffic(lab: Lab) -> None:
    """Start one process in each namespace; they are children of PID 1 and end with it."""
    for name in lab.namespaces:
        lines = lab.traffic_of(name)
        if not lines or os.fork():
            continue
        try:
            isolation.enter_netns(name)
            os.close(0)
            os.closerange(3, 64)
            asyncio.run(traffic.run(lines))
        except (KeyboardInterrupt, OSError):
            pass
        finally:
            os._exit(0)


def _serve() -> int:
    """Run the broker on stdin and reap children until it ends. PID 1 then returns, and the kernel ends the others."""
    broker = os.fork()
    if broker == 0:
        command = isolated("nettop.broker", *sys.argv[2:])
        os.execv(command[0], command)
    while True:
        pid, status = os.wait()
        if pid == broker:
            return os.waitstatus_to_exitcode(status)


def _failed(error: OSError | NettopError, uid: int) -> int:
    """Report the error as JSON on stdout. `uid`: the user outside of the namespaces."""
    text = str(error.strerror) if isinstance(error, OSError) else str(error)
    refused = isinstance(error, PermissionError) or "not permitted" in text or "denied" in text
    if uid and isinstance(error, OSError):
        error = isolation.refusal(text)
    elif refused:
        error = NotPermitted(text, "" if uid else "a container needs --cap-add SYS_ADMIN,NET_ADMIN,NET_RAW")
    print(json.dumps(error_fields(error)), flush=True)
    return 1


def _run_lab(uid: int) -> int:
    try:
        lab = LABS[sys.argv[1]]
        build(lab)
        _start_traffic(lab)
    except (NettopError, OSError) as error:
        return _failed(error, uid)
    print("ready", flush=True)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # the parent reads EOF; the processes below still have a stdout
    os.close(null)
    return _serve()


def main() -> int:
    """Enter the private namespaces, become their PID 1, build and serve."""
    privileges.die_with(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the app's: it ends us by closing the socket
    uid = os.geteuid()
    try:
        child = isolation.enter_private_namespaces()
    except OSError as error:
        return _failed(error, uid)
    if child == 0:
        os._exit(_run_lab(uid))
    os.close(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF
