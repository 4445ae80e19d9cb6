"""Rows of the sets that are open below their rules: pages, idents that last, times that pass, what cannot be read."""

from __future__ import annotations

from dataclasses import replace

from nettop.decode.ipset import IpSet, IpSetElement
from nettop.decode.nftables.sets import NftSet
from nettop.kinds import TextKind
from nettop.model.filter.expression import parse
from nettop.model.ruleset.opened_sets import SetPage, page_of
from nettop.model.ruleset.sets.contents import SetRef
from nettop.model.table import Row, ViewSpec
from tests.unit.model.ruleset.sets.test_membership import elements_of
from tests.unit.model.ruleset.test_ruleset import T0, Feed, S, base, rule, user

COLUMNS = ("number", "packets", "verdict", "rule")
OF = NftSet("inet", "fw", "bad", 1, 0, 7, 4, "", None, 3, None, False, None)
REF: SetRef = OF.id
NETS = IpSet("nets", "hash:net", "ip", (), 100, 2, 600)


def feed() -> Feed:
    made = Feed()
    made.layout([base("fw", "fwd"), user("fw", "lan")])
    made.poll((replace(rule("fwd", 4), sets=("bad", "__set0")), rule("fwd", 5, "lan"), rule("lan", 9)), [1, 2, 3], T0)
    return made


def page(*last: int, count: int = 1000, more: bool = False) -> SetPage:
    keys = [bytes((10, 0, 0, byte)) for byte in last]
    return replace(page_of(OF, elements_of(keys, keys, [0] * len(keys)), count, more), ts_ns=T0)


def shown(made: Feed, *toggled: int, now_ns: int = T0, **more: object) -> list[Row]:
    spec = ViewSpec(COLUMNS, toggled=frozenset(toggled), **more)  # type: ignore[arg-type]
    return list(made.rules.snapshot(spec, now_ns).rows)


def test_a_rule_that_uses_a_named_set_can_be_opened_and_says_that_it_is_read() -> None:
    made = feed()
    first, second, *_ = shown(made)
    assert (first.reads, first.link, second.reads) == (True, first.ident, False)
    title, *_ = shown(made, first.ident)[1:]
    assert title.cells[0] == "▾ @bad   is being read …"
    assert made.ruleset.opened.wanted(first.ident, made.ruleset.picture) == [(REF, 1000)]
    assert made.ruleset.opened.wanted(second.ident, made.ruleset.picture) == []
    assert made.ruleset.opened.wanted(77, made.ruleset.picture) == []


def test_the_row_behind_the_last_element_becomes_the_first_of_the_next_page() -> None:
    made = feed()
    ident = shown(made)[0].ident
    version = made.rules.version
    made.ruleset.opened.put(REF, page(3, 1, count=2, more=True))
    assert made.rules.version > version
    rows = shown(made, ident)
    assert [row.cells[3].strip() for row in rows[2:4]] == ["10.0.0.3", "10.0.0.1"], "the kernel's order"
    more = rows[4]
    assert "Enter reads the next" in more.cells[0] and (more.reads, more.link) == (True, None)
    assert made.ruleset.opened.wanted(more.ident, made.ruleset.picture) == [(REF, 1002)]
    made.ruleset.opened.put(REF, page(3, 1, 2))
    rows = shown(made, ident)
    assert [row.cells[3].strip() for row in rows[2:5]] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "all of them: by key"
    assert rows[4].ident == more.ident and rows[2].ident != rows[3].ident != more.ident
    assert not any("Enter reads" in row.cells[0] for row in rows)
    assert len({row.ident for row in rows}) == len(rows)


def test_rows_of_a_set_belong_to_their_rule() -> None:
    made = feed()
    first = shown(made)[0].ident
    made.ruleset.opened.put(REF, page(1))
    title, element = shown(made, first)[1:3]
    assert [made.ruleset.opened.rule_of(row.ident) for row in (title, element)] == [first, first]
    heading = next(row for row in shown(made) if row.cells[0].startswith("▾ lan"))
    assert made.ruleset.opened.rule_of(heading.ident) == heading.ident
    detail = made.rules.detail(element.ident, T0)
    assert detail is not None and detail.ident == first
    assert not [row for row in shown(made, first, title.ident) if "10.0.0.1" in row.whole], "folded"
    assert len(shown(made, first, filter=parse("chain lan", "rule"))) == 1, "a filter is of rules"
    assert len(shown(made, first, moved=True)) == 0


def test_a_set_that_cannot_be_read_or_changed_meanwhile_says_so() -> None:
    made = feed()
    ident = shown(made)[0].ident
    made.ruleset.opened.put(REF, SetPage(None, error="set bad: No such file or directory"))
    assert shown(made, ident)[1].cells[0] == "▾ @bad   set bad: No such file or directory"
    made.ruleset.opened.put(REF, replace(page(1), interrupted=True))
    assert shown(made, ident)[1].cells[0].endswith("changed meanwhile: some may be missing")


def test_the_time_of_an_element_passes_while_it_is_shown() -> None:
    made = Feed()
    made.text(TextKind.IPTABLES_LEGACY_SAVE, SAVED)
    ident = shown(made)[0].ident
    found = [
        IpSetElement("10.0.0.0/8", (), False, 3, 30, 60, "ten"),
        IpSetElement("10.1.0.0/16", (), True, None, None, None, None),
    ]
    made.ruleset.opened.put("nets", replace(page_of(NETS, found, 1000, False), ts_ns=T0))
    title, ten, exception = shown(made, ident)[1:4]
    assert title.cells[0].startswith("▾ ipset nets   set of hash:net   2 elements of 100   timeout 10m00")
    assert (ten.cells[1], ten.cells[3].strip()) == ("3", "10.0.0.0/8   1m00 left   /* ten */")
    assert exception.cells[3].strip() == "10.1.0.0/16 : nomatch" and not exception.cells[1]
    assert "   50s left" in shown(made, ident, now_ns=T0 + 10 * S)[2].cells[3]
    assert "   expired" in shown(made, ident, now_ns=T0 + 61 * S)[2].cells[3]


SAVED = "*filter\n:FORWARD DROP [0:0]\n[9:9] -A FORWARD -m set --match-set nets src -j DROP\nCOMMIT\n"
