"""The timestamps of pcapng: ticks of an interface's own unit, as nanoseconds (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nanoseconds(ticks: NDArray[np.uint64], resolution: int, offset_s: int) -> NDArray[np.int64]:
    """Return times in ns since the epoch. `resolution` is if_tsresol: a negative power of 10, or of 2 with bit 7 set.

    Times beyond what 64 bits of ns can hold wrap: they are as wrong as the file that claims them.
    """
    power = resolution & 0x7F
    if resolution & 0x80:
        ns = _binary(ticks, power)
    elif power <= 9:
        ns = ticks * np.uint64(10 ** (9 - power))
    else:
        ns = ticks // np.uint64(10 ** (power - 9)) if power < 29 else np.zeros_like(ticks)
    signed = ns.view(np.int64)
    return signed + np.int64(_wrapped(offset_s * 1_000_000_000)) if offset_s else signed


def _binary(ticks: NDArray[np.uint64], power: int) -> NDArray[np.uint64]:
    billion = np.uint64(1_000_000_000)
    if power >= 64:
        seconds, fraction = np.zeros_like(ticks), ticks
    else:
        seconds = ticks >> np.uint64(power)
        fraction = ticks & np.uint64((1 << power) - 1)
    if power > 34:  # 2^34 × 10^9 is the most that fits in 64 bits
        shift = power - 34
        fraction = fraction >> np.uint64(shift) if shift < 64 else np.zeros_like(ticks)
        power = 34
    return seconds * billion + (fraction * billion >> np.uint64(power))


def _wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
