"""Fitting what makes probabilities of a model's scores (Guo et al., ICML 2017, section 4.2).

The log scores of an object are divided by one temperature before the softmax. It is the one under
which held-out objects are most likely to have their right names: the mean negative log-likelihood
is convex in its inverse. The order of the names stays.

The threshold of "none of these" goes with it: `KEPT` of the right first names reach it.

Nothing is judged on the photos that it was fitted on. Every second photo makes one half; what is
fitted on either is judged on the other. What a model gets is fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ovsam.config import CalibrationConfig
from ovsam.errors import AnnotationError
from ovsam.evaluate.calibration import Calibration, calibrate
from ovsam.evaluate.instances import (
    Counted,
    ask,
    chosen_photos,
    counted,
    photos_left_out,
    read_annotated_photo,
)
from ovsam.evaluate.left_out import NOTHING, LeftOut
from ovsam.evaluate.metrics import Outcome
from ovsam.formats.annotations import Annotations, Photo
from ovsam.jobs.run import Progress
from ovsam.structures import Prediction
from ovsam.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor

KEPT = 0.95
NEEDED = 20  # in each half: of fewer, the share 1 - KEPT that the threshold refuses is not one
HOTTEST = 100.0  # temperatures are looked for between this and its inverse
_STEPS = 60  # of halving that interval
_SMALLEST = 1e-38  # float32 knows no smaller probability


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of N objects over C classes.

    Attributes:
        logs: `(N, C + 1)` log scores, not calibrated, each row up to a constant; none of these
            comes last.
        right: `(N,)` column of the right class.
        photos: `(N,)` which photo each is from, counted from 0.
        classes: the names of the C columns.
        not_counted: what more there was.
    """

    logs: NDArray[np.float64]
    right: NDArray[np.int64]
    photos: NDArray[np.int64]
    classes: tuple[str, ...]
    not_counted: LeftOut = NOTHING

    def __len__(self) -> int:
        return len(self.right)

    def where(self, chosen: NDArray[np.bool_]) -> Scores:
        """Some of the objects."""
        return replace(
            self, logs=self.logs[chosen], right=self.right[chosen], photos=self.photos[chosen]
        )

    def without_right_names(self) -> Scores:
        """The same objects over vocabularies that lack the class of each."""
        logs = self.logs.copy()
        logs[np.arange(len(self)), self.right] = -np.inf
        return replace(self, logs=logs)

    def probabilities(self, temperature: float) -> NDArray[np.float64]:
        """`(N, C + 1)`, each row sums to 1."""
        logs = (self.logs - self.logs.max(1, keepdims=True)) / temperature
        shares: NDArray[np.float64] = np.exp(logs)
        shares /= shares.sum(1, keepdims=True)
        return shares

    def first(self, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Probability `(N,)` of each object's first name, and whether that is the right one."""
        named = self.probabilities(temperature)[:, :-1]
        return named.max(1), named.argmax(1) == self.right

    def calibration(self, temperature: float) -> Calibration:
        """How far the probabilities of first names can be trusted."""
        scores, right = self.first(temperature)
        return calibrate(
            [
                Outcome("", 0.0, 0.0, 0.0, 0 if good else -1, float(score))
                for score, good in zip(scores, right, strict=True)
            ]
        )


@dataclass(frozen=True)
class Judged:
    """What was fitted on one half of the photos, on the other.

    Attributes:
        fitted: temperature and threshold of the one half.
        right: how many first names of the one half are right; the threshold is of these.
        instances: objects in the other half. All else is about these.
        error_before: expected calibration error at a temperature of 1.
        error: the same at the fitted one.
        kept: share of right first names that reach the threshold; None where there is none.
        refused_wrong: share of wrong first names that do not; None where there is none.
        refused_unlisted: share of objects whose first name does not, once their class is no longer
            in the vocabulary.
    """

    fitted: CalibrationConfig
    right: int
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
            "right": self.right,
            "instances": self.instances,
            "ece_before": self.error_before,
            "ece": self.error,
            "kept": self.kept,
            "refused_wrong": self.refused_wrong,
            "refused_unlisted": self.refused_unlisted,
        }


@dataclass(frozen=True)
class Fit:
    """What `fit` found: for the model from all photos, and each half judged by the other."""

    calibration: CalibrationConfig
    instances: int
    halves: tuple[Judged, Judged]
    not_counted: LeftOut


def objects_to_fit(
    annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary
) -> Counted:
    """The objects of some photos with their right names.

    Raises:
        AnnotationError: a class is not in the vocabulary, or a half of the photos has fewer than
            `NEEDED` objects.
    """
    found = counted(annotations, photos, vocabulary)
    counts = [len(found.by_photo[photo.id]) for photo in photos if photo.id in found.by_photo]
    halves = sum(counts[::2]), sum(counts[1::2])
    if min(halves) < NEEDED:
        raise AnnotationError(
            f"There are too few objects to calibrate with in {annotations.source!r}: every second "
            f"photo makes one half, and each needs {NEEDED} objects so that the threshold, which "
            f"one of {NEEDED} right names may miss, can be told; got {halves[0]} and {halves[1]} "
            f"in {len(counts)} photos. Give more photos; the more, the better (docs/evaluate.md)."
        )
    return found


