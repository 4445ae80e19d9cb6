"""All labs by their names, the default one first."""

from __future__ import annotations

from nettop.labs import bridges, gateways, macvlan, router, stacked, tunnels, vm_host

_LABS = (
    gateways.GATEWAYS,
    bridges.BRIDGE,
    bridges.HAIRPIN,
    tunnels.VETH,
    macvlan.PRIVATE,
    macvlan.BRIDGE,
    macvlan.VEPA,
    macvlan.PASSTHRU,
    macvlan.MACVTAP,
    tunnels.VXLAN,
    tunnels.TUN,
    vm_host.VM_HOST,
    router.ROUTER,
    *stacked.IPVLANS,
    stacked.BOND,
    stacked.TEAM,
    stacked.VLAN,
)
LABS = {lab.name: lab for lab in _LABS}
DEFAULT = gateways.GATEWAYS.name
