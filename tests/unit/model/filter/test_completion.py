from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettop.errors import FilterError
from nettop.model.filter.completion import complete, note
from nettop.model.filter.expression import KINDS, parse, words
from tests.profiles import examples
from tests.unit.model.filter.test_property import EXPRESSIONS, Part

SAMPLES = ["10.0.0.1", "443", "1M", "5m", "0x1/0xff", "8000-8080", "fd00::/8", "gw", "255.255.0.0"]


def offered(text: str, kind: str = "flow", cursor: int | None = None) -> list[str]:
    return [option.word for option in complete(text, len(text) if cursor is None else cursor, kind).options]


@pytest.mark.parametrize(
    ("text", "some", "not_there"),
    [
        ("", ["tcp", "net", "osrc", "state", "mark", "not", "("], ["and", ")", "less", "verdict", "event", "mask"]),
        ("st", ["state", "status"], ["tcp"]),
        ("tcp ", ["port", "src", "and"], ["tcp", "state", ")"]),
        ("(tcp ", [")"], []),
        ("src or ", ["dst"], ["and", "host"]),
        ("net 10 ", ["mask", "and"], []),
        ("net 10/8 ", ["and"], ["mask"]),
        ("state ", ["established", "time_wait", "unreplied", "!="], [">"]),
        ("state EST", ["established"], ["time_wait"]),
        ("state established or ", ["time_wait", "tcp"], []),
        ("status ", ["hw_offload"], ["established"]),
        ("proto ", ["tcp", "sctp"], []),
        ("ip ", ["proto", "host"], []),
        ("port ", ["https", "domain", "("], ["tcp"]),
        ("nat ", ["snat", "port-only", "and"], []),
        ("bytes ", [">", "<="], ["and"]),
        ("bytes>", [], [">"]),
        ("netns ", ["="], [">"]),
        ("mark 1 or not ", ["tcp", "not"], ["and"]),
        ("nonsense ", [], ["and", "tcp"]),
        ("port 99999 ", [], ["and"]),
        ('netns "gw', [], ["="]),
    ],
)
def test_what_may_stand_there_is_offered_and_nothing_else(text: str, some: list[str], not_there: list[str]) -> None:
    words = offered(text)
    assert set(some) <= set(words)
    assert not set(not_there) & set(words)


def test_what_most_filters_begin_with_comes_first() -> None:
    assert offered("")[:6] == ["host", "net", "port", "src", "dst", "tcp"]
    assert offered("not ")[:2] == ["host", "net"] and offered("", "rule")[0] not in ("age", "not")


@pytest.mark.parametrize(
    ("kind", "there", "not_there"),
    [("event", ["event", "mark"], ["rate", "age", "process"]), ("packet", ["less", "arp"], ["state", "osrc"])],
)
def test_each_kind_of_row_has_its_own_words(kind: str, there: list[str], not_there: list[str]) -> None:
    assert set(there) <= set(offered("", kind))
    assert not set(not_there) & set(offered("", kind))


def test_the_word_under_the_cursor_is_replaced_whole() -> None:
    found = complete("tcp and stx port 80", 10, "flow")
    assert "tcp and stx port 80"[found.start : found.end] == "stx"
    assert [option.word for option in found.options] == ["state", "status"]
    assert complete("tcp", 99, "flow").end == 3


def test_an_empty_quote_behind_a_value_offers_nothing_and_breaks_nothing() -> None:
    assert offered('port 80 or ""') == []


def test_options_have_notes() -> None:
    notes = {option.word: option.note for option in complete("", 0, "flow").options}
    assert notes["rdst"] == "destination of the reply tuple: what the source became"
    assert notes["sctp"] == "protocol 132"
    assert {option.word: option.note for option in complete("port http", 9, "flow").options}["https"] == "port 443"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_word_of_the_language_has_a_note(kind: str) -> None:
    assert [word for word in words(kind) if not note(word)] == []


def complaint(text: str, kind: str) -> int | None:
    """Where the parser complains, parentheses that are still to be closed aside."""
    try:
        parse(text, kind)
    except FilterError as error:
        assert error.position is not None
        return None if "not closed" in str(error) else error.position
    return None


@settings(max_examples=examples(300))
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_taking_what_is_offered_never_makes_the_parser_complain_before_the_end(kind: str, data: st.DataObject) -> None:
    text = ""
    for _ in range(data.draw(st.integers(1, 9))):
        words = offered(text, kind)
        values = [value for value in SAMPLES if (complaint(text + value, kind) or len(text)) >= len(text + value)]
        if not words + values:
            break
        text += data.draw(st.sampled_from(words + values)) + " "
        place = complaint(text, kind)
        assert place is None or place >= len(text.rstrip()), text


@settings(max_examples=examples(300))
@given(EXPRESSIONS)
def test_every_word_of_a_valid_filter_was_offered_where_it_stands(part: Part) -> None:
    text, _ = part
    language = {*words("flow"), "(", ")", "<", ">", "<=", ">=", "=", "!="}
    for token in re.finditer(r"<=|>=|!=|[()<>=]|[^\s()<>=!&|\"]+", text):
        if token.group() in language:
            assert token.group() in offered(text[: token.start()] + " "), text[: token.end()]
