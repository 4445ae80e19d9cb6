"""The socket filter of an event socket: a formula as classic BPF over one ctnetlink message.

The message begins with its nlmsghdr; numbers in attributes are big endian, as BPF loads them. What is no conntrack
entry (an expectation), and an entry that lacks what the formula asks of it, passes: refusing is for what is certain.
Format: linux/netlink.h, linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h.
"""

from __future__ import annotations

import sys
from functools import partial

from nettop.linux import conntrack as nfct
from nettop.model.filter.values import AF_INET, AF_INET6
from nettop.model.kernel_filter import bpf
from nettop.model.kernel_filter.formula import FALSE, TRUE, WORD, Any, Formula, In, settled, tests
from nettop.text import flow as words
from nettop.text.flow import WITH_PORTS

MAX_LENGTH = 1000  # instructions: sockets may hold 20 KB of options (net.core.optmem_max) on older kernels
_PASS, _REFUSE = "pass", "refuse"
_NO_PORT = 1 << 16
_TYPE = 4 if sys.byteorder == "little" else 5  # the low byte of nlmsg_type (u16, host order); the other: subsystem
_SUBSYSTEM = 9 - _TYPE
_CREATE = 7 if sys.byteorder == "little" else 6  # the byte of nlmsg_flags with NLM_F_CREATE
_NLM_F_CREATE = 0x400 >> 8
_FAMILY = 16  # struct nfgenmsg behind the 16 bytes of struct nlmsghdr
_BODY = _FAMILY + nfct.NFGEN_LENGTH
_VALUE = 4  # behind struct nlattr
_TUPLES = {"o": nfct.CTA_TUPLE_ORIG, "r": nfct.CTA_TUPLE_REPLY}
_ADDRESSES = {
    AF_INET: {"src": nfct.CTA_IP_V4_SRC, "dst": nfct.CTA_IP_V4_DST},
    AF_INET6: {"src": nfct.CTA_IP_V6_SRC, "dst": nfct.CTA_IP_V6_DST},
}
_NEEDED = {"id": nfct.CTA_ID, "status": nfct.CTA_STATUS, "timeout": nfct.CTA_TIMEOUT}
_INFO = {6: nfct.CTA_PROTOINFO_TCP, 33: nfct.CTA_PROTOINFO_DCCP, 132: nfct.CTA_PROTOINFO_SCTP}
_NEST = "nest"  # the slot for the place of an attribute that is looked into more than once


def program(formula: Formula) -> bytes:
    """struct sock_filter[] that passes at least the events of which the formula holds; b"" when it had to be longer
    than MAX_LENGTH, or would need more than a program can keep.
    """
    code = bpf.Program()
    code.add(bpf.LDB_ABS, _SUBSYSTEM)
    _go_on_if(code, nfct.NFNL_SUBSYS_CTNETLINK)
    for family in (AF_INET, AF_INET6):
        other = code.new_label()
        mine = code.new_label()
        code.add(bpf.LDB_ABS, _FAMILY)
        code.branch(bpf.JEQ, family, mine, other)
        code.place(mine)
        if not _family(code, family, settled(formula, partial(_of_family, family))):
            return b""
        code.place(other)
    code.jump(_PASS)
    code.place(_PASS)
    code.add(bpf.RET, 0xFFFFFFFF)
    code.place(_REFUSE)
    code.add(bpf.RET, 0)
    encoded = code.encoded()
    return encoded if len(encoded) <= MAX_LENGTH * 8 else b""


def _of_family(family: int, test: In) -> bool | None:
    return test.low <= family & test.bits <= test.high if test.number == "family" else None


def _family(code: bpf.Program, family: int, formula: Formula) -> bool:
    """The part for messages of one family; False when it needs too much."""
    _tuple_or_pass(code, nfct.CTA_TUPLE_ORIG)
    if formula in (TRUE, FALSE):
        code.jump(_PASS if formula == TRUE else _REFUSE)
        return True
    numbers = list(dict.fromkeys(test.number.partition(".")[0] for test in tests(formula)))
    loads = _Loads(code, family, numbers)
    if len(loads.slots) > bpf.SLOTS:
        return False
    loads.run()
    _condition(code, loads.slots, formula, _PASS, _REFUSE)
    return True


def _go_on_if(code: bpf.Program, value: int) -> None:
    """Pass unless A is the value."""
    on = code.new_label()
    code.branch(bpf.JEQ, value, on, _PASS)
    code.place(on)


def _tuple_or_pass(code: bpf.Program, kind: int) -> None:
    there = code.new_label()
    code.add(bpf.LD_IMM, _BODY)
    code.add(bpf.LDX_IMM, kind)
    code.add(bpf.LD_ABS, bpf.AD_NLATTR)
    code.branch(bpf.JEQ, 0, _PASS, there)
    code.place(there)


