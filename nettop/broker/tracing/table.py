"""The table that marks packets for tracing, by raw netlink. Its socket owns it: the kernel removes it with the socket.

The chain TRACE_MARK sets nftrace within a limit; its other rules leave a record that shows the protocol behind IPv6's
extension headers. Base chains without a rule leave a record at the begin and at the end of each hook, so that the way
of a packet is known where no other chain sees it. Format: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from nettop.broker.attributes import attribute, be32, name, nested
from nettop.broker.netlink_changes import answers, netfilter_socket
from nettop.broker.reads import LONGEST_NAME, message, nfgenmsg
from nettop.broker.requests import PacketTest, StartTrace
from nettop.broker.sockets import SEND_BUFFER
from nettop.errors import BrokerError
from nettop.kinds import TRACE_ENDS, TRACE_HOOKS, TRACE_INGRESS, TRACE_MARK, TRACE_MARKING
from nettop.linux import nf_tables as nft
from nettop.linux import nfnetlink
from nettop.linux.inet import BEHIND_EXTENSIONS
from nettop.linux.interface import IFNAMSIZ
from nettop.linux.netlink import NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST
from nettop.linux.packet import ETH_P_IP, ETH_P_IPV6

MAX_MATCHES, MAX_TESTS = 256, 32
MAX_DEVICES = 255  # of one chain, fewer than NFT_NETDEVICE_MAX: more are in more chains
MAX_RATE = 10_000  # packets a second
_HOOKS = {name: number for number, name in nft.NF_HOOKS["inet"].items()} | {TRACE_INGRESS: 0}  # NF_NETDEV_INGRESS
_NEXT_HEADER = 6  # of the IPv6 header
_FIRST, _LAST = -(1 << 31), (1 << 31) - 1  # NF_IP_PRI_FIRST, NF_IP_PRI_LAST (linux/netfilter_ipv4.h)
_BASES = {"network": nft.NFT_PAYLOAD_NETWORK_HEADER, "transport": nft.NFT_PAYLOAD_TRANSPORT_HEADER}
_META = {nft.NFT_META_NFPROTO: 1, nft.NFT_META_L4PROTO: 1, nft.NFT_META_PROTOCOL: 2}  # with their bytes
_DEVICES = {"prerouting": nft.NFT_META_IIFNAME, "output": nft.NFT_META_OIFNAME, TRACE_INGRESS: nft.NFT_META_IIFNAME}
_FAMILIES = {"inet": nfnetlink.NFPROTO_INET, "bridge": nfnetlink.NFPROTO_BRIDGE, "netdev": nfnetlink.NFPROTO_NETDEV}
_ETHERTYPES = {nfnetlink.NFPROTO_IPV4: ETH_P_IP, nfnetlink.NFPROTO_IPV6: ETH_P_IPV6}
_SIZES = {"meta": (1, 2), "device": (IFNAMSIZ,), "network": (1, 2, 4, 16), "transport": (1, 2, 4)}


def create(table: str, asked: StartTrace, devices: Sequence[str]) -> socket.socket:
    """Create the table in this namespace, which has these devices. Return its owning socket. BrokerError, OSError."""
    request = batch(table, asked, devices)
    sock = netfilter_socket(SEND_BUFFER, len(request))
    try:
        sock.sendto(request, (0, 0))
        refused = next((number for number in answers(sock) if number), 0)
        if refused:
            raise OSError(refused, os.strerror(refused), "the tracing table was not made")
    except BaseException:
        sock.close()
        raise
    return sock


def batch(table: str, asked: StartTrace, devices: Sequence[str]) -> bytes:
    """Return the transaction that makes the tables; raises BrokerError for what no table of ours has."""
    matches, per_second = asked.matches, asked.per_second
    if not 1 <= per_second <= MAX_RATE:
        raise BrokerError(f"{per_second} traced packets a second are not possible", f"give 1 to {MAX_RATE}")
    if not 1 <= len(matches) <= MAX_MATCHES:
        raise BrokerError(f"not on the list: {len(matches)} matches")
    families = ("inet", *("bridge",) * asked.bridge, *("netdev",) * asked.ingress)
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND
    parts: list[tuple[int, bytes]] = []
    for family in families:
        header = nfgenmsg(_FAMILIES[family])
        parts += [(kind, header + part) for kind, part in _table(table, family, asked, devices)]
    nft_type = nfnetlink.NFNL_SUBSYS_NFTABLES << 8
    *firsts, (last, rule) = parts
    return b"".join(
        (
            _boundary(nfnetlink.NFNL_MSG_BATCH_BEGIN),
            *(message(nft_type | kind, flags, 0, part) for kind, part in firsts),
            message(nft_type | last, flags | NLM_F_ACK, 0, rule),  # one for each would not fit the receive buffer
            _boundary(nfnetlink.NFNL_MSG_BATCH_END),
        )
    )


def _table(table: str, family: str, asked: StartTrace, devices: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the attributes of each message that makes the table of a family."""
    named = name(nft.NFTA_TABLE_NAME, table, LONGEST_NAME)
    yield nft.NFT_MSG_NEWTABLE, named + be32(nft.NFTA_TABLE_FLAGS, nft.NFT_TABLE_F_OWNER)
    yield nft.NFT_MSG_NEWCHAIN, _chain(table, TRACE_MARK)
    marking = {chain: chain for chain in TRACE_MARKING}  # with their hooks
    if family == "netdev":
        marking.clear()
        for number, at in zip(count(1), range(0, len(devices), MAX_DEVICES), strict=False):
            marking[chain := f"{TRACE_INGRESS}-{number}"] = TRACE_INGRESS
            yield nft.NFT_MSG_NEWCHAIN, _chain(table, chain, TRACE_INGRESS, _FIRST, devices[at : at + MAX_DEVICES])
    else:
        for chain in (*TRACE_MARKING, *TRACE_HOOKS):
            yield nft.NFT_MSG_NEWCHAIN, _chain(table, chain, chain, _FIRST)
        for chain, hook in TRACE_ENDS.items():
            yield nft.NFT_MSG_NEWCHAIN, _chain(table, chain, hook, _LAST)
    yield nft.NFT_MSG_NEWRULE, _rule(table, TRACE_MARK, _marking(asked.per_second))
    for proto in BEHIND_EXTENSIONS:  # their records show the protocol, which those of nf_tables do not name
        ipv6, behind = _field(nft.NFT_META_NFPROTO, nfnetlink.NFPROTO_IPV6), _field(nft.NFT_META_L4PROTO, proto)
        other = PacketTest("network", _NEXT_HEADER, 1, proto, proto, 0xFF, False)
        expressions = (part for test in _of_family(family, (ipv6, behind, other)) for part in _test(TRACE_MARK, test))
        yield nft.NFT_MSG_NEWRULE, _rule(table, TRACE_MARK, expressions)
    for match in asked.matches:
        tests = _of_family(family, match.tests)
        for chain, hook in marking.items():
            yield nft.NFT_MSG_NEWRULE, _rule(table, chain, _matching(hook, tests))


