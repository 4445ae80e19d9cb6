"""What conntrack's counters mean, and what to do about those that matter, for a person at three in the morning.

Names are the kernel's (struct ip_conntrack_stat in linux/netfilter/nf_conntrack_common.h); what current kernels count
under them was read in net/netfilter/nf_conntrack_core.c and tried.
"""

from __future__ import annotations

# group → name → meaning; the order is the screen's.
MEANING: dict[str, dict[str, str]] = {
    "table": {
        "entries": "flows in this namespace's table",
        "max_entries": "the limit, nf_conntrack_max; above it new flows are dropped",
        "expectations": "flows that helpers wait for: made less removed",
        "max_expectations": "their limit, nf_conntrack_expect_max; above it helpers fail",
        "buckets": "of the hash that all namespaces share; each flow stands in two",
    },
    "conntrack": {
        "insert_failed": "an entry could not be inserted: the tuple was taken meanwhile; often a NAT port clash",
        "drop": "packets dropped because tracking failed: table full, no memory, or an unresolved clash",
        "early_drop": "entries thrown out before their time to make room: the table is or was full",
        "chain_toolong": "no entry made and the packet dropped: the hash chain was too long",
        "invalid": "packets that fit no flow's state: late, out of window, malformed, asymmetric routing",
        "error": "packets that a protocol's own check refused: bad checksum, ICMP error that fits nothing",
        "search_restart": "lookups begun anew since the entry moved meanwhile: normal under churn and resizes",
        "clash_resolve": "two packets of one new flow at once, made one: usual for DNS over UDP, nothing was lost",
        "found": "NAT wanted a tuple that another flow has: it took the next (old kernels: lookups that found one)",
        "insert": "entries put in by a program, such as conntrackd (old kernels: all new flows)",
        "searched": "entries looked at in lookups (old kernels)",
        "new": "entries made that were not expected (old kernels)",
        "ignore": "packets already tracked or exempt, such as loopback's second pass (old kernels)",
        "delete": "entries removed (old kernels)",
        "delete_list": "entries put on the dying list (old kernels)",
    },
    "expect": {
        "new": "flows that came as an expectation foretold",
        "create": "expectations made by helpers",
        "delete": "expectations removed: fulfilled or timed out",
    },
}
BAD = frozenset(("insert_failed", "drop", "early_drop", "chain_toolong", "invalid", "error"))
LOST_MEANING = "records that never reached the screens: the kernel's buffer or our queue was full"

# What to do while such a counter moves.
ADVICE: dict[tuple[str, str], str] = {
    ("conntrack", "drop"): "raise net.netfilter.nf_conntrack_max, or group Flows to see who holds the table",
    ("conntrack", "early_drop"): "raise net.netfilter.nf_conntrack_max, or group Flows to see who holds the table",
    ("conntrack", "chain_toolong"): "more buckets (/sys/module/nf_conntrack/parameters/hashsize), or it is an attack",
    ("conntrack", "insert_failed"): "more SNAT addresses or ports, `random-fully`, or fewer retries by clients",
    ("softnet", "dropped"): "raise net.core.netdev_max_backlog, spread the load over CPUs (RPS)",
    ("softnet", "time_squeeze"): "raise net.core.netdev_budget and netdev_budget_usecs",
    ("tcp", "TcpExtListenOverflows"): "raise net.core.somaxconn and the program's backlog",
    ("udp", "UdpRcvbufErrors"): "raise net.core.rmem_max and the program's SO_RCVBUF",
}
NEARLY_FULL = 0.9  # of the table: from here on advice is given
FULL_ADVICE = "raise net.netfilter.nf_conntrack_max, or group Flows to see who holds the table"
FULL = ": full, new flows are dropped"
