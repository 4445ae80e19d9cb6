"""Makes the recordings of captures/ again, from real kernels."""
