"""Temperature and threshold on scores made by hand, and of models whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ovsam.evaluate.scores import Scores
from ovsam.evaluate.temperature import MAX_TEMPERATURE, fit, fit_temperature


def scores(confidence: float, wrong_every: int, count: int) -> Scores:
    """Each first name of two has the log odds `confidence`; every so many is the wrong one."""
    logs = np.tile([confidence, 0.0, -np.inf], (count, 1))
    logs[:, 2] = -1e9  # none of these
    right = (np.arange(count) % wrong_every == 0).astype(np.int64)
    return Scores(logs, right, np.eye(2, dtype=bool), np.arange(count))


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_temperature_gives_back_the_odds(scale: float) -> None:
    """Three of four are right, so their odds are 3 : 1, whatever the model thought of itself."""
    found = fit_temperature(scores(scale * math.log(3), 4, 40))
    assert found == pytest.approx(scale, rel=1e-6)


def test_no_temperature_is_more_likely() -> None:
    random = np.random.default_rng(5)
    logs = random.normal(0, 3, (50, 7))
    right = (logs[:, :-1] + random.gumbel(0, 2, (50, 6))).argmax(1)
    found = fit_temperature(Scores(logs, right, np.eye(6, dtype=bool), np.arange(50)))

    def likelihood(temperature: float) -> float:
        shares = np.exp(logs / temperature) / np.exp(logs / temperature).sum(1, keepdims=True)
        return float(np.log(shares[np.arange(50), right]).mean())

    assert likelihood(found) >= max(likelihood(found * 1.01), likelihood(found / 1.01))


def test_a_constant_of_each_row_does_not_matter() -> None:
    made = scores(2.0, 4, 40)
    moved = made.logs + np.random.default_rng(0).normal(0, 9, (40, 1))
    assert fit_temperature(replace(made, logs=moved)) == pytest.approx(fit_temperature(made))


def test_ends_where_all_or_the_wrong_half_is_right() -> None:
    made = scores(2.0, 4, 40)
    for right, temperature in ((0, 1 / MAX_TEMPERATURE), (1, MAX_TEMPERATURE)):
        every = replace(made, annotated=np.full(40, right))
        assert fit_temperature(every) == pytest.approx(temperature)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_kinds_of_the_class_add_up(scale: float) -> None:
    """Of "cat, tiger cat, dog" the two cats have the odds 1 + 2 : 1 together; 3 of 4 are cats."""
    logs = np.tile([0.0, scale * math.log(2), 0.0, -1e9], (40, 1))
    cat_or_dog = (np.arange(40) % 4 == 0).astype(np.int64)
    right = np.array([[True, True, False], [False, False, True]])
    made = Scores(logs, cat_or_dog, right, np.arange(40))
    assert fit_temperature(made) == pytest.approx(scale, rel=1e-6)
    first, correct = made.first(scale)
    assert first == pytest.approx([0.5] * 40)
    assert correct.tolist() == [False, True, True, True] * 10
    unlisted, _ = made.without_annotated_classes().first(scale)
    assert unlisted.tolist() == pytest.approx([2 / 3, 1, 1, 1] * 10)


def test_each_half_is_evaluated_on_the_other() -> None:
    """Photos 0, 2, 4, ... are right three times of four, all others always wrong by halves."""
    sure, unsure = scores(math.log(3), 4, 40), scores(math.log(3), 2, 40)
    logs = np.concatenate([sure.logs, unsure.logs])
    right = np.concatenate([sure.annotated, unsure.annotated])
    photos = np.concatenate([2 * sure.photos, 2 * unsure.photos + 1])
    found = fit(Scores(logs, right, sure.right, photos))
    one, other = found.halves
    assert found.instances == 80
    assert (one.instances, other.instances) == (40, 40)
    assert one.fitted.temperature == pytest.approx(1.0)
    assert one.error_before == pytest.approx(0.25)  # 0.75, and half of them are right
    assert one.error == pytest.approx(0.25)
    assert other.fitted.temperature == pytest.approx(MAX_TEMPERATURE)  # a coin: no odds at all
    assert other.error_before == pytest.approx(0, abs=1e-9)
    assert other.error == pytest.approx(0.75 - 1 / (1 + 3 ** (-1 / MAX_TEMPERATURE)), abs=1e-3)
    assert found.calibration.classes == 2
    assert one.as_dict()["ece"] == one.error
    assert (one.correct, other.correct) == (30, 20)


def test_the_threshold_keeps_nineteen_of_twenty_right_names() -> None:
    """Right first names have the odds 1 to 101, all of them alike likely; wrong ones 1 and 2."""
    odds = np.linspace(1, 101, 101)
    logs = np.stack([np.log(odds), np.zeros(101), np.full(101, -1e9)], 1)
    low = np.tile([math.log(1.5), 0, -1e9], (30, 1))
    made = Scores(
        np.concatenate([logs, low]),
        np.concatenate([np.zeros(101, np.int64), np.ones(30, np.int64)]),
        np.eye(2, dtype=bool),
        np.zeros(131, np.int64),
    )
    calibration = fit(replace(made, photos=np.arange(131) % 2)).calibration
    first, right = made.first(calibration.temperature)
    assert (first[right] >= calibration.threshold).sum() == 96
    assert (first[~right] < calibration.threshold).all()
