"""The socket filter of an event socket: clauses as classic BPF over one ctnetlink message.

The message begins with its nlmsghdr. Numbers in attributes are big endian, as BPF loads them. A message that is no
conntrack entry (an expectation) or has not all attributes that the clauses test passes: only a certain mismatch is
dropped.
Format: linux/netlink.h, linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nettop.linux import conntrack as nfct
from nettop.linux.inet import WITH_PORTS
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_CTNETLINK
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.kernel_filter import bpf
from nettop.model.kernel_filter.clauses import WORD, Clause, Test

MAX_LENGTH = 1000  # instructions: sockets may hold 20 KB of options (net.core.optmem_max) on older kernels
_PASS, _DROP = "pass", "drop"
_NO_PORT = 1 << 16
_SUBSYSTEM = 5 if sys.byteorder == "little" else 4  # the high byte of nlmsg_type (u16, host order)
_FAMILY = 16  # offset of struct nfgenmsg, after the 16 bytes of struct nlmsghdr
_BODY = _FAMILY + NFGEN_LENGTH
_VALUE = 4  # after struct nlattr
_ORIG, _REPLY = nfct.CTA_TUPLE_ORIG, nfct.CTA_TUPLE_REPLY
# Of each number: the load instruction, the value if it is absent (None: unknown), and the paths of its attribute.
_NUMBERS: dict[str, tuple[int, int | None, Sequence[Sequence[int]]]] = {
    "proto": (bpf.LDB_IND, None, ((_ORIG, nfct.CTA_TUPLE_PROTO, nfct.CTA_PROTO_NUM),)),
    "status": (bpf.LD_IND, None, ((nfct.CTA_STATUS,),)),
    "mark": (bpf.LD_IND, 0, ((nfct.CTA_MARK,),)),
    "zone": (bpf.LDH_IND, 0, ((nfct.CTA_ZONE,), (_ORIG, nfct.CTA_TUPLE_ZONE), (_REPLY, nfct.CTA_TUPLE_ZONE))),
}
_PORTS = {
    "osport": (_ORIG, nfct.CTA_TUPLE_PROTO, nfct.CTA_PROTO_SRC_PORT),
    "odport": (_ORIG, nfct.CTA_TUPLE_PROTO, nfct.CTA_PROTO_DST_PORT),
    "rsport": (_REPLY, nfct.CTA_TUPLE_PROTO, nfct.CTA_PROTO_SRC_PORT),
    "rdport": (_REPLY, nfct.CTA_TUPLE_PROTO, nfct.CTA_PROTO_DST_PORT),
}
_ADDRESSES = {"osrc": (_ORIG, 0), "odst": (_ORIG, 1), "rsrc": (_REPLY, 0), "rdst": (_REPLY, 1)}
_FAMILIES = {AF_INET: (nfct.CTA_IP_V4_SRC, nfct.CTA_IP_V4_DST), AF_INET6: (nfct.CTA_IP_V6_SRC, nfct.CTA_IP_V6_DST)}
_NEVER = Clause(())
_SLOTS = {name: at for at, name in enumerate((*_NUMBERS, *_PORTS, *_ADDRESSES))}


def program(clauses: Sequence[Clause]) -> bytes:
    """Return struct sock_filter[] that passes the events for which all clauses hold; b"" if it is too long."""
    code = bpf.Assembler()
    code.add(bpf.LDB_ABS, _SUBSYSTEM)
    code.jump_if(bpf.JEQ, NFNL_SUBSYS_CTNETLINK, _PASS, holds=False)
    _find(code, (nfct.CTA_TUPLE_ORIG,), _PASS)
    _load_numbers(code, _needed(clauses))
    one_family = [clause for clause in clauses if _needed([clause]) & {"family", *_ADDRESSES}]
    for clause in clauses:
        if clause not in one_family:
            _clause(code, clause)
    for family in _FAMILIES if one_family else ():
        possible = [_for_family(clause, family) for clause in one_family]
        _family(code, family, [_NEVER] if _NEVER in possible else possible)
    code.place(_PASS)
    code.add(bpf.RET, 0xFFFFFFFF)
    code.place(_DROP)
    code.add(bpf.RET, 0)
    return code.encoded() if len(code) <= MAX_LENGTH else b""


def _needed(clauses: Sequence[Clause]) -> set[str]:
    tests = (test for clause in clauses for each in clause.alternatives for test in each)
    return {test.number.partition(".")[0] for test in tests}


def _family(code: bpf.Assembler, family: int, clauses: Sequence[Clause]) -> None:
    """Append the tests of the messages of one family."""
    other = code.new_label()
    code.add(bpf.LDB_ABS, _FAMILY)
    code.jump_if(bpf.JEQ, family, other, holds=False)
    for name, (side, end) in _ADDRESSES.items():
        if name in _needed(clauses):
            _find(code, (side, nfct.CTA_TUPLE_IP, _FAMILIES[family][end]), _PASS)
            code.add(bpf.ST, _SLOTS[name])  # the attribute's offset: an address is longer than a slot
    for clause in clauses:
        _clause(code, clause)
    code.jump(_PASS)
    code.place(other)


def _for_family(clause: Clause, family: int) -> Clause:
    """Return the clause with its tests of the family evaluated."""
    possible = (
        tuple(test for test in each if test.number != "family")
        for each in clause.alternatives
        if all((test.value == family) == test.holds for test in each if test.number == "family")
    )
    return Clause(tuple(possible), clause.holds)


def _clause(code: bpf.Assembler, clause: Clause) -> None:
    """Append jumps to _DROP for messages for which the clause does not hold."""
    end = code.new_label()
    on_match = end if clause.holds else _DROP
    loaded: tuple[str, int] | None = None  # the number in A on every path to here
    for each in sorted(clause.alternatives, key=_keys):
        following = code.new_label()
        for test, key in zip(each, _keys(each), strict=True):
            if loaded != key:
                _load(code, test)
            loaded, last = key, test is each[-1]  # a test before the last can only rule the alternative out
            code.jump_if(test.compare, test.value, on_match if last else following, holds=test.holds is last)
        if not each:
            code.jump(on_match)
        code.place(following)
        loaded = loaded if len({*_keys(each)}) == 1 else None
    if clause.holds:
        code.jump(_DROP)
    code.place(end)


def _keys(tests: Sequence[Test]) -> list[tuple[str, int]]:
    return [(test.number, test.bits) for test in tests]


def _load(code: bpf.Assembler, test: Test) -> None:
    name, dot, word = test.number.partition(".")
    if dot:
        code.add(bpf.LDX_MEM, _SLOTS[name])
        code.add(bpf.LD_IND, _VALUE + 4 * int(word))
    else:
        code.add(bpf.LD_MEM, _SLOTS[name])
    if test.bits != WORD:
        code.add(bpf.AND, test.bits)


def _load_numbers(code: bpf.Assembler, needed: set[str]) -> None:
    ports = [name for name in _PORTS if name in needed]
    for name in _NUMBERS:
        if name in needed or (name == "proto" and ports):
            _number(code, name, *_NUMBERS[name])
    if not ports:
        return
    found, done = code.new_label(), code.new_label()
    code.add(bpf.LD_MEM, _SLOTS["proto"])
    for proto in WITH_PORTS:
        code.jump_if(bpf.JEQ, proto, found)
    code.add(bpf.LD_IMM, _NO_PORT)
    for name in ports:
        code.add(bpf.ST, _SLOTS[name])
    code.jump(done)
    code.place(found)
    for name in ports:
        _number(code, name, bpf.LDH_IND, None, (_PORTS[name],))
    code.place(done)


def _number(code: bpf.Assembler, name: str, load: int, default: int | None, paths: Sequence[Sequence[int]]) -> None:
    """Append the load of the first attribute found; if none is, of the default, or (None) the message passes."""
    done = code.new_label()
    for path in paths:
        following = code.new_label()
        _find(code, path, following)
        code.add(bpf.TAX)
        code.add(load, _VALUE)
        code.jump(done)
        code.place(following)
    if default is None:
        code.jump(_PASS)
    else:
        code.add(bpf.LD_IMM, default)
    code.place(done)
    code.add(bpf.ST, _SLOTS[name])


def _find(code: bpf.Assembler, path: Sequence[int], absent: str) -> None:
    """Append the search for an attribute by its path of nested attributes; A becomes its offset."""
    code.add(bpf.LD_IMM, _BODY)
    for depth, kind in enumerate(path):
        code.add(bpf.LDX_IMM, kind)
        code.add(bpf.LD_ABS, bpf.AD_NLATTR_NEST if depth else bpf.AD_NLATTR)
        code.jump_if(bpf.JEQ, 0, absent)
