"""Builds a lab in the private namespaces of this process, by its own commands and without a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nettop.errors import NettopError
from nettop.labs import isolation
from nettop.labs.lab import Lab

# Debian gives ordinary users no sbin directories on their PATH.
_TOOLS = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"}
_PACKAGES = {"teamd": "libteam-utils"}
_INSIDE = ["ip", "netns", "exec"]  # followed by the namespace and its command


def build(lab: Lab) -> None:
    """Run the lab's commands in order. NettopError names the device kind, tool or command that failed."""
    for words, optional in lab.commands_to_run():
        inside = words[:3] == _INSIDE
        if inside and words[4] == "sysctl":
            _set_sysctls(words[3], words[6:], optional)
        else:
            _run(words, words[4] if inside else words[0], optional)


def _run(words: Sequence[str], tool: str, optional: bool) -> None:
    if not optional and shutil.which(tool, path=_TOOLS["PATH"]) is None:
        raise NettopError(f"the lab needs {tool}", f"install {_PACKAGES.get(tool, 'iproute2, nftables and iptables')}")
    result = subprocess.run(words, env=_TOOLS, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode == 0 or optional:
        return
    reason = (result.stderr.strip().splitlines() or ["it failed"])[0][:200]
    # rtnl_newlink(): EOPNOTSUPP, on newer kernels with a message, if no module gives the kind
    if "type" in words and ("Unknown device type" in reason or "Operation not supported" in reason):
        kind = words[words.index("type") + 1]
        raise NettopError(f"this kernel has no {kind} devices", "the lab needs a kernel that has them")
    raise NettopError(f"the lab cannot be built: {' '.join(' '.join(words).split())[:200]}", reason)


def _set_sysctls(namespace: str, settings: Sequence[str], optional: bool) -> None:
    """Write sysctls of a namespace. Without sysctl(8): a minimal system does not have it."""
    with isolation.inside_netns(namespace):
        for setting in settings:
            key, value = setting.split("=")
            try:
                Path("/proc/sys", *key.split(".")).write_text(value)
            except OSError as error:
                if not optional:
                    raise NettopError(f"the lab cannot set {key} in {namespace}", str(error.strerror)) from error
