"""Filters of traffic control, read by pyroute2: few devices have any, and their options are nested.

pyroute2 is imported with the first one, since that takes 0.3 s. Equal messages are read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from nettop.decode.topology.objects import Queue
from nettop.linux.netlink import ERR_MALFORMED, ERR_TOO_LONG, NLMSG_HDRLEN, NLMSGHDR, MalformedError
from nettop.text.sanitize import clean

_MAX_MESSAGE = 16 << 10  # bytes: the kernel's are shorter
_MIRRED = {1: "redirect", 2: "mirror", 3: "redirect", 4: "mirror"}  # TCA_EGRESS_REDIR …, linux/tc_act/tc_mirred.h
_GACT = {-1: "continue", 0: "pass", 1: "reclassify", 2: "drop", 3: "pipe", 4: "stolen", 7: "redirect", 8: "trap"}


@lru_cache(1024)
def read_filter(body: bytes) -> Queue:
    """Return the filter of an RTM_NEWTFILTER without its netlink header. MalformedError if it is none."""
    from pyroute2.netlink.rtnl.tcmsg import tcmsg

    if len(body) > _MAX_MESSAGE:
        raise MalformedError(0, ERR_TOO_LONG)
    try:
        found = tcmsg(NLMSGHDR.pack(NLMSG_HDRLEN + len(body), 0, 0, 0, 0) + body)
        found.decode()
        return _filter(found)
    except Exception as error:  # from bytes that are no such message, pyroute2 raises what its fields raise
        raise MalformedError(0, ERR_MALFORMED) from error


def _filter(found: Any) -> Queue:
    kind = clean(str(found.get_attr("TCA_KIND") or ""))
    parts = [*_classifier(found.get_attr("TCA_OPTIONS"))]
    words = clean(" ".join(part for part in parts if isinstance(part, str)))
    targets = tuple(part for part in parts if not isinstance(part, str))
    return Queue(found["index"], kind, found["handle"], found["parent"], True, words, targets=targets)


def _classifier(options: Any) -> Iterator[str | tuple[str, int]]:
    """Yield the program of a bpf filter, and the actions of any; of mirred where it sends packets."""
    attrs = dict(options["attrs"]) if options and "attrs" in options else {}
    for name, value in attrs.items():
        if name == "TCA_BPF_NAME":
            yield str(value)
        elif name == "TCA_BPF_ID":
            yield f"id {value}"
        elif name.endswith("_ACT") and "attrs" in value:
            yield from _actions(value["attrs"])


def _actions(attrs: Iterable[Any]) -> Iterator[str | tuple[str, int]]:
    for _, action in attrs:
        kind, options = action.get_attr("TCA_ACT_KIND"), action.get_attr("TCA_ACT_OPTIONS")
        parms = options.get_attr(f"TCA_{kind.upper()}_PARMS") if options else None
        if kind == "mirred" and parms:
            yield _MIRRED.get(parms["eaction"], "mirred"), parms["ifindex"]
        elif kind == "gact" and parms:
            yield _GACT.get(parms["action"], str(parms["action"]))
        elif kind:
            yield kind
