"""Address families and socket options: linux/socket.h, asm-generic/socket.h, linux/sock_diag.h."""

AF_UNIX, AF_INET, AF_BRIDGE, AF_INET6 = 1, 2, 7, 10
SOL_PACKET, SOL_NETLINK = 263, 270
SO_ATTACH_FILTER, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_LOCK_FILTER, SO_MEMINFO = 26, 32, 33, 44, 55
SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_DROPS, SK_MEMINFO_VARS = 0, 8, 9  # indices of u32s of SO_MEMINFO; their number
SOCK_DIAG_BY_FAMILY = 20
