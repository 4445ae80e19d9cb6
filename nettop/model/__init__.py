"""Columns to state to snapshots: every model takes now as an argument and knows no toolkit."""
