"""nf_tables' sets and maps: what they are, and the columns of their elements (linux/netfilter/nf_tables.h)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ERR_ATTRIBUTE_CUT, ErrorRows, split
from nettop.decode.nftables.attributes import (
    NFNL_SUBSYS_NFTABLES,
    NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM,
    NFT_OBJECTS,
    MalformedError,
    maybe,
    name,
    spans,
    text,
    user_comment,
)
from nettop.decode.nftables.elements import ElementReader, Elements
from nettop.decode.nftables.objects import family_word

_SET = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSET
_ELEMENTS = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM
_BODY = 20  # struct nlmsghdr, struct nfgenmsg
ANONYMOUS, INTERVAL, TIMEOUT, DYNAMIC = 1, 4, 16, 32  # enum nft_set_flags; DYNAMIC is NFT_SET_EVAL
_COMMENT = 7  # libnftnl udata.h: NFTNL_UDATA_SET_COMMENT

SetId = tuple[str, str, str]  # family, table, name


@dataclass(frozen=True, slots=True)
class NftSet:
    """NFT_MSG_NEWSET. Names are not yet safe for a terminal."""

    family: str
    table: str
    name: str
    handle: int
    flags: int
    key_type: int  # nft's number (nft_keys)
    key_length: int
    holds: str  # of a map: data, verdicts, or the objects it maps to ("counter"); "" for a set
    size: int | None  # elements it may hold; None: no limit
    count: int | None  # elements it holds; None: this kernel does not say
    timeout_ms: int | None
    counts: bool  # every element gets a counter
    comment: str | None

    @property
    def id(self) -> SetId:
        """What it is known by."""
        return self.family, self.table, self.name


@dataclass(slots=True)
class NftSetsDecoded:
    """What a batch of the "nft-sets" stream says, in its order."""

    stream: int
    seq: int
    ts_ns: int  # of the last datagram
    sets: list[NftSet] = field(default_factory=list)
    elements: list[tuple[SetId, Elements | None]] = field(default_factory=list)  # None: a message without elements
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


class NftSetsDecoder:
    """One stream's decoder: `decoder(batch)`."""

    def __init__(self) -> None:
        self._reader = ElementReader()

    def __call__(self, batch: Batch) -> NftSetsDecoded:
        """Sets and elements of a batch. Never raises on bad bytes; requests of ours are skipped."""
        messages, errors = split(batch), ErrorRows()
        out = NftSetsDecoded(batch.stream, batch.seq, int(batch.ts_ns[-1]) if len(batch) else 0)
        wanted = np.isin(messages.kind, (_SET, _ELEMENTS)) & (messages.length >= _BODY)
        if isinstance(batch.meta, NetlinkMeta):
            wanted &= ~batch.meta.outgoing[messages.record]
        data = bytes(batch.buf)
        for row in np.flatnonzero(wanted).tolist():
            start = int(messages.offset[row])
            try:
                self._message(data, int(messages.kind[row]), start, start + int(messages.length[row]), out)
            except MalformedError as bad:
                errors.add(int(messages.record[row]), bad.offset, ERR_ATTRIBUTE_CUT)
        out.errors = errors.merged(messages.errors)
        return out

    def _message(self, data: bytes, kind: int, start: int, end: int, out: NftSetsDecoded) -> None:
        found = spans(data, start + _BODY, end)
        if 1 not in found or 2 not in found:  # NFTA_SET_TABLE, NFTA_SET_NAME; of elements the same numbers
            raise MalformedError(start)
        of = family_word(data[start + 16]), text(data, found[1]), text(data, found[2])
        if kind == _SET:
            out.sets.append(_set(data, found, of))
            return
        parts = self._reader.read(data, *found[3]) if 3 in found else []  # NFTA_SET_ELEM_LIST_ELEMENTS
        out.elements += [(of, part) for part in parts] or [(of, None)]


def _set(data: bytes, found: dict[int, tuple[int, int]], of: SetId) -> NftSet:
    described = spans(data, *found[9]) if 9 in found else {}  # NFTA_SET_DESC
    first_expression = spans(data, *found[17]) if 17 in found else {}  # NFTA_SET_EXPR
    listed = found.get(18)  # NFTA_SET_EXPRESSIONS
    counts = name(data, first_expression, 1) == "counter" or (
        listed is not None and b"counter\0" in data[listed[0] : listed[1]]
    )
    return NftSet(
        *of,
        handle=maybe(data, found, 16) or 0,  # NFTA_SET_HANDLE
        flags=maybe(data, found, 3) or 0,  # NFTA_SET_FLAGS
        key_type=maybe(data, found, 4) or 0,  # NFTA_SET_KEY_TYPE
        key_length=maybe(data, found, 5) or 0,  # NFTA_SET_KEY_LEN
        holds=_holds(data, found),
        size=maybe(data, described, 1) or None,  # NFTA_SET_DESC_SIZE
        count=maybe(data, found, 20),  # NFTA_SET_COUNT
        timeout_ms=maybe(data, found, 11),  # NFTA_SET_TIMEOUT
        counts=counts,
        comment=user_comment(data, found.get(13), _COMMENT),  # NFTA_SET_USERDATA
    )


def _holds(data: bytes, found: dict[int, tuple[int, int]]) -> str:
    kind = maybe(data, found, 15)  # NFTA_SET_OBJ_TYPE
    if kind is not None:
        return NFT_OBJECTS.get(kind, str(kind))
    data_type = maybe(data, found, 6)  # NFTA_SET_DATA_TYPE; NFT_DATA_VERDICT 0xffffff00
    return "" if data_type is None else "verdicts" if data_type == 0xFFFFFF00 else "data"
