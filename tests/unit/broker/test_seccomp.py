"""The system call filter of both machines, run by an interpreter of classic BPF (linux/filter.h)."""

from __future__ import annotations

import errno
import struct
from fcntl import F_DUPFD_CLOEXEC, F_SETOWN
from signal import SIGSTOP, SIGTERM, SIGTSTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.broker.confinement import landlock
from nettop.broker.confinement.refusals import Refusal, refusals
from nettop.broker.confinement.seccomp import program
from nettop.linux import seccomp as bpf
from nettop.linux.terminal import TIOCLINUX, TIOCSTI

PID = 4321
MACHINES = sorted(bpf.NUMBERS)
PROGRAMS = {machine: program(machine, refusals(PID)) for machine in MACHINES}
ALLOWED = 0


def outcome(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """Run the filter on struct seccomp_data: ALLOWED or the errno."""
    arch = bpf.AUDIT_ARCH[machine] if arch is None else arch
    data = struct.pack("<iIQ6Q", number, arch, 0, *(value & (1 << 64) - 1 for value in (*arguments, *[0] * 6)[:6]))
    code = list(struct.iter_unpack("=HBBI", PROGRAMS[machine]))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == bpf.LOAD_WORD:
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif operation == bpf.AND_CONSTANT:
            accumulator &= constant
        elif operation == bpf.JUMP_EQUAL:
            at += if_true if accumulator == constant else if_false
        elif operation == bpf.JUMP_GREATER_EQUAL:
            at += if_true if accumulator >= constant else if_false
        else:
            assert operation == bpf.RETURN
            return ALLOWED if constant == bpf.SECCOMP_RET_ALLOW else constant - bpf.SECCOMP_RET_ERRNO


def refused_names(machine: str) -> dict[str, Refusal]:
    return {name: one for one in refusals(PID) for name in one.calls.split() if name in bpf.NUMBERS[machine]}


def test_every_name_of_the_table_has_a_number_on_some_machine_and_only_kill_has_two_rows() -> None:
    names = [name for one in refusals(PID) for name in one.calls.split()]
    assert [name for name in set(names) if names.count(name) > 1] == ["kill"]
    assert set(names) == set(bpf.NUMBERS["x86_64"]) | set(bpf.NUMBERS["aarch64"])


@pytest.mark.parametrize("machine", MACHINES)
def test_what_the_table_refuses_is_refused_and_nothing_else(machine: str) -> None:
    refused = {bpf.NUMBERS[machine][name]: one for name, one in refused_names(machine).items()}
    for number in range(bpf.LAST_CALL + 1):
        one = refused.get(number)
        bad = (0x0FFF_FFFF,) * 6
        assert outcome(machine, number, *bad) == (ALLOWED if one is None else one.error)


@pytest.mark.parametrize("machine", MACHINES)
@given(high=st.integers(0, (1 << 32) - 1))
def test_arguments_are_compared_as_the_kernel_takes_them(machine: str, high: int) -> None:
    """The kernel takes 32 bits of these: whatever the upper half holds."""
    numbers, above = bpf.NUMBERS[machine], high << 32
    for request in (TIOCSTI, TIOCLINUX, 0x5423, 0x8933):
        assert outcome(machine, numbers["ioctl"], 1, above | request) == errno.EPERM
    assert outcome(machine, numbers["ioctl"], 1, above | 0x5413) == ALLOWED
    for flags in (1, 2, 0o101, 0o1000, 0o20200002):
        assert outcome(machine, numbers["openat"], -100, 0, above | flags) == errno.EPERM
    assert outcome(machine, numbers["openat"], -100, 0, above | 0o2000000) == ALLOWED
    assert outcome(machine, numbers["kill"], above | PID, above | SIGTSTP) == ALLOWED
    assert outcome(machine, numbers["kill"], above, above | SIGSTOP) == ALLOWED
    assert outcome(machine, numbers["kill"], above | PID + 1, above | SIGTSTP) == errno.EPERM
    assert outcome(machine, numbers["kill"], above, above | SIGTERM) == errno.EPERM
    assert outcome(machine, numbers["sendto"], 1, 2, 3, 4, 5, above) == ALLOWED
    assert outcome(machine, numbers["sendto"], 1, 2, 3, 4, 0, above | 20) == errno.EPERM
    assert outcome(machine, numbers["fcntl"], 1, above | F_DUPFD_CLOEXEC) == ALLOWED
    assert outcome(machine, numbers["fcntl"], 1, above | F_SETOWN) == errno.EPERM
    assert outcome(machine, numbers["clone"], above | 0x3D_0F00) == ALLOWED
    assert outcome(machine, numbers["clone"], above | 0x4000_0000 | 0x3D_0F00) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_other_architectures_and_newer_kernels_do_not_exist(machine: str) -> None:
    for number in (0, 39, 1 << 30 | 39, bpf.LAST_CALL + 1, -1):
        assert outcome(machine, number, arch=0x4000_0003) == errno.ENOSYS
    for number in (1 << 30 | 39, bpf.LAST_CALL + 1, -1):
        assert outcome(machine, number) == errno.ENOSYS


@pytest.mark.parametrize(
    ("version", "handled"),
    [
        (1, (0x1FF3, 0, 0)),
        (2, (0x3FF3, 0, 0)),
        (3, (0x7FF3, 0, 0)),
        (4, (0x7FF3, 3, 0)),
        (5, (0xFFF3, 3, 0)),
        (6, (0xFFF3, 3, 1)),
    ],
)
def test_landlock_forbids_what_a_kernel_of_each_version_can(version: int, handled: tuple[int, int, int]) -> None:
    assert struct.unpack("=3Q", landlock.ruleset(version)) == handled
    assert landlock.ruleset(9) == landlock.ruleset(6)
