"""Rulesets as Docker, Kubernetes, firewalld, ufw and fail2ban make them, as text for iptables-restore and nft."""

from __future__ import annotations

DOCKER = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -m comment --comment "web" -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -s 10.0.0.0/8 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
"""

FIREWALLD = """\
table inet firewalld {
  chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept; jump mangle_PRE_public; }
  chain mangle_PRE_public { }
  chain nat_PREROUTING { type nat hook prerouting priority dstnat + 10; policy accept; }
  chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; oifname "lo" return; }
  chain filter_PREROUTING { type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain filter_INPUT { type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_INPUT_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct state invalid drop
    reject with icmpx admin-prohibited
  }
  chain filter_OUTPUT { type filter hook output priority filter + 10; policy accept; oifname "lo" accept; }
  chain filter_INPUT_ZONES { goto filter_IN_public; }
  chain filter_IN_public { jump filter_IN_public_allow; }
  chain filter_IN_public_allow { tcp dport 22 ct state { new, untracked } accept; }
}
"""

UFW = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-after-input - [0:0]
:ufw-user-input - [0:0]
:ufw-reject-input - [0:0]
:ufw-logging-deny - [0:0]
:ufw-before-forward - [0:0]
:ufw-not-local - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A INPUT -j ufw-reject-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp -m tcp --dport 22 -m comment --comment "ssh" -j ACCEPT
-A ufw-after-input -p udp -m udp --dport 137 -j ufw-reject-input
COMMIT
"""

FAIL2BAN = """\
table inet f2b-table {
  set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.7, 203.0.113.5 } }
  chain f2b-chain { type filter hook input priority filter - 1; policy accept;
    tcp dport { 22 } ip saddr @addr-set-sshd reject with icmp port-unreachable
  }
}
"""


def kubernetes(services: int = 550, pods: int = 3) -> str:
    """Rules of kube-proxy: services of which each has endpoints; about 9 rules a service."""
    chains, rules = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"], []
    rules += [
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    ]
    for s in range(services):
        service, name = f"KUBE-SVC-{s:016X}", f"default/web-{s}:http"
        address = f"10.96.{s // 250}.{s % 250 + 1}"
        chains.append(service)
        rules.append(
            f'-A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment "{name} cluster IP" -m tcp --dport 80 '
            f"-j {service}"
        )
        for p in range(pods):
            endpoint, pod = f"KUBE-SEP-{s * pods + p:016X}", f"10.244.{s // 250}.{(s * pods + p) % 250 + 1}"
            chains.append(endpoint)
            chance = f"-m statistic --mode random --probability {1 / (pods - p):.11f} " if p < pods - 1 else ""
            rules.append(f'-A {service} -m comment --comment "{name} -> {pod}:8080" {chance}-j {endpoint}')
            rules.append(f'-A {endpoint} -s {pod}/32 -m comment --comment "{name}" -j KUBE-MARK-MASQ')
            rules.append(
                f'-A {endpoint} -p tcp -m comment --comment "{name}" -m tcp -j DNAT --to-destination {pod}:8080'
            )
    rules.append(
        '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this '
        'chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
    )
    declared = [f":{name} - [0:0]" for name in chains]
    builtin = [f":{name} ACCEPT [0:0]" for name in ("PREROUTING", "OUTPUT", "POSTROUTING")]
    return "\n".join(["*nat", *builtin, *declared, *rules, "COMMIT", ""])
