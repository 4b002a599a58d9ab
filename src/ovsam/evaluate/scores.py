"""What a model says of annotated objects, class by class: what a calibration is fitted to.

A class is right by meaning (`meaning`): where the annotation says cat, tiger cat is right as well,
and the probability that is said of cats is that of all these classes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovsam.errors import AnnotationError
from ovsam.evaluate.answers import answer_instances
from ovsam.evaluate.calibration import Calibration, calibrate
from ovsam.evaluate.left_out import NOTHING, LeftOut
from ovsam.evaluate.meaning import Meanings, annotated_synsets
from ovsam.evaluate.objects import EvaluatedObjects, objects_by_vocabulary
from ovsam.evaluate.photos import chosen_photos, photos_left_out, read_annotated_photo
from ovsam.formats.annotations import Annotations, Photo
from ovsam.jobs.run import Job, Progress, photo_by_photo
from ovsam.segmenter import Segmenter
from ovsam.structures import Label
from ovsam.vocabulary.vocabulary import Vocabulary

NEEDED = 20  # objects in each half, so that the threshold can refuse one right name in twenty
_SMALLEST = 1e-38  # float32 knows no smaller probability


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model says of N objects over C classes.

    Attributes:
        logs: `(N, C + 1)` log scores, not calibrated, each row up to a constant; none of these
            comes last.
        annotated: `(N,)` which of the K annotated classes each object is of.
        right: `(K, C)` which classes are each of these or kinds of it.
        photos: `(N,)` which photo each is from, counted from 0.
        not_counted: what more there was.
    """

    logs: NDArray[np.floating]
    annotated: NDArray[np.int64]
    right: NDArray[np.bool_]
    photos: NDArray[np.int64]
    not_counted: LeftOut = NOTHING

    def __len__(self) -> int:
        return len(self.annotated)

    @property
    def classes(self) -> int:
        """C."""
        return int(self.right.shape[1])

    def where(self, chosen: NDArray[np.bool_]) -> Scores:
        """The objects for which `chosen` `(N,)` is True."""
        return replace(
            self,
            logs=self.logs[chosen],
            annotated=self.annotated[chosen],
            photos=self.photos[chosen],
        )

    def without_annotated_classes(self) -> Scores:
        """The same objects over vocabularies that lack the class of each and its kinds."""
        logs = self.logs.copy()
        logs[:, :-1][self.right[self.annotated]] = -np.inf
        return replace(self, logs=logs)

    def first(self, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Probability `(N,)` of each object's first name, and whether that is a right one."""
        best = self.logs[:, :-1].argmax(1)
        shares = np.empty(len(self))
        for i, row in enumerate(self.logs):  # one by one: rows may have 22,000 classes
            below = (row.astype(np.float64) - row.max()) / temperature
            shares[i] = np.exp(below[best[i]]) / np.exp(below).sum()
        return shares, self.right[self.annotated, best]

    def calibration(self, temperature: float) -> Calibration:
        """How far the probabilities of first names can be trusted."""
        return calibrate(*self.first(temperature))


def objects_to_fit(
    annotations: Annotations, photos: Sequence[Photo], vocabularies: Sequence[Vocabulary]
) -> list[EvaluatedObjects]:
    """The objects of some photos with their annotated names in each vocabulary.

    Raises:
        AnnotationError: no vocabulary has a class, or in one of them a half of the photos has fewer
            than `NEEDED` objects.
    """
    every = objects_by_vocabulary(annotations, photos, vocabularies)
    for found in every:
        counts = [len(found.by_photo.get(photo.id, ())) for photo in photos]
        halves = sum(counts[::2]), sum(counts[1::2])
        if min(halves) < NEEDED:
            raise AnnotationError(
                f"There are too few objects to calibrate with in {annotations.source!r}: every "
                f"second photo makes one half, and each needs {NEEDED} objects so that the "
                f"threshold, which one of {NEEDED} right names may miss, can be told; got "
                f"{halves[0]} and {halves[1]} in {len(counts)} photos. Give more photos; the more, "
                "the better (docs/evaluate.md)."
            )
    return every


def collect_scores(
    predictor: Segmenter,
    annotations: Annotations,
    images_dir: Path,
    vocabularies: Sequence[Vocabulary],
    *,
    photos: Sequence[Photo] | None = None,
    progress: Progress | None = None,
) -> list[Scores]:
    """Collect what a model says of every annotated object, given its box.

    Args:
        predictor: of the model.
        annotations: the ground truth; crowds, and classes that are never answered, are left out.
        images_dir: the folder of the photos.
        vocabularies: as `Predictor.prepare` gives them.
        photos: what `chosen_photos` gave for these; None = all with instances, checked now.
        progress: called with (photos done, photos in all) after each photo.

    Returns:
        The scores over each vocabulary.

    Raises:
        AnnotationError: a photo is missing or of another size, no vocabulary has a class, or a half
            of the photos has fewer than `NEEDED` objects.
    """
    if photos is None:
        photos = chosen_photos(annotations, images_dir)
    objects = objects_to_fit(annotations, photos, vocabularies)
    left_out = photos_left_out(annotations, photos)
    done = photo_by_photo(
        predictor,
        partial(_photo_scores, images_dir=images_dir, vocabularies=vocabularies, objects=objects),
        {photo.id: (index, photo) for index, photo in enumerate(photos)},
        job=Job(progress=progress),
    )
    synsets = annotated_synsets(annotations.categories)
    made = []
    for which, (vocabulary, found) in enumerate(zip(vocabularies, objects, strict=True)):
        rows = [row for row in done.rows if row.vocabulary == which]
        kinds = sorted({(row.name, row.category) for row in rows})
        meanings, classes = Meanings(vocabulary), _answers(vocabulary)
        right = [
            [meanings.levels_below(one, name, synsets[category]) is not None for one in classes]
            for name, category in kinds
        ]
        made.append(
            Scores(
                logs=np.stack([row.logs for row in rows]),
                annotated=np.array([kinds.index((row.name, row.category)) for row in rows]),
                right=np.array(right),
                photos=np.array([row.photo for row in rows]),
                not_counted=replace(
                    left_out,
                    objects_never_answered=found.left_out,
                    objects_unlisted=found.unlisted,
                ),
            )
        )
    return made


def _answers(vocabulary: Vocabulary) -> list[str]:
    pairs = zip(vocabulary.classes, vocabulary.answerable, strict=True)
    return [name for name, answerable in pairs if answerable]


class _ObjectScores(NamedTuple):
    """A row of `Scores`: of an object of a class of the file, and its name in a vocabulary."""

    vocabulary: int
    name: str
    category: str
    logs: NDArray[np.float32]
    photo: int


def _photo_scores(
    predictor: Segmenter,
    item: tuple[int, Photo],
    images_dir: Path,
    vocabularies: Sequence[Vocabulary],
    objects: Sequence[EvaluatedObjects],
) -> list[_ObjectScores]:
    index, photo = item
    named: list[dict[int, str]] = [
        {id(instance): name for instance, name in found.by_photo.get(photo.id, ())}
        for found in objects
    ]
    instances = {id(one): one for found in objects for one, _ in found.by_photo.get(photo.id, ())}
    if not instances:
        return []
    columns = [{name: i for i, name in enumerate(_answers(one))} for one in vocabularies]
    answers = answer_instances(
        predictor,
        read_annotated_photo(photo, images_dir),
        [(one, one.category) for one in instances.values()],
        "box",
        top=max(map(len, columns)),
        vocabularies=vocabularies,
    )
    rows = []
    for (key, instance), answer in zip(instances.items(), answers, strict=True):
        said = [
            (answer.labels, answer.none_score),
            *((names.labels[0], float(names.none_scores[0])) for names in answer.more_names),
        ]
        for which, (labels, none_score) in enumerate(said):
            if key in named[which]:
                # The scores come with the model's present calibration, which is undone.
                temperature = predictor.config.calibration.temperature(len(columns[which]))
                logs = temperature * _logs(labels, none_score, columns[which])
                name = named[which][key]
                rows.append(_ObjectScores(which, name, instance.category, logs, index))
    return rows


def _logs(
    labels: Sequence[Label], none_score: float, columns: dict[str, int]
) -> NDArray[np.float32]:
    """Log probabilities `(C + 1,)`, none of these last."""
    shares = np.zeros(len(columns) + 1)
    for name, score in labels:
        shares[columns[name]] = score
    shares[-1] = none_score
    logs: NDArray[np.float32] = np.log(np.maximum(shares, _SMALLEST)).astype(np.float32)
    return logs
