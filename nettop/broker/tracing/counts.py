"""The counters of a tracing table, read back: how many packets its rules matched, and how many it marked."""

from __future__ import annotations

import socket
from collections import Counter

from nettop.broker.attributes import name
from nettop.broker.reads import LONGEST_NAME, message, nfgenmsg
from nettop.kinds import TRACE_MARK
from nettop.linux import nf_tables as nft
from nettop.linux import nfnetlink
from nettop.linux.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_HDRLEN, Attributes, attributes, messages

_TYPE = nfnetlink.NFNL_SUBSYS_NFTABLES << 8
_DATAGRAM = 64 << 10


def read_counts(owner: socket.socket, table: str) -> tuple[int, int]:
    """Return the packets that the rules matched and those of them that were marked. Raises OSError.

    The others were over the limit. `owner` is the table's non-blocking socket.
    """
    request = nfgenmsg(nfnetlink.NFPROTO_UNSPEC) + name(nft.NFTA_RULE_TABLE, table, LONGEST_NAME)
    owner.sendto(message(_TYPE | nft.NFT_MSG_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, 1, request), (0, 0))
    packets: Counter[str] = Counter()
    done = False
    while not done:
        datagram = owner.recv(_DATAGRAM)
        for kind, first, end in messages(datagram):
            done = done or kind == NLMSG_DONE
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
