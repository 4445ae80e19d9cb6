"""The engine and recordings that tell of more than a host has."""

from __future__ import annotations

from nettop.pipeline.engine import Engine


def test_namespaces_without_end_are_told_apart_as_far_as_columns_can_and_cost_no_search() -> None:
    engine = Engine()
    codes = [engine.code(f"n{number}") for number in range(70_000)]
    assert codes[:65_536] == list(range(65_536)) and set(codes[65_536:]) == {65_535}
    assert [engine.code(f"n{number}") for number in (0, 65_535, 69_999, 70_000)] == [0, 65_535, 65_535, 65_535]
    assert len(engine.labels) == 65_536
