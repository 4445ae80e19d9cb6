"""The kernel's numbers, each named once, by the header they come from."""
