"""The contents of sets, maps and IP sets, and which of them hold an address."""
