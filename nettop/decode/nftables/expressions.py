"""The expressions of a rule in the words of `nft --debug=netlink`: the program that the kernel runs on each packet.

linux/netfilter/nf_tables.h, enum nft_*_attributes; the words are those of libnftnl (src/expr/*.c).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence

from nettop.linux import nf_tables as nft
from nettop.linux.netlink import Attributes, MalformedError, attributes
from nettop.linux.nfnetlink import NF_VERDICTS, NFPROTO_NAMES

_CMP = ("eq", "neq", "lt", "lte", "gt", "gte")
_META = re.findall(
    r"\S+",
    """len protocol priority mark iif oif iifname oifname iiftype oiftype skuid skgid nftrace rtclassid secmark nfproto
    l4proto bri_iifname bri_oifname pkttype cpu iifgroup oifgroup cgroup prandom secpath iifkind oifkind bri_iifpvid
    bri_iifvproto time day hour sdif sdifname""",
)  # enum nft_meta_keys
_CT = re.findall(
    r"\S+",
    """state direction status mark secmark expiration helper l3protocol src dst protocol proto_src proto_dst label
    packets bytes avgpkt zone event src_ip dst_ip src_ip6 dst_ip6 id""",
)  # enum nft_ct_keys
_BASES = ("link", "network", "transport", "inner")
_FIB_FLAGS, _FIB_PRESENT = ("saddr", "daddr", "mark", "iif", "oif"), 32
_LOG_FLAGS = ((1, "tcpseq"), (2, "tcpopt"), (4, "ipopt"), (8, "uid"), (32, "macdecode"))
_UNITS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day", 604_800: "week"}
_EXTHDR = ("ipv6", "tcpopt", "ipv4")
_RANGES = (("addr_min reg", 3), ("addr_max reg", 4), ("proto_min reg", 5), ("proto_max reg", 6))


def expression_lines(raw: bytes) -> list[str]:
    """Return a line for each expression of NFTA_RULE_EXPRESSIONS; of bad bytes those before. Not safe for terminals."""
    lines: list[str] = []
    try:
        for _, first, last in attributes(raw, 0, len(raw)):
            lines.append(_expression(Attributes(raw, first, last)))
    except MalformedError as error:
        lines.append(f"[ unreadable from byte {error.offset} on ]")
    return lines


def _expression(one: Attributes) -> str:
    kind = one.text(nft.NFTA_EXPR_NAME)
    words = _WORDS.get(kind)
    inner = one.nested(nft.NFTA_EXPR_DATA)
    return " ".join(("[", kind, *(filter(None, words(inner)) if words else ()), "]"))


def _number(of: Attributes, kind: int) -> int:
    return of.number(kind) or 0


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"unknown ({number})"


def _data(of: Attributes, kind: int) -> str:
    """Return the value of an NFTA_*_DATA: 32-bit words in the order of this machine, or a verdict."""
    value = of.nested(kind)
    if nft.NFTA_DATA_VERDICT in value:
        verdict = value.nested(nft.NFTA_DATA_VERDICT)
        code = verdict.number(nft.NFTA_VERDICT_CODE, signed=True) or 0
        word = nft.NFT_VERDICTS.get(code) or NF_VERDICTS.get(code & 0xFF, str(code))
        target = verdict.text(nft.NFTA_VERDICT_CHAIN)
        return f"{word} -> {target}" if target else word
    data = value.raw(nft.NFTA_DATA_VALUE)
    return " ".join(f"{int.from_bytes(data[at : at + 4], sys.byteorder):#010x}" for at in range(0, len(data), 4))


def _set_or_load(of: Attributes, key: str, sreg: int, dreg: int) -> Iterator[str]:
    if sreg in of:
        yield f"set {key} with reg {_number(of, sreg)}"
    if dreg in of:
        yield f"load {key} => reg {_number(of, dreg)}"


def _meta(of: Attributes) -> Iterator[str]:
    yield from _set_or_load(of, _name(_META, _number(of, 2)), 3, 1)


def _ct(of: Attributes) -> Iterator[str]:
    yield from _set_or_load(of, _name(_CT, _number(of, 2)), 4, 1)
    if 3 in of:
        yield f", dir {_name(('original', 'reply'), _number(of, 3))}"


def _bitwise(of: Attributes) -> Iterator[str]:
    sreg, dreg, op = (_number(of, kind) for kind in (1, 2, 6))
    if op:
        yield f"reg {dreg} = ( reg {sreg} {'<<' if op == 1 else '>>'} {_data(of, 7)} )"
    else:
        yield f"reg {dreg} = ( reg {sreg} & {_data(of, 4)} ) ^ {_data(of, 5)}"


def _byteorder(of: Attributes) -> Iterator[str]:
    sreg, dreg, op, length, size = (_number(of, kind) for kind in range(1, 6))
    yield f"reg {dreg} = {_name(('ntoh', 'hton'), op)}(reg {sreg}, {size}, {length})"


def _cmp(of: Attributes) -> Iterator[str]:
    yield f"{_name(_CMP, _number(of, 2))} reg {_number(of, 1)} {_data(of, 3)}"


def _range(of: Attributes) -> Iterator[str]:
    yield f"{_name(_CMP, _number(of, 2))} reg {_number(of, 1)} {_data(of, 3)} {_data(of, 4)}"


def _payload(of: Attributes) -> Iterator[str]:
    dreg, base, offset, length, sreg, kind, at, flags = (_number(of, one) for one in range(1, 9))
    place = f"{length}b @ {_name(_BASES, base)} header + {offset}"
    if sreg:
        yield f"write reg {sreg} => {place} csum_type {kind} csum_off {at} csum_flags {flags:#x}"
    else:
        yield f"load {place} => reg {dreg}"


def _lookup(of: Attributes) -> Iterator[str]:
    yield f"reg {_number(of, 2)} set {of.text(1)}"
    yield f"dreg {_number(of, 3)}" if 3 in of else ""
    yield f"{_number(of, 5):#x}"


def _dynset(of: Attributes) -> Iterator[str]:
    yield f"{_name(('add', 'update', 'delete'), _number(of, 3))} reg_key {_number(of, 4)} set {of.text(1)}"
    yield f"sreg_data {_number(of, 5)}" if 5 in of else ""
    yield f"timeout {_number(of, 6)}ms" if 6 in of else ""
    several = [Attributes(of.buf, first, last) for _, first, last in attributes(of.buf, *of.span(10))]
    for one in several or ([of.nested(7)] if 7 in of else []):
        yield f"expr {_expression(one)}"


def _exthdr(of: Attributes) -> Iterator[str]:
    dreg, kind, offset, length, flags, op, sreg = (_number(of, one) for one in range(1, 8))
    place = f"{length}b @ {kind} + {offset}"
    name = f" {_name(_EXTHDR, op)}"
    if sreg:
        yield f"write{name} reg {sreg} => {place}"
    elif dreg:
        yield f"load{name} {place}{' present' if flags & 1 else ''} => reg {dreg}"
    else:
        yield f"reset tcpopt {kind}"


def _fib(of: Attributes) -> Iterator[str]:
    dreg, result, flags = (_number(of, one) for one in (1, 2, 3))
    yield " . ".join(word for bit, word in enumerate(_FIB_FLAGS) if flags & 1 << bit)
    yield f"{_name(('', 'oif', 'oifname', 'type'), result)}{' present' if flags & _FIB_PRESENT else ''} => reg {dreg}"


def _limit(of: Attributes) -> Iterator[str]:
    rate, unit, burst, kind, flags = (_number(of, one) for one in range(1, 6))
    per, what = _UNITS.get(unit, "error"), _name(("packets", "bytes"), kind)
    yield f"rate {rate}/{per} burst {burst} type {what} flags {flags:#x}"


def _log(of: Attributes) -> Iterator[str]:
    yield f"prefix {of.text(2)}" if 2 in of else ""
    if 1 in of:
        yield f"group {_number(of, 1)} snaplen {_number(of, 3)} qthreshold {_number(of, 4)}"
        return
    yield f"level {_number(of, 5)}" if 5 in of else ""
    yield from (word for bit, word in _LOG_FLAGS if _number(of, 6) & bit)


def _nat(of: Attributes) -> Iterator[str]:
    yield f"{_name(('snat', 'dnat'), _number(of, 1))} {NFPROTO_NAMES.get(_number(of, 2), '')}"
    yield from _registers(of, *_RANGES)
    yield f"flags {_number(of, 7):#x}" if 7 in of else ""


def _registers(of: Attributes, *names: tuple[str, int]) -> Iterator[str]:
    yield from (f"{name} {_number(of, kind)}" for name, kind in names if kind in of)


def _masq(of: Attributes) -> Iterator[str]:
    yield from _registers(of, ("proto_min reg", 2), ("proto_max reg", 3))
    yield f"flags {_number(of, 1):#x}" if _number(of, 1) else ""


def _redir(of: Attributes) -> Iterator[str]:
    yield from _registers(of, ("proto_min reg", 1), ("proto_max reg", 2))
    yield f"flags {_number(of, 3):#x}" if _number(of, 3) else ""


def _hash(of: Attributes) -> Iterator[str]:
    sreg, dreg, length, modulus, seed, offset, kind = (_number(of, one) for one in range(1, 8))
    what = "symhash()" if kind else f"jhash(reg {sreg}, {length}, {seed:#x})"
    yield f"reg {dreg} = {what} % mod {modulus}"
    yield f"offset {offset}" if offset else ""


def _numgen(of: Attributes) -> Iterator[str]:
    dreg, modulus, kind, offset = (_number(of, one) for one in range(1, 5))
    yield f"reg {dreg} = {_name(('inc', 'random'), kind)} mod {modulus}"
    yield f"offset {offset}" if offset else ""


def _queue(of: Attributes) -> Iterator[str]:
    first, total, flags = (_number(of, one) for one in (1, 2, 3))
    yield f"num {first}{f'-{first + total - 1}' if total > 1 else ''}" if 1 in of else ""
    yield f"sreg_qnum {_number(of, 4)}" if 4 in of else ""
    yield from (word for bit, word in enumerate(("bypass", "fanout")) if flags & 1 << bit)


def _objref(of: Attributes) -> Iterator[str]:
    yield f"sreg {_number(of, 3)} set {of.text(4)}" if 3 in of else f"type {_number(of, 1)} name {of.text(2)}"


def _socket(of: Attributes) -> Iterator[str]:
    yield f"load {_name(('transparent', 'mark', 'wildcard', 'cgroupv2'), _number(of, 1))} => reg {_number(of, 2)}"


def _tproxy(of: Attributes) -> Iterator[str]:
    yield NFPROTO_NAMES.get(_number(of, 1), "")
    yield from _registers(of, ("addr reg", 2), ("port reg", 3))


def _last(of: Attributes) -> Iterator[str]:
    yield str(_number(of, 2)) if _number(of, 1) else "never"


def _plain(text: str, *kinds: int) -> Callable[[Attributes], Iterator[str]]:
    """Return the words of an expression that are its numbers in a text."""
    return lambda of: iter((text.format(*(_number(of, kind) for kind in kinds)),))


def _named(of: Attributes) -> Iterator[str]:
    yield f"name {of.text(1)} rev {_number(of, 2)}"


_WORDS: dict[str, Callable[[Attributes], Iterator[str]]] = {
    "bitwise": _bitwise, "byteorder": _byteorder, "cmp": _cmp, "ct": _ct, "dynset": _dynset, "exthdr": _exthdr,
    "fib": _fib, "hash": _hash, "last": _last, "limit": _limit, "log": _log, "lookup": _lookup,
    "masq": _masq, "match": _named, "meta": _meta, "nat": _nat, "numgen": _numgen, "objref": _objref,
    "payload": _payload, "queue": _queue, "range": _range, "redir": _redir, "socket": _socket, "target": _named,
    "tproxy": _tproxy,
    "connlimit": _plain("count {} flags {:x}", 1, 2),
    "counter": _plain("pkts {} bytes {}", 2, 1),
    "dup": lambda of: _registers(of, ("sreg_addr", 1), ("sreg_dev", 2)),
    "flow_offload": lambda of: iter((f"flowtable {of.text(1)}",)),
    "fwd": lambda of: _registers(of, ("sreg_dev", 1), ("sreg_addr", 2), ("nfproto", 3)),
    "immediate": lambda of: iter((f"reg {_number(of, 1)}", _data(of, 2))),
    "osf": _plain("dreg {}", 1),
    "quota": _plain("bytes {} consumed {} flags {}", 1, 4, 2),
    "reject": _plain("type {} code {}", 1, 2),
    "rt": lambda of: iter((f"load {_name(('classid', 'nexthop4', 'nexthop6', 'tcpmss', 'ipsec'), _number(of, 2))}"
                           f" => reg {_number(of, 1)}",)),
    "synproxy": _plain("mss {} wscale {}", 1, 2),
    "tunnel": lambda of: iter((f"load {_name(('path', 'id'), _number(of, 1))} => reg {_number(of, 2)}",)),
}  # fmt: skip
