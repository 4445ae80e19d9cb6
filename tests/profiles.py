"""The two profiles of the property tests: `quick` by default, `full` in CI, named by HYPOTHESIS_PROFILE."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = {"quick": 20, "full": 100}  # of a property that sets no number


def load() -> None:
    """Make the named profile the default of every property; no machine is too slow for one."""
    for name, number in EXAMPLES.items():
        settings.register_profile(
            name, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=number
        )
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def examples(full: int) -> int:
    """Return `full`, reduced to the profile's share of it, but to 20 at least."""
    default = settings.default or settings()
    return max(min(full, EXAMPLES["quick"]), full * default.max_examples // EXAMPLES["full"])