# The formula.


def _condition(code: bpf.Program, slots: dict[str, int], formula: Formula, yes: str, no: str) -> None:
    if isinstance(formula, In):
        _load(code, slots, formula)
        _compare(code, formula, yes, no)
        return
    parts, held = _grouped(formula.parts), None
    for part in parts[:-1]:
        following = code.new_label()
        _part(code, slots, part, held, *((yes, following) if isinstance(formula, Any) else (following, no)))
        code.place(following)
        held = part
    _part(code, slots, parts[-1], held, yes, no)


def _part(code: bpf.Program, slots: dict[str, int], part: Formula, held: Formula | None, yes: str, no: str) -> None:
    """A part behind the one that was tested just before: A may still hold its number."""
    if isinstance(part, In) and isinstance(held, In) and (part.number, part.bits) == (held.number, held.bits):
        _compare(code, part, yes, no)
    else:
        _condition(code, slots, part, yes, no)


def _grouped(parts: tuple[Formula, ...]) -> list[Formula]:
    """Tests of one number side by side, before what is made of several."""
    groups: dict[tuple[str, int] | None, list[Formula]] = {}
    for part in parts:
        groups.setdefault((part.number, part.bits) if isinstance(part, In) else None, []).append(part)
    rest = groups.pop(None, [])
    return [part for group in groups.values() for part in group] + rest


def _load(code: bpf.Program, slots: dict[str, int], test: In) -> None:
    number, dot, word = test.number.partition(".")
    if dot:  # an address: the slot has its attribute's place
        code.add(bpf.LDX_MEM, slots[number])
        code.add(bpf.LD_IND, _VALUE + 4 * int(word))
    else:
        code.add(bpf.LD_MEM, slots[number])
    if test.bits != WORD:
        code.add(bpf.AND, test.bits)


def _compare(code: bpf.Program, test: In, yes: str, no: str) -> None:
    """A is the number: it stays there."""
    if not test.holds:
        yes, no = no, yes
    if test.low == test.high:
        code.branch(bpf.JEQ, test.low, yes, no)
        return
    if test.low:
        enough = code.new_label()
        code.branch(bpf.JGE, test.low, enough, no)
        code.place(enough)
    code.branch(bpf.JGT, test.high, no, yes)


# The numbers of a message, each into a slot of its own.


