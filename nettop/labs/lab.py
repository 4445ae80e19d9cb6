"""One lab as plain data: the command lines that build it, its traffic, and what is true when it is built."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_OPTIONAL = ["||", "true"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One command and its result in the lab: it succeeds, or `fails`; a line of its output has the regex `prints`."""

    command: str
    fails: bool = False
    prints: str = ""


@dataclass(frozen=True, slots=True)
class Lab:
    """A scenario of network namespaces.

    `commands` is text for a shell as root: one command a line, without expansions, pipes or redirections; a quoted
    argument may continue on the next line, and `|| true` ends a command that some kernels refuse. A line of `traffic`
    is `NAMESPACE VERB ARGUMENT...` (labs.traffic has the verbs).
    """

    name: str
    look: str  # one line: where to look, and what is seen there
    namespaces: tuple[str, ...]
    opens: str  # the namespace in which the app starts
    commands: str
    traffic: str
    facts: tuple[Fact, ...]

    def script(self) -> str:
        """Return the commands that build the lab, those that make its namespaces first."""
        made = (f"ip netns add {name}\nip -n {name} link set lo up\n" for name in self.namespaces)
        return "".join(made) + self.commands.strip() + "\n"

    def commands_to_run(self) -> Iterator[tuple[list[str], bool]]:
        """Yield each command's words, and True if it may fail."""
        for line in split_lines(self.script()):
            words = shlex.split(line)
            optional = words[-2:] == _OPTIONAL
            yield words[:-2] if optional else words, optional

    def traffic_of(self, namespace: str) -> list[str]:
        """Return the lines of a namespace's traffic, without its name."""
        lines = (line.split(maxsplit=1) for line in self.traffic.strip().splitlines())
        return [rest for name, rest in lines if name == namespace]

    def shown(self) -> str:
        """Return a shell script that builds the lab. Its comments: where to look, the traffic, the facts, the end."""
        facts = (f"{fact.command}    # {_result(fact)}" for fact in self.facts)
        removed = (f"ip netns del {name}" for name in self.namespaces)
        comments = ("Its traffic (nettop sends it):", *self.traffic.strip().splitlines(), "What holds then:", *facts)
        below = "".join(f"# {line}\n" for line in (*comments, "To remove it:", *removed))
        return f"# {self.name}: {self.look}\n{self.script()}{below}"


def _result(fact: Fact) -> str:
    return "fails" if fact.fails else f"prints {fact.prints!r}" if fact.prints else "succeeds"


def split_lines(script: str) -> Iterator[str]:
    """Yield the commands of a script: lines, joined where a quoted argument continues."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        try:
            shlex.split(pending)
        except ValueError:  # a quotation is open
            continue
        if pending.strip():
            yield pending.strip()
        pending = ""


def pings(ways: str) -> Iterator[Fact]:
    """Yield the facts that pings are answered: `NAMESPACE ADDRESS, …`, after an address ` fails` where they are not."""
    for way in ways.split(", "):
        namespace, address, *fails = way.split()
        yield Fact(f"ip netns exec {namespace} ping -c 1 -W 1 {address}", bool(fails))


def web(client: str, server: str, address: str, sizes: str = "500-20000") -> str:
    """Return the traffic of a client that gets files of these sizes (bytes) from a server's port 80, twice a second."""
    get = f"{client} every 0.5 get {address} 80 {sizes} 0"
    return f"\n{server} serve tcp {address} 80\n{client} wait {address} 80\n{get}\n"


def device(end: str) -> str:
    """Return the commands that give a device its addresses and set it up. `end`: `NAMESPACE DEVICE [ADDRESS]...`."""
    namespace, name, *addresses = end.split()
    added = (
        f"ip -n {namespace} addr add {address} dev {name}{' nodad' if ':' in address else ''}\n"
        for address in addresses
    )
    return "".join(added) + f"ip -n {namespace} link set {name} up\n"


def veth(end: str, other_end: str) -> str:
    """Return the commands that make a veth pair between two namespaces. For the ends see device()."""
    (namespace, name, *_), (other_namespace, other_name, *_) = end.split(), other_end.split()
    peer = f"peer name {other_name} netns {other_namespace}"
    return f"ip -n {namespace} link add {name} type veth {peer}\n{device(end)}{device(other_end)}"


def bridge(end: str, *ports: str, options: str = "") -> str:
    """Return the commands that make a bridge of devices of its namespace. For the bridge's end see device()."""
    namespace, name, *_ = end.split()
    enslaved = (f"ip -n {namespace} link set {port} master {name}\n" for port in ports)
    return f"ip -n {namespace} link add {name} type bridge{options}\n{''.join(enslaved)}{device(end)}"


def counting(namespace: str) -> str:
    """Return the command that loads rules which count what the namespace gets and sends, by flow state."""
    chains = "".join(
        f"\n    chain {hook} {{ type filter hook {hook} priority filter; "
        "ct state new counter; ct state established counter; }"
        for hook in ("input", "output")
    )
    return f"ip netns exec {namespace} nft 'table inet watch {{{chains}\n}}'\n{accounting(namespace)}"


def accounting(namespace: str) -> str:
    """Return the command that makes conntrack count bytes and note start times, where the kernel can."""
    return (
        f"ip netns exec {namespace} sysctl -qw "
        "net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1 || true\n"
    )
