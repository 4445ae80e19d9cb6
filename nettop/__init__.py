"""nettop: conntrack, NAT, netfilter chains and packets of a Linux host or namespace, in the terminal."""

__version__ = "0.1.0"
