"""The kernel's answers to questions for a route, against `ip route get` with the same words."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import RouteQuestion
from nettop.decode.rtnetlink import RouteAnswer
from nettop.linux import rtnetlink as rt
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.topology.route_query import parse
from nettop.model.topology.route_steps import explain
from nettop.pipeline.route_question import ask_route
from tests.kernel.map_state import namespace_map
from tests.kernel.namespaces import Lab, command_in, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

QUESTIONS, SEED = 1000, 20261130
KINDS = {
    rt.RTN_UNICAST: "unicast", rt.RTN_LOCAL: "local", rt.RTN_BROADCAST: "broadcast", rt.RTN_ANYCAST: "anycast",
    rt.RTN_MULTICAST: "multicast", rt.RTN_BLACKHOLE: "blackhole", rt.RTN_UNREACHABLE: "unreachable",
    rt.RTN_PROHIBIT: "prohibit",
}  # fmt: skip
TABLES = {rt.RT_TABLE_MAIN: "main", rt.RT_TABLE_LOCAL: "local", rt.RT_TABLE_DEFAULT: "default"}
SETUP = """
route add default via 10.1.0.2
route add 10.66.0.0/16 via 10.1.0.2
route add blackhole 10.66.1.0/24
route add unreachable 10.67.0.0/16
route add prohibit 10.68.0.0/16
route add throw 10.69.0.0/16
route add 10.9.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2 weight 3
route add 10.10.0.0/16 via 10.2.0.2 mtu 1300 metric 5
route add 10.10.0.0/16 via 10.1.0.2 metric 9
route add 10.11.0.0/16 tos 0x10 via 10.2.0.2
route add 10.11.0.0/16 via 10.1.0.2
route add default via 10.2.0.2 table 100
route add throw 10.66.0.0/16 table 100
route add 10.80.0.0/16 via inet6 fd02::2 dev r1
route add prohibit default table 1000
rule add fwmark 7 lookup 100 pref 100
rule add fwmark 0x10/0x30 lookup 1000 pref 101
rule add to 10.70.0.0/16 prohibit pref 200
rule add to 10.71.0.0/16 unreachable pref 201
rule add to 10.72.0.0/16 blackhole pref 202
rule add from 10.1.0.77 lookup 100 pref 203
rule add iif r1 to 10.73.0.0/16 lookup 100 pref 204
rule add ipproto tcp dport 443 lookup 100 pref 205
rule add uidrange 1000-1002 lookup 100 pref 206
rule add not from 10.0.0.0/8 to 10.66.0.0/16 lookup 1000 pref 207
rule add to 10.67.1.0/24 goto 300 pref 208
rule add to 10.67.0.0/16 tos 0x10 lookup 100 pref 209
rule add oif r1 lookup 100 pref 300
rule add to 8.8.8.0/24 lookup main suppress_prefixlength 0 pref 301
"""
SETUP6 = """
route add default via fd01::2
route add blackhole fd66::/64
route add unreachable fd67::/64
route add prohibit fd68::/64
route add fd09::/64 nexthop via fd01::2 nexthop via fd02::2
route add default via fd02::2 table 100
rule add fwmark 7 lookup 100 pref 100
rule add to fd70::/64 prohibit pref 200
rule add from fd01::77 lookup 100 pref 203
"""
NETWORKS = {
    AF_INET: (
        *("10.1.0.0/24", "10.2.0.0/24", "10.66.0.0/16", "10.66.1.0/24", "10.67.0.0/16", "10.68.0.0/16", "10.69.0.0/16"),
        *("10.9.0.0/16", "10.10.0.0/16", "10.11.0.0/16", "10.70.0.0/16", "10.71.0.0/16", "10.72.0.0/16", "8.8.8.0/24"),
        *("10.73.0.0/16", "10.80.0.0/16", "10.1.0.0/30", "10.1.0.255/32", "127.0.0.0/30", "224.0.0.0/28", "0.0.0.0/8"),
        *("255.255.255.255/32", "10.1.0.77/32"),
    ),
    AF_INET6: (
        *("fd01::/126", "fd02::/126", "fd66::/64", "fd67::/64", "fd68::/64", "fd09::/64", "fd70::/64", "2001:db8::/32"),
        *("ff02::/126", "fe80::/126", "fd01::77/128", "::1/128"),
    ),
}


@pytest.fixture
def router(lab: Lab) -> str:
    """A router with tables, policy rules, marks, unusable routes and several next hops; its namespace."""
    here, there = lab.netns("r"), lab.netns("t")
    for at, name in enumerate(("r0", "r1"), 1):
        addresses = (f"10.{at}.0.1/24", f"fd0{at}::1/64")
        lab.veth_pair(here, there, name, name, addresses, (f"10.{at}.0.2/24", f"fd0{at}::2/64"))
    run_in(here, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    run_in(here, "ip", "-batch", "-", stdin=SETUP)
    run_in(here, "ip", "-6", "-batch", "-", stdin=SETUP6)
    poll(lambda: "tentative" not in run_in(here, "ip", "address"), what="addresses that can be used")
    return here


def questions(count: int, devices: dict[str, int]) -> list[tuple[RouteQuestion, list[str]]]:
    """Random questions, and each as the words after `ip route get`."""
    chance = random.Random(SEED)
    found = []
    for _ in range(count):
        family = chance.choice((AF_INET, AF_INET, AF_INET6))

        def address(of: int = family) -> str:
            network = ip_network(chance.choice(NETWORKS[of]))
            return str(network[chance.randrange(min(network.num_addresses, 1 << 16))])

        question = RouteQuestion(family, address())
        words = [question.destination]
        if chance.random() < 0.6:
            question = replace(question, source=address())
            words += ["from", question.source]
        device = chance.choice(list(devices))
        where = chance.choice(("iif", "iif", "oif", "", ""))
        if where:
            question = replace(question, **{where: devices[device]})
            words += [where, device]
        for name, word, values in (("mark", "mark", (7, 0x10, 0x20)), ("tos", "tos", (0x10, 0x08))):
            if chance.random() < 0.25:
                value = chance.choice(values)
                question = replace(question, **{name: value})
                words += [word, hex(value)]
        if chance.random() < 0.15:
            question = replace(question, uid=1001)
            words += ["uid", "1001"]
        if chance.random() < 0.2:
            port = chance.choice((443, 53))
            question = replace(question, proto=6, sport=1024, dport=port)
            words += ["ipproto", "tcp", "sport", "1024", "dport", str(port)]
        found.append((replace(question, fib_match=chance.random() < 0.5), words))
    return found


def printed(ns: str, asked: list[tuple[RouteQuestion, list[str]]]) -> list[dict[str, Any] | str]:
    """The answers of `ip route get` to all questions, or its errors."""
    lines = [" ".join(["route get", "fibmatch" * question.fib_match, *words]) for question, words in asked]
    command = command_in(ns, "ip", "-j", "-d", "-force", "-batch", "-")
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False, timeout=60)
    errors = {int(line) - 1: error for error, line in re.findall(r"answers: (.+)\nCommand failed -:(\d+)", done.stderr)}
    assert len(errors) == done.stderr.count("Command failed"), done.stderr
    found = iter(json.loads(line)[0] for line in done.stdout.splitlines() if line)
    return [errors[at] if at in errors else next(found) for at in range(len(lines))]


def told(answer: RouteAnswer, names: dict[int, str]) -> dict[str, Any] | str:
    """The same of our answer, in ip's words."""
    if answer.error:
        return os.strerror(answer.error)
    route = answer.route
    assert route is not None
    bits = 32 if route.family == AF_INET else 128
    width = 4 if route.family == AF_INET else 16
    address = str(ip_address(route.destination.to_bytes(width, "big")))
    hops = [(names[hop.ifindex], _gateway(hop.gateway)) for hop in route.hops]
    found: dict[str, Any] = {
        "type": KINDS[route.kind],
        "dst": address if route.length == bits else f"{address}/{route.length}" if route.length else "default",
        "table": TABLES.get(route.table, str(route.table)),
        "hops": hops,
    }
    source = answer.source
    found["prefsrc"] = None if source is None else str(ip_address(source.to_bytes(width, "big")))
    found["mtu"] = answer.mtu or None
    return found


