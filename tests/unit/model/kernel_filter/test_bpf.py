from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.model.kernel_filter import bpf
from tests.unit.model.kernel_filter.cbpf import instructions, run


def ladder(keys: list[int], between: int, negated: bool = False) -> bytes:
    """Passes messages whose first byte is one of the keys, with so many instructions after each test."""
    code = bpf.Assembler()
    for key in keys:
        following = code.new_label()
        code.add(bpf.LDB_ABS, 0)
        if negated:
            code.jump_if(bpf.JEQ, key, following, holds=False)
            code.jump("pass")
        else:
            code.jump_if(bpf.JEQ, key, "pass")
        code.place(following)
        for _ in range(between):
            code.add(bpf.LD_IMM, 1)
    code.add(bpf.RET, 0)
    code.place("pass")
    code.add(bpf.RET, 0xFFFFFFFF)
    return code.encoded()


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("between", [0, 1, 124, 125, 126, 127, 253, 254, 255, 256, 900])
def test_jumps_reach_their_labels_however_far(between: int, negated: bool) -> None:
    program = ladder([3, 7, 9], between, negated)
    assert [byte for byte in range(12) if run(program, bytes([byte]))] == [3, 7, 9]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.integers(0, 30))
def test_any_ladder_passes_its_keys(keys: list[int], between: int) -> None:
    program = ladder(keys, between)
    assert {byte for byte in range(256) if run(program, bytes([byte]))} == set(keys)


def test_a_jump_is_two_instructions_however_far() -> None:
    assert len(instructions(ladder([1], 10))) == 3 + 10 + 2
    assert len(instructions(ladder([1], 300))) == 3 + 300 + 2
