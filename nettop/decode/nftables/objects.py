"""Tables, chains, stateful objects and generations of nf_tables, each decoded from one message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nettop.linux import nf_tables as nft
from nettop.linux.netlink import Attributes, attributes, string
from nettop.linux.nfnetlink import NF_VERDICTS, NFPROTO_NAMES
from nettop.text.protocols import NFT_NAMES


@dataclass(frozen=True, slots=True)
class NftTable:
    """A table (NFT_MSG_NEWTABLE)."""

    family: str  # nft's name: inet ip ip6 arp bridge netdev
    name: str
    flags: tuple[str, ...]  # of dormant owner persist
    handle: int
    owner: int | None  # netlink port id of the process that owns it, mostly its pid
    comment: str | None

    @property
    def definition(self) -> tuple[object, ...]:
        """The fields that do not change with its content."""
        return self.family, self.name, self.handle, self.flags


@dataclass(frozen=True, slots=True)
class NftChain:
    """A chain (NFT_MSG_NEWCHAIN). Hook, priority, type and policy are None for a user chain."""

    family: str
    table: str
    name: str
    handle: int
    use: int
    hook: str | None
    priority: int | None
    type: str | None  # filter nat route
    policy: str | None  # accept drop
    flags: tuple[str, ...]  # of base offload binding
    devices: tuple[str, ...]  # of netdev chains, and of ingress and egress of inet; a prefix ends in *
    packets: int | None  # that the policy applied to, if the chain counts (iptables-nft's do)
    bytes: int | None
    comment: str | None

    @property
    def definition(self) -> tuple[object, ...]:
        """The fields except references and counters."""
        names = ("family", "table", "name", "handle", "hook", "priority", "type", "policy", "devices", "comment")
        return tuple(getattr(self, name) for name in names)


@dataclass(frozen=True, slots=True)
class NftObject:
    """A named stateful object (NFT_MSG_NEWOBJ). A field that its type does not have is None."""

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
    inverted: bool = False  # quota, limit: with `over`
    rate: int | None = None  # limit: packets or bytes per `unit`
    unit: int | None = None  # seconds
    burst: int | None = None
    limit_type: str | None = None  # packets or bytes
    helper: str | None = None  # ct helper: its type, such as ftp
    comment: str | None = None
    properties: tuple[tuple[str, int | str], ...] = ()  # of the types that _PROPERTIES has


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of the ruleset (NFT_MSG_NEWGEN) and, in an event, the process that made it."""

    id: int
    pid: int | None
    process: str
    ts_ns: int
    event: bool = True  # False: an answer to our own request

    @property
    def author(self) -> str:
        """The process: `nft (4121)`; "" if it is not known."""
        return f"{self.process} ({self.pid})" if self.process else ""


def family_name(nfproto: int) -> str:
    """Return nft's name of NFPROTO_*, or the number if it has none."""
    return NFPROTO_NAMES.get(nfproto, str(nfproto))


def user_comment(data: bytes, comment_type: int = nft.NFTNL_UDATA_COMMENT) -> str | None:
    """Return the comment in user data: TLVs of one-byte type and length (libnftnl udata.h)."""
    at = 0
    while at + 2 <= len(data):
        kind, size = data[at], data[at + 1]
        if kind == comment_type:
            return string(data[at + 2 : at + 2 + size])
        at += 2 + size
    return None


