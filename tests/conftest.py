"""Rules for every test: in CI a skipped test is a failure, and tests that share the kernel run in turn."""

from __future__ import annotations

import os

import pytest

from tests import profiles

profiles.load()

IN_TURN = {"kernel", "interop"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests that share the kernel in one of xdist's workers, so that they run in turn."""
    if item.config.pluginmanager.hasplugin("xdist") and IN_TURN & {mark.name for mark in item.iter_markers()}:
        item.add_marker(pytest.mark.xdist_group("in turn"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a run with skipped tests into a failed one where CI is set."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        reporter.write_line(f"{len(reporter.stats['skipped'])} skipped tests: in CI each is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
