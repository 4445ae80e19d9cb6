"""Classic BPF as the kernel runs it on a netlink message: net/core/filter.c, with the checks it makes before."""

from __future__ import annotations

import struct

_JUMPS = (0x05, 0x15, 0x25, 0x35)


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    """(code, jt, jf, k) of each, after the kernel's checks: known codes, jumps inside, slots set before use."""
    found = list(struct.iter_unpack("=HBBI", program))
    assert 0 < len(found) <= 4096
    known = {0x00, 0x01, 0x02, 0x04, 0x06, 0x07, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x54, 0x60, 0x61, *_JUMPS}
    written: list[set[int] | None] = [set(), *([None] * len(found))]  # slots that are set on every way here
    for at, (code, yes, no, k) in enumerate(found):
        assert code in known, hex(code)
        here = written[at]
        if here is None:
            continue
        if code in (0x60, 0x61):
            assert k in here, f"M[{k}] is read before it is written, at {at}"
        assert code not in (0x02, 0x60, 0x61) or k < 16
        after = here | {k} if code == 0x02 else here
        ways = [at + 1 + k] if code == 0x05 else [at + 1 + yes, at + 1 + no] if code in _JUMPS else [at + 1]
        for way in ways if code != 0x06 else []:
            assert way < len(found)
            known_there = written[way]
            written[way] = after if known_there is None else known_there & after
    assert found[-1][0] == 0x06
    return found


def run(program: bytes, message: bytes) -> int:
    """What the program returns: 0 refuses. A load from outside the message refuses, too."""
    steps = instructions(program)
    a = x = at = 0
    slots = [0] * 16
    while True:
        code, yes, no, k = steps[at]
        at += 1
        if code == 0x06:
            return k
        if code in _JUMPS:
            at += k if code == 0x05 else yes if _compare(code, a, k) else no
        elif code in (0x20, 0x28, 0x30, 0x40, 0x48, 0x50):
            loaded = _load(message, code, a, x, k)
            if loaded is None:
                return 0
            a = loaded
        elif code == 0x02:
            slots[k] = a
        elif code == 0x07:
            x = a
        elif code in (0x01, 0x61):
            x = k if code == 0x01 else slots[k]
        elif code in (0x00, 0x60):
            a = k if code == 0x00 else slots[k]
        else:
            a = a & k if code == 0x54 else (a + k) & 0xFFFFFFFF


def _compare(code: int, a: int, k: int) -> bool:
    return a == k if code == 0x15 else a > k if code == 0x25 else a >= k


def _load(message: bytes, code: int, a: int, x: int, k: int) -> int | None:
    if k >= 0xFFFFF000:
        assert code == 0x20
        return {12: _nlattr, 16: _nlattr_nest}[k - 0xFFFFF000](message, a, x)
    start = k + (x if code in (0x40, 0x48, 0x50) else 0)
    width = {0x20: 4, 0x40: 4, 0x28: 2, 0x48: 2, 0x30: 1, 0x50: 1}[code]
    return int.from_bytes(message[start : start + width], "big") if start + width <= len(message) else None


def _find(message: bytes, at: int, end: int, kind: int) -> int:
    while end - at >= 4:
        length, found = struct.unpack_from("=HH", message, at)
        if not 4 <= length <= end - at:
            return 0
        if found & 0x3FFF == kind:
            return at
        at += length + 3 & ~3
    return 0


def _nlattr(message: bytes, a: int, x: int) -> int:
    return _find(message, a, len(message), x) if a <= len(message) - 4 else 0


def _nlattr_nest(message: bytes, a: int, x: int) -> int:
    if a > len(message) - 4:
        return 0
    length = struct.unpack_from("=H", message, a)[0]
    return _find(message, a + 4, a + length, x) if 4 <= length <= len(message) - a else 0
