"""The %-templates of a flow's line, as JSON or text: made once per shape, filled for each flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from json import dumps

from nettop import columns as ct
from nettop.linux.conntrack import IPS_ASSURED, IPS_SEEN_REPLY
from nettop.linux.socket import AF_INET6
from nettop.text import flow as words
from nettop.text.sanitize import clean

SHAPE_HAVE = (
    ct.HAVE_REPLY | ct.HAVE_OPORTS | ct.HAVE_RPORTS | ct.HAVE_STATUS | ct.HAVE_TIMEOUT | ct.HAVE_MARK | ct.HAVE_ID
    | ct.HAVE_OCOUNT | ct.HAVE_RCOUNT | ct.HAVE_START | ct.HAVE_STATE | ct.HAVE_HELPER | ct.HAVE_LABELS
    | ct.HAVE_ZONE_ORIG_ONLY | ct.HAVE_ZONE_REPLY_ONLY
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FlowShape:
    """The fixed parts of a line: everything but addresses, ports and numbers, equal for many flows.

    Values whose bit is not in `have` are printed as null. For ICMP and ICMPv6 `icmp` and `reply_icmp` are
    type << 8 | code of each direction. `joined`: the template has JOINED_VALUES, too.
    """

    netns: str | None
    family: int
    proto: int
    state: str | None
    status: int | None
    nat: int
    zone: int = 0
    helper: str | None = None
    labels: str | None = None
    event: str | None = None  # None: a flow; else the kind is event
    icmp: int = 0
    reply_icmp: int = 0
    have: int = SHAPE_HAVE & ~(ct.HAVE_ZONE_ORIG_ONLY | ct.HAVE_ZONE_REPLY_ONLY)
    joined: bool = False

    def has(self, bit: int) -> bool:
        """Return whether these flows have the values of a bit of `have`."""
        return bool(self.have & bit)


# The values of a template, in this order.
TEMPLATE_VALUES = (
    *("src", "sport", "dst", "dport", "reply_src", "reply_sport", "reply_dst", "reply_dport", "timeout", "mark", "id"),
    *("packets", "bytes", "reply_packets", "reply_bytes", "start_ns", "ts_ns"),
)
# Values of other models, ready for the line: JSON, or words after a blank. Events have one: who caused them.
JOINED_VALUES = ("rate", "process", "pid")
_NULL = "null%.0s"  # consumes its value without printing it


def json_template(shape: FlowShape) -> str:
    """Return a %-template of one JSON object for TEMPLATE_VALUES: addresses as text, the rest as ints. No newline.

    JOINED_VALUES are null if the shape is not joined; events have no such keys, but perhaps `portid`.
    """
    has = shape.has
    reply = has(ct.HAVE_REPLY)
    parts = [f'"kind":"{"flow" if shape.event is None else "event"}"']
    if shape.event is not None:
        parts.append(f'"event":"{shape.event}"')
    parts += [_pair("netns", shape.netns), f'"family":"{words.FAMILY_NAMES.get(shape.family, shape.family)}"']
    parts.append(f'"proto":"{words.PROTO_NAMES[shape.proto]}"')
    if words.is_icmp(shape.proto):
        parts.append(_icmp_endpoints("", shape.icmp, True, has(ct.HAVE_OPORTS)))
        parts.append(_icmp_endpoints("reply_", shape.reply_icmp, reply, has(ct.HAVE_RPORTS)))
    else:
        parts.append(_port_endpoints("", True, has(ct.HAVE_OPORTS)))
        parts.append(_port_endpoints("reply_", reply, has(ct.HAVE_RPORTS)))
    status = "null" if shape.status is None else _list(words.status_names(shape.status))
    parts += [_pair("state", shape.state), f'"status":{status}']
    parts.append(f'"nat":{_list(words.nat_names(shape.nat))}')
    parts += [_number("timeout", has(ct.HAVE_TIMEOUT)), _number("mark", has(ct.HAVE_MARK)), f'"zone":{shape.zone}']
    parts.append(_number("id", has(ct.HAVE_ID)))
    parts += [_number(key, has(ct.HAVE_OCOUNT)) for key in ("packets", "bytes")]
    parts += [_number(key, has(ct.HAVE_RCOUNT)) for key in ("reply_packets", "reply_bytes")]
    parts += [_number("start_ns", has(ct.HAVE_START)), _pair("helper", shape.helper), _pair("labels", shape.labels)]
    parts.append(('"ts_ns":%s' + "%s" * shape.joined) if shape.event is not None else "%.0s")
    if shape.event is None:
        parts += [f'"{key}":{"%s" if shape.joined else "null"}' for key in JOINED_VALUES]
    return "{" + ",".join(parts).replace(",%.0s", "%.0s") + "}"


def _pair(key: str, text: str | None) -> str:
    return f'"{key}":' + ("null" if text is None else dumps(text).replace("%", "%%"))


def _number(key: str, present: bool) -> str:
    return f'"{key}":' + ("%s" if present else _NULL)


def _list(names: Iterable[str]) -> str:
    return "[" + ",".join(f'"{name}"' for name in names) + "]"


def _address(key: str, present: bool) -> str:
    return f'"{key}":"%s"' if present else f'"{key}":{_NULL}'


def _port_endpoints(prefix: str, present: bool, ports: bool) -> str:
    src, dst = _address(f"{prefix}src", present), _address(f"{prefix}dst", present)
    return f"{src},{_number(f'{prefix}sport', ports)},{dst},{_number(f'{prefix}dport', ports)}"


def _icmp_endpoints(prefix: str, type_code: int, present: bool, ports: bool) -> str:
    src, dst = _address(f"{prefix}src", present), _address(f"{prefix}dst", present)
    kind, code = (str(type_code >> 8), str(type_code & 255)) if ports else ("null", "null")
    key = f"{prefix}icmp"
    return f'{src},{_number(f"{key}_id", ports)},{dst},"{key}_type":{kind},"{key}_code":{code}%.0s'


def text_template(shape: FlowShape) -> str:
    """Return a %-template of one plain line, for the same values (ts_ns is not printed)."""
    has, proto = shape.has, words.PROTO_NAMES[shape.proto]
    state = shape.state or words.STATE_LABELS[status_state(shape.status)]
    head = f"{shape.event.upper():<8}" if shape.event is not None else ""
    parts = [f"{head}{proto:<6} {state:<12} {_text_endpoints(shape, True, has(ct.HAVE_OPORTS), shape.icmp)}"]
    parts.append(" reply " + _text_endpoints(shape, has(ct.HAVE_REPLY), has(ct.HAVE_RPORTS), shape.reply_icmp))
    parts.append(f" {words.nat_label(shape.nat)}" if words.nat_label(shape.nat) else "")
    flags = [] if shape.status is None else words.flag_words(shape.status, shape.state is not None)
    parts += [f" {word}" for word in flags]
    parts += [_text_number("timeout", has(ct.HAVE_TIMEOUT)), _text_number("mark", has(ct.HAVE_MARK))]
    direction = zone_direction(shape.have)
    parts.append(f" zone {shape.zone}{direction and ' ' + direction}" if shape.zone or direction else "")
    parts.append(_text_number("id", has(ct.HAVE_ID)))
    parts += [_text_number(key, has(ct.HAVE_OCOUNT)) for key in ("packets", "bytes")]
    parts += [_text_number(key, has(ct.HAVE_RCOUNT)) for key in ("reply packets", "reply bytes")]
    parts.append("%.0s")  # start_ns
    named = (("helper", shape.helper), ("labels", shape.labels), ("netns", shape.netns))
    parts += [f" {key} {clean(text).replace('%', '%%')}" for key, text in named if text]
    joined = len(JOINED_VALUES) if shape.event is None else 1
    return "".join(parts) + "%.0s" + "%s" * (joined if shape.joined else 0)


def zone_direction(have: int) -> str:
    """Return `original` or `reply` where a zone is of this direction only, else ""."""
    if have & ct.HAVE_ZONE_ORIG_ONLY:
        return "original"
    return "reply" if have & ct.HAVE_ZONE_REPLY_ONLY else ""


def status_state(status: int | None) -> int:
    """Return the STATE_* of the status bits alone."""
    if status is None:
        return words.STATE_NONE
    if status & IPS_ASSURED:
        return words.STATE_ASSURED
    return words.STATE_REPLIED if status & IPS_SEEN_REPLY else words.STATE_UNREPLIED


def _text_number(key: str, present: bool) -> str:
    return f" {key} %s" if present else "%.0s"


def _text_endpoints(shape: FlowShape, present: bool, ports: bool, type_code: int) -> str:
    if not present:
        return "–%.0s%.0s%.0s%.0s"
    if words.is_icmp(shape.proto):
        return f"%s id %s → %s type {type_code >> 8} code {type_code & 255}%.0s" if ports else "%s%.0s → %s%.0s"
    address = "[%s]" if shape.family == AF_INET6 and ports else "%s"
    end = address + (":%s" if ports else "%.0s")
    return f"{end} → {end}"
