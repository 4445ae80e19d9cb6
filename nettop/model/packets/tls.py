"""The info of TLS records (RFC 8446, 5246): all that begin in a segment, with the name that a client asks for."""

from __future__ import annotations

import struct
from typing import Final

from nettop.text.sanitize import clean_bytes

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_NAME = 1, 0  # RFC 8446, RFC 6066
_RECORDS: Final = {CHANGE_CIPHER_SPEC: "Change Cipher Spec", ALERT: "Alert", APPLICATION_DATA: "Application Data"}
_HANDSHAKES: Final = {
    **{0: "Hello Request", 1: "Client Hello", 2: "Server Hello", 4: "New Session Ticket", 8: "Encrypted Extensions"},
    **{11: "Certificate", 12: "Server Key Exchange", 13: "Certificate Request", 14: "Server Hello Done"},
    **{15: "Certificate Verify", 16: "Client Key Exchange", 20: "Finished", 22: "Certificate Status"},
}
_MAX_RECORD = 16_384 + 2_048  # bytes, RFC 5246
_MAX_MESSAGES = 8
_MAX_NAME = 255


def tls_text(data: bytes) -> str | None:
    """Return `Change Cipher Spec, Client Hello SNI=example.net`; None if no record begins with the data."""
    found: list[str] = []
    at = 0
    while len(found) < _MAX_MESSAGES and (size := _record_size(data, at)):
        body = data[at + 5 : at + 5 + size]
        found += _handshakes(body, size) if data[at] == HANDSHAKE else [_RECORDS[data[at]]]
        at += 5 + size
    return ", ".join(found[:_MAX_MESSAGES]) or None


def _record_size(data: bytes, at: int) -> int:
    """Return the bytes of the record whose header is at an offset; 0 if there is none."""
    if len(data) < at + 5 or data[at] not in (HANDSHAKE, *_RECORDS) or data[at + 1] != 3 or data[at + 2] > 4:
        return 0
    size = int.from_bytes(data[at + 3 : at + 5], "big")
    return size if size <= _MAX_RECORD else 0


def _handshakes(body: bytes, size: int) -> list[str]:
    """Return the messages of a record. What is no message of TLS is encrypted."""
    found: list[str] = []
    at = 0
    while at + 4 <= len(body) and len(found) < _MAX_MESSAGES:
        kind, length = body[at], int.from_bytes(body[at + 1 : at + 4], "big")
        spans = length > size - at - 4  # a certificate may span records; encrypted bytes are no length
        if kind not in _HANDSHAKES or (spans and (length >= 1 << 17 or kind not in (1, 2, 11))):
            return [*found, "Encrypted Handshake Message"]
        name = server_name(body[at:]) if kind == _CLIENT_HELLO else ""
        found.append(_HANDSHAKES[kind] + (f" SNI={name}" if name else ""))
        at += 4 + length
    return found or ["Handshake"]


def server_name(hello: bytes) -> str:
    """Return the host name that a Client Hello asks for (RFC 8446 4.1.2, RFC 6066 3); "" if it is cut off."""
    try:
        at = 4 + 2 + 32
        at += 1 + hello[at]  # session id
        at += 2 + int.from_bytes(hello[at : at + 2], "big")  # cipher suites
        at += 1 + hello[at]  # compression methods
        at += 2
        while at + 4 <= len(hello):
            kind, size = struct.unpack_from(">HH", hello, at)
            if kind == _SERVER_NAME:
                length = int.from_bytes(hello[at + 7 : at + 9], "big")
                return clean_bytes(hello[at + 9 : at + 9 + min(length, _MAX_NAME)])
            at += 4 + size
    except (IndexError, struct.error):
        return ""
    return ""