class _Loads:
    """Code that brings the numbers into slots, once each, before the first test."""

    def __init__(self, code: bpf.Program, family: int, numbers: list[str]) -> None:
        self._code = code
        self._family = family
        needed = {*numbers}
        if needed & {"osport", "odport", "rsport", "rdport", "state"}:
            needed.add("proto")
        self._needed = needed
        self.slots = {name: i for i, name in enumerate((_NEST, *sorted(needed)))}

    def run(self) -> None:
        """The code for all of them."""
        if "proto" in self._needed:
            self._proto()
        for side in _TUPLES:
            self._addresses(side)
            self._ports(side)
        for name, kind in _NEEDED.items():
            if name in self._needed:
                self._attribute(kind)
                self._unless_zero(_PASS)
                self._value(name)
        if "mark" in self._needed:
            self._attribute(nfct.CTA_MARK)
            self._value_or_zero("mark")
        if "zone" in self._needed:
            self._zone()
        if "event" in self._needed:
            self._event()
        if "state" in self._needed:
            self._state()

    def _attribute(self, kind: int) -> None:
        """A: the place of a top attribute, or 0."""
        self._code.add(bpf.LD_IMM, _BODY)
        self._code.add(bpf.LDX_IMM, kind)
        self._code.add(bpf.LD_ABS, bpf.AD_NLATTR)

    def _within(self, kind: int) -> None:
        """A: the place of an attribute within the one at A, or 0."""
        self._code.add(bpf.LDX_IMM, kind)
        self._code.add(bpf.LD_ABS, bpf.AD_NLATTR_NEST)

    def _must(self, kind: int) -> None:
        self._within(kind)
        self._unless_zero(_PASS)

    def _tuple(self, side: str) -> None:
        _tuple_or_pass(self._code, _TUPLES[side])

    def _store(self, name: str) -> None:
        self._code.add(bpf.ST, self.slots[name])

    def _load(self, name: str) -> None:
        self._code.add(bpf.LD_MEM, self.slots[name])

    def _value(self, name: str, load: int = bpf.LD_IND) -> None:
        """The number in the attribute at A into its slot."""
        self._code.add(bpf.TAX)
        self._code.add(load, _VALUE)
        self._store(name)

    def _value_or_zero(self, name: str, load: int = bpf.LD_IND) -> None:
        """The same, and 0 where A is 0."""
        there, on = self._code.new_label(), self._code.new_label()
        self._store(name)
        self._code.branch(bpf.JEQ, 0, on, there)
        self._code.place(there)
        self._value(name, load)
        self._code.place(on)

    def _proto(self) -> None:
        self._tuple("o")
        self._must(nfct.CTA_TUPLE_PROTO)
        self._must(nfct.CTA_PROTO_NUM)
        self._value("proto", bpf.LDB_IND)

    def _addresses(self, side: str) -> None:
        ends = [end for end in ("src", "dst") if side + end in self._needed]
        if not ends:
            return
        self._tuple(side)
        self._must(nfct.CTA_TUPLE_IP)
        self._store(_NEST)
        for end in ends:
            self._load(_NEST)
            self._must(_ADDRESSES[self._family][end])
            self._store(side + end)

    def _ports(self, side: str) -> None:
        kinds = {f"{side}sport": nfct.CTA_PROTO_SRC_PORT, f"{side}dport": nfct.CTA_PROTO_DST_PORT}
        ports = [name for name in kinds if name in self._needed]
        if not ports:
            return
        without, on, found = self._code.new_label(), self._code.new_label(), self._code.new_label()
        self._load("proto")
        for proto in WITH_PORTS:
            following = self._code.new_label()
            self._code.branch(bpf.JEQ, proto, found, following)
            self._code.place(following)
        self._code.jump(without)
        self._code.place(found)
        self._tuple(side)
        self._must(nfct.CTA_TUPLE_PROTO)
        self._store(_NEST)
        for name in ports:
            self._load(_NEST)
            self._must(kinds[name])
            self._value(name, bpf.LDH_IND)
        self._code.jump(on)
        self._code.place(without)
        self._code.add(bpf.LD_IMM, _NO_PORT)
        for name in ports:
            self._store(name)
        self._code.place(on)

    def _zone(self) -> None:
        """CTA_ZONE; of a zone of one direction only, CTA_TUPLE_ZONE of that tuple."""
        found = self._code.new_label()
        self._attribute(nfct.CTA_ZONE)
        for side in _TUPLES:
            following = self._code.new_label()
            self._code.branch(bpf.JEQ, 0, following, found)
            self._code.place(following)
            self._tuple(side)
            self._within(nfct.CTA_TUPLE_ZONE)
        self._code.place(found)
        self._value_or_zero("zone", bpf.LDH_IND)

    def _event(self) -> None:
        """The code of text.flow.EVENT_WORDS."""
        code = self._code
        destroyed, changed, created, updated, done = (code.new_label() for _ in range(5))
        code.add(bpf.LDB_ABS, _TYPE)
        code.branch(bpf.JEQ, nfct.IPCTNL_MSG_CT_DELETE, destroyed, changed)
        code.place(changed)
        code.add(bpf.LDB_ABS, _CREATE)
        code.add(bpf.AND, _NLM_F_CREATE)
        code.branch(bpf.JEQ, 0, updated, created)
        for label, word in ((destroyed, "destroy"), (created, "new"), (updated, "update")):
            code.place(label)
            code.add(bpf.LD_IMM, words.EVENT_WORDS.index(word))
            code.jump(done)
        code.place(done)
        self._store("event")

    def _state(self) -> None:
        """The code of text.flow.STATE_WORDS of a protocol's own state; 0 where it has none."""
        code, absent, done = self._code, self._code.new_label(), self._code.new_label()
        for proto, kind in _INFO.items():
            mine, following = code.new_label(), code.new_label()
            self._load("proto")
            code.branch(bpf.JEQ, proto, mine, following)
            code.place(mine)
            self._own_state(kind, words.STATE_BASE[proto], absent)
            code.jump(done)
            code.place(following)
        code.place(absent)
        code.add(bpf.LD_IMM, 0)
        code.place(done)
        self._store("state")

    def _own_state(self, kind: int, base: int, absent: str) -> None:
        self._attribute(nfct.CTA_PROTOINFO)
        self._unless_zero(absent)
        self._within(kind)
        self._unless_zero(absent)
        self._within(nfct.CTA_PROTOINFO_STATE)
        self._unless_zero(absent)
        self._code.add(bpf.TAX)
        self._code.add(bpf.LDB_IND, _VALUE)
        self._code.add(bpf.AND, 15)
        self._code.add(bpf.ADD, base)

    def _unless_zero(self, absent: str) -> None:
        there = self._code.new_label()
        self._code.branch(bpf.JEQ, 0, absent, there)
        self._code.place(there)
