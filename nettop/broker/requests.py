"""Every request of the app to the broker, and the values in it, as frozen dataclasses.

Anything but a class of this file, with exactly its fields and types, is refused (request_json.py): "not on the list".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args

from nettop.kinds import TextKind

MAX_FLOWS = 256  # keys of one DeleteFlows: as many fit one packet, and the broker is busy for a few ms with them


class ReadRequest(Enum):
    """The netlink reads the broker sends for the app (the bytes are built in reads.py)."""

    CONNTRACK_DUMP = "conntrack-dump"  # all families
    CONNTRACK_STATS_CPU = "conntrack-stats-cpu"
    CONNTRACK_STATS = "conntrack-stats"
    EXPECT_DUMP = "expect-dump"
    EXPECT_STATS_CPU = "expect-stats-cpu"
    NFT_TABLES = "nft-tables"
    NFT_CHAINS = "nft-chains"
    NFT_RULES = "nft-rules"  # `of_table`: those of one table
    NFT_RULE = "nft-rule"  # the rules named in `of`
    NFT_SETS = "nft-sets"
    NFT_OBJECTS = "nft-objects"  # named counters, quotas, limits
    NFT_SET_ELEMENTS = "nft-set-elements"  # of one set or map: needs `of_set`
    IPSETS = "ipsets"  # without their elements
    IPSET_ELEMENTS = "ipset-elements"  # of one IP set: needs `of_set`
    NFACCT = "nfacct"
    RTNL_LINKS = "rtnl-links"  # these three on a NETLINK_ROUTE socket
    RTNL_ADDRESSES = "rtnl-addresses"
    RTNL_ROUTES = "rtnl-routes"  # of all tables
    RTNL_ROUTE = "rtnl-route"  # the one of a packet: needs `of_route`
    RTNL_DETAILS = "rtnl-details"  # links without counters, and with those of virtual functions
    RTNL_COUNTS = "rtnl-counts"  # counters of links
    RTNL_RULES = "rtnl-rules"
    RTNL_NEXTHOPS = "rtnl-nexthops"
    RTNL_NEIGHBOURS = "rtnl-neighbours"
    RTNL_FDB = "rtnl-fdb"  # forwarding databases
    RTNL_VLANS = "rtnl-vlans"  # of bridge ports
    RTNL_GROUPS = "rtnl-groups"  # multicast groups behind them
    RTNL_QDISCS = "rtnl-qdiscs"  # in ReadDumps also the filters of ingress and clsact


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace the broker holds open. `label` is "" for the one nettop was started in."""

    handle: int
    label: str
    inode: int


@dataclass(frozen=True, slots=True)
class CaptureDevice:
    """A network device; `arphrd`: linux/if_arp.h. Bytes of its name that are not UTF-8 are `\\xNN`."""

    name: str
    ifindex: int
    arphrd: int
    up: bool
    mtu: int


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """An AF_PACKET socket: TPACKET_V3 ring set up, filter attached, bound; not yet mapped. The caller owns `fd`."""

    fd: int
    device: CaptureDevice
    linktype: int
    block_size: int
    block_count: int
    snaplen: int
    filtered: bool = True  # False: the kernel refuses the filter's program, so all packets arrive


@dataclass(frozen=True, slots=True)
class NetlinkSocket:
    """A bound netlink socket, groups joined. The caller owns `fd`; `handle` identifies it in request()."""

    fd: int
    handle: int
    protocol: int
    netns: Netns


@dataclass(frozen=True, slots=True)
class DumpFilter:
    """The flows that a conntrack dump returns: those of a family (AF_*; 0: all), zone, mark and status.

    A flow passes when mark & mark_mask == mark and status & status_mask == status (without a mask: all those bits).
    """

    family: int = 0
    zone: int | None = None
    mark: int | None = None
    mark_mask: int = 0xFFFF_FFFF
    status: int | None = None
    status_mask: int | None = None


@dataclass(frozen=True, slots=True)
class SetName:
    """An nftables set or map, or an IP set (without family and table).

    `family` is NFPROTO_* (linux/netfilter.h: 1 inet, 2 ip, 10 ip6 …).
    """

    family: int
    table: str
    name: str


@dataclass(frozen=True, slots=True)
class TableName:
    """A table of nftables. `family` is NFPROTO_*."""

    family: int
    table: str


@dataclass(frozen=True, slots=True)
class RuleName:
    """A rule of nftables. `family` is NFPROTO_*."""

    family: int
    table: str
    chain: str
    handle: int


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """A question to the kernel's route lookup (RTM_GETROUTE): addresses as text, devices by index; 0 or "": not given.

    With `fib_match` the answer is the route that matches, with its prefix, else the next hop that is chosen of it.
    """

    family: int  # AF_INET or AF_INET6
    destination: str
    source: str = ""
    iif: int = 0
    oif: int = 0
    mark: int = 0
    tos: int = 0
    proto: int = 0
    sport: int = 0
    dport: int = 0
    uid: int | None = None  # None: that of the broker
    fib_match: bool = False


