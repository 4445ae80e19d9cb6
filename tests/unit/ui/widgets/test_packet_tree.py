"""The tree's folds and the lit bytes of the dump."""

from __future__ import annotations

from nettop.model.table import Line, PacketDetail
from nettop.text.hexdump import hex_lines
from nettop.ui.widgets.packet_tree import HexPane, PacketTree, _unfolded

TREE: tuple[Line, ...] = tuple(((name, "heading" if depth == 0 else "key"),) for name, depth in
                               (("Frame", 0), ("a", 1), ("IPv4", 0), ("b", 1), ("c", 2), ("TCP", 0)))  # fmt: skip
DEPTHS = (0, 1, 0, 1, 2, 0)


def _lit(data: bytes, start: int, end: int) -> list[str]:
    pane = HexPane()
    pane.text = tuple(((line.text(), ""),) for line in hex_lines(data))
    pane.light(start, end)
    return ["".join(text for text, role in pane.line(at) if role == "lit") for at in range(len(pane.text))]


def test_folding_hides_what_is_below_a_branch() -> None:
    assert _unfolded(TREE, DEPTHS, {"IPv4"}) == [0, 1, 2, 5]
    assert _unfolded(TREE, DEPTHS, set()) == [0, 1, 2, 3, 4, 5]
    assert _unfolded(TREE, (), {"IPv4"}) == [0, 1, 2, 3, 4, 5], "without depths there is nothing to fold"


def test_the_bytes_of_a_field_are_lit_in_hex_and_in_text_across_lines() -> None:
    data = bytes(range(0x41, 0x41 + 40))
    assert _lit(data, 14, 18) == ["4f 50OP", "51 52QR", ""]
    assert _lit(data, 7, 9) == ["48  49HI", "", ""]


def test_the_whole_packet_is_not_lit() -> None:
    assert _lit(bytes(40), 0, 40) == ["", "", ""]


def test_the_lower_layers_are_folded_to_begin_with_and_stay_as_a_person_left_them() -> None:
    tree = PacketTree()
    shown = PacketDetail(1, (), TREE, DEPTHS, ((0, 0),) * len(TREE), ())
    tree.show_detail(shown, top=True)
    assert [line[0][0] for line in tree.text] == ["Frame", "IPv4", "TCP"]
    tree.cursor = 1
    tree.fold(False)
    tree.show_detail(shown, top=False)
    assert [line[0][0] for line in tree.text] == ["Frame", "IPv4", "b", "c", "TCP"]
