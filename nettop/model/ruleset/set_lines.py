"""Sets, maps and IP sets, and their elements, as JSON objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nettop.decode.ipset import IpSet, IpSetElement
from nettop.decode.nftables.elements import NEVER, Elements
from nettop.decode.nftables.keys import type_text
from nettop.decode.nftables.members import comment_of, member_text, rows_of, timeout_ms, value_of
from nettop.decode.nftables.sets import NftSet
from nettop.linux import nf_tables as nft
from nettop.model.ruleset.picture import NFT
from nettop.model.ruleset.sets.contents import SetContents
from nettop.text.units import duration, grouped, plural

Row = dict[str, Any]


def set_row(one: NftSet) -> Row:
    """Return the keys of a set or map."""
    return {
        "family": one.family,
        "table": one.table,
        "name": one.name,
        "type": type_text(one.key_type),
        "map": (type_text(one.data_type) if one.holds == "data" else _HOLDS.get(one.holds, one.holds)) or None,
        "handle": one.handle,
        "flags": [word for bit, word in nft.NFT_SET_FLAGS if one.flags & bit],
        "size": one.size,
        "elements": one.count,
        "timeout": _seconds(one.timeout_ms),
        "counter": one.counts,
        "comment": one.comment,
        "backend": NFT,
    }


IPSET = "ipset"  # the backend of IP sets
_HOLDS = {"verdicts": "verdict"}


def set_line(name: str, row: Row) -> str:
    """Return `@bad   set of ipv4_addr   4,211 elements of 65,535   dynamic   timeout 1h` from the keys of a set."""
    kind = f"map of {row['type']} : {row['map']}" if row["map"] else f"set of {row['type']}"
    count = "" if row["elements"] is None else plural(row["elements"], "element")
    limit = f" of {grouped(row['size'])}" if row["size"] else ""
    timeout = f"timeout {duration(row['timeout'])}" if row["timeout"] else ""
    comment = f'comment "{row["comment"]}"' if row["comment"] else ""
    return "   ".join(filter(None, (name, kind, count + limit, ", ".join(row["flags"]), timeout, comment)))


def _seconds(milliseconds: int | None) -> float | int | None:
    """Return seconds, as nft does an integer where it is one."""
    if not milliseconds:
        return None
    return milliseconds / 1000 if milliseconds % 1000 else milliseconds // 1000


def element_rows(of: NftSet, elements: Elements | None, netns: str) -> Iterator[Row]:
    """Yield the elements of a set or map, in the order of the dump."""
    where = {"netns": netns, "family": of.family, "table": of.table, "set": of.name}
    if elements is not None:
        for row in rows_of(elements):
            yield {"kind": "element", **where, **element_keys(of, elements, row)}


def element_keys(of: NftSet, elements: Elements, row: int) -> Row:
    """Return the keys of an element of `members.closed`."""
    value = value_of(of, elements, row)
    counted, expires = bool(elements.counted[row]), elements.expires_ms[row]
    return {
        "element": member_text(of, elements, row),
        "value": value and value.text,
        "packets": int(elements.packets[row]) if counted else None,
        "bytes": int(elements.octets[row]) if counted else None,
        "timeout": _seconds(timeout_ms(elements, row)),
        "expires": None if expires == NEVER else int(expires) / 1000,
        "comment": comment_of(elements, row),
        "backend": NFT,
    }


def ipset_row(one: IpSet) -> Row:
    """Return the keys of an IP set."""
    return {
        "family": one.family or None,
        "table": None,
        "name": one.name,
        "type": one.type,
        "map": None,
        "handle": None,
        "flags": list(one.flags),
        "size": one.size,
        "elements": one.count,
        "timeout": one.timeout_s,
        "counter": "counters" in one.flags,
        "comment": None,
        "backend": IPSET,
    }


def ipset_element_rows(of: IpSet, contents: SetContents, netns: str) -> Iterator[Row]:
    """Yield the elements of an IP set."""
    where = {"kind": "element", "netns": netns, "family": of.family or None, "table": None, "set": of.name}
    for one in contents.of_ipsets.get(of.name, ()):
        yield {**where, **ipset_element_keys(one)}


def ipset_element_keys(one: IpSetElement) -> Row:
    """Return the keys of an element. `value` of an exception is nomatch; `expires` is the time that is left."""
    return {
        "element": one.text,
        "value": "nomatch" if one.nomatch else None,
        "packets": one.packets,
        "bytes": one.bytes,
        "timeout": None,
        "expires": one.timeout_s or None,
        "comment": one.comment,
        "backend": IPSET,
    }
