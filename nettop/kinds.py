"""The enumerations and constants that the broker, the recordings and the models share. Imports nothing heavy."""

from enum import Enum

NO_TIME = -(1 << 63)  # the ts_ns of a record whose file gives no time (a Simple Packet Block of pcapng)


class StreamKind(Enum):
    """The kind of records in a stream."""

    PACKETS = "packets"  # one frame a record
    NETLINK = "netlink"  # one datagram a record: one or more nlmsgs
    TEXT = "text"  # Text items only


class GapReason(Enum):
    """The place where the records of a Gap were lost."""

    KERNEL = "kernel"  # netlink socket buffer overrun (SO_MEMINFO drops)
    RING = "ring"  # AF_PACKET ring full (PACKET_STATISTICS tp_drops)
    QUEUE = "queue"  # our own bounded queue between threads
    FILE = "file"  # a damaged file, or a loss that the file reports
    RECORDER = "recorder"  # the recording was not written as fast as the data arrived


class TextKind(Enum):
    """Text that only a tool or procfs renders. Each snapshot is one Custom Block in a recording."""

    NFT_RULESET = "nft-ruleset"  # nft -a -t list ruleset (handles, no set elements), or a part of it
    # With a first line `# nettop {…}`: the handles of the rules by table and chain, and what failed.
    IPTABLES_SAVE = "iptables-save"  # iptables-nft-save -c
    IP6TABLES_SAVE = "ip6tables-save"
    ARPTABLES_SAVE = "arptables-save"  # arptables-nft-save -c
    EBTABLES_SAVE = "ebtables-save"
    IPTABLES_LEGACY_SAVE = "iptables-legacy-save"  # only if /proc/net/ip_tables_names names a table
    IP6TABLES_LEGACY_SAVE = "ip6tables-legacy-save"
    ARPTABLES_LEGACY_SAVE = "arptables-legacy-save"  # made of its listing
    SYSCTLS = "sysctls"  # "name = value" lines: net.netfilter.* and others that the screens need
    # The same with those of each device, names as sysctl(8) has them; then `ethtool.IFINDEX = gro gso` lines: which of
    # gro, lro, gso and tso are on; then `programs.IFINDEX = tcx/ingress:ID:NAME …` lines.
    MAP_SYSCTLS = "map-sysctls"
    # JSON lines, one socket each: family (of its packets: a v4-mapped address is given as IPv4) proto local lport
    # remote rport state uid inode pid name sharers. `pid` null (`name` "", `sharers` 0): no process, or none that we
    # may inspect. `lport` is the ICMP id of a ping socket, and 0 of a raw socket.
    PROCESSES = "processes"
    # JSON lines, one network namespace of the host each: label inode names processes pid command container (engine id
    # name; the first of `containers`) mounts refusal nsids (of others, as seen from inside: the inode, 0 unknown).
    # Or error: why there may be more.
    NAMESPACES = "namespaces"
    DROPS = "drops"  # packets that the kernel drops on the whole host, by reason (broker/tracing/drops.py)
    DROP_RECORDS = "drop-records"  # the same one by one, while a trace runs
    NET_STATISTICS = "net-statistics"  # "== /proc/net/snmp\n…" blocks of the namespace's files that exist


NATIVE = "native"  # the part of TextKind.NFT_RULESET without the tables that iptables-nft and its kin made

# A tracing table is called TRACE_PREFIX and more. Its chain TRACE_MARK marks packets that those of TRACE_MARKING send
# there. These and those of TRACE_HOOKS are the first of the hook that they are called after; TRACE_ENDS are the last.
TRACE_PREFIX, TRACE_MARK = "nettop-", "mark"
TRACE_MARKING = ("prerouting", "output")
TRACE_INGRESS = "ingress"  # the chain that marks in a table of the family netdev
TRACE_EGRESS = "egress"  # a hook after the last one of ours
TRACE_HOOKS = ("input", "forward", "postrouting")
TRACE_ENDS = {"input-end": "input", "postrouting-end": "postrouting"}
