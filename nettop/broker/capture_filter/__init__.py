"""Capture filters: libpcap, and the words of its language."""
