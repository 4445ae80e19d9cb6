"""The detail of one packet: its tree with the bytes of each line, and the hexdump."""

from __future__ import annotations

from nettop.decode.packets.columns import HAVE_DIRECTION
from nettop.decode.packets.decoder import PacketDecoder
from nettop.linux.netlink import ERROR_TEXT
from nettop.model.packets.blocks import PacketBlock
from nettop.model.packets.cells import gap_text, records_batch
from nettop.model.packets.dissection import TreeNode, dissect
from nettop.model.packets.store import GapRow, PacketStore, Segment
from nettop.model.table import Detail, Line, PacketDetail
from nettop.text.hexdump import hex_lines
from nettop.text.packet import DIRECTIONS, linktype_name
from nettop.text.units import clock

BROKEN = "Broken"
MAX_HEX = 16_384  # bytes shown; a frame larger than that is a TSO segment of one payload


def packet_detail(store: PacketStore, segment: Segment, row: int, row_text: str = "") -> Detail:
    """Return the tree and the hexdump of a packet, or the line of a gap; `row_text`: its PROTO and INFO in the list."""
    if isinstance(segment, GapRow):
        text = gap_text(segment.gap, segment.stream)
        return Detail(segment.ident, ((text, "bad"),), (((text, "bad"),),))
    record = store.record(segment, row)
    nodes = [*_frame(segment, row, record), *dissect(record, segment.stream(row).linktype)]
    number, length = int(segment.ident[row]), int(segment.length[row])
    caplen = int(segment.caplen[row])
    sizes = f"{length} B" if caplen == length else f"{length} B on the wire, {caplen} captured"
    title = ((f"#{number}", "number"), (f"  {sizes}", ""), (f"  {row_text}" if row_text else "", "dim"))
    return PacketDetail(
        ident=number,
        title=title,
        lines=tuple(_line(node, below) for node, below in zip(nodes, [*nodes[1:], None], strict=True)),
        depths=tuple(node.depth for node in nodes),
        ranges=tuple((node.start, node.end) for node in nodes),
        hexdump=tuple(((line.text(), ""),) for line in hex_lines(record, MAX_HEX)),
    )


def _line(node: TreeNode, below: TreeNode | None) -> Line:
    if node.depth == 0:
        mark = " ▾ " if below is not None and below.depth else "   "
        role = "bad" if node.name == BROKEN else "heading"
        return ((mark, "dim"), (node.name, role), (f"   {node.text}" if node.text else "", ""))
    return (("  " * node.depth + "   ", ""), (f"{node.name}  ", "key"), (node.text, ""))


def _frame(block: PacketBlock, row: int, record: bytes) -> list[TreeNode]:
    """Return the lines on the record: device, direction, time, comment, and the errors that nettop's decoder found."""
    stream = block.stream(row)
    decoded = PacketDecoder(stream.linktype)(records_batch(stream, [(block, row)], [record]))
    parts = [stream.name] if stream.name else []
    if decoded.cols["have"][0] & HAVE_DIRECTION:
        parts.append(DIRECTIONS.get(int(decoded.cols["direction"][0]), ""))
    parts.append(clock(int(block.ts_ns[row]), 9))
    nodes = [TreeNode(0, "Frame", ", ".join(part for part in parts if part), 0, len(record))]
    nodes.append(TreeNode(1, "Link type", linktype_name(stream.linktype), 0, 0))
    if stream.netns:
        nodes.append(TreeNode(1, "Namespace", stream.netns, 0, 0))
    if comment := block.comment.get(int(block.ident[row])):
        nodes.append(TreeNode(0, "Comment", comment, 0, 0))
    for code, offset in zip(decoded.errors.code.tolist(), decoded.errors.offset.tolist(), strict=True):
        nodes.append(TreeNode(0, BROKEN, ERROR_TEXT[code], offset, len(record)))
    if len(record) < int(block.caplen[row]):
        nodes.append(TreeNode(0, BROKEN, "its file can no longer be read", 0, 0))
    return nodes
