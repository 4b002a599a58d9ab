"""The learning rate of each step."""

from __future__ import annotations

import pytest

from ovsam.train.settings import ScheduleSettings, rate_share


def test_warm_up_reaches_the_peak_with_its_last_step() -> None:
    settings = ScheduleSettings(peak=1.0, warm_up=5, warm_up_from=0.2, decay="drops", drops=(0.9,))
    shares = [rate_share(step, 100, settings) for step in range(7)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])


def test_cosine_ends_where_it_is_set() -> None:
    settings = ScheduleSettings(peak=1.0, warm_up=0, end=0.1)
    assert rate_share(0, 100, settings) == pytest.approx(1)
    assert rate_share(50, 100, settings) == pytest.approx(0.55)
    assert rate_share(99, 100, settings) == pytest.approx(0.1, abs=1e-3)


def test_drops_of_the_papers_second_stage() -> None:
    settings = ScheduleSettings(peak=1.0, warm_up=0, decay="drops", drops=(8 / 12, 11 / 12))
    epochs = [rate_share(epoch, 12, settings) for epoch in range(12)]
    assert epochs == pytest.approx([1.0] * 8 + [0.1] * 3 + [0.01])
