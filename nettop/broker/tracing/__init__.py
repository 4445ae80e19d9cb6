"""The marks that trace packets, the records of iptables-legacy, and the drops of the kernel: what only a broker may."""
