"""The vocabulary of flows: names of protocols, states, status bits and NAT."""

from __future__ import annotations

from functools import lru_cache

from nettop.linux import conntrack as nfct
from nettop.linux import inet
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.text.protocols import FLOW_NAMES
from nettop.text.units import ABSENT

PROTO_NAMES = tuple(FLOW_NAMES.get(n, f"proto-{n}") for n in range(256))
FAMILY_NAMES = {AF_INET: "ipv4", AF_INET6: "ipv6"}

_TCP, _SCTP, _DCCP = (
    [name.upper() for name in nfct.STATES[proto]] for proto in (inet.IPPROTO_TCP, inet.IPPROTO_SCTP, inet.IPPROTO_DCCP)
)

# One code space for all states that a flow can show: first the status bits, then 16 codes for each protocol.
STATE_NONE, STATE_UNREPLIED, STATE_REPLIED, STATE_ASSURED = 0, 1, 2, 3
STATE_BASE = {inet.IPPROTO_TCP: 16, inet.IPPROTO_SCTP: 32, inet.IPPROTO_DCCP: 48}
STATE_ESTABLISHED = STATE_BASE[inet.IPPROTO_TCP] + _TCP.index("ESTABLISHED")
STATE_TIME_WAIT = STATE_BASE[inet.IPPROTO_TCP] + _TCP.index("TIME_WAIT")


def _sixteen(*names: str) -> tuple[str, ...]:
    return names + tuple(f"STATE_{n}" for n in range(len(names), 16))


STATE_LABELS = (
    *_sixteen(ABSENT, "UNREPLIED", "replied", "assured"),
    *(_sixteen(*_TCP) + _sixteen(*_SCTP) + _sixteen(*_DCCP)),
)

OFFLOAD_NAMES = ("", "software", "hardware")  # the forwarder of the flow's packets, if not the network stack

# NAT bits of a flow: the rewritten endpoint, and whether only its port was rewritten.
NAT_SNAT, NAT_DNAT, NAT_SNAT_PORT, NAT_DNAT_PORT = 1, 2, 4, 8

# by columns.EVENT_*, a loss, and EVENT_EXPECT + … for expectations
EVENT_NAMES = ("dump", "new", "update", "destroy", "gap", "exp-new", "exp-upd", "exp-del")


@lru_cache(maxsize=4096)
def status_names(status: int) -> tuple[str, ...]:
    """Return the names of the set IPS_* bits, lowest first; of a bit without a name `bit_N`."""
    bits = (n for n in range(32) if status >> n & 1)
    return tuple(nfct.IPS_NAMES[n] if n < len(nfct.IPS_NAMES) else f"bit_{n}" for n in bits)


def flag_words(status: int, has_state: bool) -> list[str]:
    """Return conntrack's words for status bits; UNREPLIED and ASSURED only if the flow's state is not made of them."""
    flags = (
        [(not status & nfct.IPS_SEEN_REPLY, "UNREPLIED"), (status & nfct.IPS_ASSURED, "ASSURED")] if has_state else []
    )
    flags += [(status & nfct.IPS_HW_OFFLOAD, "HW_OFFLOAD"), (offload_code(status) == 1, "OFFLOAD")]
    return [word for bit, word in (*flags, (status & nfct.IPS_EXPECTED, "EXPECTED")) if bit]


def offload_code(status: int) -> int:
    """Return the index into OFFLOAD_NAMES of a status."""
    return 2 if status & nfct.IPS_HW_OFFLOAD else int(bool(status & nfct.IPS_OFFLOAD))


def nat_names(nat: int) -> list[str]:
    """Return `snat` and `dnat`, as far as they apply, for JSON."""
    return [word for bit, word in ((NAT_SNAT, "snat"), (NAT_DNAT, "dnat")) if nat & bit]


def nat_label(nat: int) -> str:
    """Return `SNAT`, `DNAT` or `SNAT+DNAT`, with ` port` if only ports were rewritten; "" without NAT."""
    if not nat & (NAT_SNAT | NAT_DNAT):
        return ""
    only_ports = bool(nat & NAT_SNAT) == bool(nat & NAT_SNAT_PORT) and bool(nat & NAT_DNAT) == bool(nat & NAT_DNAT_PORT)
    return "+".join(word.upper() for word in nat_names(nat)) + (" port" if only_ports else "")


NAT_LABELS = tuple(nat_label(n) for n in range(16))


def labels_text(raw: bytes) -> str:
    """Return connection labels as a hexadecimal number. Bit n is label n: the kernel's bitmap is little-endian."""
    return hex(int.from_bytes(raw, "little"))


def is_icmp(proto: int) -> bool:
    """Return True if the port columns hold an ICMP id and type << 8 | code."""
    return proto in (inet.IPPROTO_ICMP, inet.IPPROTO_ICMPV6)
