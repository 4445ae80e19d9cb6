"""What is privileged: a small process that opens things and hands over descriptors. client.py is its only door."""
