"""The privileged part: a small process that opens things and passes descriptors. client.py is its only interface."""
