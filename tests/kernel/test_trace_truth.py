"""Random rulesets of all backends: the rules of a traced packet are those whose counters moved, in nft's own order."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nettop.broker.client import Broker
from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset.picture import LEGACY
from nettop.model.traces.ends import backend
from nettop.model.traces.journey import Journey, Step
from tests.kernel.namespaces import Lab, command_in, poll, run_in
from tests.kernel.test_trace import CLIENT, ROUTER_A, SERVER, Path3, Tracing

pytestmark = pytest.mark.kernel

Met = tuple[str, str, str, int]  # tool, table, chain, and the handle or the number of a rule
PORTS = range(1, 7)
SEEDS = range(int(os.environ.get("NETTOP_SEEDS", "3")))
TO = (SERVER, ROUTER_A)
SEND = """
import socket, sys
for to in sys.argv[1:]:
    host, port = to.split(":")
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (host, int(port)))
"""
_RULE = re.compile(r"\bcounter packets (\d+) .*# handle (\d+)$")
_SAVED = re.compile(r"\[(\d+):\d+\] -A (\S+)")


class Rules:
    """A random ruleset: a seed always makes the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def nft(self) -> str:
        """A table of one family with base chains, some at equal priority, and user chains that lead downward."""
        choose, text = self.random, ""
        for name in range(choose.randint(1, 3)):
            family = choose.choice(("inet", "ip"))
            table = f"{family} t{name}"
            users = [f"u{n}" for n in range(choose.randint(1, 4))]
            text += f"add table {table}\n" + "".join(f"add chain {table} {user}\n" for user in users)
            text += f"add set {table} few {{ type inet_service; elements = {{ {self.ports()} }}; }}\n"
            text += (
                f"add map {table} ways {{ type inet_service : verdict; elements = {{ {self.ways(users, PORTS)} }}; }}\n"
            )
            for base in range(choose.randint(1, 4)):
                hook = choose.choice(("prerouting", "forward", "forward", "postrouting", "input"))
                policy = choose.choice(("accept", "accept", "accept", "drop"))
                at = choose.choice((-310, -150, -1, 0, 0, 0, 10))
                text += f"add chain {table} b{base} {{ type filter hook {hook} priority {at}; policy {policy}; }}\n"
                text += self.chain(table, f"b{base}", users)
            for at, user in enumerate(users):
                text += self.chain(table, user, users[at + 1 :])
        return text + self.nat()

    def nat(self) -> str:
        """Chains of nftables that translate, in a table of their own: at most both."""
        choose, text = self.random, "add table ip translating\n"
        dnat = f"udp dport {{ {self.ports()} }} counter dnat to {SERVER}:{choose.choice(PORTS)}"
        for hook, rule in (("prerouting", dnat), ("postrouting", "oifname wan0 counter masquerade")):
            if choose.random() < 0.4:
                text += f"add chain ip translating {hook} {{ type nat hook {hook} priority 0; }}\n"
                text += f"add rule ip translating {hook} {rule}\n"
        return text

    def chain(self, table: str, chain: str, below: list[str]) -> str:
        rules = (self.rule(below, chain[0] == "b") for _ in range(self.random.randint(0, 4)))
        return "".join(f"add rule {table} {chain} {rule}\n" for rule in rules)

    def rule(self, below: list[str], base: bool) -> str:
        choose = self.random
        ports = self.ports()
        match = choose.choice(
            ("", f"udp dport {{ {ports} }}", "udp dport @few", "iifname lan0", "meta mark 1", "ip saddr 10.8.1.0/24",
             f"udp dport != {{ {ports} }}", "ct state new", "udp dport 2-4", "meta l4proto udp")
        )  # fmt: skip
        if choose.random() < 0.15:
            return (
                f"udp dport {{ {', '.join(map(str, PORTS))} }} counter udp dport vmap {{ {self.ways(below, PORTS)} }}"
            )
        if choose.random() < 0.1:
            return (
                f"udp dport @few counter jump {{ meta mark 1 accept; {choose.choice(('drop', 'accept', 'return'))}; }}"
            )
        if choose.random() < 0.15:
            return "udp dport @few counter" + (" udp dport vmap @ways" if base else "")
        return f"{match} counter {choose.choice(('', '', 'meta mark set 1', *self.verdicts(below)))}"

    def verdicts(self, below: list[str]) -> list[str]:
        jumps = [f"{word} {chain}" for chain in below for word in ("jump", "goto")]
        return ["accept", "drop", "return", "continue", *jumps, *jumps]

    def ports(self) -> str:
        return ", ".join(map(str, sorted(self.random.sample(PORTS, 3))))

    def ways(self, below: list[str], ports: range | None = None) -> str:
        found = ports or self.random.sample(PORTS, 3)
        return ", ".join(f"{port} : {self.random.choice(self.verdicts(below))}" for port in found)

    def iptables(self, tool: str) -> str:
        """The input of iptables-restore: tables with user chains, policies, RETURN, MARK and goto."""
        choose, text = self.random, ""
        text += self.ip_nat() if choose.random() < 0.4 else ""
        for table in choose.sample(("raw", "mangle", "filter"), choose.randint(1, 3)):
            hooks = {"raw": ("PREROUTING",), "mangle": ("PREROUTING", "FORWARD", "POSTROUTING")}
            bases = hooks.get(table, ("FORWARD", "INPUT"))
            users = [f"{tool}{n}" for n in range(3)]
            policies = "".join(f":{name} {choose.choice(('ACCEPT', 'ACCEPT', 'DROP'))} [0:0]\n" for name in bases)
            text += f"*{table}\n{policies}" + "".join(f":{user} - [0:0]\n" for user in users)
            for at, chain in enumerate((*bases, *users)):
                below = users[max(0, at - len(bases) + 1) :]
                rules = (self.ip_rule(below) for _ in range(choose.randint(0, 4)))
                of_device = "-o wan0" if chain == "POSTROUTING" else "-i lan0"
                text += "".join(f"-A {chain} {rule.replace('-i lan0', of_device)}\n" for rule in rules)
            text += "COMMIT\n"
        return text

    def ip_nat(self) -> str:
        port = self.random.choice(PORTS)
        rule = f"-A PREROUTING -p udp -m udp --dport {port} -j DNAT --to-destination {SERVER}:{port % 6 + 1}"
        return f"*nat\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"

    def ip_rule(self, below: list[str]) -> str:
        choose = self.random
        match = choose.choice(
            ("", "-p udp --dport 2:4", "-i lan0", "-m mark --mark 1", "-s 10.8.1.0/24", "-p udp -m udp ! --dport 3",
             "-m conntrack --ctstate NEW", "-p udp -m multiport --dports 1,5", "-m comment --comment here")
        )  # fmt: skip
        jumps = [f"{word} {chain}" for chain in below for word in ("-j", "-g")]
        target = choose.choice(("", "-j ACCEPT", "-j DROP", "-j RETURN", "-j MARK --set-mark 1", *jumps, *jumps))
        return f"{match} {target}".strip()


