"""Fitting what makes probabilities of a model's scores (Guo et al., ICML 2017, section 4.2).

The log scores of an object are divided by one temperature before the softmax. It is the one under
which held-out objects are most likely to be what they are annotated as: the probability of that is
the sum over the annotated class and its kinds, of which a long vocabulary has many. The order of
the names stays.

The threshold of "none of these" goes with it: `KEPT` of the right first names reach it.

Every second photo makes one half; what is fitted on either half is evaluated on the other, so that
no photo is in its own evaluation. What a model gets is fitted on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ovsam.config import CalibrationFit
from ovsam.evaluate.left_out import LeftOut
from ovsam.evaluate.scores import Scores

KEPT = 0.95
MAX_TEMPERATURE = 100.0  # temperatures are looked for between this and its inverse
PRECISION = 1e-8  # of a temperature's logarithm
_STEPS = 41  # at first, between the two


@dataclass(frozen=True)
class HalfFit:
    """What was fitted on one half of the photos, evaluated on the other.

    A name is right if it is the annotated class or a kind of it.

    Attributes:
        fitted: temperature and threshold of the one half.
        correct: how many first names of the one half are right; the threshold is of these.
        instances: objects in the other half. All else is about these.
        error_before: expected calibration error at a temperature of 1.
        error: the same at the fitted one.
        kept: share of right first names that reach the threshold; None where there is none.
        refused_wrong: share of wrong first names that do not; None where there is none.
        refused_unlisted: share of objects whose first name does not, once their class and its
            kinds are no longer in the vocabulary.
    """

    fitted: CalibrationFit
    correct: int
    instances: int
    error_before: float
    error: float
    kept: float | None
    refused_wrong: float | None
    refused_unlisted: float

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "temperature": self.fitted.temperature,
            "threshold": self.fitted.threshold,
            "right": self.correct,
            "instances": self.instances,
            "ece_before": self.error_before,
            "ece": self.error,
            "kept": self.kept,
            "refused_wrong": self.refused_wrong,
            "refused_unlisted": self.refused_unlisted,
        }


@dataclass(frozen=True)
class Fit:
    """What `fit` found: on all photos, for the model, and on each half, evaluated on the other."""

    calibration: CalibrationFit
    instances: int
    halves: tuple[HalfFit, HalfFit]
    not_counted: LeftOut


def fit(scores: Scores) -> Fit:
    """Temperature and threshold of all objects; and of each half, evaluated on the other."""
    even = scores.photos % 2 == 0
    one, other = scores.where(even), scores.where(~even)
    return Fit(
        calibration=_fitted(scores),
        instances=len(scores),
        halves=(_half_fit(one, other), _half_fit(other, one)),
        not_counted=scores.not_counted,
    )


def _fitted(scores: Scores) -> CalibrationFit:
    temperature = fit_temperature(scores)
    first, correct = scores.first(temperature)
    threshold = np.quantile(first[correct], 1 - KEPT, method="lower") if correct.any() else 0.0
    return CalibrationFit(
        temperature=temperature,
        threshold=float(threshold),
        classes=scores.classes,
    )


def _half_fit(half: Scores, other: Scores) -> HalfFit:
    fitted = _fitted(half)
    temperature = fitted.temperature
    first, correct = other.first(temperature)
    unlisted, _ = other.without_annotated_classes().first(temperature)
    refused = first < fitted.threshold
    return HalfFit(
        fitted=fitted,
        correct=int(half.first(temperature)[1].sum()),
        instances=len(other),
        error_before=other.calibration(1.0).error or 0.0,
        error=other.calibration(temperature).error or 0.0,
        kept=float((~refused[correct]).mean()) if correct.any() else None,
        refused_wrong=float(refused[~correct].mean()) if not correct.all() else None,
        refused_unlisted=float((unlisted < fitted.threshold).mean()),
    )


def fit_temperature(scores: Scores) -> float:
    """The temperature that makes what N objects are annotated as most likely.

    Returns:
        A number between 1 / `MAX_TEMPERATURE` and `MAX_TEMPERATURE`; one of these ends if there is
        no better one, as where every first name is right.
    """
    below = scores.logs.astype(np.float64)
    below -= below.max(1, keepdims=True)
    right = [
        row[:-1][scores.right[which]] for row, which in zip(below, scores.annotated, strict=True)
    ]

    def loss(log_temperature: float) -> float:
        """The mean negative log-likelihood."""
        inverse = math.exp(-log_temperature)
        totals = [np.log(np.exp(inverse * row).sum()) for row in below]
        # Beside the best of them, which may be far below the first name.
        parts = [
            inverse * row.max() + np.log(np.exp(inverse * (row - row.max())).sum()) for row in right
        ]
        return float(np.mean(totals) - np.mean(parts))

    # Not convex where several names are right: a coarse search comes first.
    end = math.log(MAX_TEMPERATURE)
    steps = np.linspace(-end, end, _STEPS)
    best = int(np.argmin([loss(step) for step in steps]))
    if best in (0, _STEPS - 1):
        return math.exp(steps[best])
    return math.exp(_lowest(loss, steps[best - 1], steps[best + 1]))


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one minimum between two ends has it, by golden section."""
    share = (math.sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > PRECISION:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = loss(right)
    return (low + high) / 2
