"""Elements of nf_tables' sets and maps in nft's words: the key or range, the value of a map, and the comment."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np

from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.keys import key_text
from nettop.decode.nftables.objects import user_comment
from nettop.decode.nftables.sets import NftSet
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import Attributes, MalformedError, string
from nettop.linux.nfnetlink import NF_VERDICTS


@dataclass(frozen=True, slots=True)
class MapValue:
    """The value of a map's element. `verdict` and `target` (a chain) are "" but for verdict maps."""

    text: str  # as nft prints it
    verdict: str = ""
    target: str = ""


def rows_of(elements: Elements) -> list[int]:
    """Return the indices of the elements, without those that only mark the end of an interval."""
    rows: list[int] = np.flatnonzero(elements.flags & nft.NFT_SET_ELEM_INTERVAL_END == 0).tolist()
    return rows


def closed(of: NftSet, elements: Elements) -> Elements:
    """Return the elements with the last key of each plain interval in `ends`; a concatenation has its own.

    An interval ends before the key that precedes it in the dump, and the first one with the last key of all.
    """
    keys = elements.keys
    if not of.flags & nft.NFT_SET_INTERVAL or of.flags & nft.NFT_SET_CONCAT or not keys.size:
        return elements
    over = np.roll(keys, 1, axis=0)
    last, borrow = over.copy(), np.ones(len(over), np.bool_)
    for column in reversed(range(keys.shape[1])):
        last[:, column] -= borrow
        borrow &= over[:, column] == 0
    last[0] = 0xFF
    differs = keys != last
    first = np.argmax(differs, axis=1), np.arange(len(keys))
    beyond = differs.any(axis=1) & (keys[first[::-1]] < last[first[::-1]])
    return replace(elements, ends=np.where(beyond[:, None], last, elements.ends))


def member_text(of: NftSet, elements: Elements, row: int) -> str:
    """Return the key or the range of an element (of `closed`) as nft prints it, not safe for a terminal."""
    if elements.flags[row] & nft.NFT_SET_ELEM_CATCHALL:
        return "*"
    key, end = elements.keys[row].tobytes(), elements.ends[row].tobytes()
    return key_text(of.key_type, key, None if key == end else end)


def value_of(of: NftSet, elements: Elements, row: int) -> MapValue | None:
    """Return the value of a map's element; None for a set, or if it cannot be read."""
    if not of.holds or not elements.data.shape[1]:
        return None
    data = elements.data[row].tobytes()
    if of.holds not in ("data", "verdicts"):
        return MapValue(string(data))
    try:
        return _data(of, Attributes(data, 0, _length(data)))
    except MalformedError:
        return None


def _length(data: bytes) -> int:
    """Return the length of the first attribute: what follows is padding."""
    return min(len(data), int.from_bytes(data[:2], sys.byteorder))


def _data(of: NftSet, found: Attributes) -> MapValue:
    if of.holds == "data":
        return MapValue(key_text(of.data_type, found.raw(nft.NFTA_DATA_VALUE)))
    verdict = found.nested(nft.NFTA_DATA_VERDICT)
    code = verdict.number(nft.NFTA_VERDICT_CODE, signed=True) or 0
    target = verdict.text(nft.NFTA_VERDICT_CHAIN)
    word = nft.NFT_VERDICTS.get(code) or NF_VERDICTS.get(code & 0xFF, str(code))
    return MapValue(f"{word} {target}" if target else word, word, target)


def comment_of(elements: Elements, row: int) -> str | None:
    """Return the comment of an element."""
    return user_comment(elements.user_data[row].tobytes()) or None if len(elements.user_data) else None


def timeout_ms(elements: Elements, row: int) -> int | None:
    """Return the timeout of an element in ms, if it has its own."""
    return int.from_bytes(elements.timeout[row].tobytes(), "big") or None if len(elements.timeout) else None
