"""The info of DNS messages (RFC 1035, 1996, 2136, 6762): `query A example.net`, `answer A example.net, 2 records`."""

from __future__ import annotations

import struct
from typing import Final

from nettop.text.sanitize import clean_bytes

MAX_NAME = 255  # bytes, RFC 1035
_MAX_QUESTIONS = 64  # mDNS asks several
_RECORD = 11  # bytes of the shortest record: a root name, type, class, time to live, length
_TYPES: Final = {
    **{1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR"},
    **{43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY"},
}
_CODES: Final = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
_QUERY, _STATUS, _NOTIFY, _UPDATE = 0, 2, 4, 5
_OPERATIONS: Final = {_QUERY: "query", _STATUS: "status", _NOTIFY: "notify", _UPDATE: "update"}
_CLASSES: Final = frozenset((1, 3, 4, 254, 255))  # IN, CH, HS, NONE, ANY


def dns_text(data: bytes, size: int) -> str | None:
    """Return the info of a message of `size` bytes, of which `data` was captured; None if it is no DNS message."""
    if len(data) < 12 or size < 12:
        return None
    _, flags, *counts = struct.unpack_from(">6H", data)
    operation = flags >> 11 & 15
    questions, answers = counts[:2]
    least = 12 + 5 * questions + _RECORD * sum(counts[1:])
    if operation not in _OPERATIONS or flags & 0x40 or questions > _MAX_QUESTIONS or least > size:
        return None
    what = _first_name(data, size) if sum(counts) else "no question"
    if what is None:
        return None
    more = f", {questions} questions" if questions > 1 else ""
    if not flags & 0x8000:
        return f"{_OPERATIONS[operation]} {what}{more}"
    code = flags & 15
    if code:
        return f"{_CODES.get(code, f'error {code}')}: {what}"
    if operation != _QUERY:
        return f"{_OPERATIONS[operation]} answer {what}"
    return f"answer {what}, {answers} record{'' if answers == 1 else 's'}"


def _first_name(data: bytes, size: int) -> str | None:
    """Return `A example.net` of the first question, or without one of the first record; None if it is damaged."""
    try:
        name, at = dns_name(data, 12)
        kind, class_ = struct.unpack_from(">HH", data, at)
    except (IndexError, struct.error):
        return None if len(data) >= size else "cut off"
    if kind == 41 and name == ".":  # EDNS (RFC 6891), whose class is a size
        return "no question"
    return f"{_TYPES.get(kind, f'TYPE{kind}')} {name}" if class_ & 0x7FFF in _CLASSES else None


def dns_name(data: bytes, at: int) -> tuple[str, int]:
    """Return the name at an offset, and the offset after it; at most eight compression pointers are followed."""
    labels: list[str] = []
    after, jumps, size = 0, 0, 0
    while data[at]:
        length = data[at]
        if length >= 0xC0:
            after = after or at + 2
            at, jumps = (length & 0x3F) << 8 | data[at + 1], jumps + 1
            if jumps > 8:
                break
            continue
        size += length + 1
        if size > MAX_NAME:
            break
        labels.append(clean_bytes(data[at + 1 : at + 1 + length]))
        at += length + 1
    return ".".join(labels) or ".", after or at + 1
