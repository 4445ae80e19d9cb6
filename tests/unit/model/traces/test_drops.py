"""The kernel's drops given to traced packets: by device, length and time, each drop once."""

from __future__ import annotations

from dataclasses import replace

from nettop.decode.drops import DropRecord, DropRecords
from nettop.model.traces.drops import PendingDrops, dropped
from nettop.model.traces.ends import where, why_dropped
from nettop.model.traces.headers import PacketHead
from nettop.model.traces.journey import Drop, Journey, JourneyEnd

SECOND = 1_000_000_000


HEAD = PacketHead(1, "10.0.0.1", "10.0.0.2", None, None, 84)


def packet(device: str | None = "lan0", ts_ns: int = SECOND, verdict: str = "", head: PacketHead = HEAD) -> Journey:
    """A packet; `verdict` "": it may still be on its way, "lost": it has ended without one."""
    end = JourneyEnd(verdict) if verdict else None
    return Journey(1, 0, "t", ts_ns, "prerouting", head, head, device, end=end, last_ns=SECOND, device=device)


def drop(reason: str = "IP_RPFILTER", **more: object) -> DropRecord:
    given: dict[str, object] = {"ts_ns": SECOND, "protocol": 0x0800, "length": 84, "device": "lan0", **more}
    return DropRecord(reason=reason, function="f", **given)  # type: ignore[arg-type]


def test_of_packets_of_one_length_those_without_a_verdict_come_first() -> None:
    accepted, lost = packet(verdict="accept"), packet(ts_ns=SECOND + 1)
    assert dropped(drop(), [accepted, lost]) is lost and lost.drop == (drop(), "likely")
    assert dropped(drop("NO_SOCKET"), [accepted, lost]) is accepted
    assert dropped(drop("NO_SOCKET"), [accepted, lost]) is None, "each has one"


def test_an_accepted_packet_that_others_fit_as_well_is_possible_only() -> None:
    packets = [packet(verdict="accept"), packet(verdict="accept", ts_ns=SECOND + 1)]
    own = drop("NO_SOCKET")
    assert dropped(own, packets) is packets[0] and packets[0].drop == (own, "possible")


def test_a_drop_by_a_rule_is_that_of_a_packet_that_a_rule_dropped() -> None:
    accepted, refused = packet(verdict="accept"), packet(verdict="drop", ts_ns=SECOND + 1)
    assert dropped(drop("NETFILTER_DROP"), [accepted, refused]) is refused
    refused = packet(verdict="drop", ts_ns=SECOND + 1)
    assert dropped(drop("NETFILTER_DROP"), [packet(verdict="lost"), refused]) is refused, "not of a lost one"
    assert dropped(drop("NETFILTER_DROP"), [packet()]) is None, "one on its way may have another end"
    assert dropped(drop("IP_RPFILTER"), [refused]) is None


def test_what_a_closed_socket_had_in_its_queue_was_not_dropped_on_its_way() -> None:
    """An end of a connection is a QUEUE_PURGE for each FIN, of the length of the pure ACKs before it."""
    forwarded, lost = packet(verdict="accept"), packet(verdict="lost")
    forwarded.end = JourneyEnd("accept", oif="wan0")
    purged = drop("QUEUE_PURGE")
    assert dropped(purged, [packet(verdict="accept"), packet()]) is None
    assert dropped(purged, [forwarded]) is forwarded, "the queue of a device or a neighbour"
    assert dropped(purged, [lost]) is lost


def test_another_device_length_protocol_or_time_is_another_packet() -> None:
    others = (
        drop(device="wan0"),
        drop(length=85),
        drop(protocol=0x86DD),
        drop(ts_ns=2 * SECOND),
        drop(device=None, length=None),
    )
    assert [dropped(other, [packet()]) for other in others] == [None] * 5
    short = packet(head=PacketHead(17, "10.0.0.1", "10.0.0.2", 1, 2, 29))
    assert dropped(drop(length=46), [short]) is short, "Ethernet pads it"


