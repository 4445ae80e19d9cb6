"""Tables, chains, stateful objects and generations of nf_tables: what one message of each says."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.decode.nftables.attributes import (
    FAMILIES,
    HOOKS,
    NF_VERDICTS,
    NFT_OBJECTS,
    MalformedError,
    Span,
    each,
    maybe,
    name,
    number,
    signed,
    spans,
    text,
    user_comment,
)

_TABLE_FLAGS = ((1, "dormant"), (2, "owner"), (4, "persist"))  # enum nft_table_flags
_LIMIT_TYPES = {0: "packets", 1: "bytes"}  # enum nft_limit_type
_CHAIN_FLAGS = ((1, "base"), (2, "offload"), (4, "binding"))  # enum nft_chain_flags


@dataclass(frozen=True, slots=True)
class NftTable:
    """NFT_MSG_NEWTABLE."""

    family: str  # nft's word: inet ip ip6 arp bridge netdev
    name: str
    flags: tuple[str, ...]  # of dormant owner persist
    handle: int
    use: int  # chains, sets, objects and flowtables in it
    owner: int | None  # netlink port id of the process that holds it
    comment: str | None


@dataclass(frozen=True, slots=True)
class NftChain:
    """NFT_MSG_NEWCHAIN. Hook, priority, type and policy are None for a user chain."""

    family: str
    table: str
    name: str
    handle: int
    use: int
    hook: str | None
    hook_number: int | None
    priority: int | None
    type: str | None  # filter nat route
    policy: str | None  # accept drop
    flags: tuple[str, ...]  # of base offload binding
    devices: tuple[str, ...]  # netdev chains and ingress, egress of inet; a prefix ends in *
    packets: int | None  # packets the policy decided, where the chain counts (iptables-nft's do)
    bytes: int | None
    comment: str | None


@dataclass(frozen=True, slots=True)
class NftObject:
    """NFT_MSG_NEWOBJ: a named stateful object. What its type does not have is None."""

    family: str
    table: str
    name: str
    type: str  # counter, quota, limit, ct helper, …
    handle: int
    use: int
    packets: int | None = None  # counter
    bytes: int | None = None  # counter
    quota: int | None = None  # bytes allowed
    used: int | None = None  # bytes of the quota consumed
    inverted: bool = False  # quota, limit: matches what is `over`
    rate: int | None = None  # limit: packets or bytes per `unit`
    unit: int | None = None  # seconds
    burst: int | None = None
    limit_type: str | None = None  # packets or bytes
    helper: str | None = None  # ct helper: its type, such as ftp
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """NFT_MSG_NEWGEN: the ruleset's generation and, in an event, who made it."""

    id: int
    pid: int | None
    process: str
    ts_ns: int
    event: bool = True  # False: an answer to a question of ours


def family_word(nfproto: int) -> str:
    """nft's word for NFPROTO_*; the number itself where nft has none."""
    return FAMILIES.get(nfproto, str(nfproto))


