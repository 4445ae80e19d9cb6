"""Everything the app can ask of the broker, as frozen dataclasses, and the one way to and from JSON.

What is not a class of this file, with exactly its fields and types, is refused: "not on the list".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from nettop.errors import BrokerError
from nettop.kinds import TextKind

MAX_TEXT = 8192  # characters of one string field
MAX_ITEMS = 512  # of one tuple field


class ReadRequest(Enum):
    """The netlink reads the broker sends for the app (the bytes are built in reads.py)."""

    CONNTRACK_DUMP = "conntrack-dump"  # all families
    CONNTRACK_STATS_CPU = "conntrack-stats-cpu"
    CONNTRACK_STATS = "conntrack-stats"
    EXPECT_DUMP = "expect-dump"
    EXPECT_STATS_CPU = "expect-stats-cpu"
    NFT_GEN = "nft-gen"
    NFT_TABLES = "nft-tables"
    NFT_CHAINS = "nft-chains"
    NFT_RULES = "nft-rules"
    NFT_SETS = "nft-sets"
    NFT_OBJECTS = "nft-objects"  # named counters, quotas, limits
    NFT_FLOWTABLES = "nft-flowtables"
    NFACCT = "nfacct"


# What comes back.


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace the broker holds open. `label` is "" for the one nettop was started in."""

    handle: int
    label: str
    inode: int


@dataclass(frozen=True, slots=True)
class Device:
    """A network device as its namespace names it; `arphrd` is linux/if_arp.h's hardware type."""

    name: str
    ifindex: int
    arphrd: int
    up: bool
    mtu: int


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """An AF_PACKET socket: TPACKET_V3 ring set up, filter attached, bound; not yet mapped. The caller owns `fd`."""

    fd: int
    device: Device
    linktype: int
    block_size: int
    block_count: int
    snaplen: int


@dataclass(frozen=True, slots=True)
class NetlinkSocket:
    """A bound netlink socket, groups joined. The caller owns `fd`; `handle` is what request() goes by."""

    fd: int
    handle: int
    protocol: int
    netns: Netns


# What can be asked.


@dataclass(frozen=True, slots=True)
class GetNetns:
    spec: str


@dataclass(frozen=True, slots=True)
class ListNetns:
    """The names in /run/netns, as the broker sees it."""


@dataclass(frozen=True, slots=True)
class LeaveNetns:
    netns: int


@dataclass(frozen=True, slots=True)
class GetDevices:
    netns: int


@dataclass(frozen=True, slots=True)
class OpenPacketSocket:
    netns: int
    device: str
    expression: str
    snaplen: int
    block_size: int
    block_count: int
    promisc: bool


@dataclass(frozen=True, slots=True)
class OpenNetlinkSocket:
    netns: int
    protocol: int
    groups: tuple[int, ...]
    rcvbuf: int


@dataclass(frozen=True, slots=True)
class SendRead:
    socket: int
    what: ReadRequest


@dataclass(frozen=True, slots=True)
class ReleaseSocket:
    socket: int


@dataclass(frozen=True, slots=True)
class GetText:
    netns: int
    what: TextKind


@dataclass(frozen=True, slots=True)
class ReadSysctls:
    netns: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenOutput:
    path: str
    force: bool


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """A change: set the whitelisted sysctl `name` ("net.netfilter.nf_conntrack_acct") of a namespace to `value`."""

    netns: int
    name: str
    value: str


Change = SetSysctl
Request = (
    GetNetns
    | ListNetns
    | LeaveNetns
    | GetDevices
    | OpenPacketSocket
    | OpenNetlinkSocket
    | SendRead
    | ReleaseSocket
    | GetText
    | ReadSysctls
    | OpenOutput
    | SetSysctl
)

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        GetNetns,
        ListNetns,
        LeaveNetns,
        GetDevices,
        OpenPacketSocket,
        OpenNetlinkSocket,
        SendRead,
        ReleaseSocket,
        GetText,
        ReadSysctls,
        OpenOutput,
        SetSysctl,
    )
}


def to_json(request: Request) -> dict[str, Any]:
    """The request as a JSON object: its class name under "ask", and its fields."""
    values = {f.name: getattr(request, f.name) for f in fields(request)}
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
    return {"ask": type(request).__name__, **plain}


def from_json(message: Mapping[str, Any]) -> Request:
    """The request in a JSON object; raises BrokerError unless it is on the list with exactly its fields and types."""
    ask = message.get("ask")
    kind = _KINDS.get(ask) if isinstance(ask, str) else None
    if kind is None:
        raise BrokerError(f"not on the list: {str(ask)[:80]!r}")
    expected = {f.name: str(f.type) for f in fields(kind)}
    given = set(message) - {"ask", "id"}
    if given != set(expected):
        raise BrokerError(f"not on the list: {ask} with fields {sorted(given)[:20]}")
    values = {name: _field(kind, name, type_name, message[name]) for name, type_name in expected.items()}
    request: Request = kind(**values)
    return request


def _field(kind: type[Any], name: str, type_name: str, value: object) -> object:
    try:
        return _CONVERT[type_name](value)
    except ValueError as error:
        raise BrokerError(f"not on the list: {kind.__name__} with {name}={str(value)[:80]!r}") from error


def _exactly(kind: type[Any]) -> Callable[[object], Any]:
    def convert(value: object) -> object:
        if type(value) is not kind or (isinstance(value, str) and len(value) > MAX_TEXT):
            raise ValueError("wrong type")
        return value

    return convert


def _tuple_of(convert: Callable[[object], Any]) -> Callable[[object], Any]:
    def convert_all(value: object) -> object:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ValueError("wrong type")
        return tuple(convert(item) for item in value)

    return convert_all


_CONVERT: dict[str, Callable[[object], Any]] = {
    "str": _exactly(str),
    "int": _exactly(int),
    "bool": _exactly(bool),
    "tuple[int, ...]": _tuple_of(_exactly(int)),
    "tuple[str, ...]": _tuple_of(_exactly(str)),
    "ReadRequest": ReadRequest,
    "TextKind": TextKind,
}
