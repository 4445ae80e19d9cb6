"""The table of feeds: one row for each stream, from the requests that read it to the models that it feeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from nettop.batch import Stream, Text
from nettop.broker.requests import ReadRequest
from nettop.columns import Strings
from nettop.decode.nftables.decoder import NftDecoder
from nettop.decode.nftables.sets import NftSetsDecoder
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_ROUTE
from nettop.linux.nfnetlink import NFNLGRP_CONNTRACK, NFNLGRP_CONNTRACK_EXP, NFNLGRP_NFTABLES, NFNLGRP_NFTRACE
from nettop.linux.rtnetlink import RTNLGRP_IFADDR, RTNLGRP_LINK, RTNLGRP_ROUTE
from nettop.pipeline.feed import OFTEN_S, Decode, Feed, Pace
from nettop.sources import map_parts
from nettop.sources.dumps import SHARE
from nettop.sources.exchange import Round
from nettop.sources.ipsets import IPSETS, IpsetDump
from nettop.sources.nft_rules import ALL_RULES, NftRuleDump, changed_tables, commits
from nettop.sources.nft_sets import SETS, NftSetDump

EVENT_RCVBUF = 128 << 20  # bytes: a second and more of 100,000 conntrack events/s
STILL_S = 4.0  # longest pause of what follows the flows: below the age from which the totals show that of the timeouts
KEYFRAME_S = 300.0


def _later(module: str, name: str) -> Callable[[Strings], Decode]:
    """Return a maker of a decoder (nettop.decode) that is imported with its first item: few commands need all."""
    return lambda strings: getattr(import_module(f"nettop.decode.{module}"), name)


def _conntrack(strings: Strings) -> Decode:
    from nettop.decode.conntrack.decoder import ConntrackDecoder

    return ConntrackDecoder(strings)


def _net_statistics(strings: Strings) -> Decode:
    from nettop.decode.net_statistics import decode_net_statistics

    return lambda text: decode_net_statistics(text.body, text.ts_ns)


def _traces(strings: Strings) -> Decode:
    from nettop.decode.nftables.trace import TraceDecoder

    return TraceDecoder()


EVENTS = Feed(
    "events",
    "conntrack",
    groups=(*NFNLGRP_CONNTRACK, *NFNLGRP_CONNTRACK_EXP),
    rcvbuf=EVENT_RCVBUF,
    decoder=_conntrack,
    models=("events", "flows", "expectations"),
    flows=True,
    wakes=("conntrack",),
)
# A dump is complete if no message has NLM_F_DUMP_INTR, nothing was lost, the hash was not resized (the kernel does not
# report it, and two thirds of the flows may then be missing), and about as many flows came as the kernel counts.
TABLE = Feed(
    "conntrack",
    "conntrack-dump",
    rounds=(
        Round(
            "conntrack",
            (ReadRequest.CONNTRACK_DUMP,),
            steady="net.netfilter.nf_conntrack_buckets",
            counted="net.netfilter.nf_conntrack_count",
        ),
    ),
    every_s=2.0,
    still_s=STILL_S,
    share=SHARE,
    decoder=_conntrack,
    models=("flows",),
    flows=True,
    recorded=Pace.KEYFRAME,
    keep_pace=Pace.KEYFRAME,
)
EXPECTATIONS = Feed(
    "expect",
    "expect",
    rounds=(Round("expect", (ReadRequest.EXPECT_DUMP,)),),
    every_s=2.0,  # no event reports those of flows that are older than the listener
    shown_in=frozenset({"flows/detail"}),
    unseen_s=OFTEN_S,
    share=0.005,  # an empty table costs 0.3 ms, with the broker
    decoder=_conntrack,
    models=("expectations",),
    recorded=Pace.KEYFRAME,
)
STATISTICS = Feed(
    "ctstats",
    "ctstats",
    rounds=(
        Round("ctstats", (ReadRequest.CONNTRACK_STATS_CPU, ReadRequest.EXPECT_STATS_CPU, ReadRequest.CONNTRACK_STATS)),
    ),
    every_s=1.0,
    shown_in=frozenset({"counters"}),
    unseen_s=1.0,
    unseen_rounds=(Round("ctstats", (ReadRequest.CONNTRACK_STATS,)),),  # the header shows how full the table is
    still_s=STILL_S,
    share=SHARE,
    decoder=_later("conntrack.statistics", "decode_ctstats"),
    models=("counters",),
)
# The map: every namespace of the host, read by the sources of pipeline.map_sources.
NAMESPACES = Feed(
    "namespaces",
    texts=(TextKind.NAMESPACES,),
    every_s=15.0,  # sooner when a namespace comes or goes
    shown_in=frozenset({"map", "drawing", "lists"}),
    share=0.02,  # when ids change one after the other: the broker looks at every process
    decoder=_later("topology.namespaces", "decode_namespaces"),
    models=("map",),
    recorded=Pace.OFTEN,
    keep_pace=Pace.OFTEN,
)
_MAP = {what: Round(what, (read,)) for what, read in map_parts.READS.items()}
_MAP_COUNTS = _MAP.pop(map_parts.COUNTS)
MAP = Feed(
    "map",
    "map",
    NETLINK_ROUTE,
    rounds=tuple(_MAP.values()),
    decoder=_later("topology.decoder", "decode_map"),
    models=("map",),
)
MAP_COUNTS = replace(MAP, name="map-counts", stream="map-counts", rounds=(_MAP_COUNTS,), keep_pace=Pace.OFTEN)
MAP_SYSCTLS = Feed(
    "map-sysctls",
    "map-text",
    texts=(TextKind.MAP_SYSCTLS,),
    decoder=_later("topology.namespaces", "decode_map_sysctls"),
    models=("map",),
    keep_pace=Pace.OFTEN,
)
MAP_EVENTS = Feed("map-events", "map-events", NETLINK_ROUTE, groups=map_parts.GROUPS)  # then MAP is read again
SYSCTLS = Feed(
    "sysctls",
    texts=(TextKind.SYSCTLS,),
    every_s=5.0,
    decoder=_later("sysctls", "decode_sysctls"),
    models=("sysctls", "counters"),
)
ROUTES = Feed(
    "routes",
    "routes",
    NETLINK_ROUTE,
    rounds=(
        Round("links", (ReadRequest.RTNL_LINKS,)),
        Round("addresses", (ReadRequest.RTNL_ADDRESSES,)),
        Round("routes", (ReadRequest.RTNL_ROUTES,)),
    ),
    every_s=30.0,  # without an event
    share=SHARE,
    decoder=_later("rtnetlink", "decode_rtnetlink"),
    models=("routing",),
    keep_pace=Pace.KEYFRAME,
)
ROUTE_EVENTS = Feed(
    "route-events",
    "route-events",
    NETLINK_ROUTE,
    groups=(RTNLGRP_LINK, *RTNLGRP_IFADDR, *RTNLGRP_ROUTE),
    announces=lambda batch: True,
    links=True,
    wakes=("routes",),
    rest_s=1.0,
)
PROCESSES = Feed(
    "processes",
    texts=(TextKind.PROCESSES,),
    every_s=30.0,  # more often if the model requests it
    share=0.02,  # the broker reads the descriptors of every process
    models=("processes",),
    recorded=Pace.OFTEN,
    keep_pace=Pace.OFTEN,
)
# Records come only while a table marks packets. Whoever may listen gets those of all tables of the namespace.
TRACES = Feed(
    "traces",
    "nft-trace",
    groups=(NFNLGRP_NFTRACE,),
    gather_ns=1_000_000,  # the kernel gives no time: that of the reading tells how long an answer took
    rcvbuf=EVENT_RCVBUF >> 2,
    decoder=_traces,
    models=("traces",),
)
# The trace records of iptables-legacy: the broker opens its socket (Broker.trace_log).
TRACE_LOG = Feed("trace-log", "trace-log", decoder=_later("nflog", "decode_nflog"), models=("traces",))
# The packets that the kernel drops while a trace runs: the ends of journeys outside of the rules.
DROP_RECORDS = Feed(
    "drop-records",
    texts=(TextKind.DROP_RECORDS,),
    every_s=0.5,
    decoder=_later("drops", "decode_drop_records"),
    models=("traces",),
)
NFT_EVENTS = Feed(
    "nft-events",
    "nft-events",
    groups=(NFNLGRP_NFTABLES,),
    gather_ns=180_000_000,  # the first commit is read at once, those that follow it at once are read together
    decoder=lambda strings: NftDecoder(events=True),
    models=("rulesets",),
    announces=commits,
    parts_of=changed_tables,
    wakes=("nft", "listing", "saves"),
    rest_s=0.2,
    rest_grows=True,
)
RULE_CHANGES = replace(
    NFT_EVENTS, wakes=("nft",), rest_grows=False
)  # where models request the words of what has changed
_TABLES = Round("nft-tables", (ReadRequest.NFT_TABLES,))
_CHAINS = Round("nft-chains", (ReadRequest.NFT_CHAINS,), rest_ns_a_byte=5_000)  # 5,000 of them: each 5 s
_OBJECTS = Round("nft-objects", (ReadRequest.NFT_OBJECTS,))
# Each named object becomes a value and a row (10,000 are 1 MB, 50 to 200 ms). Thousands of them are polled less often
# than the rest: at most 2 % of a core at 100 ns a byte.
_FEW_OBJECTS = replace(_OBJECTS, rest_ns_a_byte=5_000)
NFT = Feed(
    "nft",
    "nft",
    rounds=(_TABLES, _CHAINS, ALL_RULES, _TABLES, _FEW_OBJECTS),  # tables again: they must be those of the rules
    polled=(_CHAINS, ALL_RULES, _TABLES, _FEW_OBJECTS),  # chains too: the policy of a base chain has a counter
    every_s=1.0,
    shown_in=frozenset({"chains", "matrix", "rules", "counters"}),
    unseen_s=OFTEN_S,
    source=NftRuleDump,
    share=SHARE * 2 / 3,  # joining what has changed costs as much as reading it: 10,000 rules still come each second
    decoder=lambda strings: NftDecoder(),
    models=("counters", "rulesets"),
    recorded=Pace.OFTEN,
    keep_pace=Pace.OFTEN,
)
OBJECTS = replace(NFT, rounds=(_OBJECTS,), polled=())  # without the rules
_LEGACY = (TextKind.IPTABLES_LEGACY_SAVE, TextKind.IP6TABLES_LEGACY_SAVE, TextKind.ARPTABLES_LEGACY_SAVE)
# Two feeds, so that the tools run side by side: nft takes as long as all others together.
NFT_LISTING = Feed("listing", texts=(TextKind.NFT_RULESET,), share=SHARE / 3, models=("rulesets",))
_NFT_SAVES = (TextKind.IPTABLES_SAVE, TextKind.IP6TABLES_SAVE, TextKind.ARPTABLES_SAVE, TextKind.EBTABLES_SAVE)
SAVES = Feed("saves", texts=(*_NFT_SAVES, *_LEGACY), share=SHARE / 6, models=("rulesets",))
RULE_TEXTS = (NFT_LISTING, SAVES)
# The only way to the counters of legacy tables, and to changes of their rules; read where there are such tables.
LEGACY_TEXTS = Feed(
    "legacy",
    texts=_LEGACY,
    every_s=2.0,
    share=SHARE,
    shown_in=frozenset({"chains", "matrix", "rules", "traces"}),
    unseen_s=OFTEN_S,
    models=("rulesets",),
    recorded=Pace.OFTEN,
)
NFT_SETS = Feed(
    "nft-sets",
    "nft-sets",
    rounds=(SETS,),
    every_s=2.0,
    shown_in=frozenset({"counters"}),
    unseen_s=OFTEN_S,
    share=0.01,
    source=NftSetDump,
    decoder=lambda strings: NftSetsDecoder(),
    models=("counters", "rulesets"),
    recorded=Pace.OFTEN,
)
# For recordings of a namespace whose rules use some: the request may load the kernel's module.
IPSET_DUMPS = Feed(
    "ipsets",
    "ipsets",
    rounds=(IPSETS,),
    every_s=KEYFRAME_S,
    share=0.01,
    source=IpsetDump,
    decoder=_later("ipset", "decode_ipsets"),
    models=("rulesets",),
    recorded=Pace.KEYFRAME,
)
# A kernel without nfacct refuses each request: then nothing is shown, and nothing counts as lost.
NFACCT = Feed(
    "nfacct",
    "nfacct",
    rounds=(Round("nfacct", (ReadRequest.NFACCT,)),),
    every_s=2.0,
    shown_in=frozenset({"counters"}),
    unseen_s=OFTEN_S,
    share=0.005,  # a host has few of these; many are read less often
    decoder=_later("nfacct", "decode_nfacct"),
    models=("counters",),
    recorded=Pace.OFTEN,
)
NET_STATISTICS = Feed(
    "net-statistics",
    texts=(TextKind.NET_STATISTICS,),
    every_s=2.0,
    shown_in=frozenset({"counters"}),
    unseen_s=OFTEN_S,
    decoder=_net_statistics,
    models=("counters",),
    recorded=Pace.OFTEN,
    keep_pace=Pace.OFTEN,
)
DROPS = Feed(
    "drops",
    texts=(TextKind.DROPS,),
    every_s=1.0,
    shown_in=frozenset({"counters"}),
    unseen_s=60.0,  # for a function that is new in it the broker reads all symbols of the kernel: 0.1 s
    decoder=_later("drops", "decode_drop_counts"),
    models=("counters",),
    recorded=Pace.OFTEN,
    keep_pace=Pace.OFTEN,
)

CONNTRACK = (EVENTS, TABLE)
# Of every watched namespace, with CONNTRACK.
EVERYWHERE = (EXPECTATIONS, STATISTICS, SYSCTLS, ROUTES, ROUTE_EVENTS, PROCESSES)
RULES = (NFT_EVENTS, NFT, *RULE_TEXTS)
COUNTING = (NFT_SETS, NFACCT, NET_STATISTICS, DROPS)
MAPPING = (NAMESPACES, MAP, MAP_COUNTS, MAP_SYSCTLS, MAP_EVENTS)
TRACING = (TRACES, DROP_RECORDS)
SHOWN = (*RULES, *COUNTING)  # of the shown namespace only
FEEDS = (*CONNTRACK, *EVERYWHERE, *SHOWN, *MAPPING, LEGACY_TEXTS, IPSET_DUMPS, *TRACING, TRACE_LOG)
# Read at the start of a recording and of each further file of it.
KEYFRAMES = (TABLE, EXPECTATIONS, STATISTICS, NFT, *RULE_TEXTS, SYSCTLS, ROUTES, PROCESSES, *COUNTING, IPSET_DUMPS)

_OF_STREAM = {feed.stream: feed for feed in FEEDS if not feed.texts}
_OF_TEXT = {text: feed for feed in FEEDS for text in feed.texts}


def feed_of(stream: Stream, item: object = None) -> Feed | None:
    """Return the feed of a stream, or of the text `item`; None if there is none."""
    return _OF_TEXT[item.what] if isinstance(item, Text) else _OF_STREAM.get(stream.name)