def collect_scores(
    predictor: Predictor,
    annotations: Annotations,
    images_dir: Path,
    *,
    limit: int | None = None,
    photos: Sequence[Photo] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Ask a model about every annotated object by its box.

    Args:
        predictor: its own vocabulary is the one that is answered from.
        annotations: what is right; crowds, and classes that are never answered, are left out.
        images_dir: the folder of the photos.
        limit: only the first so many photos that have instances.
        photos: what `run.chosen_photos` gave for these; None = they are chosen, and checked, now.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: a photo is missing or of another size, a class is not in the vocabulary,
            or a half of the photos has fewer than `NEEDED` objects.
    """
    if photos is None:
        photos = chosen_photos(annotations, images_dir, limit)
    found = objects_to_fit(annotations, photos, predictor.vocabulary)
    not_counted = replace(
        photos_left_out(annotations, photos), objects_never_answered=found.left_out
    )
    kept = found.by_photo
    photos = [photo for photo in photos if photo.id in kept]
    vocabulary = predictor.vocabulary
    pairs = zip(vocabulary.classes, vocabulary.answerable, strict=True)
    classes = tuple(name for name, may in pairs if may)
    column = {name: i for i, name in enumerate(classes)}
    # The scores come with the model's present calibration, which is undone.
    temperature = predictor.config.calibration.temperature
    rows: list[NDArray[np.float64]] = []
    right: list[int] = []
    places: list[int] = []
    for place, photo in enumerate(photos):
        instances = kept[photo.id]
        masks = [instance.mask(photo.size_hw) for instance, _ in instances]
        pixels = read_annotated_photo(photo, images_dir)
        answers = ask(predictor, pixels, instances, masks, "box", None, top=len(classes))
        rows += [temperature * _logs(prediction, column) for _, prediction in answers]
        right += [column[name] for _, name in instances]
        places += [place] * len(instances)
        if progress is not None:
            progress(place + 1, len(photos))
    return Scores(np.stack(rows), np.array(right), np.array(places), classes, not_counted)


def _logs(prediction: Prediction, column: dict[str, int]) -> NDArray[np.float64]:
    """Log probabilities `(C + 1,)` of the first mask, none of these last."""
    shares = np.zeros(len(column) + 1)
    for name, score in prediction.labels[0]:
        shares[column[name]] = score
    shares[-1] = prediction.none_scores[0]
    logs: NDArray[np.float64] = np.log(np.maximum(shares, _SMALLEST))
    return logs


def fit(scores: Scores) -> Fit:
    """Temperature and threshold of all objects; and of each half, judged on the other."""
    even = scores.photos % 2 == 0
    one, other = scores.where(even), scores.where(~even)
    return Fit(
        calibration=_fitted(scores),
        instances=len(scores),
        halves=(_judged(one, other), _judged(other, one)),
        not_counted=scores.not_counted,
    )


def _fitted(scores: Scores) -> CalibrationConfig:
    temperature = fit_temperature(scores.logs, scores.right)
    first, right = scores.first(temperature)
    threshold = np.quantile(first[right], 1 - KEPT, method="lower") if right.any() else 0.0
    return CalibrationConfig(
        temperature=temperature,
        threshold=float(threshold),
        classes=len(scores.classes),
    )


def _judged(one: Scores, scores: Scores) -> Judged:
    """What is fitted on one half, on the other."""
    fitted = _fitted(one)
    first, right = scores.first(fitted.temperature)
    unlisted, _ = scores.without_right_names().first(fitted.temperature)
    low = first < fitted.threshold
    return Judged(
        fitted=fitted,
        right=int(one.first(fitted.temperature)[1].sum()),
        instances=len(scores),
        error_before=scores.calibration(1.0).error or 0.0,
        error=scores.calibration(fitted.temperature).error or 0.0,
        kept=float((~low[right]).mean()) if right.any() else None,
        refused_wrong=float(low[~right].mean()) if not right.all() else None,
        refused_unlisted=float((unlisted < fitted.threshold).mean()),
    )


def fit_temperature(logs: NDArray[np.float64], right: NDArray[np.int64]) -> float:
    """The temperature that makes the right classes of N objects most likely.

    Args:
        logs: `(N, K)` finite log scores, each row up to a constant.
        right: `(N,)` column of the right class.

    Returns:
        A number between 1 / `HOTTEST` and `HOTTEST`; at these ends if there is no better one, as
        where every first name is right.
    """
    below = logs - logs.max(1, keepdims=True)
    known = below[np.arange(len(right)), right]

    def slope(inverse: float) -> float:
        """How the mean negative log-likelihood grows with the inverse temperature."""
        shares = np.exp(inverse * below)
        expected = (shares * below).sum(1) / shares.sum(1)
        return float((expected - known).mean())

    low, high = 1 / HOTTEST, HOTTEST
    for _ in range(_STEPS):  # convex, so the slope rises: halve where it changes its sign
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / low)
