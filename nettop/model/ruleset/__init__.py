"""Chains and rules of nftables and iptables as one ruleset, with counters."""
