"""`nettop map`: the namespaces of the host with their devices, addresses, routes and sysctls, once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nettop import arguments
from nettop.batch import End, Item, Text
from nettop.console import say
from nettop.errors import EXIT_FAILED
from nettop.headless.load import engine_of, final_code, live_engine
from nettop.headless.map_answers import MapAnswers
from nettop.headless.missing_data import NO_MAP
from nettop.headless.streaming import LineOutput
from nettop.kinds import TextKind
from nettop.model.map.graph import graph_lines
from nettop.model.map.lines import json_lines
from nettop.model.map.tree_lines import tree_lines
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.route_query import FORM
from nettop.pipeline.engine import Engine
from nettop.pipeline.live_sources import LiveSources
from nettop.pipeline.map_sources import MapSources


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop map`."""
    arguments.add(parser, "--json")
    parser.add_argument("--dot", action="store_true", help="a graph for Graphviz (`nettop map --dot | dot -Tsvg`)")
    text = f"the way of a packet in the namespace, step by step, as the kernel answers: {FORM}"
    parser.add_argument("--route", metavar="PACKET", help=text)
    text = "only what is probably wrong, with its evidence; the rules of the namespaces are read for it, too"
    parser.add_argument("--findings", action="store_true", help=text)
    text = "the sysctls that affect packets: value, effective value and meaning"
    parser.add_argument("--sysctls", action="store_true", help=text)
    arguments.add(parser, *arguments.LIVE, "-r --read", "--fail-on-loss")
    parser.set_defaults(netns=None)


def run(options: argparse.Namespace) -> int:
    """Print the map and return the exit code of the contract."""
    inode, answers = 0, MapAnswers(options)
    if options.read:
        engine, _, code = engine_of(options.read)
        if not engine.host_map.namespaces():
            say(f"{options.read!r} holds {NO_MAP}")
            return final_code(engine.ledger, code, options.fail_on_loss)
    else:
        reading = _Reading(sysctls=not options.dot)
        start = argparse.Namespace(**{**vars(options), "netns": options.netns or ""})
        engine, _, code = live_engine(start, reading.begin, reading.enough, answers)
        inode = reading.inode
        if reading.error:  # the rest is still of use
            say(reading.error)
            code = code or EXIT_FAILED
    output = LineOutput()
    chosen = _chosen(engine.host_map, options.netns, inode)
    drawn = graph_lines if options.dot else json_lines if options.json else tree_lines
    output.add([*(answers.lines(engine, chosen) or drawn(engine.host_map, chosen))])
    if not (answers.asked or options.dot):
        output.add([*answers.findings(engine, chosen)])
    output.flush()
    if error := engine.host_map.error:
        say(error)
    return final_code(engine.ledger, code, options.fail_on_loss)


def _chosen(hosts: HostMap, netns: str | None, inode: int) -> Sequence[NamespaceMap]:
    """Return all namespaces, or the one that --netns names."""
    if netns is None:
        return hosts.namespaces()
    return [
        space
        for space in hosts.namespaces()
        if (space.namespace.inode == inode if inode else space.namespace.label == netns)
    ]


class _Reading:
    """The order of reading: the namespaces, what is in each, and the list again, since a dump may give nsids."""

    def __init__(self, sysctls: bool) -> None:
        self._sysctls = sysctls
        self.inode = 0  # of the namespace that --netns names
        self.error = ""  # the reason why the namespaces are not known
        self._sources: MapSources | None = None
        self._read = False

    def begin(self, live: LiveSources) -> None:
        """Start the sources."""
        self.inode = live.netns.inode
        self._sources = live.host_map()
        self._sources.start(once=True, sysctls=self._sysctls)

    def enough(self, engine: Engine, item: Item | None) -> bool:
        """Return whether everything was read."""
        if self._sources is None:
            return False
        if isinstance(item, Text) and item.what is TextKind.NAMESPACES:
            self.error = item.error
            self._sources.follow([space.namespace for space in engine.host_map.namespaces()])
            return self._read
        if isinstance(item, End) and item.stream == self._sources.stream:
            self._read = True
            self._sources.look()
            return not _lacks_ids(engine.host_map)
        return isinstance(item, End) and item.stream is None


def _lacks_ids(hosts: HostMap) -> bool:
    """Return whether a device refers to a namespace by an id that the list did not have yet."""
    return any(
        device.link.peer_nsid is not None and device.link.peer_nsid not in space.namespace.nsids
        for space in hosts.namespaces()
        for device in space.devices.values()
    )
