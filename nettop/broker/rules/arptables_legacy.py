"""The rules of arptables-legacy in the form of a save tool.

Its own arptables-legacy-save runs `arptables`, which may be that of nf_tables. With counters the tool also prints
devices that a rule does not compare, so it lists the rules twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nettop.broker.children import write_out
from nettop.broker.rules.tool import Runner
from nettop.errors import BrokerError

SECONDS = 10.0
_TOOL = "arptables-legacy"
_TRIES = 3
_CHAIN = re.compile(rb"^Chain (\S+) \((?:policy ([A-Z]+)(?: (\d+) packets, (\d+) bytes)?|\d+ references)\)$")
_COUNTERS = re.compile(rb" , pcnt=(\d+) -- bcnt=(\d+) ?$")


def save() -> None:
    """Write the filter table, the only one, to stdout. Raises BrokerError if it cannot be listed."""
    runner = Runner(SECONDS, lambda: 0)
    for _ in range(_TRIES):
        text = saved(_listing(runner), _listing(runner, "-v"))
        if text is not None:
            write_out(text)
            return
    raise BrokerError(f"{_TOOL}: its rules change faster than they can be listed")


def _listing(runner: Runner, *options: str) -> bytes:
    run = runner.run(_TOOL, "-n", *options, "-L")
    if run.failure:
        raise BrokerError(run.failure)
    return run.output


def saved(words: bytes, counted: bytes) -> bytes | None:
    """Return the listing as a save tool prints it, counters included; None if the two are not of the same rules."""
    lines, counts = list(_rows(words)), list(_rows(counted))
    if [chain for chain, _ in lines] != [chain for chain, _ in counts]:
        return None
    chains = [found for line in counted.splitlines() if (found := _CHAIN.match(line))]
    heads = [b":%s %s [%s:%s]" % (c[1], c[2] or b"-", c[3] or b"0", c[4] or b"0") for c in chains]
    rules = []
    for (chain, text), (_, full) in zip(lines, counts, strict=True):
        found = _COUNTERS.search(full)
        packets, octets = (found[1], found[2]) if found else (b"0", b"0")
        rules.append(b"[%s:%s] -A %s %s" % (packets, octets, chain, text.rstrip()))
    return b"\n".join([b"*filter", *heads, *rules, b"COMMIT", b""])


def _rows(listing: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chain and the line of each rule."""
    chain = b""
    for line in listing.splitlines():
        if found := _CHAIN.match(line):
            chain = found[1]
        elif line:
            yield chain, line
