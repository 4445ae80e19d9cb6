"""The words of libpcap's filter language: splitting an expression into tokens, and refusing names to look up.

Grammar and scanner as documented in pcap-filter(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from nettop.errors import FilterError

_HEX2, _HEX4, _NUMBER = r"[0-9A-Fa-f]{1,2}", r"[0-9A-Fa-f]{4}", r"(?:0[xX][0-9A-Fa-f]+|[0-9]+)"
_TOKEN = re.compile(r"\\[^\s!()]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|[^\W_][-_.0-9A-Za-z]*|&&|\|\||<<|>>|[<>=!]=|\S")
_COLON_PARTS = re.compile(r":|[^:]+")
_NUMERIC = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}")
_MAC = re.compile(
    rf"{_HEX2}(?::{_HEX2}){{5}}|{_HEX2}(?:-{_HEX2}){{5}}|{_HEX2}(?:\.{_HEX2}){{5}}|{_HEX4}(?:\.{_HEX4}){{2}}|[0-9A-Fa-f]{{12}}"
)
_JOINS = frozenset({"and", "or", "not", "&&", "||", "!"})
_QUALIFIES_MANY = frozenset({"port", "portrange", "proto", "protochain"})
_QUALIFIES_ONE = frozenset(
    {"ifname", "on", "rset", "ruleset", "reason", "action", "type", "subtype", "dir", "direction"}
)
LIVE_ONLY = frozenset({"vlan", "inbound", "outbound", "ifindex"})
# pcap-filter(7), libpcap 1.10: qualifiers and primitives, then named offsets and values
_KEYWORD_LIST = """
    dst src host net mask gateway link ether ppp slip fddi tr wlan arp rarp ip ip6 sctp tcp udp icmp icmp6 igmp igrp
    pim vrrp carp radio atalk aarp decnet lat moprc mopdl sca iso esis es-is isis is-is l1 l2 iih lsp snp csnp psnp clnp
    stp ipx netbeui less greater byte broadcast multicast inbound outbound ifindex vlan mpls pppoed pppoes geneve lane
    llc metac bcc oamf4ec oamf4sc oam oamf4 connectmsg metaconnect sc ilmic vpi vci sio opc dpc sls hsio hopc hdpc hsls
    fisu lssu lsu msu hfisu hlssu hmsu rnr rulenum srnr subrulenum addr1 addr2 addr3 addr4 address1 address2 address3
    address4 ra ta ah esp len
    icmptype icmpcode icmp-echoreply icmp-unreach icmp-sourcequench icmp-redirect icmp-echo icmp-routeradvert
    icmp-routersolicit icmp-timxceed icmp-paramprob icmp-tstamp icmp-tstampreply icmp-ireq icmp-ireqreply icmp-maskreq
    icmp-maskreply icmp6type icmp6code icmp6-destinationunreach icmp6-packettoobig icmp6-timeexceeded
    icmp6-parameterproblem icmp6-echo icmp6-echoreply icmp6-multicastlistenerquery icmp6-multicastlistenerreportv1
    icmp6-multicastlistenerdone icmp6-routersolicit icmp6-routeradvert icmp6-neighborsolicit icmp6-neighboradvert
    icmp6-redirect icmp6-routerrenum icmp6-nodeinformationquery icmp6-nodeinformationresponse
    icmp6-ineighbordiscoverysolicit icmp6-ineighbordiscoveryadvert icmp6-multicastlistenerreportv2
    icmp6-homeagentdiscoveryrequest icmp6-homeagentdiscoveryreply icmp6-mobileprefixsolicit icmp6-mobileprefixadvert
    icmp6-certpathsolicit icmp6-certpathadvert icmp6-multicastrouteradvert icmp6-multicastroutersolicit
    icmp6-multicastrouterterm tcpflags tcp-fin tcp-syn tcp-rst tcp-push tcp-ack tcp-urg tcp-ece tcp-cwr
"""
_KEYWORDS = _JOINS.union(_KEYWORD_LIST.split())


class PcapToken(NamedTuple):
    """A word or sign of an expression, and where it begins."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset after the last character."""
        return self.start + len(self.text)


def refuse_names(expression: str) -> None:
    """Raise FilterError at the first word that would be looked up."""
    for token in looked_up(expression):
        raise FilterError(
            f"'{token.text}' is neither a word of the filter language nor an address (names are not looked up)",
            expression,
            token.start,
        )


def looked_up(expression: str) -> Iterator[PcapToken]:
    """Yield the words that libpcap could pass to a resolver: no keyword, no literal, no service or protocol.

    A service or protocol name is one that follows its qualifier, also through `or`: libpcap carries the qualifier over
    (`port http or https`). A parenthesis ends that unless it comes right after the qualifier.
    """
    names_allowed, previous = False, ""
    for token in tokens(expression):
        word = token.text
        if word in _QUALIFIES_MANY or word in _QUALIFIES_ONE:
            names_allowed = True
        elif _is_word(word) and not _is_literal(word) and word not in _KEYWORDS:
            if not names_allowed:
                yield token
            names_allowed = names_allowed and previous not in _QUALIFIES_ONE
        elif word == "(":
            names_allowed = names_allowed and previous in _QUALIFIES_MANY
        elif word not in _JOINS and not _is_literal(word):
            names_allowed = False
        previous = word


def tokens(expression: str) -> list[PcapToken]:
    """Return the tokens that libpcap's scanner sees, without blanks; what looks like one address is one token."""
    found: list[PcapToken] = []
    for match in _TOKEN.finditer(expression):
        text = match.group()
        if ":" in text and not _is_literal(text):
            found += [PcapToken(part.group(), match.start() + part.start()) for part in _COLON_PARTS.finditer(text)]
        else:
            found.append(PcapToken(text, match.start()))
    return found


def _is_word(text: str) -> bool:
    return text[0].isalnum() or text[0] in "\\_"


def _is_literal(text: str) -> bool:
    """Return True for a number, an IPv4 address or the head of one, a MAC, an IPv6 address."""
    if _NUMERIC.fullmatch(text) or _MAC.fullmatch(text):
        return True
    if ":" not in text:
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
