"""The content and columns of a message about an expectation: a connection that a conntrack helper awaits.

ConntrackDecoder reads such messages in bulk like those of flows. Format: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

from nettop import columns as c
from nettop.decode.conntrack.layout import Bytes, Kind, Value, tuple_schema
from nettop.linux import conntrack as nfct

EXPECTATION = Kind(
    schema={
        nfct.CTA_EXPECT_MASTER: tuple_schema("r", "mproto"),
        nfct.CTA_EXPECT_TUPLE: tuple_schema("o", "proto"),
        nfct.CTA_EXPECT_MASK: tuple_schema("x", "xproto"),
        nfct.CTA_EXPECT_TIMEOUT: Value("timeout", 4),
        nfct.CTA_EXPECT_ID: Value("id", 4),
        nfct.CTA_EXPECT_HELP_NAME: Bytes("helper", text=True),
        nfct.CTA_EXPECT_ZONE: Value("zone", 2),
        nfct.CTA_EXPECT_FLAGS: Value("expect_flags", 4),
        nfct.CTA_EXPECT_CLASS: Value("expect_class", 4),
        nfct.CTA_EXPECT_FN: Bytes("function", text=True),
    },
    have=(
        (c.HAVE_ORIG, ("osrc_lo", "odst_lo", "proto")),
        (c.HAVE_OPORTS, ("osport", "odport")),
        (c.HAVE_MASTER, ("rsrc_lo", "rdst_lo", "mproto")),
        (c.HAVE_RPORTS, ("rsport", "rdport")),
        (c.HAVE_MASK, ("xsrc_lo", "xdst_lo")),
        (c.HAVE_TIMEOUT, ("timeout",)),
        (c.HAVE_ID, ("id",)),
        (c.HAVE_HELPER, ("helper",)),
        (c.HAVE_ZONE, ("zone",)),
        (c.HAVE_EXPECT_FLAGS, ("expect_flags",)),
        (c.HAVE_EXPECT_CLASS, ("expect_class",)),
        (c.HAVE_FUNCTION, ("function",)),
    ),
    stand_in={"ozone": "zone"},  # CTA_TUPLE_ZONE of the expected tuple
)
