"""What of a filter the kernel can decide itself: as a socket filter or a dump's filter."""
