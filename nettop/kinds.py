"""The few enumerations that the broker, the recordings and the models share. Imports nothing heavy."""

from __future__ import annotations

from enum import Enum


class StreamKind(Enum):
    """What the records of a stream are."""

    PACKETS = "packets"  # one frame a record
    NETLINK = "netlink"  # one datagram a record: one or more nlmsgs
    TEXT = "text"  # Text items only


class GapReason(Enum):
    """Who lost the records of a Gap."""

    KERNEL = "kernel"  # netlink socket buffer overrun (SO_MEMINFO drops)
    RING = "ring"  # AF_PACKET ring full (PACKET_STATISTICS tp_drops)
    QUEUE = "queue"  # our own bounded hand-off
    FILE = "file"  # a damaged file, or the recording said so
    RECORDER = "recorder"  # the recording could not be written as fast as the data came


class TextKind(Enum):
    """Text that only a tool or procfs can render; each snapshot is one Custom Block in a recording."""

    NFT_RULESET = "nft-ruleset"  # nft -a -t list ruleset (handles, no set elements)
    IPTABLES_SAVE = "iptables-save"  # iptables-nft-save -c
    IP6TABLES_SAVE = "ip6tables-save"
    IPTABLES_LEGACY_SAVE = "iptables-legacy-save"  # only when /proc/net/ip_tables_names names a table
    IP6TABLES_LEGACY_SAVE = "ip6tables-legacy-save"
    SYSCTLS = "sysctls"  # "name = value" lines: net.netfilter.* and what the screens need
    # JSON lines, one socket each: family (of its packets: a v4-mapped address is given as IPv4) proto local lport
    # remote rport state uid inode pid name sharers. `pid` null (`name` "", `sharers` 0): no process, or none that we
    # may look into. Raw and ping sockets have `lport`: their ICMP id (a ping socket's), else 0.
    PROCESSES = "processes"
    NET_STATISTICS = "net-statistics"  # "== /proc/net/snmp\n…" blocks of the namespace's files; absent ones are missing
