"""Reading the listed sysctls and setting two of them, in the namespace the caller has entered.

Names are those of sysctl(8): a dot in the name of a device is a slash ("net.ipv4.conf.eth0/5.rp_filter").
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from nettop.errors import BrokerError

_ROOT = "/proc/sys"  # net/ below it shows the namespace of the reading thread
_OF_DEVICE = {  # below net.ipv4.conf.NAME and net.ipv6.conf.NAME
    4: (
        *("forwarding", "rp_filter", "proxy_arp", "proxy_arp_pvlan", "accept_local", "route_localnet", "arp_ignore"),
        *("arp_announce", "arp_filter", "arp_accept", "arp_notify", "arp_evict_nocarrier", "accept_redirects"),
        *("send_redirects", "log_martians", "src_valid_mark"),
    ),
    6: ("forwarding", "force_forwarding", "accept_ra", "disable_ipv6", "proxy_ndp"),
}
_READABLE = re.compile(
    r"net\.netfilter\.nf_[a-z0-9_]+"
    r"|net\.nf_conntrack_max"
    r"|net\.netfilter\.nf_log\.(2|10)"
    r"|net\.bridge\.bridge-nf-[a-z0-9-]+"
    r"|net\.ipv4\.(ip_forward|ip_local_port_range|ip_default_ttl|tcp_[a-z0-9_]+|icmp_[a-z0-9_]+)"
    rf"|net\.ipv[46]\.conf\.(?!/{{1,2}}\.)[^.]{{1,15}}\.({'|'.join(_OF_DEVICE[4] + _OF_DEVICE[6])}"
    r"|arp_[a-z_]+|accept_source_route)"
    r"|net\.core\.(rmem_max|rmem_default|netdev_max_backlog|netdev_budget|somaxconn)"
    r"|fs\.(file-max|nr_open)"
)
_MAX_DEVICES = 500  # whose sysctls the map lists: a device takes 0.2 ms
_SETTABLE = {
    "net.netfilter.nf_conntrack_acct": re.compile("[01]"),
    "net.netfilter.nf_conntrack_timestamp": re.compile("[01]"),
}
_LONGEST = 4096  # bytes of a value
_ALWAYS_SHOWN = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-arptables",
)
_MAP = (*_ALWAYS_SHOWN, *(f"net.ipv4.{key}" for key in ("ip_local_port_range", "tcp_syncookies", "tcp_tw_reuse")))
_MAP += ("net.ipv4.tcp_tw_recycle", "fs.file-max", "fs.nr_open")
_SWAPPED = str.maketrans("./", "/.")


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
    return _lines([*_below("net.netfilter"), *_ALWAYS_SHOWN])


def map_listing() -> bytes:
    """Return the same of all that the map explains: those of each device, too."""
    names = [*_below("net.netfilter"), *_below("net.netfilter.nf_log"), *_below("net.bridge"), *_MAP]
    for version, keys in _OF_DEVICE.items():
        places = sorted(_below(f"net.ipv{version}.conf"), key=lambda place: not place.endswith((".all", ".default")))
        names += [f"{place}.{key}" for place in places[: _MAX_DEVICES + 2] for key in keys]
    return _lines(names)


def _below(name: str) -> list[str]:
    """Return the names of the entries of a directory; none if it is missing."""
    try:
        return [f"{name}.{entry.translate(_SWAPPED)}" for entry in os.listdir(_path(name))]
    except OSError:
        return []


def _lines(wanted: Iterable[str]) -> bytes:
    names = [name for name in wanted if _READABLE.fullmatch(name)]
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
    return f"{_ROOT}/{name.translate(_SWAPPED)}"


def _value(name: str) -> str | None:
    fd = _open(name)
    if fd is None:
        return None
    try:
        return os.read(fd, _LONGEST).decode(errors="surrogateescape").strip()
    except OSError:
        return None
    finally:
        os.close(fd)


def _open(name: str) -> int | None:
    """Return a descriptor; None: there is no such sysctl, it is a directory, or only root may read it (a secret)."""
    try:
        fd = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        return fd
    os.close(fd)
    return None