class Path(Path3):
    """The path without any packet but those that are sent: nothing answers."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        for ns in (self.client, self.router, self.server):
            run_in(ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        run_in(self.server, "ip", "route", "replace", "blackhole", "default")
        for ns, to in ((self.client, ROUTER_A), (self.router, SERVER)):
            run_in(ns, "ping", "-c", "1", "-W", "0.1", to, check=False)  # so that the neighbours are known
        run_in(self.client, "sysctl", "-qw", "net.ipv4.neigh.c0.base_reachable_time_ms=3600000")
        run_in(self.router, "sysctl", "-qw", "net.ipv4.neigh.wan0.base_reachable_time_ms=3600000")
        head = "table ip s { counter got { }; chain i { type filter hook prerouting priority 0; "
        rule = "ip saddr { 10.8.1.2, 10.8.2.1 } udp dport 1-9 counter name got drop; }; }"
        run_in(self.server, "nft", "-f", "-", stdin=head + rule)
        quiet = "table ip q { chain o { type filter hook output priority -400; ip protocol icmp drop; }; }"
        run_in(self.router, "nft", "-f", "-", stdin=quiet)

    def send_all(self, *to: tuple[str, int]) -> None:
        run_in(self.client, sys.executable, "-c", SEND, *(f"{host}:{port}" for host, port in to))

    def arrived(self) -> int:
        found = re.search(r"packets (\d+)", run_in(self.server, "nft", "list", "counters"))
        return int(found[1]) if found else 0

    def counted(self) -> Counter[Met]:
        """The packets of every rule of the router, from nft and iptables-legacy-save."""
        found: Counter[Met] = Counter()
        table = chain = ""
        listing = run_in(self.router, "nft", "-a", "list", "ruleset")
        for line in re.sub(r"jump \{\n(?:\t{3}.*\n)+\t\t\}", "jump {}", listing).splitlines():
            if line.startswith("table "):
                table = " ".join(line.split()[1:3])
            elif line.startswith("\tchain "):
                chain = line.split()[1]
            elif (hit := _RULE.search(line)) and TRACE_PREFIX not in table:
                found["nft", table, chain, int(hit[2])] = int(hit[1])
        numbers: Counter[tuple[str, str]] = Counter()
        for line in run_in(self.router, "iptables-legacy-save", "-c").splitlines():
            if line.startswith("*"):
                table = f"ip {line[1:]}"
            elif hit := _SAVED.match(line):
                numbers[table, hit[2]] += 1
                found["legacy", table, hit[2], numbers[table, hit[2]]] = int(hit[1])
        return found


@contextmanager
def monitored(ns: str) -> Iterator[_Lines]:
    """The lines of `nft monitor trace`, as they come: read(lines) adds them."""
    process = subprocess.Popen(command_in(ns, "nft", "monitor", "trace"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    try:
        yield _Lines(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Lines(list[str]):
    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__()
        self._fd, self._rest = process.stdout.fileno(), b""  # type: ignore[union-attr]

    def read(self) -> list[str]:
        try:
            while part := os.read(self._fd, 1 << 16):
                *lines, self._rest = (self._rest + part).split(b"\n")
                self += [line.decode() for line in lines]
        except BlockingIOError:
            pass
        return self


def met(step: Step) -> Met:
    record, tool = step.record, "legacy" if backend(step) == LEGACY else "nft"
    number = step.number if tool == "legacy" else record.handle
    return tool, f"{record.family} {record.table}", record.chain, number or 0


def rules_of(journey: Journey) -> list[Met]:
    """The rules that it met, without those of chains without a name, which no listing counts."""
    rules = (step for step in journey.steps if step.record.type == "rule")
    return [met(step) for step in rules if not step.record.chain.startswith("__chain")]


def ours(journey: Journey) -> list[str]:
    """The journey's steps in nf_tables as `nft monitor trace` words them."""
    steps = [step for step in journey.steps if step.legacy is None]
    records = [step.record for step in steps]
    return [f"{one.family} {one.table} {one.chain} {one.verdict} {one.target}".strip() for one in records]


