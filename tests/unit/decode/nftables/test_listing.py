"""nft's own words, whatever a comment holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.decode.nftables.listing import Flowtable, Listing, jumps, parse_listing, stateless, with_counters

LISTING = b"""table inet fw { # handle 14
\tcomment "my { table } "
\tset bad { # handle 9
\t\ttype ipv4_addr
\t\tcomment "chain x { # handle 3"
\t}

\tchain forward { # handle 1
\t\tcomment "chain { com"
\t\ttype filter hook forward priority filter; policy drop;
\t\tct state established,related counter packets 1 bytes 2 accept comment "quote } { x # handle 5" # handle 11
\t\ttcp dport { 1, 2,
\t\t\t     3, 4 } counter packets 0 bytes 0 drop # handle 14
\t\tcomment "only a comment" # handle 15
\t\tip saddr \xff\xfe accept # handle 16
\t}

\tchain empty { # handle 2
\t}
}
table ip6 fw { # handle 15 # progname nft
\tchain forward { # handle 1
\t\taccept # handle 11
\t}
}
"""


def text_of(listing: Listing | bytes, family: str, table: str, chain: str, handle: int) -> str | None:
    found = (parse_listing(listing) if isinstance(listing, bytes) else listing).chains.get((family, table, chain))
    rule = found.rules.get(handle) if found else None
    return rule.text if rule else None


def test_rules_are_found_by_family_table_chain_and_handle() -> None:
    listing = parse_listing(LISTING)
    assert text_of(listing, "inet", "fw", "forward", 11) == (
        'ct state established,related counter packets 1 bytes 2 accept comment "quote } { x # handle 5"'
    )
    assert text_of(listing, "ip6", "fw", "forward", 11) == "accept"
    assert text_of(listing, "inet", "fw", "forward", 99) is None
    assert listing.chains["inet", "fw", "empty"].rules == {}
    assert [listing.chains[key].table for key in listing.chains] == [14, 14, 15]
    assert set(listing.chains) == {("inet", "fw", "forward"), ("inet", "fw", "empty"), ("ip6", "fw", "forward")}


def test_a_set_that_nft_wraps_is_one_line() -> None:
    text = text_of(LISTING, "inet", "fw", "forward", 14)
    assert text == "tcp dport { 1, 2, 3, 4 } counter packets 0 bytes 0 drop"


def test_a_rule_that_is_only_a_comment_is_no_header() -> None:
    assert text_of(LISTING, "inet", "fw", "forward", 15) == 'comment "only a comment"'


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    assert text_of(LISTING, "inet", "fw", "forward", 16) == "ip saddr \\xff\\xfe accept"


def test_a_rules_text_without_its_counters_is_as_nft_s_writes_it() -> None:
    text = 'counter packets 3 bytes 4 quota 25 mbytes used 5 kbytes drop comment "counter packets 1 bytes 2 used 1 x"'
    assert stateless(text) == 'counter quota 25 mbytes drop comment "counter packets 1 bytes 2 used 1 x"'


def test_the_last_counter_can_be_brought_up_to_date() -> None:
    text = 'counter packets 1 bytes 1 tcp dport 1 counter packets 3 bytes 4 drop comment "counter packets 1 bytes 2"'
    assert with_counters(text, 7, 70) == (
        'counter packets 1 bytes 1 tcp dport 1 counter packets 7 bytes 70 drop comment "counter packets 1 bytes 2"'
    )
    assert with_counters("accept", 1, 2) == "accept"


def test_a_rule_of_an_implicit_chain_keeps_its_counter_beside_that_of_the_jump() -> None:
    text = "counter packets %d bytes %d jump { counter packets 7 bytes 8 jump { counter packets 9 bytes 9 accept } }"
    assert with_counters(text % (3, 4), 5, 60) == text % (5, 60)
    text = 'log prefix "{ " counter packets %d bytes %d'
    assert with_counters(text % (1, 2), 5, 6) == text % (5, 6)


def test_jumps_of_verdict_maps_are_found_and_those_in_quotes_are_not() -> None:
    assert jumps('tcp dport vmap { 80 : jump lan, 443 : goto lan2, 22 : accept } comment "jump off"') == ("lan", "lan2")
    assert jumps("drop") == ()


@given(st.binary(max_size=400))
def test_any_bytes_are_read(body: bytes) -> None:
    assert text_of(body, "ip", "t", "c", 1) is None


def listing(*lines: str) -> bytes:
    body = "\n".join(f"\t\t{line}" for line in lines)
    return f"table inet t {{ # handle 1\n\tchain in {{ # handle 1\n{body}\n\t}}\n}}\n".encode()


FORGED = "x # handle 2\n\t\ttcp dport 22 drop # handle 3\n\t\ty"
OTHER = "a\n\t}\n}\ntable ip evil { # handle 9\n\tchain e { # handle 1\n\t\t"


def test_lines_in_a_comment_are_no_rules() -> None:
    body = listing(
        f'tcp dport 80 accept comment "{FORGED}" # handle 2', "tcp dport 22 accept # handle 3",
        f'tcp dport 23 accept comment "{OTHER}" # handle 4',
    )  # fmt: skip
    found = parse_listing(body, {FORGED, OTHER})
    assert [text_of(found, "inet", "t", "in", handle) for handle in (2, 3, 4)] == [
        f'tcp dport 80 accept comment "{FORGED}"', "tcp dport 22 accept", f'tcp dport 23 accept comment "{OTHER}"',
    ]  # fmt: skip
    assert list(found.chains) == [("inet", "t", "in")]


def test_a_chain_with_lines_of_an_unknown_string_has_no_words_rather_than_wrong_ones() -> None:
    body = listing(f'tcp dport 80 accept comment "{FORGED}" # handle 2', "tcp dport 22 accept # handle 3")
    assert parse_listing(body).chains == {}
    again = b'\tset s { # handle 4\n\t\tcomment "a\n\t}\n\tchain in {\n\t\tdrop # handle 3\n\t}"\n\t}\n'
    body = listing("tcp dport 22 accept # handle 3")
    assert text_of(body.replace(b"\tchain", again + b"\tchain", 1), "inet", "t", "in", 3) is None


def test_rules_of_implicit_chains_stand_in_the_rule_that_jumps_there() -> None:
    body = listing(
        "jump {", '\ttcp dport 22 counter packets 0 bytes 0 accept comment "inner } one"', "\ttcp dport { 1,",
        "\t\t     2 } goto {", "\t\tdrop", "\t\taccept", "\t}", "} # handle 5", "accept # handle 6",
    )  # fmt: skip
    rules = parse_listing(body).chains["inet", "t", "in"].rules
    assert list(rules) == [5, 6] and rules[6].inner == ()
    assert [rule.text for rule in rules[5].inner] == [
        'tcp dport 22 counter packets 0 bytes 0 accept comment "inner } one"',
        "tcp dport { 1, 2 } goto { drop; accept; }",
    ]
    text = 'jump { tcp dport 22 counter packets 0 bytes 0 accept comment "inner } one"; '
    assert rules[5].text == text + "tcp dport { 1, 2 } goto { drop; accept; }; }"


def test_an_implicit_chain_may_follow_elements_that_take_several_lines() -> None:
    body = listing("tcp dport { 1,", "\t     2 } jump {", "\tdrop", "\tjump lan", '} comment "c" # handle 5')
    rule = parse_listing(body).chains["inet", "t", "in"].rules[5]
    assert rule.text == 'tcp dport { 1, 2 } jump { drop; jump lan; } comment "c"'
    assert [one.text for one in rule.inner] == ["drop", "jump lan"]
    assert jumps(rule.text) == () and jumps("tcp dport vmap { 1 : jump a, 2 : goto b }") == ("a", "b")


def test_what_failed_is_reported() -> None:
    body = b'# nettop {"failures": ["nft was ended by SIGSEGV"]}\n' + LISTING
    found = parse_listing(body)
    assert found.report.failures == ("nft was ended by SIGSEGV",) and len(found.chains) == 3


@given(st.lists(st.sampled_from(LISTING.split(b"\n")), max_size=40))
def test_lines_in_any_order_are_read(lines: list[bytes]) -> None:
    for chain in parse_listing(b"\n".join(lines)).chains.values():
        assert all(handle >= 0 and isinstance(rule.text, str) for handle, rule in chain.rules.items())


FLOWTABLES = b"""table inet fw { # handle 3 progname my prog
\tflowtable ft { # handle 7
\t\thook ingress priority filter + 10
\t\tdevices = { eth0, "eth1" }
\t\tflags offload
\t\tcounter
\t}

\tflowtable early {
\t\thook ingress priority -300
\t\tdevices = { lan0 }
\t}

\tchain c { # handle 1
\t\tip protocol tcp flow add @ft # handle 4
\t}
}
"""


def test_flowtables_have_their_hook_priority_and_devices() -> None:
    listing = parse_listing(FLOWTABLES)
    assert listing.flowtables == [
        Flowtable("inet", "fw", "ft", 7, "ingress", 10, ("eth0", "eth1"), ("offload",)),
        Flowtable("inet", "fw", "early", None, "ingress", -300, ("lan0",)),
    ]
    assert text_of(listing, "inet", "fw", "c", 4) == "ip protocol tcp flow add @ft"
