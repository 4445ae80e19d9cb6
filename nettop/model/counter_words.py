"""What each counter means, in words for the person who reads it at three in the morning.

Names are the kernel's (struct ip_conntrack_stat in linux/netfilter/nf_conntrack_common.h).
"""

from __future__ import annotations

# group → name → meaning; the order is the screen's.
MEANING: dict[str, dict[str, str]] = {
    "table": {
        "entries": "flows in this namespace's table",
        "max_entries": "the limit, nf_conntrack_max; above it new flows are dropped",
    },
    "conntrack": {
        "insert_failed": "an entry could not be inserted: the tuple was taken meanwhile; often a NAT port clash",
        "drop": "packets dropped because tracking failed: table full, no memory, or an unresolved clash",
        "early_drop": "entries thrown out before their time to make room: the table is or was full",
        "chain_toolong": "no entry made because the hash chain was too long: too few buckets, or an attack",
        "invalid": "packets that fit no flow's state: late, out of window, malformed, asymmetric routing",
        "error": "packets that a protocol's own check refused: bad checksum, ICMP error that fits nothing",
        "search_restart": "lookups begun anew since the entry moved meanwhile: normal under churn and resizes",
        "clash_resolve": "two packets of one new flow at once, made one: usual for DNS over UDP, nothing was lost",
        "found": "lookups that found an entry",
        "insert": "entries put into the table: new flows",
        "searched": "entries looked at in lookups (old kernels)",
        "new": "entries made that were not expected (old kernels)",
        "ignore": "packets already tracked or exempt, such as loopback's second pass (old kernels)",
        "delete": "entries removed (old kernels)",
        "delete_list": "entries put on the dying list (old kernels)",
    },
    "expect": {
        "new": "expectations added by helpers",
        "create": "expectations made",
        "delete": "expectations removed",
    },
}
LOST_MEANING = "records that never reached the screens: the kernel's buffer or our queue was full"
