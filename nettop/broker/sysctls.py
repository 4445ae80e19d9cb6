"""Reading the listed sysctls and setting two of them, in the namespace the caller has entered."""

from __future__ import annotations

import os
import re
import stat

from nettop.errors import BrokerError

_ROOT = "/proc/sys"  # net/ below it shows the namespace of the reading thread
_READABLE = re.compile(
    r"net\.netfilter\.nf_[a-z0-9_]+"
    r"|net\.nf_conntrack_max"
    r"|net\.netfilter\.nf_log\.(2|10)"
    r"|net\.bridge\.bridge-nf-[a-z0-9-]+"
    r"|net\.ipv4\.(ip_forward|ip_local_port_range|ip_default_ttl|tcp_[a-z0-9_]+|icmp_[a-z0-9_]+)"
    r"|net\.ipv[46]\.conf\.[^./]{1,15}\.(forwarding|rp_filter|route_localnet|accept_local|arp_[a-z]+|proxy_arp"
    r"|disable_ipv6|accept_ra|log_martians|send_redirects|accept_redirects|accept_source_route|src_valid_mark)"
    r"|net\.core\.(rmem_max|rmem_default|netdev_max_backlog|netdev_budget|somaxconn)"
)
_SETTABLE = {
    "net.netfilter.nf_conntrack_acct": re.compile("[01]"),
    "net.netfilter.nf_conntrack_timestamp": re.compile("[01]"),
}
_ALWAYS_SHOWN = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-arptables",
)


def open_to_read(name: str) -> int:
    """Return a descriptor of a sysctl of this namespace for any reader. BrokerError: not listed, missing, secret."""
    if not _READABLE.fullmatch(name):
        raise BrokerError(f"not on the list: sysctl {name!r}")
    fd = _open(name)
    if fd is None:
        raise BrokerError(f"this namespace has no sysctl {name} for all to read")
    return fd


def listing() -> bytes:
    """Return `name = value` lines of net.netfilter.* and the other sysctls that screens need, sorted by name."""
    try:
        netfilter = [f"net.netfilter.{entry}" for entry in os.listdir(f"{_ROOT}/net/netfilter")]
    except OSError:
        netfilter = []
    names = [name for name in (*netfilter, *_ALWAYS_SHOWN) if _READABLE.fullmatch(name)]
    values = {name: _value(name) for name in sorted(names)}
    lines = [f"{name} = {value}\n" for name, value in values.items() if value is not None]
    return "".join(lines).encode(errors="surrogateescape")


def change(name: str, value: str) -> str:
    """Set a sysctl; returns the value it had. Raises BrokerError (not on the list, not there) and OSError."""
    allowed = _SETTABLE.get(name)
    if allowed is None or not allowed.fullmatch(value):
        raise BrokerError(f"not on the list: setting sysctl {name!r} to {value!r}")
    before = _value(name)
    if before is None:
        raise BrokerError(f"this namespace has no {name}", "load the module nf_conntrack, or add a rule that needs it")
    with open(_path(name), "w", encoding="ascii") as file:
        file.write(value)
    return before


def _path(name: str) -> str:
    return f"{_ROOT}/{name.replace('.', '/')}"


def _value(name: str) -> str | None:
    fd = _open(name)
    if fd is None:
        return None
    try:
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return None


def _open(name: str) -> int | None:
    """Return a descriptor, or None.

    None: this namespace has none of that name, it is a directory (net.netfilter.nf_log), or only root may read it
    (tcp_fastopen_key is a secret).
    """
    try:
        fd = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        return fd
    os.close(fd)
    return None
