"""Policy rules of `ip rule` (struct fib_rule_hdr, linux/fib_rules.h)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct

from nettop.decode.route_options import realms_text
from nettop.decode.rtnetlink import BYTES_OF, name, parts
from nettop.decode.topology.objects import PolicyRule
from nettop.linux import rtnetlink as rtnl
from nettop.linux.inet import IPPROTO_ICMPV6
from nettop.linux.netlink import ERR_VALUE_SHORT, Attributes, MalformedError
from nettop.text.address import address_text
from nettop.text.protocols import FLOW_NAMES

DETACHED, UNRESOLVED = "[detached]", "[unresolved]"  # for want of a device: no packet matches; of a rule
_ACTIONS = {3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}  # FR_ACT_*
_TO_TABLE, _GOTO = 1, 2
_INVERT, _UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED = 2, 4, 8, 16  # FIB_RULE_*
_PROTOCOLS = FLOW_NAMES | {IPPROTO_ICMPV6: "ipv6-icmp"}
_OF_KERNEL = 2  # RTPROT_KERNEL
_MASKED = (  # selectors of Linux 6.12 and later: the mask of all bits is not printed
    ("dscp", rtnl.FRA_DSCP, rtnl.FRA_DSCP_MASK, 0x3F),
    ("flowlabel", rtnl.FRA_FLOWLABEL, rtnl.FRA_FLOWLABEL_MASK, 0xFFFFF),
)
_SUPPRESSED = (
    ("suppress_prefixlength", rtnl.FRA_SUPPRESS_PREFIXLEN),
    ("suppress_ifgroup", rtnl.FRA_SUPPRESS_IFGROUP),
)
_NONE = 0xFFFF_FFFF  # of suppress_*, and of a mask
_UIDS, _PORTS = Struct("=II"), Struct("=HH")  # struct fib_rule_uid_range, fib_rule_port_range


@lru_cache(4096)
def read_rule(body: bytes) -> PolicyRule:
    """Return the rule of an RTM_NEWRULE without its netlink header. MalformedError if it is none."""
    (family, dst_len, src_len, tos, table, _, _, action, flags), found = parts(rtnl.FIB_RULE_HDR, body, 0, len(body))
    table = found.host(rtnl.FRA_TABLE) or table
    words = ["not"] if flags & _INVERT else []
    words += ["from", _prefix(found, rtnl.FRA_SRC, family, src_len) or "all"]
    words += [*_selector(found, family, dst_len, tos, flags), *_of_newer(found)]
    priority = found.host(rtnl.FRA_PRIORITY) or 0
    to_table = table if action == _TO_TABLE else 0
    return PolicyRule(family, priority, " ".join(words), " ".join(_action(found, action, table, flags)), to_table)


def _selector(found: Attributes, family: int, dst_len: int, tos: int, flags: int) -> Iterator[str]:
    """Yield the words of `ip rule` between the source and the action."""
    if destination := _prefix(found, rtnl.FRA_DST, family, dst_len):
        yield f"to {destination}"
    if tos:
        yield f"tos {tos:#x}"
    mark, mask = found.host(rtnl.FRA_FWMARK), found.host(rtnl.FRA_FWMASK)
    if mark or mask:
        yield f"fwmark {_hex(mark or 0)}" + ("" if mask in (None, _NONE) else f"/{mask:#x}")
    for word, kind, flag in (("iif", rtnl.FRA_IIFNAME, _IIF_DETACHED), ("oif", rtnl.FRA_OIFNAME, _OIF_DETACHED)):
        if device := name(found.raw(kind)):
            yield f"{word} {device}" + (f" {DETACHED}" if flags & flag else "")
    if found.number(rtnl.FRA_L3MDEV):
        yield "lookup [l3mdev-table]"
    if users := _range(found, rtnl.FRA_UID_RANGE, _UIDS):
        yield f"uidrange {users[0]}-{users[1]}"
    if protocol := found.number(rtnl.FRA_IP_PROTO):
        yield f"ipproto {protocol_word(protocol)}"
    for word, kind in (("sport", rtnl.FRA_SPORT_RANGE), ("dport", rtnl.FRA_DPORT_RANGE)):
        if ports := _range(found, kind, _PORTS):
            yield f"{word} {ports[0]}" + (f"-{ports[1]}" if ports[1] != ports[0] else "")
    if tunnel := found.number(rtnl.FRA_TUN_ID):
        yield f"tun_id {tunnel}"


def _of_newer(found: Attributes) -> Iterator[str]:
    """Yield the words of selectors that Linux has since 6.12."""
    for word, kind in (("sport-mask", rtnl.FRA_SPORT_MASK), ("dport-mask", rtnl.FRA_DPORT_MASK)):
        ports = int.from_bytes(found.raw(kind)[:2], rtnl.HOST_ORDER)
        if ports not in (0, 0xFFFF):
            yield f"{word} {ports:#x}"
    for word, kind, masks, everything in _MASKED:
        if kind in found:
            mask = found.number(masks)
            yield f"{word} {found.number(kind):#x}" + ("" if mask in (None, everything) else f"/{mask:#x}")


def protocol_word(protocol: int) -> str:
    """Return the name of an IP protocol as `ip rule` prints it."""
    return _PROTOCOLS.get(protocol, f"ipproto-{protocol}")


def _hex(value: int) -> str:
    return f"{value:#x}" if value else "0"  # as printf("%#x")


def _prefix(found: Attributes, kind: int, family: int, length: int) -> str:
    size = BYTES_OF[family]
    address = found.number(kind, size, size)
    if address is None:
        return f"0/{length}" if length else ""
    text = address_text(family, address >> 64, address & (1 << 64) - 1)
    return text if length == size * 8 else f"{text}/{length}"


def _range(found: Attributes, kind: int, layout: Struct) -> tuple[int, ...]:
    raw = found.raw(kind)
    if 0 < len(raw) < layout.size:
        raise MalformedError(found.span(kind)[0], ERR_VALUE_SHORT)
    return layout.unpack_from(raw) if raw else ()


def _action(found: Attributes, action: int, table: int, flags: int) -> Iterator[str]:
    if action == _TO_TABLE:
        if not found.number(rtnl.FRA_L3MDEV):
            yield f"lookup {rtnl.RT_TABLES.get(table, table)}"
    elif action == _GOTO:
        yield f"goto {found.host(rtnl.FRA_GOTO) or 0}" + (f" {UNRESOLVED}" if flags & _UNRESOLVED else "")
    else:
        yield _ACTIONS.get(action, str(action))
    for word, kind in _SUPPRESSED:
        value = found.host(kind)
        if value not in (None, _NONE):
            yield f"{word} {value}"
    if realms := found.host(rtnl.FRA_FLOW):
        yield f"realms {realms_text(realms)}"
    protocol = found.number(rtnl.FRA_PROTOCOL)
    if protocol and protocol != _OF_KERNEL:
        yield f"proto {rtnl.RTPROT.get(protocol, protocol)}"
