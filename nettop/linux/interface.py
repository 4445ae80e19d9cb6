"""Network devices and their ioctls: linux/if.h, linux/if_arp.h, linux/sockios.h."""

IFNAMSIZ = 16  # bytes of a name, its NUL included
IFF_UP, IFF_NOARP = 0x1, 0x80
ARPHRD_ETHER, ARPHRD_LOOPBACK, ARPHRD_NETLINK = 1, 772, 824
SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR, SIOCETHTOOL = 0x8913, 0x8921, 0x8927, 0x8946
