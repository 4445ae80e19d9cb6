"""The words of the filter language: the meaning of each, and the kinds of rows that have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nettop.linux import conntrack, nf_tables, packet
from nettop.linux.inet import IPPROTO_ICMPV6
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.text.flow import PROTO_NAMES
from nettop.text.protocols import NAMES
from nettop.text.sanitize import clean

FLOW, EVENT, PACKET, TRACE, CHAIN, RULE, COUNTER = "flow", "event", "packet", "trace", "chain", "rule", "counter"
TRACED: Final = "traced packet"  # TRACE: a packet that is to be traced
DEVICE: Final = "device"  # and namespaces
ADDRESSED: Final = frozenset((FLOW, EVENT, PACKET, TRACE, TRACED))  # kinds with host, net, port and protocols
CONNTRACK: Final = frozenset((FLOW, EVENT))
PACKETS: Final = frozenset((PACKET,))
RULESET: Final = frozenset((CHAIN, RULE))
COUNTERS: Final = frozenset((COUNTER,))
DEVICES: Final = frozenset((DEVICE,))
KINDS: Final = ADDRESSED | RULESET | COUNTERS | DEVICES
BARE: Final = {COUNTER: "name", DEVICE: "any"}  # the field of which a word alone is a part

MAX_PID = 4 << 20  # PID_MAX_LIMIT, linux/threads.h
_U32 = (1 << 32) - 1
FAMILIES: Final = {"ip": AF_INET, "ip4": AF_INET, "ip6": AF_INET6}
PROTOCOLS: Final = {
    "icmp6" if number == IPPROTO_ICMPV6 else name: number
    for number, name in NAMES.items()
    if name not in ("ipv6", "eigrp", "ipcomp")
}
PROTOCOL_ALIASES: Final = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}
TYPES: Final = frozenset(("host", "net", "port", "portrange"))
SIDES: Final = frozenset(("src", "dst"))
TUPLE_SIDES: Final = frozenset(("osrc", "odst", "rsrc", "rdst"))
OPERATORS: Final = frozenset(("<", "<=", "=", "==", "!=", ">", ">="))
# Values that accept only = and !=, and values that must be compared.
UNORDERED: Final = frozenset(("word", "exact-word", "address", "label", "state", "status", "proto"))
MEASURES: Final = frozenset(("size", "seconds"))

STATE_NAMES: Final = frozenset(name for names in conntrack.STATES.values() for name in names)
# Bits of `status` by word: (bits, True: any of them is set, False: none is).
STATUS_WORDS: Final = {name: (1 << bit, True) for bit, name in enumerate(conntrack.IPS_NAMES)} | {
    "unreplied": (conntrack.IPS_SEEN_REPLY, False),
    "replied": (conntrack.IPS_SEEN_REPLY, True),
    "nat": (conntrack.IPS_SRC_NAT | conntrack.IPS_DST_NAT, True),
    "snat": (conntrack.IPS_SRC_NAT, True),
    "dnat": (conntrack.IPS_DST_NAT, True),
    "offloaded": (conntrack.IPS_OFFLOAD | conntrack.IPS_HW_OFFLOAD, True),
}
NAT_KINDS: Final = ("snat", "dnat", "both", "port-only", "none")  # the words accepted after `nat`
# Words that need no `state` or `status` before them; the others are also words of another field.
BARE_STATUS: Final = frozenset(
    ("unreplied", "replied", "assured", "offload", "offloaded", "expected", "nat", "snat", "dnat", "dying")
)
BARE_STATES: Final = frozenset(
    ("established", "syn_sent", "syn_recv", "syn_sent2", "fin_wait", "close_wait", "last_ack", "time_wait")
)


@dataclass(frozen=True, slots=True)
class Field:
    """A word with a value. `name` is the column of Fields."""

    name: str
    value: str  # a key of field_nodes._READERS
    kinds: frozenset[str]
    default: int | None = None  # the value of rows without one; None: they match nothing
    maximum: int = (1 << 64) - 1  # the largest number that the column can hold


FIELDS: Final = {
    "proto": Field("proto", "proto", ADDRESSED),
    "len": Field("len", "size", PACKETS),
    "vlan": Field("vlan", "vlan", PACKETS, maximum=4095),
    "state": Field("state", "state", CONNTRACK),
    "status": Field("status", "status", CONNTRACK, maximum=_U32),
    "mark": Field("mark", "masked", CONNTRACK, default=0, maximum=_U32),  # the kernel leaves a mark of 0 out of events
    "zone": Field("zone", "number", CONNTRACK, default=0, maximum=65535),  # and the default zone everywhere
    "id": Field("id", "masked", CONNTRACK, maximum=_U32),
    "bytes": Field("bytes", "size", CONNTRACK | RULESET | COUNTERS),
    "packets": Field("packets", "size", CONNTRACK | RULESET),
    "rate": Field("rate", "size", RULESET | COUNTERS | DEVICES | {FLOW}),
    "age": Field("age", "seconds", frozenset((FLOW,))),
    "timeout": Field("timeout", "seconds", CONNTRACK),
    "helper": Field("helper", "word", CONNTRACK),
    "label": Field("label", "label", CONNTRACK | RULESET),
    "event": Field("event", "word", frozenset((EVENT,))),
    "pid": Field("pid", "number", frozenset((FLOW,)), maximum=MAX_PID),
    "process": Field("process", "exact-word", frozenset((FLOW,))),
    "netns": Field("netns", "exact-word", KINDS - {TRACE}),
    "device": Field("device", "exact-word", RULESET | DEVICES | {PACKET, TRACE, TRACED}),
    "iface": Field("device", "exact-word", RULESET | DEVICES | {PACKET, TRACE, TRACED}),
    "chain": Field("chain", "exact-word", RULESET | {TRACED}),
    "rule": Field("rule", "exact-word", frozenset((TRACED,))),
    "verdict": Field("verdict", "word", RULESET | {TRACED}),
    "family": Field("family", "word", RULESET),
    "table": Field("table", "exact-word", RULESET | {TRACED}),
    "hook": Field("hook", "word", RULESET | {TRACED}),
    "backend": Field("backend", "word", RULESET),
    "priority": Field("priority", "signed", RULESET, maximum=_U32 >> 1),
    "handle": Field("handle", "number", RULESET),
    "name": Field("name", "word", COUNTERS),
    "group": Field("group", "word", COUNTERS),
    "value": Field("value", "size", COUNTERS),
    "host": Field("address", "address", DEVICES),
    "net": Field("address", "address", DEVICES),
    "mac": Field("mac", "word", DEVICES),
    "kind": Field("kind", "word", DEVICES),
    "mtu": Field("mtu", "number", DEVICES, maximum=_U32),
    "drops": Field("drops", "size", DEVICES),
    "any": Field("any", "word", DEVICES),
}
_TARGETS = (  # of iptables-extensions(8) and ebtables(8), in addition to those above
    "audit", "checksum", "classify", "clusterip", "connmark", "connsecmark", "ct", "dnpt", "dscp", "ecn", "hl", "hmark",
    "idletimer", "led", "mark", "nflog", "nfqueue", "rateest", "secmark", "set", "snpt", "tarpit", "tcpmss",
    "tcpoptstrip", "tee", "tos", "trace", "ttl", "ulog", "arpreply", "mangle",
)  # fmt: skip
EVENTS: Final = ("new", "update", "destroy", "exp-new", "exp-upd", "exp-del")  # of flows, and of expectations
# The values of fields that have no others; of targets of iptables others may exist, which a wildcard finds.
VALUES: Final = {
    "event": EVENTS,
    "family": ("ip", "ip6", "inet", "arp", "bridge", "netdev"),
    "hook": nf_tables.HOOK_ORDER,
    "backend": ("nft", "iptables-nft", "iptables-legacy"),
    "verdict": (
        *("accept", "drop", "reject", "return", "continue", "break", "jump", "goto", "vmap", "queue", "stolen", "lost"),
        *("repeat", "stop"),
        *("snat", "dnat", "masquerade", "redirect", "netmap", "tproxy", "fwd", "dup", "synproxy", "notrack", "log"),
        *_TARGETS,
    ),
}
# Words for a number in a packet's column: (column, value, True: equal, False: any other).
PACKET_WORDS: Final = {
    "arp": ("ethertype", packet.ETH_P_ARP, True),
    "rarp": ("ethertype", packet.ETH_P_RARP, True),
    "mpls": ("ethertype", packet.ETH_P_MPLS, True),
    "pppoed": ("ethertype", packet.ETH_P_PPP_DISC, True),
    "pppoes": ("ethertype", packet.ETH_P_PPP_SES, True),
    "stp": ("ethertype", packet.STP_SAP, True),
    "outbound": ("direction", packet.PACKET_OUTGOING, True),
    "inbound": ("direction", packet.PACKET_OUTGOING, False),
}
ETHERTYPES: Final = {  # names after `ether proto`
    "ip": packet.ETH_P_IP, "ip6": packet.ETH_P_IPV6, "arp": packet.ETH_P_ARP, "rarp": packet.ETH_P_RARP,
    "stp": packet.STP_SAP, "loopback": packet.ETH_P_LOOPBACK, "mpls": packet.ETH_P_MPLS,
    "pppoed": packet.ETH_P_PPP_DISC, "pppoes": packet.ETH_P_PPP_SES,
}  # fmt: skip
LINK: Final = ("ether", "broadcast", "multicast")  # words of the link layer
GROUPS: Final = LINK[1:]
# Names of columns and of Wireshark's fields, which are no words here, and the words to use.
FOREIGN: Final = {
    **{"sport": "src port", "dport": "dst port", "ip.addr": "host", "ip.src": "src host", "ip.dst": "dst host"},
    **{"ipv6.addr": "host", "ipv6.src": "src host", "ipv6.dst": "dst host", "ip.proto": "proto"},
    **{f"{name}.port": f"{name} port" for name in ("tcp", "udp", "sctp")},
    **{f"{name}.srcport": f"{name} src port" for name in ("tcp", "udp", "sctp")},
    **{f"{name}.dstport": f"{name} dst port" for name in ("tcp", "udp", "sctp")},
    **{"eth.addr": "ether host", "eth.src": "ether src", "eth.dst": "ether dst", "vlan.id": "vlan", "frame.len": "len"},
}
JOINTS: Final = ("and", "or")
JOIN: Final = {"and": "and", "&&": "and", "or": "or", "||": "or"}
_QUALIFIERS: Final = (*sorted(TYPES), *sorted(SIDES), *FAMILIES, *PROTOCOLS)


def beginnings(kind: str) -> list[str]:
    """Return every word that can begin a primitive of a filter for rows of this kind, sorted."""
    found = {word for word, field in FIELDS.items() if kind in field.kinds}
    if kind in ADDRESSED:
        found |= {*_QUALIFIERS}
    if kind in CONNTRACK:
        found |= TUPLE_SIDES | BARE_STATUS | BARE_STATES
    if kind == PACKET:
        found |= {*PACKET_WORDS, "less", "greater", *LINK}
    return sorted(found)


def words(kind: str) -> list[str]:
    """Every word of the language for rows of this kind, sorted."""
    return sorted({*beginnings(kind), *JOINTS, "not", *(("mask",) if kind in ADDRESSED else ())})


def own_words(kind: str) -> str:
    """Return the words for rows of this kind, in one line."""
    own = [word for word in beginnings(kind) if word not in (*_QUALIFIERS, *BARE_STATES)]
    return " ".join([*(("host net port src dst, protocols,",) if kind in ADDRESSED else ()), *own])


def qualifiers(kind: str) -> list[str]:
    """Return what may follow a protocol in the same primitive: sides and types."""
    sides = SIDES | TUPLE_SIDES if kind in CONNTRACK else SIDES
    return [*sorted(sides), *sorted(TYPES)]


def proto_filter(proto: int) -> str:
    """Return the filter that selects a protocol."""
    word = PROTO_NAMES[proto]
    return word if PROTOCOL_ALIASES.get(word, word) in PROTOCOLS else f"proto {proto}"


def way_filter(source: str, destination: str, sides: tuple[str, str] = ("src", "dst")) -> str:
    """Return the filter of what goes from one end (address and port) to the other, in parentheses."""
    return f"({sides[0]} {source} and {sides[1]} {destination})"


def word_filter(name: str, word: str) -> str:
    """Return the filter for a word. Quotes, wildcards and unsafe characters become `?`."""
    plain = "".join("?" if char in '"*?' or clean(char) != char else char for char in word)
    return f'{name} "{plain}"' if word else f"not {name} *"
