"""Where batches come from: packet rings, netlink sockets, recordings."""
