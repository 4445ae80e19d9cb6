"""The container of a process, from its cgroup, and its name from the files of its engine: no daemon is asked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_ID = r"([0-9a-f]{64})"  # others are names, which say nothing about files
# Paths below /sys/fs/cgroup as each engine names them, with systemd and without.
_PATHS = (
    ("docker", re.compile(rf"/docker[/-]{_ID}")),
    ("podman", re.compile(rf"/libpod-{_ID}")),
    ("crio", re.compile(rf"/crio-{_ID}")),
    ("containerd", re.compile(rf"cri-containerd[-:]{_ID}")),
    ("containerd", re.compile(rf"/nerdctl-{_ID}")),
    ("kubepods", re.compile(rf"/kubepods[^:]*/pod[^/]+/{_ID}")),
    ("lxc", re.compile(r"/lxc(?:\.payload)?[./]([^/]+)")),
    ("systemd-nspawn", re.compile(r"/systemd-nspawn@([^/]+)\.service")),
    ("systemd-nspawn", re.compile(r"/machine-([^/]+)\.scope")),
    ("containerd", re.compile(r"^/(?:default|k8s\.io|moby)/([^/]+)")),
)
_SYSTEMD_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_NAMES = ("nerdctl/name", "io.kubernetes.container.name", "io.kubernetes.cri.container-name", "io.kubernetes.pod.name")
SHORTEST_ID = 3  # characters of an id that select a container
_MAX_FILE, _MAX_COMMAND = 4 << 20, 64 << 10  # bytes
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Container:
    """A container by its engine, id (of LXC and nspawn the name) and name; "": unknown."""

    engine: str
    id: str
    name: str = ""


def specs_of(listing: bytes, word: str) -> dict[str, str]:
    """Return those containers of a TextKind.NAMESPACES listing whose name or id (or its start) is `word`.

    Keys are what opens their namespaces: containers that share one are one. Values describe them.
    """
    found: dict[str, str] = {}
    for record in map(json.loads, listing.splitlines()):
        for of in record.get("containers", ()):
            if of["name"] == word or (len(word) >= SHORTEST_ID and of["id"].startswith(word)):
                found[record["label"]] = f"{of['name']} {of['id'][:12]} ({record['label']})".strip()
    return found


def containers_of(pids: Iterable[int]) -> list[Container]:
    """Return the containers of these processes, each once."""
    return [*dict.fromkeys(found for pid in pids if (found := container_of(pid)) is not None)]


def container_of(pid: int, root: str = "") -> Container | None:
    """Return the container of a process, None if it is in none. `root` is that of the files."""
    try:
        with open(f"{root}/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            paths = [line.rstrip("\n").split(":", 2)[-1] for line in file]
    except OSError:
        return None
    found = next((one for path in paths if (one := in_cgroup(path)) is not None), None)
    if found is None or found.name:
        return found
    return Container(found.engine, found.id, _name_by_monitor(pid, found.id, root) or _name(found, root))


def in_cgroup(path: str) -> Container | None:
    """Return the container whose cgroup this path is, or is in."""
    for engine, pattern in _PATHS:
        if found := pattern.search(path):
            ident = _SYSTEMD_ESCAPE.sub(lambda code: chr(int(code[1], 16)), found[1])
            return Container(engine, ident, "" if re.fullmatch(_ID, ident) else ident)
    return None


def _name(of: Container, root: str) -> str:
    read = _READERS.get(of.engine, _oci_name)
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return str(read(of.id, root)).strip("/")[:_MAX_NAME]
    return ""


def _name_by_monitor(pid: int, ident: str, root: str) -> str:
    """Return the name that conmon, the parent of a container of podman or CRI-O, was given, wherever its files are."""
    with suppress(OSError, IndexError, ValueError):
        with open(f"{root}/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
        with open(f"{root}/proc/{parent}/cmdline", "rb") as file:
            options = dict(pairwise(file.read(_MAX_COMMAND).split(b"\0")))
        if options.get(b"-c") == ident.encode():
            return options.get(b"-n", b"").decode(errors="replace")[:_MAX_NAME]
    return ""


def _podman_name(ident: str, root: str) -> str:
    listed = _json(f"{root}/var/lib/containers/storage/overlay-containers/containers.json")
    return next((str(one["names"][0]) for one in listed if one["id"] == ident), "")


def _oci_name(ident: str, root: str) -> str:
    """Return the name in the annotations of the bundle that containerd or CRI-O made (OCI runtime specification)."""
    tasks = f"{root}/run/containerd/io.containerd.runtime.v2.task"
    bundles = [f"{tasks}/{space}/{ident}" for space in (os.listdir(tasks) if os.path.isdir(tasks) else ())]
    bundles.append(f"{root}/run/containers/storage/overlay-containers/{ident}/userdata")
    for bundle in bundles:
        with suppress(OSError):
            annotations = _json(f"{bundle}/config.json").get("annotations") or {}
            return next((str(annotations[key]) for key in _NAMES if annotations.get(key)), "")
    return ""


_READERS: dict[str, Callable[[str, str], str]] = {
    "docker": lambda ident, root: str(_json(f"{root}/var/lib/docker/containers/{ident}/config.v2.json")["Name"]),
    "podman": _podman_name,
}


def _json(path: str) -> Any:
    with open(path, "rb") as file:
        return json.loads(file.read(_MAX_FILE))
