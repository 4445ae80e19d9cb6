"""A router with rules in all five tables of iptables, between a LAN, a DMZ and the internet."""

from __future__ import annotations

from nettop.labs.lab import Fact, Lab, accounting, pings, veth

ROUTER = Lab(
    name="router",
    look="Chains: a packet meets the rules of raw, mangle, nat, filter and security, in this order.",
    namespaces=("lan", "dmz", "router", "net"),
    opens="router",
    commands=veth("lan eth0 192.168.1.2/24", "router lan0 192.168.1.1/24")
    + veth("dmz eth0 192.168.2.2/24", "router dmz0 192.168.2.1/24")
    + veth("net eth0 198.51.100.4/24", "router wan0 198.51.100.1/24")
    + """
ip -n lan route add default via 192.168.1.1
ip -n dmz route add default via 192.168.2.1
ip -n router route add default via 198.51.100.4
ip -n net addr add 203.0.113.66/32 dev lo
ip netns exec router sysctl -qw net.ipv4.ip_forward=1
ip netns exec router iptables -t raw -A PREROUTING -i wan0 -s 192.168.0.0/16 -j DROP
ip netns exec router iptables -t raw -A PREROUTING -p udp --dport 4500 -j CT --notrack
ip netns exec router iptables -t raw -A OUTPUT -o lo -j ACCEPT
ip netns exec router iptables -t mangle -A PREROUTING -i lan0 -p tcp --dport 443 -j MARK --set-mark 0x10
ip netns exec router iptables -t mangle -A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu
ip netns exec router iptables -t mangle -A POSTROUTING -m mark --mark 0x10 -j CONNMARK --save-mark
ip netns exec router iptables -t nat -A PREROUTING -i wan0 -p tcp --dport 8443 -j DNAT --to 192.168.2.2:443
ip netns exec router iptables -t nat -A PREROUTING -i lan0 -p udp --dport 53 -j REDIRECT --to-ports 5353
ip netns exec router iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE
ip netns exec router iptables -N services
ip netns exec router iptables -N out
ip netns exec router iptables -A services -p tcp --dport 443 -m comment --comment web -j ACCEPT
ip netns exec router iptables -A services -j REJECT --reject-with icmp-port-unreachable
ip netns exec router iptables -A out -d 203.0.113.66 -m comment --comment blocked -j DROP
ip netns exec router iptables -A out -j ACCEPT
ip netns exec router iptables -P FORWARD DROP
ip netns exec router iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ip netns exec router iptables -A FORWARD -o dmz0 -j services
ip netns exec router iptables -A FORWARD -i lan0 -o wan0 -j out
ip netns exec router iptables -A FORWARD -i lan0 -p udp --dport 4500 -j ACCEPT
ip netns exec router iptables -P INPUT DROP
ip netns exec router iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ip netns exec router iptables -A INPUT -i lo -j ACCEPT
ip netns exec router iptables -A INPUT -p icmp -j ACCEPT
ip netns exec router iptables -A INPUT -i lan0 -p udp --dport 5353 -j ACCEPT
ip netns exec router iptables -t security -A INPUT -p icmp -j ACCEPT
ip netns exec router iptables -t security -A FORWARD -o wan0 -m comment --comment leaves -j ACCEPT
"""
    + accounting("router"),
    traffic="""
dmz serve tcp 192.168.2.2 443
net serve tcp 198.51.100.4 443
net serve udp 198.51.100.4 443
router serve udp 192.168.1.1 5353
lan wait 198.51.100.4 443
lan every 0.5 get 198.51.100.4 443 500-20000 0
lan every 1 get 192.168.2.2 443 500-5000 0
lan every 1 get 192.168.2.2 22 1 0
lan every 1 get 203.0.113.66 443 1 0
lan every 0.5 send 198.51.100.4 53 40 0.05 2
lan send 198.51.100.4 443 900 0.1
lan send 198.51.100.4 4500 120 1
lan ping 198.51.100.4 1
net every 1 get 198.51.100.1 8443 500-5000 0
router ping 198.51.100.4 1
""",
    facts=(
        *pings("lan 198.51.100.4, lan 203.0.113.66 fails, lan 192.168.2.2 fails, net 192.168.1.2 fails"),
        Fact("ip netns exec net timeout 3 bash -c '</dev/tcp/198.51.100.1/8443'"),
        Fact("ip netns exec net timeout 3 bash -c '</dev/tcp/198.51.100.1/443'", fails=True),
        *(
            Fact(f"ip netns exec router iptables -t {table} -S {chain}", prints=words)
            for table, chain, words in (
                ("raw", "PREROUTING", "-p udp -m udp --dport 4500 -j CT --notrack"),
                ("mangle", "FORWARD", "-j TCPMSS --clamp-mss-to-pmtu"),
                ("nat", "POSTROUTING", "-o wan0 -j MASQUERADE"),
                ("filter", "FORWARD", "-P FORWARD DROP"),
                ("security", "INPUT", "-A INPUT -p icmp -j ACCEPT"),
            )
        ),
    ),
)
