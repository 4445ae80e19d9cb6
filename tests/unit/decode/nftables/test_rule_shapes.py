"""Rules decoded by the shape of an earlier one are those that a decoder without memory reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Batch, NetlinkMeta
from nettop.decode.nftables.objects import family_name
from nettop.decode.nftables.rule_shapes import RuleShapes
from nettop.decode.nftables.rules import NftRule, RuleOffsets, decode_rule
from nettop.linux.netlink import Attributes, MalformedError, messages
from nettop.recording.reader import open_reader
from tests.unit.decode.nftables.test_decoder import NEWRULE, attr, be32, counter, expression, names, rule, verdict, word

_CAPTURES = sorted((Path(__file__).parents[4] / "captures").glob("*.pcapng"))
Read = tuple[NftRule, RuleOffsets] | int


def read(data: bytes, shapes: RuleShapes | None = None) -> Read:
    """The rule and its offsets, or the code of the error."""
    family = family_name(data[16])
    try:
        if shapes is not None:
            return shapes.decode(data, 0, len(data), family)
        return decode_rule(Attributes(data, 20, len(data)), family)
    except MalformedError as error:
        return error.code


@cache
def recorded() -> list[bytes]:
    """The rules of all captures, each once: nft's own, iptables' with and without xt matches, jumps, sets, maps."""
    found: dict[bytes, None] = {}
    for path in _CAPTURES:
        for item in open_reader(str(path)):
            if isinstance(item, Batch) and isinstance(item.meta, NetlinkMeta):
                for index in range(len(item)):
                    data = item.record(index)
                    for kind, at, end in messages(data):
                        if kind == 10 << 8 | NEWRULE:
                            found[data[at:end]] = None
    return list(found)


def test_the_rules_of_the_captures_are_many_and_few_are_decoded_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    in_full = list[Attributes]()

    def counted(message: Attributes, family: str) -> tuple[NftRule, RuleOffsets]:
        in_full.append(message)
        return decode_rule(message, family)

    monkeypatch.setattr("nettop.decode.nftables.rule_shapes.decode_rule", counted)
    shapes = RuleShapes()
    assert [read(data, shapes) for data in recorded()] == [read(data) for data in recorded()]
    assert len(recorded()) > 60 and len(in_full) < len(recorded())
    one = rule(1, counter(1, 2), verdict(1))
    read(one, shapes)
    before = len(in_full)
    assert read(rule(2, counter(5, 6), verdict(1), chain="d"), shapes) != read(one, shapes)
    assert len(in_full) == before


@given(st.data())
def test_a_rule_that_differs_anywhere_from_an_earlier_one_is_read_as_what_it_is(data: st.DataObject) -> None:
    known = data.draw(st.sampled_from(recorded()))
    shapes = RuleShapes()
    read(known, shapes)
    changed = bytearray(known)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(16, len(changed) - 1))] = data.draw(st.integers(0, 255))
    assert read(bytes(changed), shapes) == read(bytes(changed))


@given(names, names, st.booleans(), st.booleans())
def test_names_of_one_length_are_read_from_each_rule(first: str, second: str, xt: bool, user: bool) -> None:
    size = max(len(first.encode()), len(second.encode()))
    made = [_named(name.encode().ljust(size, b"."), xt, user) for name in (first, second)]
    shapes = RuleShapes()
    assert [read(data, shapes) for data in made] == [read(data) for data in made]


def _named(name: bytes, xt: bool, user: bool) -> bytes:
    text = name.decode()
    comment = (
        [expression("match", word(1, "comment"), be32(2, 0), attr(3, name + b"\0" * (256 - len(name))))] if xt else []
    )
    lookups = [expression("lookup", word(1, text), be32(2, 1)), expression("objref", word(4, text), be32(3, 1))]
    return rule(7, *comment, *lookups, counter(1, 2), verdict(-3, text), chain=text, comment=text if user else "")
