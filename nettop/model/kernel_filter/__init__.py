"""The part of a filter that the kernel can run, as a socket filter or as the filter of a dump."""
