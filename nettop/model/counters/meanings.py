"""The meanings of counters, and what to do about those that matter, in words for a person in a hurry.

Names are the kernel's (struct ip_conntrack_stat in linux/netfilter/nf_conntrack_common.h). The meanings follow
net/netfilter/nf_conntrack_core.c of current kernels and were tested.
"""

from __future__ import annotations

# group → name → meaning, in the order of the screen.
MEANING: dict[str, dict[str, str]] = {
    "table": {
        "entries": "flows in this namespace's table",
        "max_entries": "the limit, nf_conntrack_max; above it new flows are dropped",
        "expectations": "expected flows: created minus deleted",
        "max_expectations": "their limit, nf_conntrack_expect_max; above it helpers fail",
        "buckets": "of the hash that all namespaces share; each flow has two entries",
    },
    "conntrack": {
        "insert_failed": "an entry could not be inserted: the tuple was in use by then, often a NAT port clash",
        "drop": "packets dropped because tracking failed: table full, no memory, or an unresolved clash",
        "early_drop": "entries evicted early to make room: the table is or was full",
        "chain_toolong": "packets dropped without an entry: the hash chain was too long",
        "invalid": "packets that match no flow's state: late, out of window, malformed, asymmetric routing",
        "error": "packets rejected by the protocol's checks: bad checksum, ICMP error for no known flow",
        "search_restart": "lookups restarted because the entry moved: normal under churn and resizes",
        "clash_resolve": "two packets of a new flow at the same time, merged: usual for DNS over UDP, nothing was lost",
        "found": "tuples that NAT could not use, as another flow has them (old kernels: successful lookups)",
        "insert": "entries inserted by a program, such as conntrackd (old kernels: all new flows)",
        "searched": "entries examined in lookups (old kernels)",
        "new": "entries created without an expectation (old kernels)",
        "ignore": "packets already tracked or exempt, such as loopback's second pass (old kernels)",
        "delete": "entries removed (old kernels)",
        "delete_list": "entries put on the dying list (old kernels)",
    },
    "expect": {
        "new": "flows that matched an expectation",
        "create": "expectations created by helpers",
        "delete": "expectations removed: fulfilled or timed out",
    },
}
BAD = frozenset(("insert_failed", "drop", "early_drop", "chain_toolong", "invalid", "error"))
LOST_MEANING = "records lost before the screens: the kernel's buffer or our queue was full"

FULL_ADVICE = "raise net.netfilter.nf_conntrack_max, or group Flows to see who holds the table"
# What to do while such a counter grows.
ADVICE: dict[tuple[str, str], str] = {
    ("conntrack", "drop"): FULL_ADVICE,
    ("conntrack", "early_drop"): FULL_ADVICE,
    ("conntrack", "chain_toolong"): "more buckets (/sys/module/nf_conntrack/parameters/hashsize), or it is an attack",
    ("conntrack", "insert_failed"): "more SNAT addresses or ports, `random-fully`, or fewer retries by clients",
    ("softnet", "dropped"): "raise net.core.netdev_max_backlog, spread the load over CPUs (RPS)",
    ("softnet", "time_squeeze"): "raise net.core.netdev_budget and netdev_budget_usecs",
    ("tcp", "TcpExtListenOverflows"): "raise net.core.somaxconn and the program's backlog",
    ("udp", "UdpRcvbufErrors"): "raise net.core.rmem_max and the program's SO_RCVBUF",
}
NEARLY_FULL = 0.9  # of the table: from this use on advice is given
FULL = ": full, new flows are dropped"


