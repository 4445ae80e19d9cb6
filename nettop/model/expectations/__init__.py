"""Expectations of conntrack helpers: the expected connections and their master flows."""
