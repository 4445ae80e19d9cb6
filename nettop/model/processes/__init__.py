"""Which process of this host a flow belongs to."""