def theirs(lines: list[str]) -> list[str]:
    """The same of the lines of `nft monitor trace`, without our own tables and the ends of chains."""
    found = []
    for record in re.split(r"^(?=trace id )", "\n".join(lines), flags=re.MULTILINE):  # some take several lines
        words = record.split()
        if len(words) > 7 and words[6] in ("rule", "policy", "unknown") and not words[4].startswith(TRACE_PREFIX):
            verdict = re.search(r"\(verdict ([^)]+)\)$", record.strip())
            found.append(f"{words[3]} {words[4]} {words[5]} {verdict[1] if verdict else words[7]}")
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_of_a_packet_are_those_that_counted_it(lab: Lab, broker: Broker, seed: int) -> None:
    path, rules = Path(lab), Rules(seed)
    run_in(path.router, "nft", "-f", "-", stdin=rules.nft())
    run_in(path.router, "iptables-nft-restore", "-n", stdin=rules.iptables("n"))
    run_in(path.router, "iptables-legacy-restore", "-n", stdin=rules.iptables("l"))
    trace = Tracing(broker, path.router, f"udp and src host {CLIENT}", legacy=True, per_second=1000)
    try:
        with monitored(path.router) as lines:
            poll(lambda: path.send_all((SERVER, 9)) or lines.read(), what="nft to listen")
            poll(lambda: trace.read() or trace.engine.traces.ended, what="the first packet")
            ways = {one: _one(path, trace, lines, *one) for one in [(to, port) for to in TO for port in PORTS]}
        _all_at_once(path, trace, ways)
    finally:
        trace.close()


def _one(path: Path, trace: Tracing, lines: _Lines, to: str, port: int) -> list[Met]:
    """Send a packet; hold its journey to the counters, to nft, and to what arrives. Return the rules that it met."""
    poll(lambda: trace.read() or all(map(trace.complete, trace.engine.traces.ended)))
    trace.engine.traces.ended.clear()
    before, arrived = path.counted(), path.arrived()
    lines.read()
    lines.clear()
    path.send_all((to, port))

    def found() -> list[Journey]:  # the first packets may still end
        ended = [one for one in trace.engine.traces.ended if (one.head.dst, one.head.dport) == (to, port)]
        return ended if all(map(trace.complete, ended)) else []

    (journey,) = poll(lambda: trace.read() or found(), what=f"the packet to {to}:{port}")
    assert Counter(rules_of(journey)) == path.counted() - before, (to, port)
    poll(lambda: len(theirs(lines.read())) >= len(ours(journey)), what="nft monitor trace")
    assert ours(journey) == theirs(lines), (to, port)
    end = journey.end
    assert end is not None and end.verdict in ("accept", "drop"), (to, port, journey.hooks)
    assert path.arrived() - arrived == (end.verdict == "accept" and to == SERVER), (to, port)
    assert end.verdict == "accept" or end.step is journey.steps[-1]
    return rules_of(journey)


def _all_at_once(path: Path, trace: Tracing, ways: dict[tuple[str, int], list[Met]]) -> None:
    """Send all packets again: they differ in their ports alone, and each meets the same rules."""
    trace.engine.traces.ended.clear()
    path.send_all(*ways)
    ended = trace.engine.traces.ended
    poll(lambda: trace.read() or (len(ended) >= len(ways) and all(map(trace.complete, ended))), what="all packets")
    found = {(one.head.dst, one.head.dport): rules_of(one) for one in ended}
    assert found == ways
