"""The schema and columns of messages about expectations: connections that a conntrack helper expects.

ConntrackDecoder reads such messages in bulk like those of flows. Format: linux/netfilter/nfnetlink_conntrack.h.
"""

from nettop import columns as c
from nettop.decode.conntrack.layout import BytesField, MessageSchema, NumberField, tuple_schema
from nettop.linux import conntrack as nfct

EXPECTATION = MessageSchema(
    schema={
        nfct.CTA_EXPECT_MASTER: tuple_schema("r", "mproto"),
        nfct.CTA_EXPECT_TUPLE: tuple_schema("o", "proto"),
        nfct.CTA_EXPECT_MASK: tuple_schema("x", "xproto"),
        nfct.CTA_EXPECT_TIMEOUT: NumberField("timeout", 4),
        nfct.CTA_EXPECT_ID: NumberField("id", 4),
        nfct.CTA_EXPECT_HELP_NAME: BytesField("helper", text=True),
        nfct.CTA_EXPECT_ZONE: NumberField("zone", 2),
        nfct.CTA_EXPECT_FLAGS: NumberField("expect_flags", 4),
        nfct.CTA_EXPECT_CLASS: NumberField("expect_class", 4),
        nfct.CTA_EXPECT_FN: BytesField("function", text=True),
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
    fallback={"ozone": "zone"},  # CTA_TUPLE_ZONE of the expected tuple
)
