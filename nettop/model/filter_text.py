"""Parts of display filters, written so that the language reads them back as what is meant."""

from __future__ import annotations

from nettop.model.filter_words import PROTOCOL_ALIASES, PROTOCOLS
from nettop.text.flow import PROTO_WORDS
from nettop.text.sanitize import clean


def proto_filter(proto: int) -> str:
    """The filter that selects a protocol."""
    word = PROTO_WORDS[proto]
    return word if PROTOCOL_ALIASES.get(word, word) in PROTOCOLS else f"proto {proto}"


def word_filter(name: str, word: str) -> str:
    """The filter for a word; quotes, wildcards, and what no terminal should get, as any character."""
    plain = "".join("?" if char in '"*?' or clean(char) != char else char for char in word)
    return f'{name} "{plain}"' if word else f"not {name} *"
