"""The counters of a tracing table, read back: how many packets its rules matched, and how many it marked."""

from __future__ import annotations

import socket
from collections import Counter

from nettop.broker.attributes import name
from nettop.broker.reads import DUMP, LONGEST_NAME, answers, message, nfgenmsg
from nettop.kinds import TRACE_MARK
from nettop.linux import nf_tables as nft
from nettop.linux import nfnetlink
from nettop.linux.netlink import ERRNO, NLMSG_ERROR, NLMSG_HDRLEN, Attributes, attributes

_TYPE = nfnetlink.NFNL_SUBSYS_NFTABLES << 8


def read_counts(owner: socket.socket, table: str) -> tuple[int, int]:
    """Return the packets that the rules matched and those of them that were marked. Raises OSError.

    The others were over the limit. `owner` is the table's non-blocking socket.
    """
    body = nfgenmsg(nfnetlink.NFPROTO_UNSPEC) + name(nft.NFTA_RULE_TABLE, table, LONGEST_NAME)
    packets: Counter[str] = Counter()
    for kind, datagram, first, end in answers(owner, message(_TYPE | nft.NFT_MSG_GETRULE, DUMP, 1, body)):
        if kind == NLMSG_ERROR:
            raise OSError(-ERRNO(datagram, first + NLMSG_HDRLEN)[0], "the counters are not read", table)
        if kind == _TYPE | nft.NFT_MSG_NEWRULE:
            rule = Attributes(datagram, first + NLMSG_HDRLEN + nfnetlink.NFGEN_LENGTH, end)
            packets[rule.text(nft.NFTA_RULE_CHAIN)] += _packets(rule)
    marked = packets.pop(TRACE_MARK, 0)
    return packets.total(), marked


def _packets(rule: Attributes) -> int:
    """Return the packets of a rule's counter; a rule of a tracing table has one at most."""
    for _, first, end in attributes(rule.buf, *rule.span(nft.NFTA_RULE_EXPRESSIONS)):
        expression = Attributes(rule.buf, first, end)
        if expression.text(nft.NFTA_EXPR_NAME) == "counter":
            return expression.nested(nft.NFTA_EXPR_DATA).number(nft.NFTA_COUNTER_PACKETS, 8) or 0
    return 0