def _gateway(gateway: tuple[int, int] | None) -> str | None:
    if gateway is None:
        return None
    return str(ip_address(gateway[1].to_bytes(4 if gateway[0] == AF_INET else 16, "big")))


def same_words(row: dict[str, Any] | str) -> dict[str, Any] | str:
    """What ip printed, with the same keys."""
    if isinstance(row, str):
        return row
    hops = row.get("nexthops") or [row]
    return {
        "type": row["type"],
        "dst": row["dst"],
        "table": row.get("table", "0"),
        "hops": [(hop["dev"], hop.get("gateway") or hop.get("via", {}).get("host")) for hop in hops if "dev" in hop],
        "prefsrc": row.get("prefsrc"),
        "mtu": next((one["mtu"] for one in row.get("metrics", ()) if "mtu" in one), None),
    }


def test_a_thousand_questions_have_the_answers_of_ip_route_get(broker: Broker, router: str) -> None:
    ns = broker.netns(router)
    devices = {device.name: device.ifindex for device in broker.devices(ns)}
    names = {ifindex: name for name, ifindex in devices.items()}
    differing, errors, kinds = [], set(), set()
    asked = questions(QUESTIONS, devices)
    for (question, words), row in zip(asked, printed(router, asked), strict=True):
        ours, theirs = told(ask_route(broker, ns, question), names), same_words(row)
        if ours != theirs:
            differing.append((words, question.fib_match, ours, theirs))
        (errors if isinstance(ours, str) else kinds).add(ours if isinstance(ours, str) else ours["type"])
    assert differing == []
    assert kinds >= {"unicast", "local", "broadcast"}
    assert {os.strerror(number) for number in (errno.EINVAL, errno.EHOSTUNREACH, errno.EACCES)} <= errors


