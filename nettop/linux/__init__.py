"""Numbers of the kernel's headers, each defined once, with a module for each header or group of them."""
