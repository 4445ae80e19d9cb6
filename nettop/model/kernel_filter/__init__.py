"""The part of a filter that the kernel can decide itself: as a socket filter or a dump's filter."""