def _field(key: int, value: int) -> PacketTest:
    return PacketTest("meta", key, 1, value, value, 0xFF, True)


def _of_family(family: str, tests: tuple[PacketTest, ...]) -> tuple[PacketTest, ...]:
    return tests if family == "inet" else tuple(map(_of_frame, tests))


def _of_frame(test: PacketTest) -> PacketTest:
    """Return the same test of a frame: outside of inet, nfproto is that of the hook."""
    ethertype = _ETHERTYPES.get(test.first)
    if (test.of, test.at) != ("meta", nft.NFT_META_NFPROTO) or ethertype is None:
        return test
    return PacketTest("meta", nft.NFT_META_PROTOCOL, 2, ethertype, ethertype, 0xFFFF, test.holds)


def _boundary(kind: int) -> bytes:
    header = nfnetlink.NFGENMSG.pack(0, 0, socket.htons(nfnetlink.NFNL_SUBSYS_NFTABLES))
    return message(kind, NLM_F_REQUEST, 0, header)


def _chain(table: str, chain: str, hook: str = "", priority: int = 0, devices: Sequence[str] = ()) -> bytes:
    parts = [name(nft.NFTA_CHAIN_TABLE, table, LONGEST_NAME), name(nft.NFTA_CHAIN_NAME, chain, LONGEST_NAME)]
    if hook:
        numbers = be32(nft.NFTA_HOOK_HOOKNUM, _HOOKS[hook]) + be32(nft.NFTA_HOOK_PRIORITY, priority & 0xFFFF_FFFF)
        if devices:
            listed = (name(nft.NFTA_DEVICE_NAME, device, IFNAMSIZ - 1) for device in devices)
            numbers += nested(nft.NFTA_HOOK_DEVS, *listed)
        parts += [
            nested(nft.NFTA_CHAIN_HOOK, numbers),
            name(nft.NFTA_CHAIN_TYPE, "filter", LONGEST_NAME),
            be32(nft.NFTA_CHAIN_POLICY, nfnetlink.NF_ACCEPT),
        ]
    return b"".join(parts)


def _rule(table: str, chain: str, expressions: Iterable[bytes]) -> bytes:
    return b"".join(
        (
            name(nft.NFTA_RULE_TABLE, table, LONGEST_NAME),
            name(nft.NFTA_RULE_CHAIN, chain, LONGEST_NAME),
            nested(nft.NFTA_RULE_EXPRESSIONS, *expressions),
        )
    )