def test_every_answer_is_told_in_steps_that_end_where_the_kernel_ends_the_packet(broker: Broker, router: str) -> None:
    here, ns = namespace_map(broker, router), broker.netns(router)
    names = {ifindex: device.link.name for ifindex, device in here.devices.items()}
    devices = {name: ifindex for ifindex, name in names.items()}
    wrong = []
    for question, words in questions(QUESTIONS, devices):
        multicast = question.family == AF_INET6 and question.destination.startswith("ff")
        if question.iif and (multicast or not question.source):
            continue  # the kernel answers no such question about IPv6; the other makes no sense
        query = parse(" ".join(words))
        report = explain(query, here, lambda asked: ask_route(broker, ns, asked), {})
        answer = ask_route(broker, ns, replace(question, fib_match=False))
        last = report.steps[-1]
        route = next((step for step in report.steps if step.topic == "route"), None)
        policy = next((step for step in report.steps if step.topic == "policy"), None)
        if question.family == AF_INET6 and not answer.error and last.topic in ("in", "forward"):
            continue  # dropped before or after the lookup, which is all that the kernel answers for
        if (last.status == "drops") != bool(answer.error):
            wrong.append((words, "ends elsewhere", answer, report.steps))
        elif answer.error and "the kernel refuses" in last.text:
            wrong.append((words, "not explained", answer, report.steps))
        elif not answer.error and (route is None or route.status != "kernel"):
            wrong.append((words, "no route", answer, report.steps))
        elif policy is None and answer.route is not None and answer.route.table:
            wrong.append((words, "no policy", answer, report.steps))
    assert wrong == [], chr(10).join(f"{one[1]} {one[0]} {one[2].error} {one[3]}" for one in wrong)
