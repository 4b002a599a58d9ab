"""What a model says of annotated objects, class by class: what a calibration is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError
from ovsam.evaluate.answers import Answer, answer_instances
from ovsam.evaluate.calibration import Calibration, calibrate
from ovsam.evaluate.left_out import NOTHING, LeftOut
from ovsam.evaluate.objects import EvaluatedObjects, NamedInstance, evaluated_objects
from ovsam.evaluate.photos import chosen_photos, photos_left_out, read_annotated_photo
from ovsam.formats.annotations import Annotations, Photo
from ovsam.jobs.run import Job, Progress, photo_by_photo
from ovsam.segmenter import Segmenter
from ovsam.vocabulary.vocabulary import Vocabulary

NEEDED = 20  # objects in each half, so that the threshold can refuse one right name in twenty
_SMALLEST = 1e-38  # float32 knows no smaller probability


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of N objects over C classes.

    Attributes:
        logs: `(N, C + 1)` log scores, not calibrated, each row up to a constant; none of these
            comes last.
        ground_truth: `(N,)` column of the annotated class.
        photos: `(N,)` which photo each is from, counted from 0.
        classes: the names of the C columns.
        not_counted: what more there was.
    """

    logs: NDArray[np.float64]
    ground_truth: NDArray[np.int64]
    photos: NDArray[np.int64]
    classes: tuple[str, ...]
    not_counted: LeftOut = NOTHING

    def __len__(self) -> int:
        return len(self.ground_truth)

    def where(self, chosen: NDArray[np.bool_]) -> Scores:
        """The objects for which `chosen` `(N,)` is True."""
        return replace(
            self,
            logs=self.logs[chosen],
            ground_truth=self.ground_truth[chosen],
            photos=self.photos[chosen],
        )

    def without_annotated_classes(self) -> Scores:
        """The same objects over vocabularies that lack the class of each."""
        logs = self.logs.copy()
        logs[np.arange(len(self)), self.ground_truth] = -np.inf
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
        return named.max(1), named.argmax(1) == self.ground_truth

    def calibration(self, temperature: float) -> Calibration:
        """How far the probabilities of first names can be trusted."""
        return calibrate(*self.first(temperature))


def objects_to_fit(
    annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary
) -> EvaluatedObjects:
    """The objects of some photos with their annotated names.

    Raises:
        AnnotationError: a class is not in the vocabulary, or a half of the photos has fewer than
            `NEEDED` objects.
    """
    found = evaluated_objects(annotations, photos, vocabulary)
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
    predictor: Segmenter,
    annotations: Annotations,
    images_dir: Path,
    *,
    photos: Sequence[Photo] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Collect what a model says of every annotated object, given its box.

    Args:
        predictor: its own vocabulary is the one that is answered from.
        annotations: the ground truth; crowds, and classes that are never answered, are left out.
        images_dir: the folder of the photos.
        photos: what `chosen_photos` gave for these; None = all with instances, checked now.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: a photo is missing or of another size, a class is not in the vocabulary,
            or a half of the photos has fewer than `NEEDED` objects.
    """
    if photos is None:
        photos = chosen_photos(annotations, images_dir)
    vocabulary = predictor.vocabulary
    objects = objects_to_fit(annotations, photos, vocabulary)
    pairs = zip(vocabulary.classes, vocabulary.answerable, strict=True)
    classes = tuple(name for name, answerable in pairs if answerable)
    evaluated = [photo for photo in photos if photo.id in objects.by_photo]
    done = photo_by_photo(
        predictor,
        partial(_photo_scores, images_dir=images_dir, classes=classes),
        {
            photo.id: (index, photo, objects.by_photo[photo.id])
            for index, photo in enumerate(evaluated)
        },
        job=Job(progress=progress),
    )
    return Scores(
        logs=np.stack([row.logs for row in done.rows]),
        ground_truth=np.array([row.ground_truth for row in done.rows]),
        photos=np.array([row.photo for row in done.rows]),
        classes=classes,
        not_counted=replace(
            photos_left_out(annotations, photos), objects_never_answered=objects.left_out
        ),
    )


class _ObjectScores(NamedTuple):
    """A row of `Scores`."""

    logs: NDArray[np.float64]
    ground_truth: int
    photo: int


def _photo_scores(
    predictor: Segmenter,
    item: tuple[int, Photo, Sequence[NamedInstance]],
    images_dir: Path,
    classes: Sequence[str],
) -> list[_ObjectScores]:
    index, photo, instances = item
    columns = {name: column for column, name in enumerate(classes)}
    # The scores come with the model's present calibration, which is undone.
    temperature = predictor.config.calibration.temperature
    pixels = read_annotated_photo(photo, images_dir)
    answers = answer_instances(predictor, pixels, instances, "box", top=len(classes))
    return [
        _ObjectScores(temperature * _logs(answer, columns), columns[name], index)
        for answer, (_, name) in zip(answers, instances, strict=True)
    ]


def _logs(answer: Answer, columns: dict[str, int]) -> NDArray[np.float64]:
    """Log probabilities `(C + 1,)`, none of these last."""
    shares = np.zeros(len(columns) + 1)
    for name, score in answer.labels:
        shares[columns[name]] = score
    shares[-1] = answer.none_score
    logs: NDArray[np.float64] = np.log(np.maximum(shares, _SMALLEST))
    return logs
