"""`nettop doctor`: what this host allows, and remedies for what it does not. Changes nothing, needs no rights."""

from __future__ import annotations

import argparse
import ctypes.util
import importlib.metadata
import importlib.util
import json
import locale
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nettop import arguments
from nettop.broker import installation
from nettop.broker.confinement import landlock, seccomp
from nettop.broker.privileges import bounding_capabilities, effective_capabilities, missing_capabilities, missing_text
from nettop.console import printing
from nettop.labs.isolation import userns_restriction
from nettop.text.sanitize import clean

OK, LIMITED, MISSING = "ok", "limited", "missing"
_REQUIRED_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "SETUID", "SETGID")
_OPTIONAL_CAPABILITIES = {
    "SYS_ADMIN": "no other namespaces, no demo as root",
    "SYS_PTRACE": "no processes of other users",
    "DAC_READ_SEARCH": "no processes of other users",
}


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, with a remedy if there is one."""

    name: str
    state: str  # OK, LIMITED (works with restrictions) or MISSING
    found: str
    remedy: str = ""


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _package(name: str) -> Check:
    try:
        return Check(name, OK, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, MISSING, "not installed", f"pip install {name}")


def _rights() -> Check:
    if os.geteuid() == 0:
        return Check("rights", OK, "root: nettop keeps them in its broker and drops them itself")
    for tool in ("sudo", "doas", "pkexec"):
        if shutil.which(tool):
            return Check("rights", OK, f"a user: {tool} will start the broker")
    return Check("rights", MISSING, "a user, and no sudo, doas or pkexec", "run nettop as root, or try `nettop demo`")


def _capabilities() -> Check:
    """Check what root has here, or what sudo could give: in a container that is not all."""
    held = bounding_capabilities() if os.geteuid() else effective_capabilities()
    missing = missing_capabilities(held, *_REQUIRED_CAPABILITIES)
    optional = missing_capabilities(held, *_OPTIONAL_CAPABILITIES)
    if missing or optional:
        effects = dict.fromkeys(_OPTIONAL_CAPABILITIES[name] for name in optional)
        found = "".join((missing_text(missing or optional), *(f"; {effect}" for effect in effects)))
        remedy = f"a container needs --cap-add {','.join(missing or optional)}"
        return Check("capabilities", MISSING if missing else LIMITED, found, remedy)
    return Check("capabilities", OK, "all that nettop uses")


def _confinement() -> Check:
    """Check what confines the process that parses, in addition to its lack of rights."""
    reason, version = seccomp.unsupported(), landlock.version()
    if reason:
        lock = f"Landlock (version {version}) alone" if version else "by its lack of rights alone"
        return Check("confinement", LIMITED, f"{lock}: {reason}", "a kernel with CONFIG_SECCOMP_FILTER")
    second = f"Landlock (version {version})" if version else "no Landlock"
    return Check("confinement", OK, f"system call filter, {second}")


def _installation() -> Check:
    """Check whether the broker may run as root from these files."""
    error = installation.refusal()
    if error is None:
        return Check("installation", OK, "only root may change it")
    return Check("installation", LIMITED, error.message, error.remedy)


def _user_namespaces() -> Check:
    if restriction := userns_restriction():
        remedy = "`nettop demo` may have to replay a recording; `sudo nettop demo` builds the lab"
        return Check("user namespaces", LIMITED, f"restricted for ordinary users: {restriction}", remedy)
    return Check("user namespaces", OK, "allowed: `nettop demo` needs no root")


def _library(name: str, library: str, package: str, effect: str) -> Check:
    found = ctypes.util.find_library(library)
    if found:
        return Check(name, OK, found)
    return Check(name, MISSING, f"not found: {effect}", f"apt-get install {package}")


def _tool(name: str, package: str, effect: str) -> Check:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path:
        return Check(name, OK, path)
    return Check(name, LIMITED, f"not found: {effect}", f"apt-get install {package}")


def _conntrack() -> Check:
    limit = _read("/proc/sys/net/netfilter/nf_conntrack_max")
    if limit is None:
        return Check(
            "conntrack", MISSING, "nf_conntrack is not loaded here", "modprobe nf_conntrack nf_conntrack_netlink"
        )
    count = _read("/proc/sys/net/netfilter/nf_conntrack_count")
    buckets = _read("/proc/sys/net/netfilter/nf_conntrack_buckets")
    return Check(
        "conntrack",
        OK,
        f"{count or 'an unknown number'} of {limit} entries, {buckets or 'an unknown number of'} buckets",
    )


def _switch(name: str, sysctl: str, effect: str) -> Check:
    value = _read(f"/proc/sys/{sysctl.replace('.', '/')}")
    if value is None:
        return Check(name, LIMITED, f"{sysctl} does not exist here")
    return Check(name, OK, "on") if value != "0" else Check(name, LIMITED, f"off: {effect}", f"sysctl -w {sysctl}=1")


def _packets() -> Check:
    if _read("/proc/net/packet") is not None:
        return Check("AF_PACKET", OK, "present")
    return Check("AF_PACKET", MISSING, "no /proc/net/packet", "modprobe af_packet")


def _legacy() -> Check:
    loaded = Path("/proc/net/ip_tables_names").exists()
    found = "kernel support is loaded" if loaded else "none: ip_tables is not loaded"
    return Check("iptables-legacy tables", OK, found)


def _terminal() -> Check:
    encoding = locale.getpreferredencoding(False)
    term = os.environ.get("TERM", "")
    if encoding.upper().replace("-", "") != "UTF8":
        return Check("terminal", LIMITED, f"TERM={term}, {encoding}", "use a UTF-8 locale, for example LC_ALL=C.UTF-8")
    return Check(
        "terminal", OK, f"TERM={term or 'unset'}, {encoding}, colours {os.environ.get('COLORTERM', 'by TERM')}"
    )


CHECKS: tuple[Callable[[], Check], ...] = (
    lambda: Check("python", OK, f"{'.'.join(map(str, sys.version_info[:3]))} {sys.executable}"),
    *(partial(_package, name) for name in ("numpy", "textual", "pyroute2", "scapy")),
    _rights,
    _capabilities,
    _confinement,
    _installation,
    _user_namespaces,
    lambda: _library("libpcap", "pcap", "libpcap0.8", "capture filters cannot be compiled"),
    lambda: _tool("nft", "nftables", "rules are shown without their text"),
    lambda: _tool("iptables-nft-save", "iptables", "rules of iptables are shown in nft's words, or without"),
    lambda: _tool("iptables-legacy-save", "iptables", "legacy tables cannot be read"),
    lambda: _tool("ip", "iproute2", "`nettop demo` needs it"),
    _conntrack,
    lambda: _switch("accounting", "net.netfilter.nf_conntrack_acct", "flows have no bytes and packets"),
    lambda: _switch("timestamps", "net.netfilter.nf_conntrack_timestamp", "the age of older flows is not known"),
    lambda: _switch("events", "net.netfilter.nf_conntrack_events", "flows are only seen by polling"),
    _packets,
    _legacy,
    _terminal,
)


def lines(checks: list[Check], as_json: bool) -> Iterator[str]:
    """Yield a line for each check: a JSON object, or aligned text with the remedy."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        if as_json:
            row = {"kind": "check", "name": check.name, "state": check.state, "found": check.found}
            yield json.dumps({**row, "remedy": check.remedy or None})
        else:
            remedy = f"  ({check.remedy})" if check.remedy else ""
            yield clean(f"{check.state:8} {check.name:{width}}  {check.found}{remedy}")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop doctor`."""
    arguments.add(parser, "--json")


def run(options: argparse.Namespace) -> int:
    """Print every check and return 0: a limited host is not an error."""
    text = "\n".join((*lines([check() for check in CHECKS], options.json), ""))
    with printing():
        sys.stdout.write(text)
    return 0
