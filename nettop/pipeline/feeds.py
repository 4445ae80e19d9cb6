"""The table of feeds: a row a stream, from the request that reads it to the models that it feeds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from nettop.batch import Batch, Counter64, Stream, Text
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.broker.requests import DumpFilter
from nettop.columns import Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.decode.conntrack.statistics import decode_ctstats
from nettop.decode.net_statistics import decode_net_statistics
from nettop.decode.nfacct import decode_nfacct
from nettop.decode.nftables.decoder import NftDecoder
from nettop.decode.nftables.sets import NftSetsDecoder
from nettop.decode.rtnetlink import decode_rtnetlink
from nettop.decode.sysctls import decode_sysctls
from nettop.kinds import StreamKind, TextKind
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE
from nettop.linux.nfnetlink import NFNLGRP_CONNTRACK, NFNLGRP_CONNTRACK_EXP, NFNLGRP_NFTABLES
from nettop.linux.rtnetlink import RTNLGRP_IFADDR, RTNLGRP_LINK, RTNLGRP_ROUTE
from nettop.sources.dumps import SHARE, DumpSource
from nettop.sources.exchange import Round
from nettop.sources.netlink import commits
from nettop.sources.nft_sets import SETS, NftSetDump

EVENT_RCVBUF = 128 << 20  # bytes: a second and more of 100,000 conntrack events/s
OFTEN_S = 10.0  # how often a recording keeps what counts, and how often what nobody looks at is read

Decode = Callable[[Any], Any]  # of a Batch, or of a Text: what the models of the feed take


class Pace(Enum):
    """How often a recording does something."""

    EACH = "each time that it is read"
    OFTEN = "every OFTEN_S, or at the pace of keyframes where that is faster"
    KEYFRAME = "at the pace of keyframes"


@dataclass(frozen=True, slots=True)
class Feed:
    """How one stream of a namespace is read, decoded, recorded, and which models take it.

    With `rounds` it is a source of dumps, with `groups` one of events, with `texts` one of snapshots of text.
    """

    name: str  # of its thread, and in `wakes`
    stream: str = "text"  # Stream.name, in recordings too
    family: int = NETLINK_NETFILTER
    rounds: tuple[Round, ...] = ()  # at the start and when poked …
    polled: tuple[Round, ...] = ()  # … and by time; (): all of them
    groups: tuple[int, ...] = ()  # that its socket joins
    rcvbuf: int = 8 << 20  # of that socket, in bytes
    texts: tuple[TextKind, ...] = ()
    every_s: float | None = None  # None: only at the start and when poked
    shown_in: frozenset[str] = frozenset()  # views that show it ("flows/detail": one row); none: always read
    unseen_s: float | None = None  # instead of `every_s` while none of these is on the screen, nor is it recorded …
    glance: tuple[Round, ...] = ()  # … and what is asked for then; (): the same
    share: float | None = None  # of a core: what reading it may cost at most
    source: type[DumpSource] = DumpSource
    decoder: Callable[[Strings], Decode] | None = None  # None: models take the item itself
    models: tuple[str, ...] = ()  # that take it, in this order: keys of Engine.models
    flows: bool = False  # its rows are flows: one that is not watched is withheld from the models
    announces: Callable[[Batch], bool] | None = None  # says of a batch of events that something changed
    wakes: tuple[str, ...] = ()  # feeds that are read again after a change or a loss
    rest_s: float = 0.0  # the least pause between two changes that it passes on
    recorded: Pace = Pace.EACH  # how often a recording has it read: EACH as often as `every_s` says
    kept: Pace = Pace.EACH  # how often a recording keeps what was polled

    def kinds(self) -> Iterable[str]:
        """What is read by time: each DumpMark.what or TextKind's value."""
        return (*(asked.what for asked in self.polled or self.rounds), *(text.value for text in self.texts))

    def recorded_s(self, keyframe_s: float) -> float | None:
        """How often a recording with such keyframes has it read, in seconds."""
        return self.every_s if self.recorded is Pace.EACH else pace_s(self.recorded, keyframe_s)

    def polling(self, looked_at: Collection[str], recorded: bool) -> tuple[float | None, tuple[Round, ...]]:
        """How often it is read, in seconds, and the rounds of that, while these views are on the screen."""
        if recorded or not self.shown_in or not self.shown_in.isdisjoint(looked_at):
            return self.every_s, self.polled or self.rounds
        return self.unseen_s, self.glance or self.polled or self.rounds

    def new_stream(self, number: int, netns: str) -> Stream:
        """The stream of this feed in a namespace."""
        kind = StreamKind.TEXT if self.texts else StreamKind.NETLINK
        return Stream(number, kind, self.stream, netns, netlink_family=self.family)

    def dump(
        self,
        stream: Stream,
        broker: Broker,
        sock: NetlinkSocket,
        seq: Counter64,
        dump_filter: DumpFilter | None = None,
    ) -> DumpSource:
        """Return the source of this feed's dumps, limited by `dump_filter`. `every_s` None: each once."""
        rounds = self.rounds if dump_filter is None else tuple(one.filtered(dump_filter) for one in self.rounds)
        return self.source(stream, broker, sock, seq, rounds, self.every_s, self.polled or rounds, self.share)


