"""Captured packets: kept in blocks, listed, filtered, dissected."""
