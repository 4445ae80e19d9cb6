"""What the doctor cannot read it calls unknown."""

from __future__ import annotations

import pytest

from nettop.headless import doctor

SYSCTLS = "/proc/sys/net/netfilter/nf_conntrack_"


def found(monkeypatch: pytest.MonkeyPatch, **readable: str) -> str:
    """The line about conntrack on a host of which only these sysctls can be read."""
    files = {SYSCTLS + name: value for name, value in readable.items()}
    monkeypatch.setattr(doctor, "_read", files.get)
    lines = doctor.lines([check() for check in doctor.CHECKS], as_json=False)
    return next(line for line in lines if " conntrack " in line)


def test_the_table_and_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, max="262144", count="12", buckets="65536").endswith("12 of 262144 entries, 65536 buckets")


def test_what_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    line = found(monkeypatch, max="262144")
    assert line.endswith("an unknown number of 262144 entries, an unknown number of buckets")


def test_no_check_says_none() -> None:
    assert not [line for line in doctor.lines([check() for check in doctor.CHECKS], False) if "None" in line]


@pytest.mark.parametrize(
    "restriction", ["user.max_user_namespaces=0", "kernel.apparmor_restrict_unprivileged_userns=1"]
)
def test_a_host_that_restricts_user_namespaces_is_told_how_the_lab_is_built(
    restriction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "userns_restriction", lambda: restriction)
    lines = doctor.lines([check() for check in doctor.CHECKS], as_json=False)
    [line] = [line for line in lines if " user namespaces " in line]
    assert line.startswith("limited") and restriction in line and "sudo nettop demo" in line


def line_about(name: str) -> str:
    lines = doctor.lines([check() for check in doctor.CHECKS], as_json=False)
    return next(line for line in lines if f" {name} " in line)


def test_an_architecture_without_known_system_calls_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert line_about("confinement").startswith("ok ")
    monkeypatch.setattr(doctor.seccomp.platform, "machine", lambda: "sparc64")
    line = line_about("confinement")
    assert line.startswith("limited") and "knows no system call numbers of sparc64" in line


def test_files_that_others_may_change_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.installation, "first_changeable", lambda paths: "/x may be changed by joe")
    line = line_about("installation")
    assert line.startswith("limited") and "/x may be changed by joe" in line and "install nettop as root" in line
