"""Dumps of a namespace whose maker chose what is in it: all of them together have a limit."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from nettop.broker.requests import ReadRequest
from nettop.broker.topology import dumps
from nettop.linux.netlink import NLMSG_DONE, messages

LINKS = ReadRequest.RTNL_LINKS


def parts(answer: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(answer):
        (length,) = struct.unpack_from("=I", answer, at)
        yield answer[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def ended(answer: bytes) -> int:
    """How many dumps are complete."""
    return sum(kind == NLMSG_DONE for part in parts(answer) for kind, _, _ in messages(part))


def test_what_does_not_fit_is_left_out_and_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one = dumps.read_dumps([LINKS])
    assert ended(dumps.read_dumps([LINKS] * 9)) == 9
    monkeypatch.setattr(dumps, "MAX_ANSWER", 3 * len(one))
    limited = dumps.read_dumps([LINKS] * 9)
    assert 3 <= ended(limited) <= 4 and len(limited) < 5 * len(one)
