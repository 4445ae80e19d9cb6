"""Policy rules and filters of traffic control, read by pyroute2: there are few of them, and their options are nested.

pyroute2 is imported with the first one, when the map opens, since that takes 0.3 s. Equal messages are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from nettop.decode.route_options import realms_text
from nettop.decode.topology.objects import PolicyRule, Queue
from nettop.linux import rtnetlink as rtnl
from nettop.linux.inet import IPPROTO_ICMPV6
from nettop.linux.netlink import ERR_MALFORMED, ERR_TOO_LONG, NLMSG_HDRLEN, NLMSGHDR, Attributes, MalformedError
from nettop.text.protocols import FLOW_NAMES
from nettop.text.sanitize import clean

_Value = TypeVar("_Value")
DETACHED, UNRESOLVED = (
    "[detached]",
    "[unresolved]",
)  # for want of a device: no packet matches; of a rule
_MAX_MESSAGE = 16 << 10  # bytes: the kernel's are shorter
_ACTIONS = {3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}  # FR_ACT_*, linux/fib_rules.h
_TO_TABLE, _GOTO = 1, 2
_INVERT, _UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED = 2, 4, 8, 16  # FIB_RULE_*
_PROTOCOLS = FLOW_NAMES | {IPPROTO_ICMPV6: "ipv6-icmp"}
_OF_KERNEL = 2  # RTPROT_KERNEL
_DSCP, _FLOWLABEL, _FLOWLABEL_MASK, _SPORT_MASK, _DPORT_MASK, _DSCP_MASK = 25, 26, 27, 28, 29, 30  # FRA_*
_SUPPRESSED = (("suppress_prefixlength", "FRA_SUPPRESS_PREFIXLEN"), ("suppress_ifgroup", "FRA_SUPPRESS_IFGROUP"))
_NONE = 0xFFFF_FFFF  # of suppress_*
_MIRRED = {1: "redirect", 2: "mirror", 3: "redirect", 4: "mirror"}  # TCA_EGRESS_REDIR …, linux/tc_act/tc_mirred.h
_GACT = {-1: "continue", 0: "pass", 1: "reclassify", 2: "drop", 3: "pipe", 4: "stolen", 7: "redirect", 8: "trap"}


@lru_cache(4096)
def read_rule(body: bytes) -> PolicyRule:
    """Return the rule of an RTM_NEWRULE without its netlink header. MalformedError if it is none."""
    from pyroute2.netlink.rtnl.fibmsg import fibmsg

    more = Attributes(body, rtnl.FIB_RULE_HDR.size, len(body))
    return _read(fibmsg, body, lambda found: _rule(found, more))


@lru_cache(1024)
def read_filter(body: bytes) -> Queue:
    """Return the filter of an RTM_NEWTFILTER without its netlink header. MalformedError if it is none."""
    from pyroute2.netlink.rtnl.tcmsg import tcmsg

    return _read(tcmsg, body, _filter)


def _read(message: Any, body: bytes, convert: Callable[[Any], _Value]) -> _Value:
    if len(body) > _MAX_MESSAGE:
        raise MalformedError(0, ERR_TOO_LONG)
    try:
        found = message(NLMSGHDR.pack(NLMSG_HDRLEN + len(body), 0, 0, 0, 0) + body)
        found.decode()
        return convert(found)
    except Exception as error:  # from bytes that are no such message, pyroute2 raises what its fields raise
        raise MalformedError(0, ERR_MALFORMED) from error


def _rule(found: Any, more: Attributes) -> PolicyRule:
    """`more` has the attributes that pyroute2 does not know."""
    table = found.get_attr("FRA_TABLE") or found["table"]
    to_table = found["action"] == _TO_TABLE
    selector = clean(" ".join((*_selector(found), *_of_newer(more))))
    action = " ".join(_action(found, table))
    return PolicyRule(found["family"], found.get_attr("FRA_PRIORITY") or 0, selector, action, table if to_table else 0)


def _selector(found: Any) -> Iterator[str]:
    """Yield the words of `ip rule` before its action."""
    if found["flags"] & _INVERT:
        yield "not"
    yield f"from {_prefix(found.get_attr('FRA_SRC'), found['src_len'], found['family']) or 'all'}"
    if destination := _prefix(found.get_attr("FRA_DST"), found["dst_len"], found["family"]):
        yield f"to {destination}"
    if found["tos"]:
        yield f"tos {found['tos']:#x}"
    mark, mask = found.get_attr("FRA_FWMARK"), found.get_attr("FRA_FWMASK")
    if mark or mask:
        yield f"fwmark {_hex(mark or 0)}" + ("" if mask in (None, _NONE) else f"/{mask:#x}")
    for word, name, flag in (("iif", "FRA_IIFNAME", _IIF_DETACHED), ("oif", "FRA_OIFNAME", _OIF_DETACHED)):
        if device := found.get_attr(name):
            yield f"{word} {device}" + (f" {DETACHED}" if found["flags"] & flag else "")
    if found.get_attr("FRA_L3MDEV"):
        yield "lookup [l3mdev-table]"
    if users := found.get_attr("FRA_UID_RANGE"):
        yield f"uidrange {str(users).replace(':', '-')}"
    if protocol := found.get_attr("FRA_IP_PROTO"):
        yield f"ipproto {protocol_word(protocol)}"
    for word, name in (("sport", "FRA_SPORT_RANGE"), ("dport", "FRA_DPORT_RANGE")):
        if ports := found.get_attr(name):
            first, _, last = str(ports).partition(":")
            yield f"{word} {first}" + (f"-{last}" if last != first else "")
    if tunnel := found.get_attr("FRA_TUN_ID"):
        yield f"tun_id {tunnel}"


def _of_newer(found: Attributes) -> Iterator[str]:
    """Yield the words of selectors that Linux has since 6.12."""
    for word, kind in (("sport-mask", _SPORT_MASK), ("dport-mask", _DPORT_MASK)):
        ports = int.from_bytes(found.raw(kind)[:2], rtnl.HOST_ORDER)
        if ports not in (0, 0xFFFF):
            yield f"{word} {ports:#x}"
    for word, kind, masks, everything in (
        ("dscp", _DSCP, _DSCP_MASK, 0x3F),
        ("flowlabel", _FLOWLABEL, _FLOWLABEL_MASK, 0xFFFFF),
    ):
        if kind in found:
            mask = found.number(masks)
            yield f"{word} {found.number(kind):#x}" + ("" if mask in (None, everything) else f"/{mask:#x}")


def protocol_word(protocol: int) -> str:
    """Return the name of an IP protocol as `ip rule` prints it."""
    return _PROTOCOLS.get(protocol, f"ipproto-{protocol}")


def _hex(value: int) -> str:
    return f"{value:#x}" if value else "0"  # as printf("%#x")


def _prefix(address: Any, length: int, family: int) -> str:
    if address is None:
        return "0/" + str(length) if length else ""
    return f"{address}" if length == (32 if ":" not in str(address) else 128) else f"{address}/{length}"


def _action(found: Any, table: int) -> Iterator[str]:
    action = found["action"]
    if action == _TO_TABLE:
        if not found.get_attr("FRA_L3MDEV"):
            yield f"lookup {rtnl.RT_TABLES.get(table, table)}"
    elif action == _GOTO:
        yield f"goto {found.get_attr('FRA_GOTO') or 0}" + (f" {UNRESOLVED}" if found["flags"] & _UNRESOLVED else "")
    else:
        yield _ACTIONS.get(action, str(action))
    for word, name in _SUPPRESSED:
        value = found.get_attr(name)
        if value is not None and value != _NONE:
            yield f"{word} {value}"
    if realms := found.get_attr("FRA_FLOW"):
        yield f"realms {realms_text(realms)}"
    protocol = found.get_attr("FRA_PROTOCOL")
    if protocol and protocol != _OF_KERNEL:
        yield f"proto {rtnl.RTPROT.get(protocol, protocol)}"


def _filter(found: Any) -> Queue:
    kind = clean(str(found.get_attr("TCA_KIND") or ""))
    parts = [*_classifier(found.get_attr("TCA_OPTIONS"))]
    words = clean(" ".join(part for part in parts if isinstance(part, str)))
    targets = tuple(part for part in parts if not isinstance(part, str))
    return Queue(found["index"], kind, found["handle"], found["parent"], True, words, targets=targets)


def _classifier(options: Any) -> Iterator[str | tuple[str, int]]:
    """Yield the program of a bpf filter, and the actions of any; of mirred where it sends packets."""
    attrs = dict(options["attrs"]) if options and "attrs" in options else {}
    for name, value in attrs.items():
        if name == "TCA_BPF_NAME":
            yield str(value)
        elif name == "TCA_BPF_ID":
            yield f"id {value}"
        elif name.endswith("_ACT") and "attrs" in value:
            yield from _actions(value["attrs"])


def _actions(attrs: Iterable[Any]) -> Iterator[str | tuple[str, int]]:
    for _, action in attrs:
        kind, options = action.get_attr("TCA_ACT_KIND"), action.get_attr("TCA_ACT_OPTIONS")
        parms = options.get_attr(f"TCA_{kind.upper()}_PARMS") if options else None
        if kind == "mirred" and parms:
            yield _MIRRED.get(parms["eaction"], "mirred"), parms["ifindex"]
        elif kind == "gact" and parms:
            yield _GACT.get(parms["action"], str(parms["action"]))
        elif kind:
            yield kind
