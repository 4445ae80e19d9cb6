"""Items that pcapng has no block for, in nettop's own blocks: a line of JSON, a newline, then the bytes of a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from nettop.batch import Counters, DumpMark, End, Gap, Stream, Text
from nettop.kinds import GapReason, StreamKind, TextKind
from nettop.recording import blocks

Fields = dict[str, Any]
Annotation = DumpMark | Gap | Text | Counters | End

KNOWN = ("stream", "dump", "gap", "text", "counters", "end")  # values of "item" in this format version
GAP = b'{"item":"gap"'  # the beginning of the content of a loss
MAX_TEXT = 64 << 20  # of one snapshot
_PART = 8 << 20  # a longer body is spread over several blocks: libpcap and Wireshark refuse blocks over 16 MiB


def stream_fields(stream: Stream) -> Fields:
    """Return a stream as the custom option of its IDB, or a block of its own, carries it."""
    fields = {key: getattr(stream, name) for key, name, _ in _STREAM}
    return {**fields, "kind": stream.kind.value} | ({"headers": True} if stream.headers else {})


def stream_from(fields: Fields, file: str) -> Stream:
    """Return the stream of `fields`, with its recorded id; raises KeyError, TypeError or ValueError if damaged."""
    headers = _bool(fields.get("headers", False))
    return Stream(file=file, headers=headers, **{name: read(fields[key]) for key, name, read in _STREAM})


def pack(fields: Fields, body: bytes = b"") -> bytes:
    """Return fields and body as the content of a block or custom option."""
    if body:
        fields = {**fields, "bytes": len(body)}
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n" + body


def unpack(content: bytes) -> tuple[Fields, bytes]:
    """Return the reverse of pack; raises ValueError if it is damaged."""
    line, newline, rest = content.partition(b"\n")
    try:
        fields = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not newline or not isinstance(fields, dict):
        raise ValueError("not an object on a line")
    length = _int(fields.get("bytes", 0))
    if length > len(rest):
        raise ValueError("its body is cut")
    return fields, rest[:length]


def encode(item: Annotation) -> Iterator[bytes]:
    """Yield the blocks of an item."""
    if isinstance(item, Text):
        yield from _encode_text(item)
        return
    yield blocks.annotation(pack(_fields(item)))


def _fields(item: DumpMark | Gap | Counters | End) -> Fields:
    match item:
        case DumpMark():
            return {
                "item": "dump",
                "stream": item.stream,
                "ts": item.ts_ns,
                "what": item.what,
                "begin": item.begin,
                "complete": item.complete,
                "interrupted": item.interrupted,
                **_netns(item),
            }
        case Gap():
            times = {"from": item.from_ns, "to": item.to_ns}
            return {"item": "gap", "stream": item.stream, "lost": item.lost, "why": item.why.value, **times}
        case Counters():
            totals = {"received": item.received, "dropped": item.dropped}
            return {"item": "counters", "stream": item.stream, "ts": item.ts_ns, **totals}
        case End():
            return {"item": "end", "stream": item.stream, "why": item.reason, "error": item.error}


def _netns(item: DumpMark | Text) -> Fields:
    return {"netns": item.netns} if item.netns else {}


def _encode_text(item: Text) -> Iterator[bytes]:
    body, error = item.body, item.error
    if len(body) > MAX_TEXT:
        body, error = b"", f"too large to record ({len(item.body)} bytes)"
    fields = {"item": "text", "stream": item.stream, "ts": item.ts_ns, "what": item.what.value, "error": error}
    fields |= _netns(item)
    for start in range(0, len(body) or 1, _PART):
        more = start + _PART < len(body)
        yield blocks.annotation(pack({**fields, "more": more}, body[start : start + _PART]))


def decode(fields: Fields, body: bytes, stream: int, seq: int) -> Annotation:
    """Return the item of `fields`, on `stream`; raises KeyError, TypeError or ValueError if it is damaged."""
    match fields["item"]:
        case "dump":
            begin, complete = _bool(fields["begin"]), _bool(fields["complete"])
            interrupted = _bool(fields.get("interrupted", False))  # older recordings do not have it
            what, netns = _str(fields["what"]), _str(fields.get("netns", ""))
            return DumpMark(stream, seq, _time(fields["ts"]), what, begin, complete, interrupted, netns)
        case "gap":
            lost = None if fields["lost"] is None else _count(fields["lost"])
            return Gap(stream, seq, lost, GapReason(fields["why"]), _time(fields["from"]), _time(fields["to"]))
        case "text":
            kind, error, netns = TextKind(fields["what"]), _str(fields["error"]), _str(fields.get("netns", ""))
            return Text(stream, seq, _time(fields["ts"]), kind, body, error, netns)
        case "counters":
            return Counters(stream, seq, _time(fields["ts"]), _count(fields["received"]), _count(fields["dropped"]))
        case "end":
            return End(stream, seq, _str(fields["why"]), _str(fields["error"]))
        case _:
            raise ValueError("not an item")


def _int(value: object) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
        raise TypeError("not an integer of 64 bits")
    return value


def _time(value: object) -> int:
    number = _int(value)
    if number >= 1 << 63:
        raise ValueError("not a time in nanoseconds")
    return number


def _count(value: object) -> int:
    number = _int(value)
    if number < 0:
        raise ValueError("not a count")
    return number


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


# The fields of a stream: the key in JSON, the attribute, and the check of a value read.
_STREAM: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("id", "id", _int),
    ("kind", "kind", StreamKind),
    ("name", "name", _str),
    ("netns", "netns", _str),
    ("linktype", "linktype", _int),
    ("snaplen", "snaplen", _int),
    ("filter", "capture_filter", _str),
    ("os", "os", _str),
    ("ifindex", "ifindex", _int),
    ("family", "netlink_family", _int),
)
