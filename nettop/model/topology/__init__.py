"""Links, addresses and routes of each namespace."""
