"""The text of TextKind.NAMESPACES: every namespace of the host that can be seen, as JSON lines."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Collection
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict

from nettop.broker import abi
from nettop.broker.children import write_out
from nettop.broker.namespaces import NAMED, open_nsfs
from nettop.broker.topology.census import Census, SeenNamespace, command
from nettop.broker.topology.containers import containers_of
from nettop.broker.topology.nsids import NsidSocket, resolve


def list_namespaces(left_out: Collection[int]) -> None:
    """Write the text to stdout, in a child of the broker. The processes `left_out` are nettop's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # two descriptors for each namespace
    census = Census(os.stat("/proc/self/ns/net").st_ino, {*left_out, *_children(os.getppid())})
    found = census.take()
    with ExitStack() as opened:
        ids, refusals = _ids(found, opened)
    lines = [json.dumps(_record(seen, refusals.get(seen.inode, ""), ids.get(seen.inode, {}))) for seen in found]
    if not census.is_complete:
        lines.append(json.dumps({"error": "there are too many mounts and descriptors to read them all"}))
    write_out("".join(f"{line}\n" for line in lines).encode())


def _children(pid: int) -> list[int]:
    """Return the children of the broker, which come and go; this process is one."""
    with suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]
    return [os.getpid()]


def _record(seen: SeenNamespace, refusal: str, nsids: dict[int, int]) -> dict[str, object]:
    containers = [asdict(one) for one in containers_of(() if seen.own else seen.pids)]  # those of a pod share one
    return {
        "label": seen.spec(),
        "inode": seen.inode,
        "names": seen.names,
        "processes": seen.processes,
        "pid": seen.pid,
        "command": command(seen.pid) if seen.pid else "",
        "container": next(iter(containers), None),
        "containers": containers,
        "mounts": seen.mounts,
        "tuns": seen.tuns,
        "refusal": refusal,
        "nsids": {str(nsid): inode for nsid, inode in nsids.items()},
    }


def _ids(found: list[SeenNamespace], opened: ExitStack) -> tuple[dict[int, dict[int, int]], dict[int, str]]:
    """Return the nsids of each namespace that can be entered, and why the others cannot."""
    descriptors: dict[int, int] = {}
    sockets: dict[int, NsidSocket] = {}
    ids: dict[int, list[int]] = {}
    refusals: dict[int, str] = {}
    nsfs = os.stat("/proc/self/ns/net").st_dev
    for seen in found:
        try:
            descriptors[seen.inode] = fd = open_nsfs(_path(seen), nsfs)
            opened.callback(os.close, fd)
            if os.fstat(fd).st_ino != seen.inode:
                raise ProcessLookupError(0, "it is gone")
            ids[seen.inode] = []  # it can be asked for also where it cannot be entered
            abi.setns(fd)
            inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(inside, fd, inheritable=False)  # the first one keeps a mount busy
            os.close(inside)
            sockets[seen.inode] = opened.enter_context(closing(NsidSocket()))
        except OSError as error:
            refusals[seen.inode] = error.strerror or str(error)
            continue
        with suppress(OSError):
            ids[seen.inode] = sockets[seen.inode].ids()
    return resolve(ids, lambda inside, other: sockets[inside].id_of(descriptors[other])), refusals


def _path(seen: SeenNamespace) -> str:
    if seen.own:
        return "/proc/self/ns/net"
    if seen.names:
        return f"{NAMED}/{seen.names[0]}"
    if seen.pid:
        return f"/proc/{seen.pid}/ns/net"
    return next((path for path in (*seen.mounts, seen.thread, seen.descriptor) if path), "")
