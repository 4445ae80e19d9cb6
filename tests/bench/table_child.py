"""`python -m tests.bench.table_child NETNS`: dumps the flows, then sorts, filters and groups them as a screen does."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from statistics import median

from nettop.headless.load import live_engine
from nettop.model.filter.expression import Filter, parse
from nettop.model.flows.table import FlowTable
from nettop.model.table import SortKey, TableModel, ViewSpec
from nettop.pipeline.feeds import TABLE

SORTS = ("bytes", "original", "state", "timeout", "age", "packets")
FILTERS = ("port 1010", "net 10.128.7.0/24 and udp", "bytes > 1k or src host 10.0.0.1", "state established", "nat")
GROUPS = ("source", "destination", "service", "state", "nat")
ROUNDS = 3
_SECOND = 1_000_000_000


def main(netns: str) -> dict[str, object]:
    """Seconds to a screen of 45 rows, by sort key, by filter and by group, and how many flows there are."""
    options = argparse.Namespace(netns=netns, read_only=False)
    engine, now_ns, code = live_engine(options, lambda live: live.dump(replace(TABLE, every_s=None, share=None)))
    flows = engine.flows
    sorts = {key: _time(flows, None, key, now_ns) for key in SORTS}
    filters = {text: _time(flows, parse(text, "flow"), "bytes", now_ns) for text in FILTERS}
    groups = {key: _grouped(flows, engine.groups, key, now_ns) for key in GROUPS}
    return {"flows": len(flows), "code": code, "sort": sorts, "filter": filters, "group": groups}


def _time(flows: FlowTable, wanted: Filter | None, key: str, now_ns: int) -> float:
    spec = ViewSpec(flows.default_columns, height=45, filter=wanted, sort=(SortKey(key),))
    return _screen(flows, flows, spec, now_ns)


def _grouped(flows: FlowTable, groups: TableModel, key: str, now_ns: int) -> float:
    spec = ViewSpec(groups.default_columns, height=45, sort=groups.default_sort, group=key)
    return _screen(flows, groups, spec, now_ns)


def _screen(flows: FlowTable, view: TableModel, spec: ViewSpec, now_ns: int) -> float:
    """The median over rounds, each as if the table had changed since."""
    taken = []
    for i in range(1, ROUNDS + 1):
        flows.version += 1
        began = time.perf_counter()
        view.snapshot(spec, now_ns + 2 * i * _SECOND)
        taken.append(time.perf_counter() - began)
    return median(taken)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
