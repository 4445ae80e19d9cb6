"""A small assembler of classic BPF: linux/filter.h, linux/bpf_common.h, Documentation/networking/filter.rst.

Jumps go forward to labels. A conditional jump reaches 255 instructions; where that is not far enough it becomes three.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LD_IMM, LD_MEM, LD_ABS, LDB_ABS = 0x00, 0x60, 0x20, 0x30
LD_IND, LDH_IND, LDB_IND = 0x40, 0x48, 0x50  # at X + k
LDX_IMM, LDX_MEM, ST, TAX = 0x01, 0x61, 0x02, 0x07
AND, ADD = 0x54, 0x04  # with k
JA, JEQ, JGT, JGE = 0x05, 0x15, 0x25, 0x35
RET = 0x06
SLOTS = 16  # BPF_MEMWORDS
AD_NLATTR = 0xFFFFF000 + 12  # SKF_AD_OFF + SKF_AD_NLATTR: from A on, the attribute of type X; A is its place or 0
AD_NLATTR_NEST = 0xFFFFF000 + 16  # the same within the attribute at A
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
_REACH = 255


@dataclass(slots=True)
class _Step:
    code: int
    k: int
    yes: str = ""  # labels; both of a conditional jump, `yes` of JA
    no: str = ""
    far: bool = False

    @property
    def size(self) -> int:
        return 3 if self.far else 1


class Program:
    """Instructions in the making."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._labels: dict[str, int] = {}  # label → number of the step it stands before
        self._named = 0

    def __len__(self) -> int:
        return len(self._steps)

    def new_label(self) -> str:
        """A label that nothing else has, still to be placed."""
        self._named += 1
        return f"_{self._named}"

    def place(self, label: str) -> None:
        """The label stands here. Each is placed once, behind every jump to it."""
        assert label not in self._labels, label
        self._labels[label] = len(self._steps)

    def add(self, code: int, k: int = 0) -> None:
        """One instruction that is no jump."""
        self._steps.append(_Step(code, k & 0xFFFFFFFF))

    def branch(self, code: int, k: int, yes: str, no: str) -> None:
        """JEQ, JGT or JGE of A and k."""
        self._steps.append(_Step(code, k & 0xFFFFFFFF, yes, no))

    def jump(self, label: str) -> None:
        """JA."""
        self._steps.append(_Step(JA, 0, label))

    def encoded(self) -> bytes:
        """struct sock_filter[]."""
        places = self._places()
        while grown := [
            step for i, step in enumerate(self._steps) if step.no and not step.far and self._far(i, places)
        ]:
            for step in grown:
                step.far = True
            places = self._places()
        return b"".join(self._bytes(i, places) for i in range(len(self._steps)))

    def _places(self) -> list[int]:
        """Where each step begins, and the end, in instructions."""
        places = [0]
        for step in self._steps:
            places.append(places[-1] + step.size)
        return places

    def _ahead(self, label: str, after: int, places: list[int]) -> int:
        distance = places[self._labels[label]] - after
        assert distance >= 0, f"{label} lies behind"
        return distance

    def _far(self, i: int, places: list[int]) -> bool:
        step, after = self._steps[i], places[i] + 1
        return max(self._ahead(step.yes, after, places), self._ahead(step.no, after, places)) > _REACH

    def _bytes(self, i: int, places: list[int]) -> bytes:
        step, at = self._steps[i], places[i]
        if not step.yes:
            return _INSTRUCTION.pack(step.code, 0, 0, step.k)
        if not step.no:
            return _INSTRUCTION.pack(JA, 0, 0, self._ahead(step.yes, at + 1, places))
        if not step.far:
            yes, no = (self._ahead(label, at + 1, places) for label in (step.yes, step.no))
            return _INSTRUCTION.pack(step.code, yes, no, step.k)
        jumps = (self._ahead(step.yes, at + 2, places), self._ahead(step.no, at + 3, places))
        return _INSTRUCTION.pack(step.code, 0, 1, step.k) + b"".join(_INSTRUCTION.pack(JA, 0, 0, k) for k in jumps)
