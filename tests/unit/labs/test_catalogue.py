"""The labs as data: what can be read of them without a kernel."""

from __future__ import annotations

import inspect
import re
import subprocess

import pytest

from nettop.labs import traffic
from nettop.labs.catalogue import DEFAULT, LABS
from nettop.labs.lab import Lab
from tests.kernel.commands import ROOT, nettop

EACH = pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
TOOLS = {"ip", "bridge", "nft", "iptables", "iptables-legacy", "sysctl", "teamd"}


@EACH
def test_the_commands_need_no_shell_beyond_quotes(lab: Lab) -> None:
    for words, _ in lab.commands_to_run():
        assert words[0] == "ip"
        tool = words[4] if words[1:3] == ["netns", "exec"] else "ip"
        assert tool in TOOLS
        assert not {"||", "&&", ";", "|", ">", "<", "&"}.intersection(words)


@EACH
def test_a_shell_takes_them_as_we_do(lab: Lab) -> None:
    """`ip` prints its arguments there instead."""
    script = "ip() { printf '%s\\0' \"$@\"; printf '\\n\\0'; }\n" + lab.shown()
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(
        "".join(f"{word}\0" for word in words[1:]) + "\n\0" for words, _ in lab.commands_to_run()
    )


@EACH
def test_its_traffic_is_known_verbs_in_its_namespaces(lab: Lab) -> None:
    assert lab.opens in lab.namespaces
    lines = [line.split() for line in lab.traffic.strip().splitlines()]
    assert lines
    assert {line[0] for line in lines} <= set(lab.namespaces)
    for name in lab.namespaces:
        for line in lab.traffic_of(name):
            words = line.split()
            while words[0] == "every":
                float(words[1])
                words = words[2:]
            inspect.signature(traffic._VERBS[words[0]]).bind(*words[1:])


@EACH
def test_its_line_fits_a_screen_and_it_has_facts(lab: Lab) -> None:
    assert len(lab.look) <= 100
    assert lab.look.endswith(".")
    assert lab.facts


def test_the_list_names_every_lab_with_its_line() -> None:
    done = nettop("demo", "--list")
    assert done.returncode == 0
    assert [line.split(maxsplit=1) for line in done.stdout.splitlines()] == [
        [lab.name, lab.look] for lab in LABS.values()
    ]
    assert done.stdout.startswith(DEFAULT)


@pytest.mark.parametrize("name", LABS)
def test_only_the_default_lab_has_a_recording(name: str) -> None:
    if name != DEFAULT:
        done = nettop("demo", name, "--replay")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert done.stderr == f"nettop: the lab {name} has no recording: only gateways has one\n"


def test_the_readme_has_every_lab() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Labs\n")[2].partition("\n## ")[0]
    names = re.findall(r"`([a-z0-9-]+)`", "\n".join(line.split("|")[1] for line in section.splitlines() if "|" in line))
    assert sorted(f"macvlan{name}" if name.startswith("-") else name for name in names) == sorted(LABS)