_UDP = {
    "RcvbufErrors": ("dropped: the socket's receive buffer is full, the program reads too slowly", True),
    "SndbufErrors": ("not sent: the socket's send buffer is full", True),
    "NoPorts": ("nothing listens on that port", False),
    "InErrors": ("all that could not be delivered: buffer, checksum, memory", True),
    "InCsumErrors": ("datagrams whose checksum is wrong: damaged on their way", True),
    "MemErrors": ("dropped: UDP's memory limit is reached (udp_mem)", True),
}  # fmt: skip
# group → name → (meaning, whether packets or connections are lost when it moves)
NET_MEANING: dict[str, dict[str, tuple[str, bool]]] = {
    "ip": {
        "IpInDiscards": ("received intact but discarded: no memory", True),
        "IpOutDiscards": ("not sent: no memory, a full queue, or netfilter dropped it on output", True),
        "IpOutNoRoutes": ("not sent: no route to the destination", True),
        "IpExtInNoRoutes": ("not forwarded: no route to the destination", True),
        "IpInHdrErrors": ("bad header: TTL expired, version or options wrong", True),
        "IpInAddrErrors": ("the destination is no address of this host and forwarding is off, or it is invalid", True),
        "IpInUnknownProtos": ("for this host, of a protocol that nothing listens to", True),
        "IpExtInCsumErrors": ("the header's checksum is wrong: damaged on its way", True),
        "IpExtInTruncatedPkts": ("shorter than its header says", True),
        "TcpExtIPReversePathFilter": ("the route back leads through another device: rp_filter dropped it", True),
        "IpReasmFails": ("fragments that were not reassembled: one lost, late, or too many at once", True),
        "IpReasmTimeout": ("fragments discarded after ipfrag_time: the others did not arrive", True),
        "IpExtReasmOverlaps": ("fragments that overlap: an attack, or a broken sender", True),
        "IpFragFails": ("too large for the next link and marked do not fragment: path MTU discovery", True),
    },
    "ip6": {
        "Ip6InDiscards": ("received intact but discarded: no memory", True),
        "Ip6OutDiscards": ("not sent: no memory, a full queue, or netfilter dropped it on output", True),
        "Ip6OutNoRoutes": ("not sent: no route to the destination", True),
        "Ip6InNoRoutes": ("not forwarded: no route to the destination", True),
        "Ip6InHdrErrors": ("bad header: hop limit expired, or an extension header is wrong", True),
        "Ip6InTooBigErrors": ("too large for the next link: the sender was notified", True),
        "Ip6InAddrErrors": ("the destination address is invalid here", True),
        "Ip6InUnknownProtos": ("for this host, of a protocol that nothing listens to", True),
        "Ip6InTruncatedPkts": ("shorter than its header says", True),
        "Ip6ReasmFails": ("fragments that were not reassembled", True),
        "Ip6ReasmTimeout": ("fragments discarded after ip6frag_time: the others did not arrive", True),
        "Ip6FragFails": ("could not be cut into fragments", True),
    },
    "tcp": {
        "TcpExtListenDrops": ("connections a listening socket silently refused: its queue is full, or no memory", True),
        "TcpExtListenOverflows": ("connections refused: the accept queue is full, the program is too slow", True),
        "TcpExtTCPReqQFullDrop": ("SYNs dropped: the queue of half-open connections is full and cookies are off", True),
        "TcpExtTCPReqQFullDoCookies": ("SYNs answered with cookies: the queue of half-open connections is full", False),
        "TcpExtSyncookiesSent": ("SYN cookies sent: a SYN flood, or a backlog that is too small", False),
        "TcpExtSyncookiesFailed": ("ACKs whose SYN cookie is wrong or too old", True),
        "TcpExtTCPBacklogDrop": ("dropped: the socket was busy and its backlog full", True),
        "TcpExtTCPRcvQDrop": ("dropped: the socket's receive queue is full", True),
        "TcpExtTCPZeroWindowDrop": ("dropped: received while the window was closed", True),
        "TcpExtTCPOFODrop": ("dropped: out of order, and the queue for that is full", True),
        "TcpExtRcvPruned": ("dropped: the receive buffer was full and could not be shrunk", True),
        "TcpExtPruneCalled": ("times a receive buffer had to be shrunk: programs read too slowly", False),
        "TcpExtOfoPruned": ("out-of-order data discarded to make room", True),
        "TcpExtPFMemallocDrop": ("dropped: only the memory reserve was left", True),
        "TcpExtTCPMinTTLDrop": ("dropped: the TTL is below the socket's minimum", True),
        "TcpExtTCPTimeWaitOverflow": ("TIME_WAIT entries not made: tcp_max_tw_buckets is reached", True),
        "TcpExtTCPMemoryPressures": ("times TCP reached its memory limit (tcp_mem)", True),
        "TcpExtTCPAbortOnMemory": ("connections reset: no memory (tcp_mem, or too many orphans)", True),
        "TcpExtTCPAbortOnTimeout": ("connections aborted: no answer to any retransmission", True),
        "TcpExtTCPRetransFail": ("retransmissions that could not be sent", True),
        "TcpExtTCPWqueueTooBig": ("writes refused: the send queue is too long", True),
        "TcpRetransSegs": ("segments retransmitted: loss on the path, in either direction", True),
        "TcpExtTCPLostRetransmit": ("retransmitted segments that were lost again", True),
        "TcpExtTCPSynRetrans": ("SYNs retransmitted: the other side does not answer, or is filtered", True),
        "TcpExtTCPTimeouts": ("retransmission timers that expired: no ACK arrived", True),
        "TcpInErrs": ("bad segments: checksum, or header", True),
        "TcpInCsumErrors": ("segments whose checksum is wrong: damaged on their way", True),
        "TcpAttemptFails": ("connections that were not established: refused, or no answer", False),
        "TcpEstabResets": ("established connections that were reset", False),
        "TcpOutRsts": ("resets sent: nothing listens there, or the connection is unknown", False),
        "TcpExtEmbryonicRsts": ("half-open connections that the other side reset", False),
        "TcpExtTCPChallengeACK": ("suspicious RSTs, SYNs, ACKs challenged: a blind attack, or a rebooted peer", False),
        "TcpExtPAWSEstab": ("dropped: timestamp older than one seen (several hosts behind one NAT do this)", True),
        "TcpExtPAWSActive": ("SYN-ACKs refused for their timestamp", True),
        "TcpExtTSEcrRejected": ("dropped: echoes a timestamp that was never sent", True),
        "TcpExtBeyondWindow": ("dropped: lies beyond the receive window", True),
        "TcpExtOutOfWindowIcmps": ("ICMP errors that fit no connection's window", False),
        "TcpExtLockDroppedIcmps": ("ICMP errors dropped: the socket was busy", True),
        "TcpExtTCPMD5Failure": ("dropped: MD5 signature wrong", True),
        "TcpExtTCPMD5NotFound": ("dropped: MD5 signature missing", True),
        "TcpExtTCPAOBad": ("dropped: TCP-AO signature wrong", True),
    },
    "udp": {f"Udp{name}": about for name, about in _UDP.items()},
    "udp6": {f"Udp6{name}": about for name, about in _UDP.items()},
    "icmp": {
        "IcmpInDestUnreachs": ("received: destination or port not reachable, or packet too large", False),
        "IcmpOutDestUnreachs": ("sent: not reachable (no route or port, filtered, packet too large)", False),
        "IcmpInTimeExcds": ("received: TTL expired on the way (traceroute, or a loop)", False),
        "IcmpOutTimeExcds": ("sent: TTL expired here (traceroute, or a loop)", False),
        "IcmpInRedirects": ("received: redirect to a better gateway", False),
        "IcmpInErrors": ("bad ICMP messages", True),
        "IcmpInCsumErrors": ("ICMP messages whose checksum is wrong", True),
        "IcmpOutErrors": ("ICMP messages that could not be sent", True),
        "IcmpOutRateLimitGlobal": ("not sent: icmp_msgs_per_sec is reached", False),
        "IcmpOutRateLimitHost": ("not sent: icmp_ratelimit of that destination is reached", False),
    },
    "icmp6": {
        "Icmp6InDestUnreachs": ("received: destination or port not reachable", False),
        "Icmp6OutDestUnreachs": ("sent: not reachable (no route or port, filtered)", False),
        "Icmp6InPktTooBigs": ("received: packet too large (path MTU discovery)", False),
        "Icmp6OutPktTooBigs": ("sent: packet too large (path MTU discovery)", False),
        "Icmp6InTimeExcds": ("received: hop limit expired (traceroute, or a loop)", False),
        "Icmp6InErrors": ("bad ICMPv6 messages", True),
        "Icmp6InCsumErrors": ("ICMPv6 messages whose checksum is wrong", True),
        "Icmp6OutErrors": ("ICMPv6 messages that could not be sent", True),
        "Icmp6OutRateLimitHost": ("not sent: the rate limit of that destination is reached", False),
    },
}  # fmt: skip
SOFTNET_MEANING: dict[str, tuple[str, bool]] = {
    "dropped": ("packets dropped before any rule: the CPU's input queue was full (net.core.netdev_max_backlog)", True),
    "time_squeeze": ("times the CPU stopped receiving with packets left: net.core.netdev_budget, or too busy", True),
    "flow_limit": ("packets of one large flow dropped to spare the others (net.core.flow_limit_cpu_bitmap)", True),
    "backlog": ("packets that wait in CPUs' input queues now", False),
    "received_rps": ("times another CPU handed packets over (RPS)", False),
    "processed": ("packets handled", False),
}
HOST_WIDE = "; of the whole host"  # softnet has no namespaces
