"""What `conntrack -o xml` prints, in the contract's keys, and where it is by its own nature not what nettop says."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

Row = dict[str, Any]
Key = tuple[Any, ...]

# linux/netfilter/nf_conntrack_tcp.h and nf_conntrack_sctp.h: conntrack's XML calls an SCTP state by the name that TCP
# has for its number (libnetfilter_conntrack, snprintf_xml.c), and does not know SYN_SENT2.
TCP = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE")
SCTP = (
    *("NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD"),
    *("SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"),
)
IPPROTO_SCTP = 132
PRINTED = (  # the keys that both say
    *("family", "proto", "src", "sport", "dst", "dport", "reply_src", "reply_sport", "reply_dst", "reply_dport"),
    *(
        "packets",
        "bytes",
        "reply_packets",
        "reply_bytes",
        "state",
        "timeout",
        "mark",
        "zone",
        "id",
        "start_ns",
        "helper",
    ),
    *("unreplied", "assured"),
)
TIMEOUTS_S = 2  # beyond the time between two listings: each rounds, and a second may begin in between
BY_EVENTS = tuple(  # what events tell, and keep right without a dump
    key for key in PRINTED if key not in ("packets", "bytes", "reply_packets", "reply_bytes", "timeout", "start_ns")
)
# What XML leaves out although the kernel said it: zone 0 always, mark 0 in events, DCCP's ports and state (printed as
# 0 without them), start and counters where a message has none.
UNSAID: dict[str, tuple[Any, ...]] = {"zone": (0,), "mark": (0,)}
_EVENT = re.compile(r"<flow type=.*?</flow>")


def key_of(row: Row) -> Key:
    """What one flow has, of conntrack's and of nettop's rows: of 12,000 flows every sixtieth time two share an id."""
    port = row.get("dport") if row["proto"] in ("udp", "tcp") else None
    return row["id"], row["proto"], row["src"], row["dst"], port


def by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    """Flows by what each has alone."""
    made = [(key_of(row), row) for row in rows]
    found = dict(made)
    assert len(found) == len(made), "two flows of one key"
    return found


def listed(text: str) -> dict[Key, Row]:
    """The flows of `conntrack -L -o xml,id`, by key."""
    return by_key(map(described, ElementTree.fromstring(text[text.index("<conntrack") :])) if text else ())


def told(text: str) -> list[Row]:
    """The events that `conntrack -E -o xml,id` has printed so far, in order."""
    return [described(ElementTree.fromstring(one)) for one in _EVENT.findall(text)]


def described(flow: ElementTree.Element) -> Row:
    """One <flow>; keys it does not print are missing."""
    parts = {part.get("direction", ""): part for part in flow if part.tag == "meta"}
    original, reply, independent = (parts[name] for name in ("original", "reply", "independent"))
    layer3, layer4 = original.find("layer3"), original.find("layer4")
    assert layer3 is not None
    assert layer4 is not None
    number = int(layer4.get("protonum", ""))
    name = layer4.get("protoname", "")
    row: Row = {
        "event": flow.get("type"),
        "family": layer3.get("protoname"),
        "proto": f"proto-{number}" if name == "unknown" else name,
        **_direction(original, ""),
        **_direction(reply, "reply_"),
        "state": _state(independent.findtext("state"), number),
        "helper": flow.findtext("helper"),
        "zone": _number(independent.findtext("zone") or original.findtext("zone") or reply.findtext("zone")),
        "start_ns": _number(independent.findtext("timestamp/start")),
        "unreplied": independent.find("unreplied") is not None,
        "assured": independent.find("assured") is not None,
        **{name: _number(independent.findtext(name)) for name in ("timeout", "mark", "id")},
    }
    return {key: value for key, value in row.items() if value is not None}


def _direction(meta: ElementTree.Element, prefix: str) -> Row:
    ports = meta.findtext("layer4/sport") or meta.findtext("layer4/srckey")
    others = meta.findtext("layer4/dport") or meta.findtext("layer4/dstkey")
    back = "reply_" if prefix else ""
    return {
        f"{prefix}src": meta.findtext("layer3/src"),
        f"{prefix}dst": meta.findtext("layer3/dst"),
        f"{prefix}sport": _number(ports),
        f"{prefix}dport": _number(others),
        f"{back}packets": _number(meta.findtext("counters/packets")),
        f"{back}bytes": _number(meta.findtext("counters/bytes")),
    }


def _number(text: str | None) -> int | None:
    return None if text is None else int(text, 0)


def _state(name: str | None, proto: int) -> str | None:
    return SCTP[TCP.index(name)] if proto == IPPROTO_SCTP and name is not None else name


def ours(row: Row) -> Row:
    """A JSON object of nettop's, with the flags as conntrack prints them; nulls are missing."""
    status = row["status"] or []
    flags = {"unreplied": "seen_reply" not in status, "assured": "assured" in status}
    said = {key: row[key] for key in PRINTED if row.get(key) is not None}
    return {**said, **flags, **({"event": row["event"]} if "event" in row else {})}


def differences(theirs: Row, mine: Row, keys: Iterable[str] = PRINTED, timeouts_s: int = 0) -> Iterator[str]:
    """In words, what conntrack prints and nettop does not, or the other way; timeouts may be that far apart."""
    for key in keys:
        a, b = theirs.get(key), mine.get(key)
        if a == b or (a is None and b in UNSAID.get(key, ())):
            continue
        if key == "timeout" and a is not None and b is not None and abs(a - b) <= timeouts_s:
            continue
        if theirs["proto"] == "dccp" and key in ("sport", "dport", "reply_sport", "reply_dport", "state"):
            continue
        yield f"{theirs['proto']} id {theirs['id']} {key}: conntrack {a!r}, nettop {b!r}"


def unequal(
    theirs: dict[Key, Row], mine: dict[Key, Row], keys: Iterable[str] = PRINTED, timeouts_s: int = 0
) -> list[str]:
    """In words, where two tables differ."""
    found = [f"conntrack alone has {theirs[key]}" for key in theirs.keys() - mine.keys()]
    found += [f"nettop alone has {mine[key]}" for key in mine.keys() - theirs.keys()]
    for key in theirs.keys() & mine.keys():
        found += differences(theirs[key], ours(mine[key]), keys, timeouts_s)
    return found


def unequal_by_events(theirs: dict[Key, Row], mine: dict[Key, Row]) -> list[str]:
    """Where our table, kept by events alone, differs from theirs in what events tell."""
    # An event tells of a mark that is not 0, and of one that changes (ctnetlink_dump_mark); a dump of any.
    marked = {key: row | {"mark": row["mark"] or 0} for key, row in mine.items()}
    return unequal(theirs, marked, BY_EVENTS)


def by_flow(events: Iterable[Row]) -> dict[Key, list[Row]]:
    """Events of each flow, in order."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for event in events:
        found[key_of(event)].append(event)
    return found


def unequal_events(theirs: list[Row], mine: list[Row]) -> list[str]:
    """In words, where two streams of events differ, flow by flow."""
    if len(theirs) != len(mine):
        return [f"conntrack told {len(theirs)} events, nettop {len(mine)}"]
    a, b = by_flow(theirs), by_flow(mine)
    found = [f"only one told of {key}" for key in a.keys() ^ b.keys()]
    for key in a.keys() & b.keys():
        kinds = [[event["event"] for event in one[key]] for one in (a, b)]
        if kinds[0] != kinds[1]:
            found.append(f"{key}: conntrack told {kinds[0]}, nettop {kinds[1]}")
            continue
        for wanted, got in zip(a[key], b[key], strict=True):
            found += differences(wanted, ours(got))
    return found
