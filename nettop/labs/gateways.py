"""The default lab: two NAT gateways between two private networks.

    lan-a 192.168.1.2 ── 192.168.1.1 gw-a 100.100.100.1 ── net ── 200.200.200.1 gw-b 192.168.2.1 ── 192.168.2.2 lan-b

Gateway A rewrites the source of what leaves (SNAT, nftables); gateway B sends port 443 on to machine B
(DNAT, iptables). `|| true`: some kernels have no quota, no helper or no ip_tables.
"""

from __future__ import annotations

from nettop.labs.lab import Lab, accounting, pings, veth

INTERNET = "198.51.100.4"  # a server between the gateways
BLOCKED = "203.0.113.66"  # another one, whom the rules of gateway A block

GATEWAYS = Lab(
    name="gateways",
    look="Flows: gateway A rewrites machine A's flows (SNAT). Traces: its rules drop those to 203.0.113.66.",
    namespaces=("lan-a", "gw-a", "net", "gw-b", "lan-b"),
    opens="gw-a",
    commands=veth("lan-a eth0 192.168.1.2/24 fd00:1::2/64", "gw-a eth0 192.168.1.1/24 fd00:1::1/64")
    + veth("gw-a eth1 100.100.100.1/24 fd00:100::1/64", "net eth0 100.100.100.2/24 fd00:100::2/64")
    + veth("net eth1 200.200.200.2/24", "gw-b eth1 200.200.200.1/24")
    + veth("gw-b eth0 192.168.2.1/24", "lan-b eth0 192.168.2.2/24")
    + """
ip -n net addr add 198.51.100.4/32 dev lo
ip -n net addr add 203.0.113.66/32 dev lo
ip -n net addr add fd00:198::4/128 dev lo
ip -n lan-a route add default via 192.168.1.1
ip -n lan-a route add default via fd00:1::1
ip -n gw-a route add default via 100.100.100.2
ip -n gw-a route add default via fd00:100::2
ip -n gw-b route add default via 200.200.200.2
ip -n lan-b route add default via 192.168.2.1
ip -n net route add fd00:1::/64 via fd00:100::1
ip netns exec gw-a sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip netns exec net sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip netns exec gw-b sysctl -qw net.ipv4.ip_forward=1
"""
    + accounting("gw-a")
    + accounting("gw-b")
    + """
ip netns exec gw-a nft '
table inet fw {
    set bad { type ipv4_addr; elements = { 203.0.113.66 } }
    chain blocked {
        ip daddr @bad counter drop comment "known bad"
        counter return
    }
    chain lan {
        ip daddr 203.0.113.0/24 counter jump blocked
        tcp dport { 21, 80, 443, 8443 } counter accept
        udp dport { 53, 443, 4500 } counter accept
        meta l4proto { icmp, ipv6-icmp } counter accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related counter accept
        iifname "eth0" counter jump lan
        ct state invalid counter drop
    }
    chain input {
        type filter hook input priority filter; policy accept;
        ct state invalid counter drop
    }
}
table ip edge {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth1" ip saddr 192.168.1.0/24 counter snat to 100.100.100.1
    }
}
'
ip netns exec gw-a nft '
table inet account {
    counter web { }
    counter names { }
    quota upload { over 2000 mbytes }
    set talkers { type ipv4_addr . ipv4_addr; size 1024; flags dynamic; }
    chain sums {
        type filter hook forward priority 10; policy accept;
        tcp dport { 80, 443 } counter name "web"
        udp dport 53 counter name "names"
        iifname "eth0" update @talkers { ip saddr . ip daddr counter }
        oifname "eth1" quota name "upload" drop
    }
}
' || true
ip netns exec gw-a nft '
table ip helped {
    ct helper ftp { type "ftp" protocol tcp; }
    chain pre {
        type filter hook prerouting priority filter; policy accept;
        tcp dport 21 ct helper set "ftp"
    }
}
' || true
ip netns exec gw-a iptables -t mangle -A FORWARD -p tcp --dport 443 -j CONNMARK --set-mark 0x1
ip netns exec gw-a iptables -t mangle -A POSTROUTING -o eth1 -m comment --comment leaves -j ACCEPT
ip netns exec gw-a iptables-legacy -t raw -A PREROUTING -i eth0 -p icmp -j ACCEPT || true
ip netns exec gw-a iptables-legacy -t raw -A PREROUTING -i eth1 -s 192.168.0.0/16 -j DROP || true
ip netns exec gw-b iptables -t nat -A PREROUTING -d 200.200.200.1 -p tcp --dport 443 -j DNAT --to 192.168.2.2:443
ip netns exec gw-b iptables -P FORWARD DROP
ip netns exec gw-b iptables -N dmz
ip netns exec gw-b iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ip netns exec gw-b iptables -A FORWARD -i eth1 -d 192.168.2.0/24 -j dmz
ip netns exec gw-b iptables -A dmz -p tcp --dport 443 -m comment --comment webserver -j ACCEPT
ip netns exec gw-b iptables -A dmz -j REJECT --reject-with icmp-port-unreachable
""",
    traffic="""
lan-b serve tcp 0.0.0.0 443
net serve tcp 198.51.100.4 80
net serve tcp 198.51.100.4 443
net serve tcp fd00:198::4 80
net serve tcp fd00:198::4 443
net serve ftp 198.51.100.4 21
net serve udp 198.51.100.4 53
net serve udp 198.51.100.4 443
net serve udp 198.51.100.4 4500
net serve udp fd00:198::4 53
lan-a wait 200.200.200.1 443
lan-a wait fd00:198::4 80
lan-a every 60 get 200.200.200.1 443 30000000 400000
lan-a every 90 get 198.51.100.4 443 6000000 60000
lan-a every 90 get fd00:198::4 443 2000000 20000
lan-a every 0.5 get 200.200.200.1 443 500-20000 0
lan-a every 1.3 get 198.51.100.4 80 500-5000 0
lan-a every 1 get 203.0.113.66 443 1 0
lan-a every 8 ftp 198.51.100.4 400000 40000
lan-a every 0.4 send 198.51.100.4 53 40 0.05 2
lan-a every 1.1 send fd00:198::4 53 60 0.05 2
lan-a send 198.51.100.4 443 900 0.02
lan-a send 198.51.100.4 4500 120 1
lan-a send 203.0.113.66 53 40 0.25
lan-a ping 200.200.200.1 1
lan-a ping 198.51.100.4 0.5
lan-a ping fd00:198::4 1
""",
    facts=(*pings("lan-a 198.51.100.4, lan-a 203.0.113.66 fails, lan-b 198.51.100.4 fails"),),
)
