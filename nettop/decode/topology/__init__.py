"""Devices, neighbours, policy rules and queues of a namespace, and the list of the host's namespaces."""
