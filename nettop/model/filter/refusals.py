"""The reason why a word is refused, and the word that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from nettop.model.filter import vocabulary
from nettop.model.filter.values import SERVICES

_WIRESHARK = (
    *("ip.", "ipv6.", "tcp.", "udp.", "icmp.", "icmpv6.", "eth.", "arp.", "frame.", "vlan.", "dns.", "http.", "tls."),
)
_JOINED = re.compile(r"(host|net|port|portrange|vlan):?(\d.*)", re.IGNORECASE | re.ASCII)


def unknown_word(text: str, kind: str) -> str:
    """Return why a text begins no part of a filter for rows of this kind."""
    if "[" in text and "]" in text:
        where = ": the capture filter does (B, or -f)" if kind in vocabulary.CONNTRACK else ""
        return f"{kind}s have no bytes to test{where}"
    if text.lower() in SERVICES:
        return f"“{text}” is a service: say port {text}"
    if meant := _split(text) or _similar(text, vocabulary.words(kind), 0.7):
        return f"“{text}” is not known here; did you mean {meant}?"
    if text.lower().startswith(_WIRESHARK):
        return f"“{text}” is a field of Wireshark; here there are {vocabulary.own_words(kind)}"
    if text.isdigit():
        return f"“{text}” alone may be anything: say port {text}, net {text} or proto {text}"
    if "." in text.strip(".") and kind in vocabulary.ADDRESSED:
        return f"“{text}” is not an address: names are not looked up, give the host's address"
    return f"“{text}” is not known here; there are {vocabulary.own_words(kind)}"


def missing(before: str, text: str) -> str:
    """Return why no part can begin with this text (`and`, a symbol, "" at the end) behind the text before it."""
    if not text:
        return "the filter ends where something must follow" if before else "nothing to look for"
    if text.lower() not in vocabulary.JOIN:
        return f"“{text}” where a condition is expected"
    if before in ("", "("):
        return f"“{text}” needs something before it"
    return f"“{before}” needs something after it, before “{text}”"


def unexpected_word(text: str, kind: str) -> str:
    """Return why a text cannot follow a complete part of a filter."""
    known = text.lower() in vocabulary.words(kind)
    if not known and (meant := _split(text) or _similar(text, vocabulary.JOINTS, 0.6)):
        return f"“{text}” is not known here; did you mean {meant}?"
    return "“and” or “or” is missing before this"


def not_compared(before: str, value: str) -> str:
    """Return why an operator cannot follow a word, and the words to use with the value behind the operator."""
    known = before.lower() in vocabulary.FAMILIES or before.lower() in vocabulary.PROTOCOLS
    hint = f": say {before} {'port' if value.isdigit() else 'host'} {value}" if known and value else ""
    return f"{before} cannot be compared{hint}"


def with_commas(text: str) -> str:
    """Return why a list is refused: `80,443`."""
    return f"a comma does not join conditions: say {' or '.join(part for part in text.split(',') if part)}"


def _split(text: str) -> str:
    """Return `port 80` for `port80` and `port:80`; "" for other texts."""
    match = _JOINED.fullmatch(text)
    return f"{match[1]} {match[2]}" if match else ""


def foreign_word(text: str, value: str) -> str:
    """Return why a word of vocabulary.FOREIGN is refused, and the words to use with the value that follows it."""
    whose = "a field of Wireshark" if "." in text else "the name of a column"
    words = f"{vocabulary.FOREIGN[text.lower()]} {'' if value.lower() in vocabulary.JOIN else value}"
    return f"“{text}” is {whose}; say {words.rstrip()}"


def _similar(text: str, words: Iterable[str], least: float) -> str:
    return next(iter(get_close_matches(text.lower()[:40], words, 1, least)), "")
