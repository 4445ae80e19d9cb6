"""Rules, sets, objects and their counters, from nf_tables messages and the output of nft and iptables-save."""
