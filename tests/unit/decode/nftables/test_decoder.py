"""Raw nf_tables messages: held to pyroute2's decoder, to what was built into them, and to bytes that lie."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.nfnetlink.nftsocket import nft_chain_msg, nft_rule_msg, nft_table_msg

from nettop.batch import Batch, NetlinkMeta
from nettop.decode.nftables.commits import reworded
from nettop.decode.nftables.decoder import NftDecoded, NftDecoder
from nettop.decode.nftables.rules import NftRule
from nettop.linux.netlink import ERR_ATTRIBUTE_CUT, ERR_MESSAGE_CUT
from nettop.linux.nf_tables import NF_HOOKS

NEWTABLE, NEWCHAIN, NEWRULE, DELRULE, NEWGEN, NEWOBJ = 0, 3, 6, 8, 15, 18


def attr(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def nest(kind: int, *inner: bytes) -> bytes:
    return attr(kind | 0x8000, b"".join(inner))


def word(kind: int, text: str) -> bytes:
    return attr(kind, text.encode() + b"\0")


def be32(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack(">I", value & 0xFFFFFFFF))


def be64(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack(">Q", value))


def message(kind: int, family: int, *attributes: bytes, seq: int = 1, generation: int = 3) -> bytes:
    body = struct.pack(">BBH", family, 0, generation) + b"".join(attributes)
    return struct.pack("=IHHII", len(body) + 16, 10 << 8 | kind, 2, seq, 77) + body


def done(seq: int = 1) -> bytes:
    return struct.pack("=IHHIIi", 20, 3, 2, seq, 77, 0)


def expression(name: str, *inner: bytes) -> bytes:
    return nest(1, word(1, name), nest(2, *inner))


def counter(packets: int, octets: int) -> bytes:
    return expression("counter", be64(1, octets), be64(2, packets))


def verdict(code: int, chain: str | None = None) -> bytes:
    inner = [be32(1, code)] + ([] if chain is None else [word(2, chain)])
    return expression("immediate", be32(1, 0), nest(2, nest(2, *inner)))


def rule(
    handle: int, *expressions: bytes, table: str = "t", chain: str = "c", comment: str = "", seq: int = 1
) -> bytes:
    user = [attr(7, bytes([0, len(comment.encode()) + 1]) + comment.encode() + b"\0")] if comment else []
    parts = [word(1, table), word(2, chain), be64(3, handle), nest(4, *expressions), *user]
    return message(NEWRULE, 2, *parts, seq=seq)


def rules_of(decoded: NftDecoded) -> list[NftRule]:
    return [one for block in decoded.blocks for one in block.rules]


def batch(*datagrams: bytes, outgoing: Sequence[bool] | None = None) -> Batch:
    sizes = np.array([len(one) for one in datagrams], dtype=np.uint32)
    sent = np.array(outgoing if outgoing is not None else [False] * len(datagrams), dtype=np.bool_)
    offsets = (np.cumsum(sizes) - sizes).astype(np.uint32)
    stamps = np.full(len(datagrams), 9, np.int64)
    return Batch(4, 5, b"".join(datagrams), offsets, sizes, stamps, NetlinkMeta(sent))


letters = st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"])
names = st.text(letters, min_size=1, max_size=40)
u64 = st.integers(0, 2**64 - 1)
expressions = st.one_of(
    st.builds(counter, u64, u64),
    st.builds(verdict, st.sampled_from([0, 1, -1, -5])),
    st.builds(verdict, st.sampled_from([-3, -4]), names),
    st.just(expression("payload", be32(1, 1), be32(2, 1), be32(3, 12), be32(4, 4))),
    st.builds(lambda name: expression("lookup", word(1, name), be32(2, 1)), names),
)


@given(u64, names, names, st.lists(expressions, max_size=8), names)
def test_a_rule_says_what_pyroute2_reads_in_it(
    handle: int, table: str, chain: str, parts: list[bytes], comment: str
) -> None:
    data = rule(handle, *parts, table=table, chain=chain, comment=comment)
    theirs = nft_rule_msg(data)
    theirs.decode()
    decoded = NftDecoder()(batch(data))
    (ours,) = rules_of(decoded)
    assert (ours.table, ours.chain, ours.handle) == tuple(
        theirs.get_attr(f"NFTA_RULE_{name}") for name in ("TABLE", "CHAIN", "HANDLE")
    )
    assert ours.comment == comment
    inner = [one.get_attr("NFTA_EXPR_DATA") for one in theirs.get_attr("NFTA_RULE_EXPRESSIONS") or []]
    counters = [(e.get_attr("NFTA_COUNTER_PACKETS"), e.get_attr("NFTA_COUNTER_BYTES")) for e in inner]
    counters = [pair for pair in counters if pair[0] is not None]
    assert ours.counters == len(counters) and decoded.blocks[0].counted[0] == bool(counters)
    if counters:
        assert (int(decoded.blocks[0].packets[0]), int(decoded.blocks[0].bytes[0])) == counters[-1]
    verdicts = [e.get_attr("NFTA_IMMEDIATE_DATA") for e in inner]
    chains = [v.get_attr("NFTA_DATA_VERDICT").get_attr("NFTA_VERDICT_CHAIN") for v in verdicts if v is not None]
    assert list(ours.targets) == [name for name in chains if name is not None]
    assert list(ours.sets) == [e.get_attr("NFTA_LOOKUP_SET") for e in inner if e.get_attr("NFTA_LOOKUP_SET")]


@given(names, names, u64, st.integers(0, 5), st.integers(-(2**31), 2**31 - 1), st.integers(0, 1), st.booleans(), u64)
def test_a_chain_says_what_pyroute2_reads_in_it(
    table: str, name: str, handle: int, hook: int, priority: int, policy: int, base: bool, packets: int
) -> None:
    parts = [word(1, table), word(3, name), be64(2, handle), be32(6, 4)]
    if base:
        parts += [nest(4, be32(1, hook), be32(2, priority)), be32(5, policy), word(7, "filter")]
        parts += [nest(8, be64(2, packets), be64(1, 9))]
    data = message(NEWCHAIN, 1, *parts)
    theirs = nft_chain_msg(data)
    theirs.decode()
    (ours,) = NftDecoder()(batch(data)).chains
    assert (ours.family, ours.table, ours.name, ours.handle, ours.use) == ("inet", table, name, handle, 4)
    where = theirs.get_attr("NFTA_CHAIN_HOOK")
    assert ours.hook == (NF_HOOKS["inet"][where.get_attr("NFTA_HOOK_HOOKNUM")] if where else None)
    assert ours.priority == (where.get_attr("NFTA_HOOK_PRIORITY") if where else None)
    assert ours.policy == (("drop", "accept")[theirs.get_attr("NFTA_CHAIN_POLICY")] if base else None)
    assert (ours.packets, ours.bytes) == ((packets, 9) if base else (None, None))


@given(names, u64, st.integers(0, 7), names)
def test_a_table_says_what_pyroute2_reads_in_it(name: str, handle: int, flags: int, comment: str) -> None:
    user = attr(6, bytes([0, len(comment.encode()) + 1]) + comment.encode() + b"\0")
    data = message(NEWTABLE, 10, word(1, name), be32(2, flags), be32(3, 6), be64(4, handle), user, be32(7, 4121))
    theirs = nft_table_msg(data)
    theirs.decode()
    (ours,) = NftDecoder()(batch(data)).tables
    assert (ours.name, ours.handle, ours.comment) == tuple(
        theirs.get_attr(f"NFTA_TABLE_{one}") for one in ("NAME", "HANDLE", "USERDATA")
    )
    assert ours.flags == tuple(w for bit, w in ((1, "dormant"), (2, "owner"), (4, "persist")) if flags & bit)
    assert (ours.family, ours.owner) == ("ip6", 4121)


def test_devices_of_a_netdev_chain_are_listed_and_prefixes_marked() -> None:
    hook = nest(4, be32(1, 0), be32(2, -500), nest(4, word(1, "eth0"), word(2, "veth")), word(3, "eth0"))
    (chain,) = NftDecoder()(batch(message(NEWCHAIN, 5, word(1, "t"), word(3, "c"), hook))).chains
    assert (chain.hook, chain.devices) == ("ingress", ("eth0", "veth*"))


def test_objects_carry_the_values_of_their_type() -> None:
    def of(kind: int, *inner: bytes) -> bytes:
        return message(NEWOBJ, 2, word(1, "t"), word(2, "o"), be32(3, kind), nest(4, *inner), be32(5, 1), be64(6, 8))

    data = [
        of(1, be64(1, 700), be64(2, 7)),
        of(2, be64(1, 1000), be32(2, 0), be64(4, 12)),
        of(4, be64(1, 400), be64(2, 3600), be32(3, 5)),
        of(3, word(1, "ftp")),
    ]
    counted, quota, limit, helper = NftDecoder()(batch(b"".join(data))).objects
    assert (counted.type, counted.packets, counted.bytes, counted.quota) == ("counter", 7, 700, None)
    assert (quota.type, quota.quota, quota.used, quota.packets) == ("quota", 1000, 12, None)
    assert (limit.type, limit.rate, limit.unit, limit.burst) == ("limit", 400, 3600, 5)
    assert (helper.type, helper.helper) == ("ct helper", "ftp")


def test_an_announced_generation_names_who_made_it() -> None:
    data = message(NEWGEN, 0, be32(1, 41), be32(2, 4121), word(3, "nft"))
    (generation,) = NftDecoder(events=True)(batch(data)).generations
    assert (generation.id, generation.pid, generation.process, generation.event) == (41, 4121, "nft", True)
    assert NftDecoder()(batch(data)).generations[0].event is False
    assert generation.ts_ns == 9


def test_a_commit_names_the_tables_whose_rules_have_new_words_or_whose_flowtables_changed() -> None:
    chain = message(NEWCHAIN, 2, word(1, "nat"), be64(2, 3), word(3, "lan"))
    flowtable = message(24, 1, word(1, "fw"), word(2, "fast"))  # NFT_MSG_DELFLOWTABLE
    end = message(NEWGEN, 0, be32(1, 41), be32(2, 4121), word(3, "nft"))
    found = NftDecoder(events=True)(
        batch(rule(4), chain, flowtable, end, message(0, 10, word(1, "t"), be64(4, 1)), end)
    )
    assert [reworded([commit]) for commit in found.commits] == [{("ip", "t"), ("ip", "nat"), ("inet", "fw")}, set()]
    assert reworded([]) is None


def test_a_polled_dump_keeps_its_rules_and_brings_new_counters() -> None:
    decoder = NftDecoder()

    def dump(packets: int, seq: int) -> Batch:
        first = b"".join(rule(h, counter(packets + h, 10), verdict(1), seq=seq) for h in range(1, 4))
        second = rule(4, verdict(-3, "u"), seq=seq) + rule(5, counter(1, 1), counter(packets, 2), seq=seq)
        return batch(first, second, done(seq))

    before, after = decoder(dump(100, 1)), decoder(dump(200, 2))
    assert [b.rules for b in after.blocks] == [b.rules for b in before.blocks]
    assert all(new.rules is old.rules for new, old in zip(after.blocks, before.blocks, strict=True))
    assert after.blocks[0].packets.tolist() == [201, 202, 203]
    assert after.blocks[1].counted.tolist() == [False, True] and after.blocks[1].packets.tolist() == [0, 200]


@given(st.data())
def test_a_rule_that_changes_is_never_taken_for_the_old_one(data: st.DataObject) -> None:
    decoder = NftDecoder()
    first = rule(1, counter(1, 2), verdict(1), comment="abcd") + rule(2, counter(3, 4))
    decoder(batch(first, done()))
    at = data.draw(st.integers(0, len(first) - 1))
    changed = bytearray(first)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    again, fresh = decoder(batch(bytes(changed), done())), NftDecoder()(batch(bytes(changed), done()))
    assert rules_of(again) == rules_of(fresh)
    assert [b.packets.tolist() for b in again.blocks] == [b.packets.tolist() for b in fresh.blocks]


def test_requests_of_ours_are_skipped() -> None:
    assert rules_of(NftDecoder()(batch(rule(1), rule(2), outgoing=[True, False])))[0].handle == 2


def test_a_quota_that_is_used_up_does_not_look_like_another_rule() -> None:
    decoder = NftDecoder()

    def dump(used: int) -> Batch:
        return batch(rule(1, expression("quota", be64(1, 99), be32(2, 0), be64(4, used)), counter(used, 1)))

    first, second = decoder(dump(1)), decoder(dump(2))
    assert second.blocks[0].rules is first.blocks[0].rules


def test_a_length_that_lies_is_an_error_with_its_offset_and_the_rest_is_read() -> None:
    good, bad = rule(1), bytearray(rule(2, counter(1, 1)))
    bad[20:22] = struct.pack("=H", 60_000)
    decoded = NftDecoder()(batch(good + bytes(bad) + rule(3)))
    assert [one.handle for one in rules_of(decoded)] == [1, 3]
    assert decoded.errors.offset.tolist() == [len(good) + 20] and decoded.errors.code.tolist() == [ERR_ATTRIBUTE_CUT]


def test_a_datagram_cut_short_is_an_error() -> None:
    data = rule(1) + rule(2, counter(1, 1))
    decoded = NftDecoder()(batch(data[:-3], rule(3)))
    assert [one.handle for one in rules_of(decoded)] == [1, 3]
    assert decoded.errors.code.tolist() == [ERR_MESSAGE_CUT] and decoded.errors.record.tolist() == [0]


@given(st.binary(max_size=200))
def test_any_bytes_decode_to_something(data: bytes) -> None:
    decoded = NftDecoder()(batch(data))
    assert len(rules_of(decoded)) == 0 or len(data) >= 20


@given(st.data())
def test_a_damaged_message_never_stops_the_ones_around_it(data: st.DataObject) -> None:
    victim = bytearray(
        rule(7, counter(1, 2), verdict(-3, "u"), expression("quota", be64(4, 1)), comment="x")
        if data.draw(st.booleans())
        else message(NEWCHAIN, 5, word(1, "t"), word(3, "c"), nest(4, be32(1, 0), nest(4, word(1, "lo"))), be32(5, 1))
    )
    for _ in range(data.draw(st.integers(1, 12))):
        victim[data.draw(st.integers(20, len(victim) - 1))] = data.draw(st.integers(0, 255))
    decoder = NftDecoder()
    for _ in range(2):
        decoded = decoder(batch(rule(1), bytes(victim), rule(3)))
        assert [one.handle for one in rules_of(decoded) if one.handle in (1, 3)][-1] == 3


def test_an_object_that_did_not_count_is_the_same_value_in_the_next_dump_and_one_that_did_is_not() -> None:
    def dump(idle: int, busy: int, generation: int) -> bytes:
        objects = [
            message(
                NEWOBJ, 2, word(1, "t"), word(2, name), be32(3, 1), nest(4, be64(1, value), be64(2, value)),
                generation=generation,
            )
            for name, value in (("idle", idle), ("busy", busy))
        ]  # fmt: skip
        return b"".join(objects) + struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)

    decoder = NftDecoder()
    first, second, third = (decoder(batch(dump(5, busy, busy))).objects for busy in (1, 2, 1))
    assert first[0] is second[0] is third[0], "another generation in the header is no change"
    assert [dump[1].packets for dump in (first, second, third)] == [1, 2, 1]
    assert third[1] is not first[1], "what the dump before did not have is not remembered"


def test_limits_and_quotas_say_which_way_they_match() -> None:
    limit = message(
        NEWOBJ, 2, word(1, "t"), word(2, "l"), be32(3, 4),
        nest(4, be64(1, 9), be64(2, 60), be32(3, 5), be32(4, 1), be32(5, 1)),
    )  # fmt: skip
    quota = message(NEWOBJ, 2, word(1, "t"), word(2, "q"), be32(3, 2), nest(4, be64(1, 9), be32(2, 1), be64(4, 3)))
    found = NftDecoder()(batch(limit + quota)).objects
    assert (found[0].limit_type, found[0].inverted, found[0].burst) == ("bytes", True, 5)
    assert (found[1].inverted, found[1].used) == (True, 3)
