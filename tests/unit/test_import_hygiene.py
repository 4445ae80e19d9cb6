"""What must not be loaded is not loaded: seen from a bare interpreter, where no other test has imported it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2] / "nettop"


def loaded(statement: str, *names: str) -> list[str]:
    """Which of `names` a bare interpreter has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def modules(package: str) -> str:
    names = sorted(str(p.relative_to(TREE.parent))[:-3].replace("/", ".") for p in (TREE / package).rglob("*.py"))
    return "\n".join(f"import {name}" for name in names if not name.endswith("__main__"))


@pytest.mark.parametrize(
    "package", ["decode", "model", "recording", "pipeline", "session", "sources", "headless", "text"]
)
def test_the_core_loads_no_toolkit(package: str) -> None:
    assert loaded(modules(package), "textual", "rich") == []


@pytest.mark.parametrize("package", ["decode", "model", "recording", "pipeline", "session", "sources"])
def test_scapy_waits_until_a_packet_is_selected(package: str) -> None:
    assert loaded(modules(package), "scapy") == []


def test_the_privileged_process_loads_no_numpy() -> None:
    assert loaded("import nettop.broker.server", "numpy", "textual", "pyroute2", "scapy") == []


def test_sockets_are_opened_by_the_broker_the_sources_and_the_labs_traffic_only() -> None:
    found = [
        str(path.relative_to(TREE))
        for path in TREE.rglob("*.py")
        if path.relative_to(TREE).parts[0] not in {"broker", "sources", "labs"}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(name.name == "socket" for name in node.names)
    ]
    assert found == []


def test_decoders_and_models_are_told_the_time() -> None:
    """They may format one (time.localtime) but never ask for it."""
    clocks = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "now", "sleep"}
    found = [
        f"{path.relative_to(TREE)}: {node.value.id}.{node.attr}"
        for part in ("decode", "model", "recording", "text")
        for path in (TREE / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in {"time", "datetime"} and node.attr in clocks
    ]
    assert found == []


def test_imports_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], capture_output=True, text=True, cwd=TREE.parent, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
