"""Decoded conntrack rows made by hand, as the decoder would give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nettop.batch import DumpMark
from nettop.columns import (
    EVENT_DUMP,
    FLOW_DTYPES,
    FLOW_HI,
    HAVE_ID,
    HAVE_MARK,
    HAVE_OCOUNT,
    HAVE_OPORTS,
    HAVE_ORIG,
    HAVE_RCOUNT,
    HAVE_REPLY,
    HAVE_RPORTS,
    HAVE_START,
    HAVE_STATE,
    HAVE_STATUS,
    HAVE_TIMEOUT,
    HAVE_ZONE,
    Columns,
    Decoded,
    DecodeErrors,
)

TUPLES = HAVE_ORIG | HAVE_REPLY | HAVE_OPORTS | HAVE_RPORTS
ALWAYS = TUPLES | HAVE_ID
SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

_BITS = {
    "status": HAVE_STATUS,
    "timeout": HAVE_TIMEOUT,
    "mark": HAVE_MARK,
    "obytes": HAVE_OCOUNT,
    "opackets": HAVE_OCOUNT,
    "rbytes": HAVE_RCOUNT,
    "rpackets": HAVE_RCOUNT,
    "start_ns": HAVE_START,
    "state": HAVE_STATE,
    "zone": HAVE_ZONE,
    "id": HAVE_ID,
}


def ip(text: str) -> int:
    """The 32-bit integer of a dotted quad."""
    a, b, c, d = (int(part) for part in text.split("."))
    return a << 24 | b << 16 | c << 8 | d


def row(
    src: str = "10.0.0.1", sport: int = 1000, dst: str = "10.0.0.2", dport: int = 80, **given: Any
) -> dict[str, Any]:
    """One row: UDP, IPv4, mirrored reply; `given` sets columns and with them their `have` bits. ts is in ns."""
    values: dict[str, Any] = {"event": EVENT_DUMP, "family": 2, "proto": 17, "have": TUPLES, "ts_ns": T0}
    values |= {"osrc_lo": ip(src), "odst_lo": ip(dst), "osport": sport, "odport": dport}
    values |= {"rsrc_lo": ip(dst), "rdst_lo": ip(src), "rsport": dport, "rdport": sport}
    have = TUPLES | given.pop("have", 0)
    for name, value in given.items():
        values[name] = value
        have |= _BITS.get(name, 0)
    return values | {"have": have}


def columns(*rows: dict[str, Any]) -> Columns:
    """Columns of these rows; the high halves only when one has them."""
    hi = any(values.get(name) for values in rows for name in FLOW_HI)
    names = [name for name in FLOW_DTYPES if hi or name not in FLOW_HI]
    return Columns(
        len(rows), {name: np.array([values.get(name, 0) for values in rows], FLOW_DTYPES[name]) for name in names}
    )


def decoded(*rows: dict[str, Any]) -> Decoded:
    """What a decoder would give for a batch with these rows."""
    return Decoded(columns(*rows), np.arange(len(rows), dtype=np.uint32), DecodeErrors.none())


def begin(ts_ns: int = T0) -> DumpMark:
    """A conntrack dump begins."""
    return DumpMark(2, 0, ts_ns, "conntrack", begin=True)


def end(complete: bool = True, ts_ns: int = T0) -> DumpMark:
    """It ends."""
    return DumpMark(2, 0, ts_ns, "conntrack", begin=False, complete=complete)
