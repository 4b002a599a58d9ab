from __future__ import annotations

import time
from functools import partial

import pytest

from ovsam.benchmark import rounds
from ovsam.benchmark.rounds import milliseconds, timed, yardstick


def test_models_take_turns_within_each_round() -> None:
    done: list[str] = []
    models = [
        {"a": partial(done.append, "first a"), "b": partial(done.append, "first b")},
        {"a": partial(done.append, "second a")},
    ]
    steps: list[tuple[int, int]] = []
    found, unit = timed(models, 2, lambda *step: steps.append(step))
    assert [list(parts) for parts in found] == [["a", "b"], ["a"]]
    assert {len(times) for parts in found for times in parts.values()} == {2}
    assert len(unit) == 2 and min(unit) > 0
    forth, back = ["first a", "second a", "first b"], ["second a", "first a", "first b"]
    assert done == back + forth + back, "one that warms up, and nobody always first"
    assert steps == [(i + 1, 9) for i in range(9)]


def test_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([7.0, 1000.0, 8.0, 30.0, 9.0, 40.0])  # a yardstick before each round
    monkeypatch.setattr(rounds, "milliseconds", lambda _: next(told))
    found, unit = timed([{"a": lambda: None}], 2, lambda *_: None)
    assert (found, unit) == ([{"a": [30.0, 40.0]}], [8.0, 9.0])


def test_milliseconds() -> None:
    assert 20 <= milliseconds(lambda: time.sleep(0.02)) < 2000


def test_the_yardstick_is_the_same_work_each_time() -> None:
    first, second = yardstick()(), yardstick()()
    assert (first == second).all()  # type: ignore[attr-defined]