def pace_s(pace: Pace, keyframe_s: float) -> float:
    """How often a recording with such keyframes does what has this pace, in seconds; 0: each time."""
    return {Pace.EACH: 0.0, Pace.OFTEN: min(keyframe_s, OFTEN_S), Pace.KEYFRAME: keyframe_s}[pace]


EVENTS = Feed(
    "events",
    "conntrack",
    groups=(*NFNLGRP_CONNTRACK, *NFNLGRP_CONNTRACK_EXP),
    rcvbuf=EVENT_RCVBUF,
    decoder=ConntrackDecoder,
    models=("events", "flows", "expectations"),
    flows=True,
    wakes=("conntrack",),
)
# Complete when no message says NLM_F_DUMP_INTR, nothing was lost, the hash had as many buckets after as before (the
# kernel does not tell of a resize, and two thirds of the flows may be missing then), and about as many flows came as
# the kernel counts.
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
    share=SHARE,
    decoder=ConntrackDecoder,
    models=("flows",),
    flows=True,
    recorded=Pace.KEYFRAME,
    kept=Pace.KEYFRAME,
)
EXPECTATIONS = Feed(
    "expect",
    "expect",
    rounds=(Round("expect", (ReadRequest.EXPECT_DUMP,)),),
    every_s=2.0,  # those of flows older than any listener come in no other way
    shown_in=frozenset({"flows/detail"}),
    unseen_s=OFTEN_S,
    share=0.005,  # an empty table costs 0.3 ms, broker and all
    decoder=ConntrackDecoder,
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
    glance=(Round("ctstats", (ReadRequest.CONNTRACK_STATS,)),),  # the use of the table, which the header shows
    share=SHARE,
    decoder=lambda strings: decode_ctstats,
    models=("counters",),
)
SYSCTLS = Feed(
    "sysctls",
    texts=(TextKind.SYSCTLS,),
    every_s=5.0,
    decoder=lambda strings: decode_sysctls,
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
    every_s=30.0,  # without a change that we heard of
    share=SHARE,
    decoder=lambda strings: decode_rtnetlink,
    models=("routing",),
    kept=Pace.KEYFRAME,
)
ROUTE_EVENTS = Feed(
    "route-events",
    "route-events",
    NETLINK_ROUTE,
    groups=(RTNLGRP_LINK, *RTNLGRP_IFADDR, *RTNLGRP_ROUTE),
    announces=lambda batch: True,
    wakes=("routes",),
    rest_s=1.0,
)
PROCESSES = Feed(
    "processes",
    texts=(TextKind.PROCESSES,),
    every_s=30.0,  # while nobody looks at them
    share=0.02,  # the broker looks through every process's descriptors
    models=("processes",),
    recorded=Pace.OFTEN,
    kept=Pace.OFTEN,
)
NFT_EVENTS = Feed(
    "nft-events",
    "nft-events",
    groups=(NFNLGRP_NFTABLES,),
    decoder=lambda strings: NftDecoder(events=True),
    models=("rulesets",),
    announces=commits,
    wakes=("nft", "texts"),
)
_CHAINS, _RULES = Round("nft-chains", (ReadRequest.NFT_CHAINS,)), Round("nft-rules", (ReadRequest.NFT_RULES,))
_OBJECTS = Round("nft-objects", (ReadRequest.NFT_OBJECTS,))
# Each named object becomes a value and a row downstream (10,000 are 1 MB, 50 to 200 ms): by the thousand they are
# polled more seldom than the rest, for at most 2 % of a core at 100 ns a byte.
_FEW_OBJECTS = replace(_OBJECTS, rest_ns_a_byte=5_000)
NFT = Feed(
    "nft",
    "nft",
    rounds=(Round("nft-tables", (ReadRequest.NFT_TABLES,)), _CHAINS, _RULES, _FEW_OBJECTS),
    polled=(_CHAINS, _RULES, _FEW_OBJECTS),  # chains count too: a base chain's policy
    every_s=1.0,
    shown_in=frozenset({"chains", "rules", "counters"}),
    unseen_s=OFTEN_S,
    share=SHARE,
    decoder=lambda strings: NftDecoder(),
    models=("counters", "rulesets"),
    recorded=Pace.OFTEN,
    kept=Pace.OFTEN,
)
OBJECTS = replace(NFT, rounds=(_OBJECTS,), polled=())  # for who wants no rules
RULE_TEXTS = Feed(
    "texts",
    texts=(
        TextKind.NFT_RULESET,
        TextKind.IPTABLES_SAVE,
        TextKind.IP6TABLES_SAVE,
        TextKind.IPTABLES_LEGACY_SAVE,
        TextKind.IP6TABLES_LEGACY_SAVE,
    ),
    models=("rulesets",),
)
# The counters of legacy tables come in no other way. To be read where there are such tables.
LEGACY_TEXTS = Feed(
    "legacy",
    texts=(TextKind.IPTABLES_LEGACY_SAVE, TextKind.IP6TABLES_LEGACY_SAVE),
    every_s=2.0,
    shown_in=frozenset({"chains", "rules"}),
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
    models=("counters",),
    recorded=Pace.OFTEN,
)
# A kernel without nfacct refuses each time: nothing is shown then, and nothing is lost.
NFACCT = Feed(
    "nfacct",
    "nfacct",
    rounds=(Round("nfacct", (ReadRequest.NFACCT,)),),
    every_s=2.0,
    shown_in=frozenset({"counters"}),
    unseen_s=OFTEN_S,
    share=0.005,  # a host has few of these, and where it has many they may be older
    decoder=lambda strings: decode_nfacct,
    models=("counters",),
    recorded=Pace.OFTEN,
)
NET_STATISTICS = Feed(
    "net-statistics",
    texts=(TextKind.NET_STATISTICS,),
    every_s=2.0,
    shown_in=frozenset({"counters"}),
    unseen_s=OFTEN_S,
    decoder=lambda strings: lambda text: decode_net_statistics(text.body, text.ts_ns),
    models=("counters",),
    recorded=Pace.OFTEN,
    kept=Pace.OFTEN,
)

CONNTRACK = (EVENTS, TABLE)
BESIDE = (EXPECTATIONS, STATISTICS, SYSCTLS, ROUTES, ROUTE_EVENTS, PROCESSES)  # of every namespace that is watched
RULES = (NFT_EVENTS, NFT, RULE_TEXTS)
COUNTING = (NFT_SETS, NFACCT, NET_STATISTICS)
SHOWN = (*RULES, *COUNTING)  # of the namespace shown only
FEEDS = (*CONNTRACK, *BESIDE, *SHOWN, LEGACY_TEXTS)
KEYFRAMES = (TABLE, NFT, RULE_TEXTS, SYSCTLS, ROUTES, PROCESSES)  # that a recording begins with

_OF_STREAM = {feed.stream: feed for feed in FEEDS if not feed.texts}
_OF_TEXT = {text: feed for feed in FEEDS for text in feed.texts}


def feed_of(stream: Stream, item: object = None) -> Feed | None:
    """The feed of a stream (of its texts, that of the item); None where there is none."""
    return _OF_TEXT[item.what] if isinstance(item, Text) else _OF_STREAM.get(stream.name)
