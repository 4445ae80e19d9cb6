"""The sysctls of a namespace and of its devices as rows, with the value in effect and what it does to packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nettop.model.topology.sysctl_table import ALL, AND, DEVICE, KINDS, MAX, OR, REDIRECTS, SysctlKind

_COMBINED: dict[str, Callable[[int, int], int]] = {
    MAX: max,
    OR: lambda of_all, of_device: int(bool(of_all or of_device)),
    AND: lambda of_all, of_device: int(bool(of_all and of_device)),
    DEVICE: lambda of_all, of_device: of_device,
    ALL: lambda of_all, of_device: of_all,
}
_BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class SysctlRow:
    """One sysctl. Every text is safe for a terminal."""

    name: str  # as sysctl(8) has it
    device: str  # "": of the namespace
    value: str  # "": this kernel does not have it any more
    default: str  # of the kernel; "": by the size of memory
    in_effect: str  # with that of `all` considered
    unit: str
    meaning: str
    effect: str  # what the value in effect does to packets

    @property
    def changed(self) -> bool:
        """True if the value in effect is not the kernel's default."""
        return bool(self.default) and self.in_effect != self.default


def rows(values: Mapping[str, str], device: str = "") -> list[SysctlRow]:
    """Return the sysctls of the namespace, or those of a device; those that this kernel lacks are left out.

    One that a later Linux removed is there, without a value and with the version.
    """
    return list(_rows(values, device))


def conf(values: Mapping[str, str], name: str, device: str) -> int | None:
    """Return the value in effect on a device of "net.ipv4.conf.{}.rp_filter" or the like; None: unknown."""
    return _effective(values, _BY_NAME[name], device)


def number(values: Mapping[str, str], name: str) -> int | None:
    """Return the value of a sysctl that is a number; None: unknown."""
    value = values.get(name, "")
    return int(value) if value.removeprefix("-").isdecimal() else None


def _rows(values: Mapping[str, str], device: str) -> Iterator[SysctlRow]:
    for kind in KINDS:
        name = kind.name.format(_component(device))
        value = values.get(name)
        if ("{}" in kind.name) != bool(device) or (value is None and not kind.gone):
            continue
        if value is None:
            yield SysctlRow(name, device, "", "", "", "", kind.meaning, f"gone since Linux {kind.gone}")
            continue
        effective = _effective(values, kind, device) if device else None
        in_effect = value if effective is None else str(effective)
        effect = kind.effects.get(in_effect, kind.effects.get("", ""))
        if kind.name.endswith("accept_ra") and in_effect == "1":
            forwards = number(values, f"net.ipv6.conf.{_component(device)}.forwarding")
            effect = "ignored: this device forwards" if forwards else effect
        yield SysctlRow(name, device, value, kind.default, in_effect, kind.unit, kind.meaning, effect)


def _effective(values: Mapping[str, str], kind: SysctlKind, device: str) -> int | None:
    own = number(values, kind.name.format(_component(device)))
    of_all = number(values, kind.name.format("all"))
    if own is None or of_all is None:
        return own
    combine = kind.combine
    if combine == REDIRECTS:
        combine = AND if number(values, f"net.ipv4.conf.{_component(device)}.forwarding") else OR
    return _COMBINED[combine](of_all, own)


def _component(device: str) -> str:
    return device.replace(".", "/")
