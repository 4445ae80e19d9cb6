"""nf_tables messages, nft's JSON and iptables-save: rules, sets, objects and their counters."""
