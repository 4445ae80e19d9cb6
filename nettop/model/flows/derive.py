"""Columns computed from those of flows: state word, NAT, totals, rate and age.

Every function takes a mapping of equally long columns (of the table, of an event batch) and returns one new column.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nettop import columns as ct
from nettop.batch import Array
from nettop.linux.conntrack import IPS_ASSURED, IPS_DST_NAT, IPS_HW_OFFLOAD, IPS_OFFLOAD, IPS_SEEN_REPLY, IPS_SRC_NAT
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, WITH_PORTS
from nettop.model.flows.store import BORN
from nettop.text import flow as words

Data = Mapping[str, Array]

_STATE_BASE = np.zeros(256, np.uint8)
for _proto, _base in words.STATE_BASE.items():
    _STATE_BASE[_proto] = _base
_WITH_PORTS = np.isin(np.arange(256), WITH_PORTS)
_IS_ICMP = np.isin(np.arange(256), (IPPROTO_ICMP, IPPROTO_ICMPV6))

# The counters of a flow, and the bit of `have` that says they are known.
COUNTERS = {"opackets": ct.HAVE_OCOUNT, "obytes": ct.HAVE_OCOUNT, "rpackets": ct.HAVE_RCOUNT, "rbytes": ct.HAVE_RCOUNT}


def column(data: Data, name: str) -> Array:
    """Return the column, or zeros where no row has it."""
    found = data.get(name)
    return np.zeros(len(data["have"]), ct.FLOW_DTYPES[name]) if found is None else found


def has(data: Data, bits: int) -> NDArray[np.bool_]:
    """Return a mask of the rows with all these bits of `have`."""
    mask = np.uint32(bits)
    return np.asarray(data["have"] & mask == mask)


def icmp(data: Data) -> NDArray[np.bool_]:
    """Return a mask of the rows whose port columns hold an ICMP id and type << 8 | code."""
    return np.asarray(_IS_ICMP[data["proto"]])


def ported(data: Data) -> NDArray[np.bool_]:
    """Return a mask of the rows whose protocol has ports; others have ids or GRE keys in the port columns."""
    return np.asarray(_WITH_PORTS[data["proto"]])


def state_codes(data: Data) -> NDArray[np.uint8]:
    """Return codes of text.flow.STATE_LABELS: the protocol's own state, else that of the status bits."""
    status, have = column(data, "status"), data["have"]
    codes = np.where(status & IPS_ASSURED != 0, words.STATE_ASSURED, words.STATE_UNREPLIED).astype(np.uint8)
    codes[status & (IPS_ASSURED | IPS_SEEN_REPLY) == IPS_SEEN_REPLY] = words.STATE_REPLIED
    codes[have & ct.HAVE_STATUS == 0] = words.STATE_NONE
    base = _STATE_BASE[data["proto"]]
    own = (base > 0) & (have & ct.HAVE_STATE != 0)
    return np.where(own, base + (column(data, "state") & np.uint8(15)), codes).astype(np.uint8)


def nat_bits(data: Data) -> NDArray[np.uint8]:
    """Return text.flow.NAT_* bits: where the reply tuple does not mirror the original one and the status bits agree."""
    src = column(data, "rdst_lo") != column(data, "osrc_lo")
    dst = column(data, "rsrc_lo") != column(data, "odst_lo")
    if "osrc_hi" in data:
        src = src | (column(data, "rdst_hi") != column(data, "osrc_hi"))
        dst = dst | (column(data, "rsrc_hi") != column(data, "odst_hi"))
    ports = has(data, ct.HAVE_OPORTS | ct.HAVE_RPORTS)
    ping = icmp(data)  # a reply has the id in the same column, and another type
    src_port = ports & ~ping & (column(data, "rdport") != column(data, "osport"))
    src_port |= ports & ping & (column(data, "rsport") != column(data, "osport"))
    dst_port = ports & ~ping & (column(data, "rsport") != column(data, "odport"))
    status, silent = column(data, "status"), ~has(data, ct.HAVE_STATUS)
    known = has(data, ct.HAVE_REPLY)
    snat = known & (src | src_port) & (silent | (status & IPS_SRC_NAT != 0))
    dnat = known & (dst | dst_port) & (silent | (status & IPS_DST_NAT != 0))
    bits = snat * words.NAT_SNAT | dnat * words.NAT_DNAT
    bits |= (snat & ~src) * words.NAT_SNAT_PORT | (dnat & ~dst) * words.NAT_DNAT_PORT
    found: NDArray[np.uint8] = bits.astype(np.uint8)
    return found


def offload_codes(data: Data) -> NDArray[np.uint8]:
    """Return the index in text.flow.OFFLOAD_NAMES of each row."""
    status = column(data, "status")
    hardware, offloaded = status & IPS_HW_OFFLOAD != 0, status & (IPS_HW_OFFLOAD | IPS_OFFLOAD) != 0
    return np.asarray(hardware.astype(np.uint8) + offloaded)


def counted(data: Data) -> NDArray[np.bool_]:
    """Return a mask of the rows with counters for at least one direction."""
    return np.asarray(data["have"] & np.uint32(ct.HAVE_OCOUNT | ct.HAVE_RCOUNT) != 0)


def total(data: Data, what: str) -> Array:
    """Return `bytes` or `packets` of both directions; only meaningful where counted() is True."""
    return column(data, f"o{what}") + column(data, f"r{what}")


def rates(data: Data) -> tuple[Array, Array]:
    """Return the bytes per second of the original and of the reply direction, NaN where not known.

    From the flow's counters; where these give no rate, as measured from packets.
    """
    up, down = data["rate_up"], data["rate_down"]
    measured_up, measured_down = data.get("measured_up"), data.get("measured_down")
    if measured_up is None or measured_down is None:
        return up, down
    silent = np.isnan(up) & np.isnan(down)
    return np.where(silent, measured_up, up), np.where(silent, measured_down, down)


def rate(data: Data) -> Array:
    """Return the bytes per second of both directions, NaN where not known."""
    up, down = rates(data)
    return np.where(np.isnan(up), down, np.where(np.isnan(down), up, up + down))


def birth_ns(data: Data) -> NDArray[np.int64]:
    """Return the time at which each flow began (ns): by its own timestamp, else when it was first seen."""
    began = has(data, ct.HAVE_START)
    return np.where(began, column(data, "start_ns").astype(np.int64), data["first_ns"])


def birth_known(data: Data) -> NDArray[np.bool_]:
    """Return a mask of the rows whose birth_ns is the real beginning, not only the first time the flow was seen."""
    return np.asarray(has(data, ct.HAVE_START) | (data["flags"] & BORN != 0))
