"""Sets and maps of nf_tables: their properties and the columns of their elements (linux/netfilter/nf_tables.h)."""

from __future__ import annotations

from dataclasses import dataclass, field

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import read_each
from nettop.decode.nftables.elements import ElementReader, Elements
from nettop.decode.nftables.objects import family_name, user_comment
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES

NEWSET = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_NEWSET
_ELEMENTS = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_NEWSETELEM
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH

SetId = tuple[str, str, str]  # family, table, name


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set or map (NFT_MSG_NEWSET). Names are not safe for a terminal."""

    family: str
    table: str
    name: str
    handle: int
    flags: int
    key_type: int  # nft's number (see keys.py)
    key_length: int
    holds: str  # of a map: data, verdicts, or its type of object ("counter"); "" for a set
    size: int | None  # maximum number of elements; None: no limit
    count: int | None  # number of elements; None: this kernel does not send it
    timeout_ms: int | None
    counts: bool  # whether every element has a counter
    comment: str | None
    data_type: int = 0  # of a map to data: nft's number

    @property
    def id(self) -> SetId:
        """Family, table and name."""
        return self.family, self.table, self.name


@dataclass(slots=True)
class NftSetsDecoded:
    """The sets and elements of one batch of the "nft-sets" stream, in its order."""

    ts_ns: int  # of the last datagram
    sets: list[NftSet] = field(default_factory=list)
    elements: list[tuple[SetId, Elements | None]] = field(default_factory=list)  # None: a message without elements
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


class NftSetsDecoder:
    """The decoder of one stream."""

    def __init__(self) -> None:
        self._reader = ElementReader()

    def __call__(self, batch: Batch) -> NftSetsDecoded:
        """Return the sets and elements of a batch. Never raises on bad bytes. Our own requests are skipped."""
        out = NftSetsDecoded(int(batch.ts_ns[-1]) if len(batch) else 0)
        data = bytes(batch.buf)

        def read(kind: int, record: int, start: int, end: int) -> None:
            self.read(data, kind, start, end, out)

        out.errors = read_each(batch, (NEWSET, _ELEMENTS), read, min_length=_BODY)
        return out

    def read(self, data: bytes, kind: int, start: int, end: int, out: NftSetsDecoded) -> None:
        """Add the set, or the elements, of the message in data[start:end]. Raises MalformedError."""
        found = Attributes(data, start + _BODY, end)
        found.require(nft.NFTA_SET_TABLE, nft.NFTA_SET_NAME)  # NFTA_SET_ELEM_LIST_* have the same numbers
        of = family_name(data[start + NLMSG_HDRLEN]), found.text(nft.NFTA_SET_TABLE), found.text(nft.NFTA_SET_NAME)
        if kind == NEWSET:
            out.sets.append(_set(found, of))
            return
        parts = self._reader.read(data, *found.span(nft.NFTA_SET_ELEM_LIST_ELEMENTS))
        out.elements += [(of, part) for part in parts] or [(of, None)]


def _set(found: Attributes, of: SetId) -> NftSet:
    holds = _holds(found)
    counts = found.nested(nft.NFTA_SET_EXPR).text(nft.NFTA_EXPR_NAME) == "counter"
    return NftSet(
        *of,
        handle=found.number(nft.NFTA_SET_HANDLE) or 0,
        flags=found.number(nft.NFTA_SET_FLAGS) or 0,
        key_type=found.number(nft.NFTA_SET_KEY_TYPE) or 0,
        key_length=found.number(nft.NFTA_SET_KEY_LEN) or 0,
        holds=holds,
        size=found.nested(nft.NFTA_SET_DESC).number(nft.NFTA_SET_DESC_SIZE) or None,
        count=found.number(nft.NFTA_SET_COUNT),
        timeout_ms=found.number(nft.NFTA_SET_TIMEOUT),
        counts=counts or b"counter\0" in found.raw(nft.NFTA_SET_EXPRESSIONS),
        comment=user_comment(found.raw(nft.NFTA_SET_USERDATA), nft.NFTNL_UDATA_SET_COMMENT),
        data_type=found.number(nft.NFTA_SET_DATA_TYPE) or 0 if holds == "data" else 0,
    )


def _holds(found: Attributes) -> str:
    kind = found.number(nft.NFTA_SET_OBJ_TYPE)
    if kind is not None:
        return nft.NFT_OBJECTS.get(kind, str(kind))
    data_type = found.number(nft.NFTA_SET_DATA_TYPE)
    return "" if data_type is None else "verdicts" if data_type == nft.NFT_DATA_VERDICT else "data"