def test_a_packet_that_ended_without_a_verdict_was_read_late() -> None:
    """Its records have the time when they were read, the drop that of the kernel."""
    earlier = drop(ts_ns=SECOND // 4)
    assert dropped(earlier, [packet()]) is None, "it may still be on its way"
    lost = packet(verdict="lost")
    assert dropped(earlier, [lost, packet(verdict="accept")]) is lost


def test_what_this_host_sends_is_only_possible() -> None:
    sent = packet(device=None)
    assert dropped(drop(device=None, length=None), [sent]) is sent
    assert sent.drop is not None and sent.drop.certainty == "possible"


def test_a_drop_at_a_socket_is_of_a_packet_for_this_host_and_one_on_the_way_out_of_one_that_leaves() -> None:
    def pair() -> tuple[Journey, Journey]:
        leaving, received = packet(verdict="accept"), packet(verdict="accept", ts_ns=SECOND + 1)
        leaving.end = JourneyEnd("accept", oif="wan0")
        return leaving, received

    for reason, function in (("NO_SOCKET", "f"), ("NOT_SPECIFIED", "__udp4_lib_rcv"), ("TCP_CSUM", "tcp_v4_rcv")):
        leaving, received = pair()
        assert dropped(replace(drop(reason), function=function), [leaving, received]) is received
        assert received.drop is not None and received.drop.certainty == "likely"
    for reason, function in (("NEIGH_FAILED", "f"), ("NOT_SPECIFIED", "neigh_resolve_output")):
        leaving, received = pair()
        assert dropped(replace(drop(reason), function=function), [received, leaving]) is leaving


def test_a_fragment_that_is_freed_with_its_packet_is_no_drop() -> None:
    assert dropped(replace(drop("NOT_SPECIFIED"), function="skb_release_data"), [packet(verdict="lost")]) is None


def test_a_packet_that_left_is_dropped_when_its_next_hop_does_not_answer() -> None:
    """Seconds later: the packet is complete by then, and its drop is reported on its own."""
    for own in (
        drop("NEIGH_FAILED", ts_ns=4 * SECOND),
        replace(drop("X", ts_ns=4 * SECOND), function="neigh_invalidate"),
    ):
        pending, leaving = PendingDrops(10), packet(verdict="accept")
        leaving.end = JourneyEnd("accept", oif="wan0")
        pending.end(leaving)
        pending.apply(DropRecords(3 * SECOND), ())
        assert pending.knows(leaving)
        pending.apply(DropRecords(5 * SECOND, records=[drop("NO_SOCKET", ts_ns=4 * SECOND), own]), ())
        assert [*pending.late] == [leaving] and leaving.drop == (own, "likely")
        assert where(leaving).startswith("accepted, out of wan0; then dropped: drop reason ")


def test_a_packet_without_a_drop_says_that_drops_were_lost() -> None:
    pending, lost, later = PendingDrops(10), packet(verdict="lost"), packet(verdict="lost")
    pending.end(lost)
    pending.apply(DropRecords(SECOND, lost=3), ())
    pending.end(later)
    pending.apply(DropRecords(3 * SECOND, lost=3), ())
    assert where(lost).endswith("forwarding is off; drop reasons were lost")
    assert where(later).endswith("forwarding is off")


def test_a_packet_whose_last_record_was_read_before_a_drop_is_not_the_dropped_one() -> None:
    """Records are read after the kernel made them, and it drops a packet at once after its last hook."""
    earlier, own = packet(verdict="accept"), packet(verdict="accept", ts_ns=SECOND + 30_000_000)
    own.last_ns = own.ts_ns
    assert dropped(drop("SOCKET_RCVBUFF", ts_ns=SECOND + 20_000_000), [earlier, own]) is own
    assert own.drop is not None and own.drop.certainty == "likely" and earlier.drop is None


def test_routing_drops_no_packet_of_ip_that_was_accepted() -> None:
    """A device of another namespace may have the same name."""
    accepted, bridged = packet(verdict="accept"), packet(verdict="accept")
    bridged.family = "bridge"  # routing comes after it
    assert dropped(drop("IP_RPFILTER"), [accepted]) is None
    assert dropped(replace(drop("NOT_SPECIFIED"), function="ip_error"), [accepted]) is None
    assert dropped(drop("IP_RPFILTER"), [accepted, bridged]) is bridged


def test_the_meaning_of_a_drop_is_said_by_its_reason_or_without_one_by_the_function() -> None:
    lost = packet(verdict="lost")
    lost.drop = Drop(drop(), "likely")
    assert why_dropped(lost) == "IP_RPFILTER: the route back leads through another device (rp_filter)"
    lost.drop = Drop(replace(drop("NOT_SPECIFIED"), function="ip_error"), "likely")
    assert "blackhole" in why_dropped(lost)
    lost.drop = Drop(drop("NOT_SPECIFIED"), "likely")
    assert why_dropped(lost) == why_dropped(packet(verdict="lost")) == ""
