"""The table of feeds: its rows agree with one another, and what nobody looks at is polled more seldom."""

from __future__ import annotations

import pytest

from nettop.batch import Stream, Text
from nettop.broker.requests import ReadRequest
from nettop.kinds import StreamKind, TextKind
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.feed import Feed, Pace, pace_s
from nettop.pipeline.feeds import FEEDS, TRACE_LOG, feed_of

NAMES = [feed.name for feed in FEEDS]
CALM = [feed for feed in FEEDS if feed.shown_in]


def test_names_and_streams_are_distinct() -> None:
    streams = [feed.stream for feed in FEEDS if not feed.texts]
    assert len(set(NAMES)) == len(NAMES)
    assert len(set(streams)) == len(streams)


@pytest.mark.parametrize("feed", FEEDS, ids=NAMES)
def test_a_row_names_models_views_and_feeds_that_there_are(feed: Feed) -> None:
    engine = Engine("")
    assert set(feed.models) <= engine.models.keys()
    assert {view.partition("/")[0] for view in feed.shown_in} <= engine.views.keys() | {"map"}
    assert set(feed.wakes) <= set(NAMES)
    assert sum(map(bool, (feed.rounds, feed.groups, feed.texts))) == (feed is not TRACE_LOG)
    assert {one.what for one in feed.polled} <= {one.what for one in feed.rounds}
    assert {one.what for one in feed.unseen_rounds} <= {one.what for one in feed.polled or feed.rounds}


@pytest.mark.parametrize("feed", FEEDS, ids=NAMES)
def test_the_feed_of_a_stream_is_its_row(feed: Feed) -> None:
    stream = feed.new_stream(1, "gw-a")
    assert stream == Stream(1, stream.kind, feed.stream, "gw-a", netlink_family=feed.family)
    if not feed.texts:
        assert feed_of(stream) is feed
    for what in feed.texts:
        found = feed_of(stream, Text(1, 0, 0, what, b""))
        assert found is not None and found.models == feed.models


def test_a_stream_of_another_name_belongs_to_no_feed() -> None:
    assert feed_of(Stream(1, StreamKind.NETLINK, "of-tomorrow")) is None
    assert feed_of(Stream(1, StreamKind.TEXT, "text")) is None


def test_every_kind_of_text_has_a_row() -> None:
    assert {what for feed in FEEDS for what in feed.texts} == set(TextKind)


@pytest.mark.parametrize("feed", CALM, ids=[feed.name for feed in CALM])
def test_what_is_on_the_screen_or_recorded_is_read_as_often_as_its_row_says(feed: Feed) -> None:
    often = feed.every_s, feed.polled or feed.rounds
    assert all(feed.polling({view}, recorded=False) == often for view in feed.shown_in)
    assert feed.polling((), recorded=True) == often
    assert feed.polling({"packets"}, recorded=False) != often


def test_what_has_no_view_of_its_own_is_always_read_as_often() -> None:
    assert {feed.polling((), False)[0] for feed in (feeds.TABLE, feeds.SYSCTLS, feeds.ROUTES)} == {2.0, 5.0, 30.0}


def test_the_header_has_the_use_of_the_table_whatever_is_looked_at() -> None:
    every_s, (unseen_rounds,) = feeds.STATISTICS.polling({"flows"}, recorded=False)
    assert (every_s, unseen_rounds.requests) == (1.0, (ReadRequest.CONNTRACK_STATS,))
    assert feeds.STATISTICS.polling({"counters"}, recorded=False) == (1.0, feeds.STATISTICS.rounds)


def paces(feed: Feed, visible: set[str] | tuple[()] = (), recorded: bool = False) -> list[float | None]:
    return [feed.polling(visible, recorded, still)[0] for still in (0, 1, 2, 3, 100)]


def test_what_follows_the_flows_is_read_less_often_while_they_are_still_up_to_a_limit() -> None:
    assert paces(feeds.TABLE, {"flows"}) == [2.0, 4.0, 4.0, 4.0, feeds.STILL_S]
    assert paces(feeds.STATISTICS, {"flows"}) == [1.0, 2.0, 3.0, 4.0, feeds.STILL_S]
    assert paces(feeds.STATISTICS, {"counters"}) == [1.0] * 5, "on the screen"
    assert paces(feeds.SYSCTLS) == [5.0] * 5, "not of the flows"
    assert paces(feeds.TABLE, {"flows"}, recorded=True) == [2.0] * 5


def test_drop_reasons_are_read_each_minute_unless_they_are_shown() -> None:
    """A function that is new in them costs the broker 0.1 s."""
    paces = {view: feeds.DROPS.polling({view}, recorded=False)[0] for view in ("flows", "counters")}
    assert paces == {"flows": 60.0, "counters": 1.0}


@pytest.mark.parametrize(("visible", "every_s"), [("flows", 10.0), ("chains", 1.0), ("rules", 1.0), ("counters", 1.0)])
def test_rules_are_read_every_second_only_where_they_are_shown(visible: str, every_s: float) -> None:
    assert feeds.NFT.polling({visible}, recorded=False)[0] == every_s


def test_a_recording_has_its_own_pace() -> None:
    assert [pace_s(pace, 300.0) for pace in Pace] == [0.0, 10.0, 300.0]
    assert [pace_s(pace, 5.0) for pace in Pace] == [0.0, 5.0, 5.0]
    paces = {feed.name: feed.recorded_s(300.0) for feed in FEEDS}
    assert paces == {
        "events": None,
        "conntrack": 300.0,
        "expect": 300.0,
        "ctstats": 1.0,
        "sysctls": 5.0,
        "routes": 30.0,
        "route-events": None,
        "processes": 10.0,
        "nft-events": None,
        "nft": 10.0,
        "listing": None,
        "saves": None,
        "nft-sets": 10.0,
        "ipsets": 300.0,
        "nfacct": 10.0,
        "net-statistics": 10.0,
        "namespaces": 10.0,
        "map": None,
        "map-counts": None,
        "map-sysctls": None,
        "map-events": None,
        "legacy": 10.0,
        "drops": 10.0,
        "traces": None,
        "drop-records": 0.5,
        "trace-log": None,
    }
