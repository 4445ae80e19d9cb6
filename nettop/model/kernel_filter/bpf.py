"""A small assembler of classic BPF: linux/filter.h, linux/bpf_common.h, Documentation/networking/filter.rst.

Jumps go forward to labels at any distance: only JA, whose offset has 32 bits, jumps over more than one instruction.
"""

from __future__ import annotations

import struct

LD_IMM, LD_MEM, LD_ABS, LDB_ABS = 0x00, 0x60, 0x20, 0x30
LD_IND, LDH_IND, LDB_IND = 0x40, 0x48, 0x50  # at X + k
LDX_IMM, LDX_MEM, ST, TAX = 0x01, 0x61, 0x02, 0x07
AND = 0x54  # with k
JA, JEQ, JGT, JGE = 0x05, 0x15, 0x25, 0x35
RET = 0x06
AD_NLATTR = 0xFFFFF000 + 12  # SKF_AD_OFF + SKF_AD_NLATTR: the attribute of type X from A on; A becomes its offset, or 0
AD_NLATTR_NEST = 0xFFFFF000 + 16  # the same inside the attribute at A
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k


class Assembler:
    """Instructions, and the labels that they jump to."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int | str]] = []  # code, jt, jf, k (JA: its label)
        self._labels: dict[str, int] = {}  # label → index of the instruction after it
        self._label_count = 0

    def __len__(self) -> int:
        return len(self._instructions)

    def new_label(self) -> str:
        """Return a new unique label, to be placed later."""
        self._label_count += 1
        return f"_{self._label_count}"

    def place(self, label: str) -> None:
        """Place the label before the next instruction: once, after every jump to it."""
        assert label not in self._labels, label
        self._labels[label] = len(self._instructions)

    def add(self, code: int, k: int = 0) -> None:
        """Append an instruction that does not jump."""
        self._instructions.append((code, 0, 0, k))

    def jump(self, label: str) -> None:
        """Append JA."""
        self._instructions.append((JA, 0, 0, label))

    def jump_if(self, code: int, k: int, label: str, holds: bool = True) -> None:
        """Append JEQ, JGT or JGE of A and k, and a jump that is taken if the result is `holds`."""
        self._instructions.append((code, 0, 1, k) if holds else (code, 1, 0, k))
        self.jump(label)

    def encoded(self) -> bytes:
        """Return struct sock_filter[]."""
        return b"".join(self._packed(at, *each) for at, each in enumerate(self._instructions))

    def _packed(self, at: int, code: int, yes: int, no: int, k: int | str) -> bytes:
        if isinstance(k, str):
            k = self._labels[k] - at - 1
        return _INSTRUCTION.pack(code, yes, no, k)