def _flags(value: int | None, table: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(word for bit, word in table if (value or 0) & bit)


def decode_table(data: bytes, start: int, end: int, family: str) -> NftTable:
    """One table; MalformedError where an attribute's length lies or the name is missing."""
    found = spans(data, start, end)
    if 1 not in found:  # NFTA_TABLE_NAME
        raise MalformedError(start)
    return NftTable(
        family=family,
        name=text(data, found[1]),
        flags=_flags(maybe(data, found, 2), _TABLE_FLAGS),  # NFTA_TABLE_FLAGS
        handle=maybe(data, found, 4) or 0,  # NFTA_TABLE_HANDLE
        use=maybe(data, found, 3) or 0,  # NFTA_TABLE_USE
        owner=maybe(data, found, 7),  # NFTA_TABLE_OWNER
        comment=user_comment(data, found.get(6)),  # NFTA_TABLE_USERDATA
    )


def _devices(data: bytes, found: dict[int, Span]) -> tuple[str, ...]:
    """The devices of NFTA_CHAIN_HOOK: NFTA_HOOK_DEVS (list of NFTA_DEVICE_NAME 1, NFTA_DEVICE_PREFIX 2), else _DEV."""
    if 4 in found:
        listed = [(kind, (first, last)) for kind, first, last in each(data, *found[4])]
        return tuple(text(data, span) + ("*" if kind == 2 else "") for kind, span in listed)
    return (text(data, found[3]),) if 3 in found else ()


def decode_chain(data: bytes, start: int, end: int, family: str) -> NftChain:
    """One chain; MalformedError where an attribute's length lies or a name is missing."""
    found = spans(data, start, end)
    if 1 not in found or 3 not in found:  # NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME
        raise MalformedError(start)
    hook = spans(data, *found[4]) if 4 in found else {}  # NFTA_CHAIN_HOOK
    hook_number = maybe(data, hook, 1)  # NFTA_HOOK_HOOKNUM
    policy = maybe(data, found, 5)  # NFTA_CHAIN_POLICY
    counters = spans(data, *found[8]) if 8 in found else {}  # NFTA_CHAIN_COUNTERS
    return NftChain(
        family=family,
        table=text(data, found[1]),
        name=text(data, found[3]),
        handle=maybe(data, found, 2) or 0,  # NFTA_CHAIN_HANDLE
        use=maybe(data, found, 6) or 0,  # NFTA_CHAIN_USE
        hook=None if hook_number is None else HOOKS.get(family, {}).get(hook_number, str(hook_number)),
        hook_number=hook_number,
        priority=signed(data, hook[2]) if 2 in hook else None,  # NFTA_HOOK_PRIORITY
        type=name(data, found, 7) or None,  # NFTA_CHAIN_TYPE
        policy=None if policy is None else NF_VERDICTS.get(policy, str(policy)),
        flags=_flags(maybe(data, found, 10), _CHAIN_FLAGS),  # NFTA_CHAIN_FLAGS
        devices=_devices(data, hook),
        packets=maybe(data, counters, 2),  # NFTA_COUNTER_PACKETS
        bytes=maybe(data, counters, 1),  # NFTA_COUNTER_BYTES
        comment=user_comment(data, found.get(12)),  # NFTA_CHAIN_USERDATA
    )


def decode_object(data: bytes, start: int, end: int, family: str) -> NftObject:
    """One stateful object; MalformedError where an attribute's length lies or a name is missing."""
    found = spans(data, start, end)
    if 1 not in found or 2 not in found:  # NFTA_OBJ_TABLE, NFTA_OBJ_NAME
        raise MalformedError(start)
    kind = NFT_OBJECTS.get(maybe(data, found, 3) or 0, str(maybe(data, found, 3)))  # NFTA_OBJ_TYPE
    own = spans(data, *found[4]) if 4 in found else {}  # NFTA_OBJ_DATA
    counter, quota = kind == "counter", kind == "quota"
    limit = own if kind == "limit" else {}
    flags = maybe(data, own, 2) if quota else maybe(data, limit, 5)  # NFTA_QUOTA_FLAGS, NFTA_LIMIT_FLAGS
    return NftObject(
        family=family,
        table=text(data, found[1]),
        name=text(data, found[2]),
        type=kind,
        handle=maybe(data, found, 6) or 0,  # NFTA_OBJ_HANDLE
        use=maybe(data, found, 5) or 0,  # NFTA_OBJ_USE
        packets=maybe(data, own, 2) if counter else None,  # NFTA_COUNTER_PACKETS
        bytes=maybe(data, own, 1) if counter else None,  # NFTA_COUNTER_BYTES
        quota=maybe(data, own, 1) if quota else None,  # NFTA_QUOTA_BYTES
        used=maybe(data, own, 4) if quota else None,  # NFTA_QUOTA_CONSUMED
        inverted=bool((flags or 0) & 1),  # NFT_QUOTA_F_INV, NFT_LIMIT_F_INV
        rate=maybe(data, limit, 1),  # NFTA_LIMIT_RATE
        unit=maybe(data, limit, 2),  # NFTA_LIMIT_UNIT
        burst=maybe(data, limit, 3),  # NFTA_LIMIT_BURST
        limit_type=_LIMIT_TYPES.get(maybe(data, limit, 4) or 0) if limit else None,  # NFTA_LIMIT_TYPE
        helper=name(data, own, 1) if kind == "ct helper" else None,  # NFTA_CT_HELPER_NAME
        comment=user_comment(data, found.get(8)),  # NFTA_OBJ_USERDATA
    )


def decode_generation(data: bytes, start: int, end: int, ts_ns: int, event: bool) -> Generation:
    """One generation message; MalformedError where it has no id."""
    found = spans(data, start, end)
    if 1 not in found:  # NFTA_GEN_ID
        raise MalformedError(start)
    pid = maybe(data, found, 2)  # NFTA_GEN_PROC_PID
    return Generation(number(data, found[1]), pid, name(data, found, 3), ts_ns, event)  # NFTA_GEN_PROC_NAME