def _flags(value: int | None, table: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(word for bit, word in table if (value or 0) & bit)


def decode_table(found: Attributes, family: str) -> NftTable:
    """Return the table of a message. Raises MalformedError if the name is missing."""
    found.require(nft.NFTA_TABLE_NAME)
    return NftTable(
        family=family,
        name=found.text(nft.NFTA_TABLE_NAME),
        flags=_flags(found.number(nft.NFTA_TABLE_FLAGS), nft.NFT_TABLE_FLAGS),
        handle=found.number(nft.NFTA_TABLE_HANDLE) or 0,
        owner=found.number(nft.NFTA_TABLE_OWNER),
        comment=user_comment(found.raw(nft.NFTA_TABLE_USERDATA)),
    )


def _devices(hook: Attributes) -> tuple[str, ...]:
    """Return the devices in NFTA_CHAIN_HOOK: those in NFTA_HOOK_DEVS, else the one in NFTA_HOOK_DEV."""
    if nft.NFTA_HOOK_DEVS in hook:
        listed = attributes(hook.buf, *hook.span(nft.NFTA_HOOK_DEVS))
        return tuple(
            string(bytes(hook.buf[first:last])) + ("*" if kind == nft.NFTA_DEVICE_PREFIX else "")
            for kind, first, last in listed
        )
    return (hook.text(nft.NFTA_HOOK_DEV),) if nft.NFTA_HOOK_DEV in hook else ()


def decode_chain(found: Attributes, family: str) -> NftChain:
    """Return the chain of a message. Raises MalformedError if a name is missing."""
    found.require(nft.NFTA_CHAIN_TABLE, nft.NFTA_CHAIN_NAME)
    hook, counters = found.nested(nft.NFTA_CHAIN_HOOK), found.nested(nft.NFTA_CHAIN_COUNTERS)
    hook_number = hook.number(nft.NFTA_HOOK_HOOKNUM)
    policy = found.number(nft.NFTA_CHAIN_POLICY)
    return NftChain(
        family=family,
        table=found.text(nft.NFTA_CHAIN_TABLE),
        name=found.text(nft.NFTA_CHAIN_NAME),
        handle=found.number(nft.NFTA_CHAIN_HANDLE) or 0,
        use=found.number(nft.NFTA_CHAIN_USE) or 0,
        hook=None if hook_number is None else nft.NF_HOOKS.get(family, {}).get(hook_number, str(hook_number)),
        priority=hook.number(nft.NFTA_HOOK_PRIORITY, signed=True),
        type=found.text(nft.NFTA_CHAIN_TYPE) or None,
        policy=None if policy is None else NF_VERDICTS.get(policy, str(policy)),
        flags=_flags(found.number(nft.NFTA_CHAIN_FLAGS), nft.NFT_CHAIN_FLAGS),
        devices=_devices(hook),
        packets=counters.number(nft.NFTA_COUNTER_PACKETS),
        bytes=counters.number(nft.NFTA_COUNTER_BYTES),
        comment=user_comment(found.raw(nft.NFTA_CHAIN_USERDATA)),
    )


_PROPERTIES: dict[str, dict[str, int]] = {
    "ct helper": {"l3proto": nft.NFTA_CT_HELPER_L3PROTO, "protocol": nft.NFTA_CT_HELPER_L4PROTO},
    "ct timeout": {"l3proto": nft.NFTA_CT_TIMEOUT_L3PROTO, "protocol": nft.NFTA_CT_TIMEOUT_L4PROTO},
    "ct expectation": {
        "l3proto": nft.NFTA_CT_EXPECT_L3PROTO, "protocol": nft.NFTA_CT_EXPECT_L4PROTO,
        "dport": nft.NFTA_CT_EXPECT_DPORT, "timeout_ms": nft.NFTA_CT_EXPECT_TIMEOUT, "size": nft.NFTA_CT_EXPECT_SIZE,
    },
    "synproxy": {"mss": nft.NFTA_SYNPROXY_MSS, "wscale": nft.NFTA_SYNPROXY_WSCALE},
}  # fmt: skip


def _properties(kind: str, own: Attributes) -> Iterator[tuple[str, int | str]]:
    if kind == "secmark":
        yield "context", own.text(nft.NFTA_SECMARK_CTX)
    for name, attribute in _PROPERTIES.get(kind, {}).items():
        value = own.host(attribute) if name == "timeout_ms" else own.number(attribute)  # nft_ct.c: not swapped
        names = {"l3proto": NFPROTO_NAMES, "protocol": NFT_NAMES}.get(name, {})
        if value is not None:
            yield name, names.get(value, value)


def decode_object(found: Attributes, family: str) -> NftObject:
    """Return the stateful object of a message. Raises MalformedError if a name is missing."""
    found.require(nft.NFTA_OBJ_TABLE, nft.NFTA_OBJ_NAME)
    number = found.number(nft.NFTA_OBJ_TYPE)
    kind = nft.NFT_OBJECTS.get(number or 0, str(number))
    own, absent = found.nested(nft.NFTA_OBJ_DATA), Attributes(found.buf, 0, 0)
    counter, quota, limit = (own if kind == of else absent for of in ("counter", "quota", "limit"))
    flags = quota.number(nft.NFTA_QUOTA_FLAGS) or limit.number(nft.NFTA_LIMIT_FLAGS) or 0
    limit_type = nft.NFT_LIMIT_TYPES.get(limit.number(nft.NFTA_LIMIT_TYPE) or 0)
    return NftObject(
        family=family,
        table=found.text(nft.NFTA_OBJ_TABLE),
        name=found.text(nft.NFTA_OBJ_NAME),
        type=kind,
        handle=found.number(nft.NFTA_OBJ_HANDLE) or 0,
        use=found.number(nft.NFTA_OBJ_USE) or 0,
        packets=counter.number(nft.NFTA_COUNTER_PACKETS),
        bytes=counter.number(nft.NFTA_COUNTER_BYTES),
        quota=quota.number(nft.NFTA_QUOTA_BYTES),
        used=quota.number(nft.NFTA_QUOTA_CONSUMED),
        inverted=bool(flags & nft.NFT_QUOTA_F_INV),  # NFT_LIMIT_F_INV is the same bit
        rate=limit.number(nft.NFTA_LIMIT_RATE),
        unit=limit.number(nft.NFTA_LIMIT_UNIT),
        burst=limit.number(nft.NFTA_LIMIT_BURST),
        limit_type=limit_type if len(limit) else None,
        helper=own.text(nft.NFTA_CT_HELPER_NAME) if kind == "ct helper" else None,
        comment=user_comment(found.raw(nft.NFTA_OBJ_USERDATA)),
        properties=tuple(_properties(kind, own)),
    )


def decode_generation(found: Attributes, ts_ns: int, event: bool) -> Generation:
    """Return the generation of a message. Raises MalformedError if the id is missing."""
    found.require(nft.NFTA_GEN_ID)
    pid, process = found.number(nft.NFTA_GEN_PROC_PID), found.text(nft.NFTA_GEN_PROC_NAME)
    return Generation(found.number(nft.NFTA_GEN_ID) or 0, pid, process, ts_ns, event)
