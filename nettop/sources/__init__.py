"""The sources of batches: packet rings, netlink sockets, recordings."""
