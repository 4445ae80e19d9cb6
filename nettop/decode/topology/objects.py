"""The objects of the map, as plain values. Every text in them is safe for a terminal.

Links, addresses, hops and routes are those of decode.rtnetlink, which reads them without pyroute2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nettop.decode.rtnetlink import Link

Parameters = tuple[tuple[str, str], ...]  # (name, value) as `ip -d link` prints them, in its order


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace of the host."""

    label: str  # what --netns takes: a name, "pid:N", a path or ""; "nsid N" for one that is known only by its id
    inode: int = 0  # of its file in nsfs; 0: unknown; negative: only a number, of one that is known by its id
    names: tuple[str, ...] = ()  # in /run/netns
    processes: int = 0  # without nettop's own
    command: str = ""  # of the process with the lowest number
    container: str = ""  # name or shortened id, and its engine: "web-1 docker"
    mounts: tuple[str, ...] = ()  # other paths at which it is mounted
    refusal: str = ""  # why it cannot be entered
    nsids: Mapping[int, int] = field(default_factory=dict)  # of the others as seen from inside: nsid → inode
    pid: int = 0  # of the process with the lowest number
    container_id: str = ""  # in full
    tun_holders: Mapping[str, str] = field(default_factory=dict)  # a tun's name, or a macvtap's ifindex → its process


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """Counters of a device (struct rtnl_link_stats64, linux/if_link.h)."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0
    reasons: tuple[tuple[str, int], ...] = ()  # of errors and drops: the other counters that are not 0


@dataclass(frozen=True, slots=True)
class Device:
    """A device with all that `ip -d link` prints of it."""

    link: Link
    counts: LinkCounts = LinkCounts()
    parameters: Parameters = ()  # of its kind (IFLA_INFO_DATA)
    port: Parameters = ()  # as a port of its master (IFLA_INFO_SLAVE_DATA)
    master_kind: str = ""  # IFLA_INFO_SLAVE_KIND
    alias: str = ""
    altnames: tuple[str, ...] = ()
    qdisc: str = ""
    queue_length: int = 0  # IFLA_TXQLEN
    carrier: bool | None = None
    carrier_changes: int | None = None
    programs: tuple[str, ...] = ()  # XDP programs: mode and id
    offloads: Parameters = ()  # gso_max_size and the like
    counted: bool = False  # `counts` were read
    owner: str = ""  # of a tun or tap: the process that holds it, or its user
    functions: tuple[Parameters, ...] = ()  # its virtual functions (SR-IOV)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour (struct ndmsg, linux/neighbour.h), or with family AF_BRIDGE an entry of a forwarding database."""

    ifindex: int
    family: int
    address: int | None = None  # in host order; None in a forwarding database
    link_address: bytes = b""
    state: int = 0  # NUD_*
    flags: int = 0  # NTF_*, from the ninth bit on NTF_EXT_*
    vlan: int = 0
    remote: tuple[int, int] | None = None  # (family, address) of a tunnel's other end
    tunnel: tuple[tuple[str, int], ...] = ()  # in a forwarding database: port, vni, src_vni, via (ifindex), nhid


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A rule of `ip rule` (struct fib_rule_hdr, linux/fib_rules.h)."""

    family: int
    priority: int
    selector: str  # as `ip rule` prints it: "from all fwmark 0x7"
    action: str  # "lookup main", "unreachable", "goto 200"
    table: int = 0


@dataclass(frozen=True, slots=True)
class Nexthop:
    """A nexthop object of `ip nexthop` (struct nhmsg, linux/nexthop.h): a way, or with `group` several of them."""

    id: int
    ifindex: int = 0
    gateway: tuple[int, int] | None = None  # (family, address)
    blackhole: bool = False
    fdb: bool = False  # of forwarding databases, not of routes
    group: tuple[tuple[int, int], ...] = ()  # (id, weight)
    resilient: Parameters = ()  # of a resilient group: buckets, and times in seconds
    scope: int = 0
    protocol: int = 0
    flags: int = 0  # RTNH_F_*
    encapsulation: str = ""  # as that of a Hop


@dataclass(frozen=True, slots=True)
class Queue:
    """A queueing discipline or a filter of a device (struct tcmsg, linux/rtnetlink.h)."""

    ifindex: int
    kind: str  # "fq_codel", "clsact", "bpf"
    handle: int = 0
    parent: int = 0
    filter: bool = False
    detail: str = ""  # of a filter: its program and actions
    drops: int = 0
    backlog: int = 0  # bytes
    targets: tuple[tuple[str, int], ...] = ()  # of a filter: "redirect" or "mirror", and to which ifindex
    blocks: tuple[int, int] = 0, 0  # of a qdisc: the shared filters of its ingress and egress; 0: it has its own


@dataclass(frozen=True, slots=True)
class PortGroup:
    """A multicast group behind a bridge port (struct br_mdb_entry, linux/if_bridge.h)."""

    ifindex: int  # of the port, or of the bridge itself
    bridge: int
    group: str  # an IPv4 or IPv6 address, or a MAC
    vlan: int = 0
    permanent: bool = False
    source: str = ""  # the only one; "": any


@dataclass(frozen=True, slots=True)
class PortVlan:
    """A VLAN of a bridge port (struct bridge_vlan_info, linux/if_bridge.h)."""

    ifindex: int
    vlan: int
    untagged: bool = False
    pvid: bool = False
