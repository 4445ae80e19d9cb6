"""Link types of captures: https://www.tcpdump.org/linktypes.html."""

LINKTYPE_NULL = 0
LINKTYPE_ETHERNET = 1
LINKTYPE_RAW_BSD = 12  # DLT_RAW of most systems, found in files
LINKTYPE_RAW_OPENBSD = 14
LINKTYPE_RAW = 101  # the packet begins with its IPv4 or IPv6 header
LINKTYPE_LOOP = 108
LINKTYPE_SLL = 113
LINKTYPE_IPV4 = 228
LINKTYPE_IPV6 = 229
LINKTYPE_NETLINK = 253  # 16-byte cooked header, then nlmsgs in host order
LINKTYPE_SLL2 = 276