def _expression(kind: str, *data: bytes) -> bytes:
    named = name(nft.NFTA_EXPR_NAME, kind, LONGEST_NAME)
    return nested(nft.NFTA_LIST_ELEM, named, nested(nft.NFTA_EXPR_DATA, *data))


def _matching(hook: str, tests: Sequence[PacketTest]) -> list[bytes]:
    """Return the expressions of a rule that sends the packets for which all tests hold to the chain that marks."""
    if len(tests) > MAX_TESTS:
        raise BrokerError(f"not on the list: {len(tests)} tests of a packet")
    verdict = nested(
        nft.NFTA_DATA_VERDICT,
        be32(nft.NFTA_VERDICT_CODE, nft.NFT_GOTO),
        name(nft.NFTA_VERDICT_CHAIN, TRACE_MARK, LONGEST_NAME),
    )
    go = _expression(
        "immediate", be32(nft.NFTA_IMMEDIATE_DREG, nft.NFT_REG_VERDICT), nested(nft.NFTA_IMMEDIATE_DATA, verdict)
    )
    return [*(part for test in tests for part in _test(hook, test)), _expression("counter"), go]


def _test(hook: str, test: PacketTest) -> Iterator[bytes]:
    size = test.size
    if size not in _SIZES.get(test.of, ()) or not 0 <= test.first <= test.last < 1 << 8 * size > test.mask > 0:
        raise BrokerError(f"not on the list: {test}")
    yield _load(hook, test)
    if test.mask != (1 << 8 * size) - 1:
        yield _expression(
            "bitwise",
            be32(nft.NFTA_BITWISE_SREG, nft.NFT_REG_1),
            be32(nft.NFTA_BITWISE_DREG, nft.NFT_REG_1),
            be32(nft.NFTA_BITWISE_LEN, size),
            _value(nft.NFTA_BITWISE_MASK, test.mask, size),
            _value(nft.NFTA_BITWISE_XOR, 0, size),
        )
    operator = nft.NFT_CMP_EQ if test.holds else nft.NFT_CMP_NEQ  # NFT_RANGE_EQ and _NEQ are the same numbers
    if test.first == test.last:
        register, compared = be32(nft.NFTA_CMP_SREG, nft.NFT_REG_1), be32(nft.NFTA_CMP_OP, operator)
        yield _expression("cmp", register, compared, _value(nft.NFTA_CMP_DATA, test.first, size))
    else:
        register, compared = be32(nft.NFTA_RANGE_SREG, nft.NFT_REG_1), be32(nft.NFTA_RANGE_OP, operator)
        ends = _value(nft.NFTA_RANGE_FROM_DATA, test.first, size), _value(nft.NFTA_RANGE_TO_DATA, test.last, size)
        yield _expression("range", register, compared, *ends)


def _value(kind: int, number: int, size: int) -> bytes:
    return nested(kind, attribute(nft.NFTA_DATA_VALUE, number.to_bytes(size, "big")))


def _load(hook: str, test: PacketTest) -> bytes:
    """Return the expression that loads a field into the register."""
    if test.of in _BASES:
        return _expression(
            "payload",
            be32(nft.NFTA_PAYLOAD_DREG, nft.NFT_REG_1),
            be32(nft.NFTA_PAYLOAD_BASE, _BASES[test.of]),
            be32(nft.NFTA_PAYLOAD_OFFSET, test.at),
            be32(nft.NFTA_PAYLOAD_LEN, test.size),
        )
    key = _DEVICES[hook] if test.of == "device" else test.at
    if test.of == "meta" and _META.get(key) != test.size:
        raise BrokerError(f"not on the list: {test}")
    return _expression("meta", be32(nft.NFTA_META_KEY, key), be32(nft.NFTA_META_DREG, nft.NFT_REG_1))


def _marking(per_second: int) -> list[bytes]:
    """Return the expressions that mark so many packets a second, and count them."""
    rate, second = per_second.to_bytes(8, "big"), (1).to_bytes(8, "big")
    return [
        _expression(
            "limit",
            attribute(nft.NFTA_LIMIT_RATE, rate),
            attribute(nft.NFTA_LIMIT_UNIT, second),
            be32(nft.NFTA_LIMIT_BURST, per_second),
            be32(nft.NFTA_LIMIT_TYPE, 0),
        ),
        _expression("counter"),
        _expression("immediate", be32(nft.NFTA_IMMEDIATE_DREG, nft.NFT_REG_1), _value(nft.NFTA_IMMEDIATE_DATA, 1, 1)),
        _expression("meta", be32(nft.NFTA_META_KEY, nft.NFT_META_NFTRACE), be32(nft.NFTA_META_SREG, nft.NFT_REG_1)),
    ]
