"""Rules of every test, and the fixtures of those that share the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator

import pytest

from nettop.broker.client import Broker
from nettop.broker.start import start
from tests import profiles
from tests.kernel import hash_lock, namespaces
from tests.kernel.namespaces import Lab
from tests.kernel.rights import ONLY_ROOT

profiles.load()
# Debian gives ordinary users no sbin directories on their PATH.
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the kernel tests of a file in one of xdist's workers: they share what its fixtures make.

    Those of traces and drops are one group: drops are the whole host's, and their devices have the same names. So is
    the benchmark, whose floods would fill the rings of drops.
    """
    if item.config.pluginmanager.hasplugin("xdist") and item.get_closest_marker("kernel"):
        file = item.nodeid.partition("::")[0]
        traces = file.startswith(("tests/kernel/test_trace", "tests/kernel/test_drops", "tests/bench/"))
        item.add_marker(pytest.mark.xdist_group("traces" if traces else file))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let no test of the kernel run, in any process of this host, while one resizes the conntrack hash."""
    if not item.get_closest_marker("kernel"):
        return (yield)
    with hash_lock.held(exclusive=item.get_closest_marker("resizes_hash") is not None):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a kernel test before its fixtures where namespaces cannot be made; in CI that is a failure."""
    if item.get_closest_marker("kernel") and not namespaces.have_rights():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root or `unshare -Urn`")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a run with skipped tests into a failed one where CI is set."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        reporter.write_line(f"{len(reporter.stats['skipped'])} skipped tests: in CI each is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Report at the very end how many tests only root can run; the reasons are in the list of skipped tests."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(ONLY_ROOT in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"only root can run {count} of the skipped tests: sudo ./dev test", yellow=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Everything the test makes (namespaces, veth pairs, processes), removed afterwards."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def netns(lab: Lab) -> Callable[..., str]:
    """`netns("a")` makes a namespace and returns its spec, as `--netns` and the broker take it."""
    return lab.netns


@pytest.fixture
def veth_pair(lab: Lab) -> Callable[..., tuple[str, str]]:
    """`veth_pair(a, b)` joins two namespaces: 10.99.0.1/24 and 10.99.0.2/24 on veth0 unless said otherwise."""
    return lab.veth_pair


@pytest.fixture
def run_in() -> Callable[..., str]:
    """`run_in(ns, *argv, stdin=…)` gives the command's stdout."""
    return namespaces.run_in


@pytest.fixture
def poll() -> Callable[..., object]:
    """`poll(condition, deadline_s)` waits for a condition; no test waits in any other way."""
    return namespaces.poll


@pytest.fixture(scope="module")
def broker_of_the_file() -> Iterator[Broker]:
    """A broker that no test of the file ends, nor counts what it holds."""
    with start("root", confine=False) as running:
        yield running


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A running broker; this process keeps its privileges. With the mark `one_broker` it serves the whole file."""
    if request.node.get_closest_marker("one_broker"):
        yield request.getfixturevalue("broker_of_the_file")
    else:
        with start("root", confine=False) as running:
            yield running


@pytest.fixture
def sender(lab: Lab) -> str:
    """A namespace that tracks what it sends, and from which every address below 10/8 goes out to nowhere."""
    ns, other = lab.netns("snd"), lab.netns("sndd")
    lab.veth_pair(ns, other, addresses_a=("10.0.0.1/8",), addresses_b=())
    namespaces.run_in(ns, "ip", "link", "set", "veth0", "arp", "off")
    namespaces.run_in(ns, "nft", "-f", "-", stdin=namespaces.TRACKING)
    namespaces.keep_flows(ns)
    return ns
