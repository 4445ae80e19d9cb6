"""What tshark and capinfos say of the recordings in captures/ is what nettop says of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nettop.batch import Batch, Item, PacketMeta, Stream, StreamAdded
from nettop.columns import HAVE_MASTER, HAVE_OPORTS, HAVE_RPORTS, Columns, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.kinds import StreamKind
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.recording.reader import open_reader
from nettop.text.address import address_text

pytestmark = pytest.mark.interop

CAPTURES = Path(__file__).parents[2] / "captures"
NAMES = sorted(path.stem for path in CAPTURES.glob("*.pcapng"))
ADDRESSES = ("netlink-netfilter.nfct_tuple.ip.ip_addr", "netlink-netfilter.nfct_tuple.ip.ip6_addr")
PORTS = ("netlink-netfilter.nfct_tuple.proto.src_port", "netlink-netfilter.nfct_tuple.proto.dst_port")
PROTOCOL = "netlink-netfilter.nfct_tuple.proto.num"
FLOWS = f"{PROTOCOL} && netlink-netfilter.subsys == 1"  # NFNL_SUBSYS_CTNETLINK: expectations are of another
_ICMP, _ICMPV6 = 1, 58

Tuple = tuple[str, ...]  # source, destination, protocol, source port, destination port


def tool(*argv: str | Path) -> str:
    if shutil.which(str(argv[0])) is None:
        pytest.skip(f"needs {argv[0]}")
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fields(name: str, *wanted: str, only: str = "") -> list[list[str]]:
    """The fields of every record that matches."""
    argv = ["tshark", "-n", "-r", str(CAPTURES / f"{name}.pcapng"), "-T", "fields"]
    argv += [word for field in wanted for word in ("-e", field)]
    return [line.split("\t") for line in tool(*argv, *(["-Y", only] if only else [])).splitlines()]


def items_of(name: str) -> list[Item]:
    reader = open_reader(str(CAPTURES / f"{name}.pcapng"))
    try:
        return list(reader)
    finally:
        reader.close()


def streams_of(items: list[Item]) -> dict[int, Stream]:
    return {item.stream.id: item.stream for item in items if isinstance(item, StreamAdded)}


@pytest.mark.parametrize("name", NAMES)
def test_tshark_sees_the_records_that_we_see_and_finds_none_malformed(name: str) -> None:
    items = items_of(name)
    streams = streams_of(items)
    ours = Counter[tuple[str, str, str, str]]()
    for batch in (item for item in items if isinstance(item, Batch)):
        wire = batch.meta.wirelen if isinstance(batch.meta, PacketMeta) else batch.caplen + 16  # the cooked header
        for ts, length, size in zip(batch.ts_ns.tolist(), wire.tolist(), batch.caplen.tolist(), strict=True):
            kept = size if streams[batch.stream].kind is StreamKind.PACKETS else size + 16
            ours[streams[batch.stream].name, f"{ts // 10**9}.{ts % 10**9:09}", str(length), str(kept)] += 1
    theirs = fields(name, "frame.interface_name", "frame.time_epoch", "frame.len", "frame.cap_len")
    assert ours == Counter((row[0], row[1], row[2], row[3]) for row in theirs)
    assert len(theirs) > 20
    assert fields(name, "frame.number", only="_ws.malformed") == []


@pytest.mark.parametrize("name", NAMES)
def test_tshark_decodes_the_same_tuples_from_the_conntrack_messages(name: str) -> None:
    ours = Counter(our_tuples(name))
    theirs = Counter(their_tuples(name))
    assert ours == theirs
    assert len(ours) >= 8


def our_tuples(name: str) -> Iterator[Tuple]:
    """Both tuples of every conntrack message, events and dumps; that of the master, too, where one expected it."""
    items = items_of(name)
    wanted = {ident for ident, stream in streams_of(items).items() if stream.name in ("conntrack", "conntrack-dump")}
    decode = ConntrackDecoder(Strings())
    for item in items:
        if isinstance(item, Batch) and item.stream in wanted:
            decoded = decode(item)
            assert not len(decoded.errors)
            for i in range(len(decoded.cols)):
                yield _tuple(decoded.cols, i, "o", HAVE_OPORTS)
                yield _tuple(decoded.cols, i, "r", HAVE_RPORTS)
                if int(decoded.cols["have"][i]) & HAVE_MASTER:
                    yield _tuple(decoded.cols, i, "m", HAVE_MASTER)


def _tuple(cols: Columns, i: int, side: str, ports: int) -> Tuple:
    proto = int(cols["mproto" if side == "m" else "proto"][i])
    high = (cols.get(f"{side}{end}_hi") for end in ("src", "dst"))
    low = (cols[f"{side}{end}_lo"] for end in ("src", "dst"))
    family = int(cols["family"][i])
    ends = [address_text(family, 0 if h is None else int(h[i]), int(n[i])) for h, n in zip(high, low, strict=True)]
    has_ports = int(cols["have"][i]) & ports and proto not in (_ICMP, _ICMPV6)
    numbers = [str(int(cols[f"{side}{end}"][i])) for end in ("sport", "dport")] if has_ports else []
    return (*ends, str(proto), *numbers)


def their_tuples(name: str) -> Iterator[Tuple]:
    """The tuples that tshark shows, in its order: two addresses, the protocol, and for some protocols two ports."""
    root = ET.fromstring(tool("tshark", "-n", "-r", CAPTURES / f"{name}.pcapng", "-T", "pdml", "-Y", FLOWS))
    words: list[str] = []
    for field in root.iter("field"):
        if (kind := field.attrib["name"]) in ADDRESSES and len(words) != 1:
            if words:
                yield tuple(words)
            words = []
        if kind in (*ADDRESSES, *PORTS, PROTOCOL):
            words.append(field.attrib["show"])
    yield tuple(words)


@pytest.mark.parametrize("name", NAMES)
def test_capinfos_describes_the_interfaces_as_we_do(name: str) -> None:
    items = items_of(name)
    about = tool("capinfos", "-M", CAPTURES / f"{name}.pcapng")
    counts = Counter[int]()
    for item in items:
        if isinstance(item, Batch):
            counts[item.stream] += len(item)
    total = re.search(r"Number of packets:\s+(\d+)", about)
    assert total is not None and int(total[1]) == sum(counts.values())
    assert "nettop" in about
    theirs = [dict(re.findall(r"^ +(.+?) = (.*)$", part, re.M)) for part in about.split("Interface #")[1:]]
    streams = [stream for stream in streams_of(items).values() if stream.kind is not StreamKind.TEXT]
    assert [(t["Name"], t.get("Description"), int(t["Number of packets"])) for t in theirs] == [
        (s.name, f"netns {s.netns}" if s.netns else None, counts[s.id])
        for s in streams  # the map is of the whole host
    ]
    ethernet = [(t["Filter string"], int(t["Capture length"])) for t in theirs if "Filter string" in t]
    assert ethernet == [
        (s.capture_filter, s.snaplen) for s in streams if s.linktype == LINKTYPE_ETHERNET and s.capture_filter
    ]
    assert ethernet
