"""The local process of each flow."""
