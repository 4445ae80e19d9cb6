"""The output of conntrack, nft, iptables-save and tshark in the words of nettop's JSON, and the differences."""

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
    """By tool, what each prints of the ruleset, without the dates."""
    said = {"nft -a list ruleset": inside(netns, "nft", "-a", "list", "ruleset")}
    for tool in SAVERS.values():
        if "legacy" not in tool or inside(netns, "cat", f"/proc/net/{_tables(tool)}").strip():
            said[f"{tool} -c"] = _undated(inside(netns, tool, "-c"))
    return said


def _tables(tool: str) -> str:
    return "ip6_tables_names" if tool.startswith("ip6") else "ip_tables_names"


def _undated(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("# "))


def statistics(netns: str) -> str:
    """Conntrack's counters per CPU."""
    return inside(netns, "conntrack", "-S")


def only_one_says(ours: Iterable[str], theirs: Iterable[str]) -> str:
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
    """Each flow or event of `conntrack -L` or `-E` (-o extended,id), with the keys of our JSON."""
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


def check_flows(ours: Iterable[Object], said: str) -> None:
    """NettopError when the recorded flows are not those that conntrack lists; one about to expire may be missing."""
    mine = {flow_words(row, counted=True): row for row in ours}
    theirs = {flow_words(row, counted=True) for row in conntrack_lines(said)}
    kept = [words for words, row in mine.items() if words in theirs or row["timeout"] > ABOUT_TO_EXPIRE]
    _same("flows", kept, theirs)


def check_events(ours: Iterable[Object], said: str) -> None:
    """NettopError when the recorded events are not those that conntrack saw; it may have seen flows end afterwards.

    Expectations apart: `conntrack -E` tells of them on a request of their own.
    """
    theirs = [flow_words(row, counted=False) for row in conntrack_lines(said)]
    mine = Counter(flow_words(row, counted=False) for row in ours if not row.get("expectation"))
    later = (Counter(theirs) - mine).total()
    while later and " destroy " in theirs[-1]:
        theirs.pop()
        later -= 1
    _same("events", mine.elements(), theirs)


def _same(what: str, ours: Iterable[str], theirs: Iterable[str]) -> None:
    if differ := only_one_says(ours, theirs):
        raise NettopError(f"nettop's {what} are not what the tools say:\n{differ}")


# -- rules ------------------------------------------------------------------------------------------------------------


def check_rules(ours: list[Object], said: dict[str, str]) -> None:
    """NettopError when the recorded rules, with their counters, are not what the tools list."""
    numbered = [row for row in ours if row["kind"] == "rule" and row["number"] is not None]
    by_hand = [f"{row['text']} # handle {row['handle']}" for row in numbered if row["backend"] == "nft"]
    owned = {(row["family"], row["table"]) for row in ours if row["backend"] != "nft"}
    _same("nft rules", by_hand, _listed(said["nft -a list ruleset"], owned))
    for (backend, family), tool in SAVERS.items():
        rows = [row for row in numbered if (row["backend"], row["family"]) == (backend, family)]
        _same(f"{backend} rules", map(_saved, rows), _appended(said.get(f"{tool} -c", "")))


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


def check_statistics(ours: list[Object], said: str) -> None:
    """NettopError when a counter of a CPU is not what conntrack -S says."""
    theirs = [
        f"{cpu} {name}={value}"
        for cpu, words in re.findall(r"cpu=(\d+)\s+(.*)", said)
        for name, value in re.findall(r"(\w+)=(\d+)", words)
    ]
    names = {row["name"]: row["name"].replace("_toolong", "toolong") for row in ours if row["group"] == "conntrack"}
    mine = [
        f"{row['cpu']} {names[row['name']]}={row['value']}"
        for row in ours
        if row["group"] == "conntrack" and row["cpu"] is not None
    ]
    known = {line.split()[1].split("=")[0] for line in mine}
    _same("statistics", mine, (line for line in theirs if line.split()[1].split("=")[0] in known))


def check_file(path: str, packets: int, messages: int) -> None:
    """NettopError unless tshark sees as many records, none of them malformed."""
    frames = run(["tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.protocols"]).splitlines()
    netlink = sum("netlink" in protocols.split(":") for protocols in frames)
    _same("records", [f"{packets} {messages}"], [f"{len(frames) - netlink} {netlink}"])
    if bad := run(["tshark", "-n", "-r", path, "-Y", "_ws.malformed"]):
        raise NettopError(f"tshark finds malformed records in {path}", bad[:300])