@dataclass(frozen=True, slots=True)
class FlowKey:
    """A conntrack entry by its original tuple; of ICMP and ICMPv6 `sport` is the id, `dport` type << 8 | code.

    `zone` is that of the original direction. With `id` (CTA_ID) a later flow of the same tuple is left alone.
    """

    family: int
    proto: int
    zone: int
    src: str
    dst: str
    sport: int
    dport: int
    id: int | None


@dataclass(frozen=True, slots=True)
class CounterName:
    """A counter that can be set to zero: group "nft-counter", "nft-quota" or "nfacct" (no family, no table)."""

    group: str
    family: int
    table: str
    name: str


@dataclass(frozen=True, slots=True)
class PacketTest:
    """A field of a packet whose value under `mask` is one of first … last, or (`holds` False) is not.

    The field is `size` bytes at `at` of a header (`of`: "network", "transport"), as a number in network order; "meta":
    that of NFT_META_* `at`; "device": the name of the incoming device, in the output hook the outgoing one.
    """

    of: str
    at: int
    size: int
    first: int
    last: int
    mask: int
    holds: bool


@dataclass(frozen=True, slots=True)
class PacketMatch:
    """Packets for which all tests hold."""

    tests: tuple[PacketTest, ...]


@dataclass(frozen=True, slots=True)
class GetNetns:
    """Open the namespace of a spec; `again`: also if it is open already, to be left on its own."""

    spec: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class ListNetns:
    """List the names in /run/netns of the broker, and the inodes of the namespaces of processes."""


@dataclass(frozen=True, slots=True)
class LeaveNetns:
    """Release a namespace."""

    netns: int


@dataclass(frozen=True, slots=True)
class GetDevices:
    """List the devices of a namespace."""

    netns: int


@dataclass(frozen=True, slots=True)
class OpenPacketSocket:
    """Open a packet socket on a device, filtered by libpcap's `expression`."""

    netns: int
    device: str
    expression: str
    snaplen: int
    block_size: int
    block_count: int


@dataclass(frozen=True, slots=True)
class OpenNetlinkSocket:
    """Open a netlink socket in a namespace."""

    netns: int
    protocol: int
    groups: tuple[int, ...]
    rcvbuf: int
    program: bytes


@dataclass(frozen=True, slots=True)
class SendRead:
    """Send a read request on a netlink socket that the broker keeps."""

    socket: int
    what: ReadRequest
    dump_filter: DumpFilter | None
    of_set: SetName | None
    of_route: RouteQuestion | None = None
    of_table: TableName | None = None
    of: tuple[RuleName, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadDumps:
    """Read rtnetlink dumps of a namespace to their ends."""

    netns: int
    reads: tuple[ReadRequest, ...]


@dataclass(frozen=True, slots=True)
class ReleaseSocket:
    """Close the broker's copy of a netlink socket."""

    socket: int


@dataclass(frozen=True, slots=True)
class GetText:
    """Read one kind of text in a namespace. `part` of NFT_RULESET: `inet fw` (a table) or NATIVE; "": all of it."""

    netns: int
    what: TextKind
    part: str = ""


@dataclass(frozen=True, slots=True)
class OpenSysctl:
    """Open a sysctl of a namespace for reading."""

    netns: int
    name: str


@dataclass(frozen=True, slots=True)
class OpenOutput:
    """Create a file for the invoking user, at an absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class ResolveName:
    """Look up the name of an address or, without one, of a protocol and port."""

    address: str
    proto: int
    port: int


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """A change: set the whitelisted sysctl `name` ("net.netfilter.nf_conntrack_acct") of a namespace to `value`."""

    netns: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class DeleteFlows:
    """A change: delete at most MAX_FLOWS flows."""

    netns: int
    flows: tuple[FlowKey, ...]


@dataclass(frozen=True, slots=True)
class ResetCounter:
    """A change: set a counter to zero."""

    netns: int
    counter: CounterName


@dataclass(frozen=True, slots=True)
class StartTrace:
    """A change: mark packets for tracing that one of the matches fits, for so many seconds.

    With `bridge` those of bridges, too, and with `ingress` from the ingress of every device on.
    """

    netns: int
    matches: tuple[PacketMatch, ...]
    per_second: int
    seconds: int
    bridge: bool
    ingress: bool


@dataclass(frozen=True, slots=True)
class OpenTraceLog:
    """A change: receive the trace records of iptables-legacy until the next trace of the namespace has ended."""

    netns: int
    rcvbuf: int


@dataclass(frozen=True, slots=True)
class StopTrace:
    """End a trace."""

    trace: int


Request = (
    GetNetns
    | ListNetns
    | LeaveNetns
    | GetDevices
    | OpenPacketSocket
    | OpenNetlinkSocket
    | SendRead
    | ReadDumps
    | ReleaseSocket
    | GetText
    | OpenSysctl
    | OpenOutput
    | ResolveName
    | SetSysctl
    | DeleteFlows
    | ResetCounter
    | OpenTraceLog
    | StartTrace
    | StopTrace
)
ALL: tuple[type[Any], ...] = get_args(Request)
