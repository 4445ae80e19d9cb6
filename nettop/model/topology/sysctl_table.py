"""The sysctls that decide what becomes of a packet: the table of their names, defaults, meanings and effects.

Defaults are the kernel's own (Documentation/networking/ip-sysctl.rst, nf_conntrack-sysctl.rst); a distribution may
change them. `combine` is the rule by which the values of `all` and of a device make the one in effect, as the macros
of include/linux/inetdevice.h and net/ipv6 do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX, OR, AND, DEVICE, ALL, REDIRECTS = "max", "or", "and", "device", "all", "redirects"


@dataclass(frozen=True, slots=True)
class SysctlKind:
    """One sysctl; with `{}` in its name one of each device."""

    name: str
    default: str  # "": by the size of memory
    meaning: str
    effects: Mapping[str, str] = field(default_factory=dict)  # value → what it does to packets; "": any other value
    combine: str = ""
    unit: str = ""
    gone: str = ""  # version of Linux that removed it


def _switch(off: str, on: str) -> dict[str, str]:
    return {"0": off, "": on}


_V4, _V6 = "net.ipv4.conf.{}.", "net.ipv6.conf.{}."
_CT = "net.netfilter.nf_conntrack_"
_DEVICE = (
    SysctlKind(_V4 + "forwarding", "0", "forwarding of IPv4 packets that arrive here",
        _switch("packets to other hosts that arrive here are dropped", "packets to other hosts are routed on"), DEVICE),
    SysctlKind(_V4 + "rp_filter", "0", "check of a packet's source address by the route back to it (RFC 3704)",
        {"0": "off: any source address is accepted",
         "1": "strict: dropped unless the best route back to the source leaves by this device",
         "2": "loose: dropped unless there is some route back to the source"}, MAX),
    SysctlKind(_V4 + "proxy_arp", "0", "answers to ARP requests for addresses that are routed elsewhere",
        _switch("only own addresses are answered",
                "requests for addresses that are routed through another device are answered with this device's MAC"),
        OR),
    SysctlKind(_V4 + "proxy_arp_pvlan", "0",
        "answers to ARP requests for hosts behind the same device (private VLAN, RFC 3069)",
        _switch("none for addresses behind the same device", "answered, though the host is behind the same device"),
        OR),
    SysctlKind(_V4 + "accept_local", "0", "packets from other hosts with a source address of this one",
        _switch("dropped as martians", "accepted if the route back passes rp_filter"), OR),
    SysctlKind(_V4 + "route_localnet", "0", "127.0.0.0/8 on devices other than lo",
        _switch("packets from or to 127.0.0.0/8 are dropped as martians, so DNAT to 127.0.0.1 fails",
                "routed as any other address: services on 127.0.0.1 can be reached by DNAT"), OR),
    SysctlKind(_V4 + "arp_ignore", "0", "the own addresses for which ARP requests are answered",
        {"0": "any address of this namespace, on whatever device it is",
         "1": "only addresses of the device at which the request arrives",
         "2": "only addresses of that device in the subnet of the asking host",
         "3": "only addresses of scope global or link", "8": "no request is answered"}, MAX),
    SysctlKind(_V4 + "arp_announce", "0", "the source address in own ARP requests",
        {"0": "any own address", "1": "one in the subnet of the target if there is one",
         "2": "the best address of the device for the target"}, MAX),
    SysctlKind(_V4 + "arp_filter", "0", "answers to ARP requests when several devices are in one LAN",
        _switch("each device answers", "only the device by which the route to the asking host leaves answers"), OR),
    SysctlKind(_V4 + "arp_accept", "0", "neighbours from ARP that nobody asked for (gratuitous)",
        {"0": "only known neighbours are updated", "1": "neighbours are added",
         "2": "neighbours in the subnet of an own address are added"}, MAX),
    SysctlKind(_V4 + "arp_notify", "0", "gratuitous ARP when a device comes up or its MAC changes",
        _switch("none is sent: switches and neighbours learn the MAC by the next packet", "sent for each own address"),
        MAX),
    SysctlKind(_V4 + "arp_evict_nocarrier", "1", "neighbours of a device that loses its carrier (permanent ones stay)",
        _switch("kept, and used again when it is back", "forgotten: the next packet asks again"), AND),
    SysctlKind(_V4 + "accept_redirects", "1",
        "ICMP redirects that arrive (all and the device when it forwards, else one of them)",
        _switch("ignored", "obeyed: a redirect changes the gateway to a destination"), REDIRECTS),
    SysctlKind(_V4 + "send_redirects", "1", "ICMP redirects to hosts of the same LAN that send packets here",
        _switch("none is sent", "sent when a packet leaves by the device it came in by"), OR),
    SysctlKind(_V4 + "log_martians", "0", "kernel log of packets with impossible addresses",
        _switch("dropped silently", "logged when dropped (dmesg: martian source)"), OR),
    SysctlKind(_V4 + "src_valid_mark", "0", "the packet's mark in the lookup of the way back (rp_filter)",
        _switch("the way back is looked up without the mark: rules by fwmark can make it differ",
                "the way back is looked up with the packet's mark"), OR),
    SysctlKind(_V6 + "forwarding", "0",
        "forwarding of IPv6 packets; that of `all` decides for packets, a device's only for router advertisements",
        _switch("packets to other hosts are dropped", "packets to other hosts are routed on"), ALL),
    SysctlKind(_V6 + "force_forwarding", "0",
        "forwarding of IPv6 packets that arrive here, whatever `all` says (since 6.17)",
        _switch("`forwarding` decides", "packets to other hosts are routed on"), DEVICE),
    SysctlKind(_V6 + "accept_ra", "1", "router advertisements that arrive",
        {"0": "ignored: no default route by them", "1": "obeyed while this device does not forward",
         "2": "obeyed even if this device forwards"}, DEVICE),
    SysctlKind(_V6 + "disable_ipv6", "0", "IPv6 on this device",
        _switch("on", "every IPv6 packet is dropped, and the device has no IPv6 address"), DEVICE),
    SysctlKind(_V6 + "proxy_ndp", "0", "answers to neighbour solicitations for the addresses of `ip neigh add proxy`",
        _switch("none for other hosts' addresses", "answered with this device's MAC if it forwards"), OR),
)  # fmt: skip


def _bridged(name: str, hooks: str) -> SysctlKind:
    effects = _switch(f"{hooks} does not see bridged frames", f"{hooks} sees bridged frames, too")
    return SysctlKind(f"net.bridge.bridge-nf-call-{name}", "1", f"bridged frames in {hooks} (br_netfilter)", effects)


_OF_NAMESPACE = (
    SysctlKind("net.ipv4.ip_forward", "0", "forwarding of IPv4 packets; setting it sets that of all devices",
        _switch("packets to other hosts are dropped", "packets to other hosts are routed on")),
    _bridged("iptables", "iptables (ip hooks)"),
    _bridged("ip6tables", "ip6tables (ip6 hooks)"),
    _bridged("arptables", "arptables"),
    SysctlKind("net.bridge.bridge-nf-filter-vlan-tagged", "0", "VLAN-tagged frames in those hooks",
        _switch("tagged frames are not seen", "tagged frames are seen, too")),
    SysctlKind("net.bridge.bridge-nf-filter-pppoe-tagged", "0", "PPPoE frames in those hooks",
        _switch("not seen", "seen, too")),
    SysctlKind("net.bridge.bridge-nf-pass-vlan-input-dev", "0",
        "the incoming device of VLAN-tagged frames in those hooks",
        _switch("the bridge", "the VLAN device on the bridge if there is one")),
    SysctlKind("net.ipv4.tcp_syncookies", "1", "TCP SYNs when the queue of a listening socket is full",
        {"0": "dropped", "1": "answered with a cookie: no state, and fewer TCP options", "2": "all get a cookie"}),
    SysctlKind("net.ipv4.tcp_tw_reuse", "2", "new outgoing TCP connections on a port in TIME-WAIT",
        {"0": "the port waits 60 s", "1": "the port is used again after a second, if both ends use TCP timestamps",
         "2": "the port is used again after a second, on loopback only"}),
    SysctlKind("net.ipv4.tcp_tw_recycle", "0", "fast end of TIME-WAIT by a host's TCP timestamps",
        _switch("off", "SYNs of several clients behind one NAT address are dropped"), gone="4.12"),
    SysctlKind("net.ipv4.ip_local_port_range", "32768 60999", "source ports of outgoing connections", unit="ports"),
    SysctlKind("fs.file-max", "", "open files of the whole host; a socket is one", unit="files"),
    SysctlKind("fs.nr_open", "1048576", "highest limit of open files that one process can have", unit="files"),
    SysctlKind(_CT + "max", "", "flows that may be tracked here; a packet that needs one more is dropped",
        unit="flows"),
    SysctlKind(_CT + "count", "", "flows that are tracked here now", unit="flows"),
    SysctlKind(_CT + "buckets", "", "size of the hash of all flows of the host", unit="buckets"),
    SysctlKind(_CT + "expect_max", "", "expected connections (of FTP, SIP …) that are kept", unit="expectations"),
    SysctlKind(_CT + "acct", "0", "packets and bytes of each flow",
        _switch("not counted", "counted for flows made since")),
    SysctlKind(_CT + "timestamp", "0", "times of each flow's begin and end", _switch("not kept", "kept")),
    SysctlKind(_CT + "events", "2", "events of flows",
        {"0": "none", "1": "of all flows", "2": "of flows that began while somebody listened"}),
    SysctlKind(_CT + "helper", "0", "helpers (FTP, SIP …) by port number",
        _switch("only those that a rule assigns", "assigned by port: any host can open ports by their protocol"),
        gone="6.1"),
    SysctlKind(_CT + "tcp_loose", "1", "TCP connections whose SYN was not seen",
        _switch("their packets are invalid", "tracked from the middle on")),
    SysctlKind(_CT + "tcp_be_liberal", "0", "TCP packets outside of the window",
        _switch("invalid: rules for `ct state invalid` drop them, and they are not translated",
                "accepted but for RST")),
    SysctlKind(_CT + "tcp_ignore_invalid_rst", "0", "TCP RST outside of the window",
        _switch("invalid", "ends no connection")),
    SysctlKind(_CT + "tcp_max_retrans", "3", "packets sent again before the timeout max_retrans holds", unit="packets"),
    SysctlKind(_CT + "checksum", "1", "checksums of incoming packets",
        _switch("not checked", "packets with a wrong one are invalid and not tracked")),
    SysctlKind(_CT + "log_invalid", "0", "log of invalid packets (by protocol number)",
        {"0": "none", "255": "all protocols", "": "this protocol"}),
    SysctlKind(_CT + "frag6_high_thresh", "", "memory for fragments of IPv6 packets; more are dropped", unit="bytes"),
    SysctlKind("net.netfilter.nf_log.2", "", "logger of IPv4 packets, for `log` rules and traces of iptables-legacy"),
    SysctlKind("net.netfilter.nf_log.10", "", "logger of IPv6 packets, for `log` rules and traces of iptables-legacy"),
    SysctlKind("net.netfilter.nf_log_all_netns", "0", "kernel log of `log` rules in other namespaces than the first",
        _switch("they write nothing", "they write to the kernel log of the host")),
    SysctlKind("net.netfilter.nf_hooks_lwtunnel", "0", "hooks for packets in lightweight tunnels (SRv6)",
        _switch("no rule sees the inner packet", "rules see the inner packet")),
)  # fmt: skip
_TIMEOUTS = {  # the state of the flow by the end of the name: default in s
    "generic_timeout": "600", "icmp_timeout": "30", "icmpv6_timeout": "30", "udp_timeout": "30",
    "udp_timeout_stream": "120", "gre_timeout": "30", "gre_timeout_stream": "180", "frag6_timeout": "60",
    "tcp_timeout_syn_sent": "120", "tcp_timeout_syn_recv": "60", "tcp_timeout_established": "432000",
    "tcp_timeout_fin_wait": "120", "tcp_timeout_close_wait": "60", "tcp_timeout_last_ack": "30",
    "tcp_timeout_time_wait": "120", "tcp_timeout_close": "10", "tcp_timeout_max_retrans": "300",
    "tcp_timeout_unacknowledged": "300", "sctp_timeout_closed": "10", "sctp_timeout_cookie_wait": "3",
    "sctp_timeout_cookie_echoed": "3", "sctp_timeout_established": "210", "sctp_timeout_shutdown_sent": "3",
    "sctp_timeout_shutdown_recd": "3", "sctp_timeout_shutdown_ack_sent": "3", "sctp_timeout_heartbeat_sent": "30",
}  # fmt: skip


_STATES = {
    "": "",
    "stream": " that had packets both ways",
    "max_retrans": " that send again and again",
    "unacknowledged": " with data that is not acknowledged",
}


def _timeout(name: str, default: str) -> SysctlKind:
    protocol, _, state = name.partition("_timeout")
    flows = {"frag6": "fragments of IPv6 packets", "generic": "flows of other protocols", "icmpv6": "ICMPv6 flows"}
    of = flows.get(protocol, f"{protocol.upper()} flows") + _STATES.get(state[1:], f" in {state[1:]}")
    return SysctlKind(_CT + name, default, f"lifetime of {of}, from the last packet on", unit="s")


KINDS: tuple[SysctlKind, ...] = (*_OF_NAMESPACE, *(_timeout(*item) for item in _TIMEOUTS.items()), *_DEVICE)
