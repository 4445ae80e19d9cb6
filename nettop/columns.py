"""The columns that decoders return and models keep: arrays of one length, by name.

An absent attribute is not zero: `have` carries one presence bit per optional column, and readers must test it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

# The bits of a flow row's `have`: optional attributes of linux/netfilter/nfnetlink_conntrack.h.
HAVE_ORIG = 1 << 0  # CTA_TUPLE_ORIG
HAVE_REPLY = 1 << 1  # CTA_TUPLE_REPLY
HAVE_OPORTS = 1 << 2  # osport/odport are set: ports, or ICMP id and type<<8|code
HAVE_RPORTS = 1 << 3
HAVE_STATUS = 1 << 4
HAVE_TIMEOUT = 1 << 5
HAVE_MARK = 1 << 6
HAVE_ID = 1 << 7
HAVE_OCOUNT = 1 << 8  # CTA_COUNTERS_ORIG: opackets, obytes
HAVE_RCOUNT = 1 << 9  # CTA_COUNTERS_REPLY
HAVE_START = 1 << 10  # CTA_TIMESTAMP_START
HAVE_STOP = 1 << 11
HAVE_STATE = 1 << 12  # CTA_PROTOINFO_{TCP,DCCP,SCTP}_STATE
HAVE_HELPER = 1 << 13  # CTA_HELP_NAME
HAVE_LABELS = 1 << 14
HAVE_ZONE = 1 << 15  # CTA_ZONE, or CTA_TUPLE_ZONE of one direction (ZONE_ORIG_ONLY, ZONE_REPLY_ONLY)
HAVE_ZONE_ORIG_ONLY = 1 << 16
HAVE_ZONE_REPLY_ONLY = 1 << 17
HAVE_MASTER = 1 << 18  # CTA_TUPLE_MASTER: an expected connection; the tuple is in MASTER_DTYPES (expectations: in r*)
HAVE_EVENT_TS = 1 << 19  # CTA_TIMESTAMP_EVENT (27): ts_ns is the kernel's, else the receive time
HAVE_USE = 1 << 20
HAVE_SECCTX = 1 << 21
# Only of expectations.
HAVE_MASK = 1 << 22  # CTA_EXPECT_MASK
HAVE_EXPECT_FLAGS = 1 << 23
HAVE_EXPECT_CLASS = 1 << 24
HAVE_FUNCTION = 1 << 25  # CTA_EXPECT_FN

EVENT_DUMP, EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY = 0, 1, 2, 3  # the `event` column
EVENT_EXPECT = 4  # added to NEW, UPDATE and DESTROY of an expectation

# A conntrack row of a dump or an event. The *_hi halves exist in a Columns only if one of its rows is IPv6.
# Addresses are integers in host order: IPv4 in lo, IPv6 split in hi and lo. For ICMP and ICMPv6 osport is the id and
# odport is type << 8 | code (so also rsport, rdport).
FLOW_DTYPES: dict[str, type[np.generic]] = {
    "event": np.uint8,
    "family": np.uint8,  # AF_INET 2, AF_INET6 10
    "proto": np.uint8,  # IPPROTO_*
    "state": np.uint8,  # TCP_CONNTRACK_*, SCTP_CONNTRACK_*, CT_DCCP_*
    "zone": np.uint16,
    "osport": np.uint16,
    "odport": np.uint16,
    "rsport": np.uint16,
    "rdport": np.uint16,
    "helper": np.uint16,  # code in Strings
    "labels": np.uint16,  # code in Strings: the raw label bytes
    "status": np.uint32,  # IPS_* bits
    "timeout": np.uint32,  # seconds
    "mark": np.uint32,
    "id": np.uint32,
    "use": np.uint32,
    "have": np.uint32,
    "osrc_lo": np.uint64,
    "odst_lo": np.uint64,
    "rsrc_lo": np.uint64,
    "rdst_lo": np.uint64,
    "osrc_hi": np.uint64,
    "odst_hi": np.uint64,
    "rsrc_hi": np.uint64,
    "rdst_hi": np.uint64,
    "opackets": np.uint64,
    "obytes": np.uint64,
    "rpackets": np.uint64,
    "rbytes": np.uint64,
    "start_ns": np.uint64,
    "stop_ns": np.uint64,
    "ts_ns": np.int64,
}
FLOW_HI = ("osrc_hi", "odst_hi", "rsrc_hi", "rdst_hi")
# The netlink port id of the program that caused an event; 0: the kernel did. Only in a Columns that has such an event.
EVENT_DTYPES: dict[str, type[np.generic]] = {"portid": np.uint32}
# The original tuple of an expected flow's master. These columns exist only in a Columns that has such a flow.
MASTER_DTYPES: dict[str, type[np.generic]] = {
    "mproto": np.uint8,
    "msport": np.uint16,
    "mdport": np.uint16,
    "msrc_lo": np.uint64,
    "mdst_lo": np.uint64,
    "msrc_hi": np.uint64,
    "mdst_hi": np.uint64,
}
# The additional columns of expectations. In their rows o* is the expected tuple, r* the master's original tuple (of
# protocol mproto), and a 0 bit in the mask x* means that this bit of the expected tuple may have any value.
EXPECT_DTYPES: dict[str, type[np.generic]] = {
    "mproto": np.uint8,
    "xproto": np.uint8,
    "xsport": np.uint16,
    "xdport": np.uint16,
    "function": np.uint16,  # code in Strings
    "expect_flags": np.uint32,  # NF_CT_EXPECT_* of linux/netfilter/nf_conntrack_common.h
    "expect_class": np.uint32,
    "xsrc_lo": np.uint64,
    "xdst_lo": np.uint64,
    "xsrc_hi": np.uint64,
    "xdst_hi": np.uint64,
}
COLUMN_DTYPES = FLOW_DTYPES | EVENT_DTYPES | MASTER_DTYPES | EXPECT_DTYPES


class Strings:
    """Bytes interned as small codes; 0 is b"". Shared by a decoder and the models that read its columns."""

    def __init__(self, limit: int = 65_535) -> None:
        self._codes: dict[bytes, int] = {b"": 0}
        self._values: list[bytes] = [b""]
        self._limit = limit

    def code(self, value: bytes) -> int:
        """Return the code of a value. Beyond `limit` values, new ones get 0: hostile input must not fill the memory."""
        code = self._codes.get(value)
        if code is None:
            if len(self._values) >= self._limit:
                return 0
            code = self._codes[value] = len(self._values)
            self._values.append(value)
        return code

    def __getitem__(self, code: int) -> bytes:
        return self._values[code]

    def __len__(self) -> int:
        return len(self._values)


@dataclass(slots=True)
class Columns:
    """A table of n rows: `data[name]` is an array of length n. A column that no row has may be missing."""

    n: int
    data: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, name: str) -> Array:
        return self.data[name]

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def get(self, name: str) -> Array | None:
        """Return the column, or None if no row has it."""
        return self.data.get(name)

    def take(self, rows: Array) -> Columns:
        """Return a copy of the given rows (an index array or a boolean mask) of every column."""
        data = {name: column[rows] for name, column in self.data.items()}
        n = int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)
        return Columns(n, data)


@dataclass(frozen=True, slots=True)
class DecodeErrors:
    """Records, or parts of them, that cannot be decoded: their positions in the batch's buffer, and the reasons."""

    record: NDArray[np.uint32]  # index into the batch
    offset: NDArray[np.uint32]  # byte offset into batch.buf
    code: NDArray[np.uint8]  # an index into the decoder's own table of reasons

    @classmethod
    def none(cls) -> DecodeErrors:
        """Return an empty instance."""
        return cls(np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.record)

    def records(self) -> int:
        """Return the number of records of the batch that have errors."""
        return len(np.unique(self.record)) if len(self) else 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoded rows of one batch. Expectations are separate from flows, since few models need them."""

    cols: Columns
    record: NDArray[np.uint32]  # row → index of its record in the batch
    errors: DecodeErrors
    expect: Columns = field(default_factory=lambda: Columns(0))  # of FLOW_DTYPES and EXPECT_DTYPES
    expect_record: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
