"""The output of conntrack, nft, iptables-save and tshark with the keys of nettop's JSON, and the differences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from nettop.errors import NettopError
from tests.captures.topology import inside, run

Object = dict[str, Any]
ABOUT_TO_EXPIRE = 10  # seconds: such a flow may be gone between the recording's last dump and the oracle's
SAVERS = {  # backend and family → the tool that owns its rules
    ("iptables-nft", "ip"): "iptables-nft-save",
    ("iptables-nft", "ip6"): "ip6tables-nft-save",
    ("iptables-legacy", "ip"): "iptables-legacy-save",
    ("iptables-legacy", "ip6"): "ip6tables-legacy-save",
}


def flows(netns: str) -> str:
    """Return the table as conntrack prints it."""
    return "".join(inside(netns, "conntrack", "-L", "-f", family, "-o", "extended,id") for family in ("ipv4", "ipv6"))


def rules(netns: str) -> dict[str, str]:
    """Return each tool's listing of the ruleset, by command, without the dates."""
    output = {"nft -a list ruleset": inside(netns, "nft", "-a", "list", "ruleset")}
    for tool in SAVERS.values():
        if "legacy" not in tool or inside(netns, "cat", f"/proc/net/{_tables(tool)}").strip():
            output[f"{tool} -c"] = _without_dates(inside(netns, tool, "-c"))
    return output


def _tables(tool: str) -> str:
    return "ip6_tables_names" if tool.startswith("ip6") else "ip_tables_names"


def _without_dates(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("# "))


def statistics(netns: str) -> str:
    """Return conntrack's counters per CPU."""
    return inside(netns, "conntrack", "-S")


def differences(ours: Iterable[str], theirs: Iterable[str]) -> str:
    """Return the lines that only one of two has, or ""."""
    a, b = Counter(ours), Counter(theirs)
    return "\n".join(
        [f"  only nettop: {x}" for x in (a - b).elements()] + [f"  only they:   {x}" for x in (b - a).elements()]
    )


# -- flows and events -------------------------------------------------------------------------------------------------

_LINE = re.compile(
    r"^(?:\s*\[(NEW|UPDATE|DESTROY)\]\s+)?(ipv4|ipv6)\s+\d+\s+(\S+)\s+(\d+)\s+(?:(\d+)\s+)?(?:([A-Z][A-Z_0-9]+)\s+)?"
)


def conntrack_lines(text: str) -> Iterator[Object]:
    """Yield each flow or event of `conntrack -L` or `-E` (-o extended,id), with the keys of our JSON."""
    for line in text.splitlines():
        if found := _LINE.match(line):
            event, family, proto, number, timeout, state = found.groups()
            words = line[found.end() :].split()
            pairs = [tuple(word.split("=", 1)) for word in words if "=" in word]
            row: Object = {"event": event.lower() if event else None, "family": family, "timeout": int(timeout or 0)}
            row |= {"proto": proto if proto != "unknown" else f"proto-{number}", "state": state}
            yield row | _tuples(pairs) | {"assured": "[ASSURED]" in words, "unreplied": "[UNREPLIED]" in words}


def _tuples(pairs: list[tuple[str, ...]]) -> Object:
    """Return the original tuple, the reply tuple, and what follows them; a name seen again belongs to the reply."""
    row: Object = {}
    for name, value in pairs:
        key = f"reply_{name}" if name in row and name != "id" else name
        row[key] = value  # ICMP's ids come first: the flow's own is the last one
    return row


_TUPLE = ("src", "dst", "sport", "dport")
_COUNTED = ("packets", "bytes", "reply_packets", "reply_bytes")


def flow_words(row: Object, counted: bool) -> str:
    """Return a flow in one line: of ours or of conntrack's."""
    words = [row.get("event"), row["family"], row["proto"], *(row.get(key) for key in _TUPLE)]
    words += [row.get(f"reply_{key}") for key in _TUPLE]
    if counted:
        status = row.get("status")
        words += [row["state"] if row["proto"] in ("tcp", "sctp", "dccp") else None]
        words += (
            ["assured" in status, "seen_reply" not in status]
            if status is not None
            else [row["assured"], row["unreplied"]]
        )
        words += [*(row.get(key) for key in _COUNTED), row.get("mark") or 0, row.get("zone") or 0]
    return f"id={row['id']} " + " ".join("-" if word is None else str(word) for word in words)


