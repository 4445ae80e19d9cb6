"""Events of elements: what a commit added to a set and deleted from it, however many there are, and from bad bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.commits import MAX_DESCRIBED
from nettop.decode.nftables.decoder import NftDecoder
from tests.unit.decode.netlink_bytes import be, ct, nla
from tests.unit.decode.nftables.set_bytes import a_set, element, elements
from tests.unit.decode.nftables.test_decoder import batch

DELSETELEM, NEWGEN = 0xA0E, 0xA0F
END = ct(nla(1, be(4, 7)), kind=NEWGEN)


def deleted(event: bytes) -> bytes:
    return event[:4] + DELSETELEM.to_bytes(2, "little") + event[6:]


def test_events_have_the_set_and_what_was_done_to_it() -> None:
    one, other = elements(element(b"\x0a\0\0\1")), deleted(elements(element(b"\x0a\0\0\2"), name="gone"))
    found = NftDecoder(events=True)(batch(a_set("s", 7, 4) + one + other, END))
    assert [(of.name, of.key_type) for of in found.sets] == [("s", 7)]
    told = [(m.of, m.added, m.count, m.elements and m.elements.keys.tolist()) for m in found.commits[0].members]
    assert told == [
        (("inet", "t", "s"), True, 1, [[10, 0, 0, 1]]),
        (("inet", "t", "gone"), False, 1, [[10, 0, 0, 2]]),
    ]
    assert not NftDecoder()(batch(one, END)).commits, "a dump of rules has none"


def test_of_a_commit_that_changes_many_elements_the_first_are_decoded_and_all_are_counted() -> None:
    many = [elements(element(be(4, n))) for n in range(MAX_DESCRIBED + 60)]
    decoder = NftDecoder(events=True)
    members = decoder(batch(*many, END)).commits[0].members
    assert sum(m.count for m in members) == MAX_DESCRIBED + 60
    assert sum(len(m.elements) for m in members if m.elements is not None) == MAX_DESCRIBED
    assert decoder(batch(many[0], END)).commits[0].members[0].elements is not None, "the next commit"


@given(st.binary(max_size=200), st.sampled_from(range(0xA00, 0xA12)))
def test_bad_events_become_errors(body: bytes, kind: int) -> None:
    NftDecoder(events=True)(batch(ct(body, kind=kind)))
