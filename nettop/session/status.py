"""A session's state for the header, and the choices that it offers: frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Done = Callable[[str | None], None]  # None: it worked; else one line with the error and what to do


@dataclass(frozen=True, slots=True)
class Capturing:
    """The running capture. Texts are as they were given."""

    devices: tuple[str, ...]
    expression: str = ""  # the capture filter; "" is every packet
    without: str = ""  # excluded in addition: "your ssh session, 10.0.0.9:51001"
    headers: bool = False  # only the first bytes of each packet, for the rates of flows


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Packets to trace, and the limits of the trace."""

    expression: str = ""  # as `nettop trace` takes it; "": every packet
    only: str = ""  # a display filter of traced packets: the others are not shown; "": all are
    syn: bool = False  # only packets that open a TCP connection
    also: str = ""  # other hooks than those of IPv4 and IPv6: "bridge", "ingress", "bridge ingress"
    per_second: int = 50  # packets marked at most
    seconds: int = 3600
    count: int = 0  # it ends after so many packets that are shown; 0: no limit


@dataclass(frozen=True, slots=True)
class Tracing:
    """The running trace."""

    request: TraceRequest
    table: str  # on the host
    until_ns: int
    now: int = 0  # packets shown in the last second
    over: int | None = None  # packets that matched and were not marked: over the limit; None: not known


@dataclass(frozen=True, slots=True)
class Status:
    """The header's facts at one moment. Texts are ready to draw and safe for a terminal."""

    netns: str = ""  # "" is the host's namespace
    others: int = 0  # other namespaces whose flows and events are shown too
    count: int | None = None  # entries in the conntrack table
    maximum: int | None = None  # nf_conntrack_max
    events_per_s: float | None = None
    capture: str = "off"  # "off" or "41.2k pkt/s"
    acct: str = ""  # "on", "off", "since 12:01"; "" is not known
    lost: str = "0"  # "0" or "1,204 ring"
    recording: str = ""  # "" or "00:41 12.4M"
    mode: str = "LIVE"  # "LIVE", "REPLAY" or "DEMO"; "GONE": the namespace was deleted; "ENDED": the broker has ended
    clock_ns: int = 0  # the time on the screens: now, the replay's clock, or the end of the namespace
    cpu_percent: float | None = None  # our own, of one core
    notes: tuple[str, ...] = ()  # news for the person: our own ssh session is not captured, a stream has ended
    paused: bool = False
    read_only: bool = False  # nothing on the host may be changed
    names: bool = False  # host and service names are shown
    capturing: Capturing | None = None
    tracing: Tracing | None = None
    receive_filter: str = ""  # its expression and what of it runs in the kernel; "": everything is received


@dataclass(frozen=True, slots=True)
class NetnsChoice:
    """One namespace that can be watched."""

    spec: str  # argument of switch_namespace: "", "gw-a", "pid:812", a path
    label: str
    note: str = ""  # "here", "3 processes", …
    watched: bool = False  # in addition to the shown one


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """One device that can be captured on."""

    name: str
    note: str = ""  # "up, mtu 1500"
    usual: bool = False  # selected at first


def shown_netns(status: Status) -> str:
    """Return the shown namespace without the other ones; "" is the host's."""
    return status.netns.removesuffix(f" +{status.others}") if status.others else status.netns