def check_flows(ours: Iterable[Object], output: str) -> None:
    """Raise NettopError unless the recorded flows are those that conntrack lists; one near its end may be missing."""
    own = {flow_words(row, counted=True): row for row in ours}
    theirs = {flow_words(row, counted=True) for row in conntrack_lines(output)}
    expected = [words for words, row in own.items() if words in theirs or row["timeout"] > ABOUT_TO_EXPIRE]
    _check_equal("flows", expected, theirs)


def check_events(ours: Iterable[Object], output: str) -> None:
    """Raise NettopError unless the recorded events are those that conntrack saw; it may have seen flows end later.

    Expectations are ignored: `conntrack -E` reports them only on a separate request.
    """
    theirs = [flow_words(row, counted=False) for row in conntrack_lines(output)]
    own = Counter(flow_words(row, counted=False) for row in ours if not row.get("expectation"))
    extra = (Counter(theirs) - own).total()
    while extra and " destroy " in theirs[-1]:
        theirs.pop()
        extra -= 1
    _check_equal("events", own.elements(), theirs)


def _check_equal(subject: str, ours: Iterable[str], theirs: Iterable[str]) -> None:
    if difference := differences(ours, theirs):
        raise NettopError(f"nettop's {subject} are not what the tools say:\n{difference}")


# -- rules ------------------------------------------------------------------------------------------------------------


def check_rules(ours: list[Object], output: dict[str, str]) -> None:
    """Raise NettopError when the recorded rules, with their counters, are not what the tools list."""
    numbered = [row for row in ours if row["kind"] == "rule" and row["number"] is not None]
    nft_rules = [f"{row['text']} # handle {row['handle']}" for row in numbered if row["backend"] == "nft"]
    owned = {(row["family"], row["table"]) for row in ours if row.get("backend", "nft") != "nft"}
    _check_equal("nft rules", nft_rules, _listed(output["nft -a list ruleset"], owned))
    for (backend, family), tool in SAVERS.items():
        rows = [row for row in numbered if (row["backend"], row["family"]) == (backend, family)]
        _check_equal(f"{backend} rules", map(_saved, rows), _appended(output.get(f"{tool} -c", "")))


def _listed(listing: str, without: set[tuple[str, str]]) -> Iterator[str]:
    table = ("", "")
    for line in listing.splitlines():
        if found := re.match(r"table (\S+) (\S+) \{", line):
            table = found.group(1), found.group(2)
        elif re.search(r"[^{] # handle \d+$", line) and table not in without:
            yield line.strip()


def _saved(row: Object) -> str:
    return f"*{row['table']} [{row['packets']}:{row['bytes']}] -A {row['chain']} {row['text']}".strip()


def _appended(saved: str) -> Iterator[str]:
    table = ""
    for line in saved.splitlines():
        table = line if line.startswith("*") else table
        if line.startswith("["):
            yield f"{table} {line}"


# -- counters and the file --------------------------------------------------------------------------------------------


def check_statistics(ours: list[Object], output: str) -> None:
    """Raise NettopError when a counter of a CPU is not what conntrack -S says."""
    theirs = [
        f"{cpu} {name}={value}"
        for cpu, words in re.findall(r"cpu=(\d+)\s+(.*)", output)
        for name, value in re.findall(r"(\w+)=(\d+)", words)
    ]
    names = {row["name"]: row["name"].replace("_toolong", "toolong") for row in ours if row["group"] == "conntrack"}
    own = [
        f"{row['cpu']} {names[row['name']]}={row['value']}"
        for row in ours
        if row["group"] == "conntrack" and row["cpu"] is not None
    ]
    known = {line.split()[1].split("=")[0] for line in own}
    _check_equal("statistics", own, (line for line in theirs if line.split()[1].split("=")[0] in known))


def check_file(path: str, packets: int, messages: int) -> None:
    """Raise NettopError unless tshark sees as many records, none of them malformed."""
    frames = run(["tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.protocols"]).splitlines()
    netlink = sum("netlink" in protocols.split(":") for protocols in frames)
    _check_equal("records", [f"{packets} {messages}"], [f"{len(frames) - netlink} {netlink}"])
    if bad := run(["tshark", "-n", "-r", path, "-Y", "_ws.malformed"]):
        raise NettopError(f"tshark finds malformed records in {path}", bad[:300])
