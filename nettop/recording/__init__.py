"""pcap and pcapng: reading, writing, rotation."""
