"""A predictor over annotated photos: each instance prompted from its annotation, then compared.

Protocol: the prompt comes from the annotation (`prompts`). The mask is compared at the photo's own
size; the name is right if the first one is the annotation's. Crowds are left out. Nothing but the
prompt is taken from the annotation: a point's name comes from the predicted mask, save in the
authors' variant, `point-true-box`. With oracle names masks alone are measured, and each counts as
named right: what a model without names, such as SAM, would reach with a perfect namer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovsam.data.check import check_instance
from ovsam.errors import AnnotationError
from ovsam.evaluate.answers import Answer, answer_instances, check_names_objects
from ovsam.evaluate.calibration import Calibration, calibrate
from ovsam.evaluate.kinds import EvaluationKind
from ovsam.evaluate.left_out import LeftOut
from ovsam.evaluate.metrics import (
    Outcome,
    Summary,
    boundary_iou,
    summarise,
    summarise_by_class,
    summarise_by_novelty,
    summarise_by_size,
)
from ovsam.evaluate.objects import NamedInstance, evaluated_objects
from ovsam.evaluate.photos import chosen_photos, photos_left_out, read_annotated_photo
from ovsam.formats.annotations import Annotations, Instance, Photo
from ovsam.geometry import mask_iou
from ovsam.jobs.run import HERE, Job, Record, photo_by_photo
from ovsam.segmenter import Segmenter


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes:
        oracle_names: whether the annotated names were counted in place of the model's.
        novel: the classes that the vocabulary marks as unseen.
        merged: what is said of classes of the file that are one class of the vocabulary.
    """

    model: str
    vocabulary: str
    prompts: EvaluationKind
    oracle_names: bool
    zoom: bool
    photos: int
    not_counted: LeftOut
    seconds: float
    outcomes: tuple[Outcome, ...]
    novel: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()

    @property
    def summary(self) -> Summary:
        """Over all instances."""
        return summarise(self.outcomes)

    @property
    def groups(self) -> dict[str, dict[str, Summary]]:
        """Summaries by size and, where the vocabulary marks classes as unseen, by novelty."""
        groups = {"by_size": summarise_by_size(self.outcomes)}
        if self.novel:
            groups["by_novelty"] = summarise_by_novelty(self.outcomes, self.novel)
        return groups

    @property
    def by_class(self) -> dict[str, Summary]:
        """Summaries of the classes that have an instance."""
        return summarise_by_class(self.outcomes)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with annotations that count: their figures say little of the model."""
        return tuple(outcome.problem for outcome in self.outcomes if outcome.problem)

    @property
    def calibration(self) -> Calibration:
        """Whether the scores of the first names say how many of them are right."""
        return calibrate(self.outcomes)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            **self.summary.as_dict(),
            **{
                kind: {name: summary.as_dict() for name, summary in group.items()}
                for kind, group in {**self.groups, "by_class": self.by_class}.items()
            },
            "calibration": self.calibration.as_dict(),
            "model": self.model,
            "vocabulary": self.vocabulary,
            "prompts": self.prompts,
            "oracle_names": self.oracle_names,
            "zoom": self.zoom,
            "photos": self.photos,
            "left_out": self.not_counted.objects_never_answered,
            "not_counted": self.not_counted.as_dict(),
            "problems": list(self.problems),
            "merged": list(self.merged),
            "novel": list(self.novel),
            "seconds": round(self.seconds, 2),
            "outcomes": [outcome.as_dict() for outcome in self.outcomes],
        }


def evaluate(
    predictor: Segmenter,
    annotations: Annotations,
    images_dir: Path,
    *,
    prompts: EvaluationKind,
    oracle_names: bool = False,
    photos: Sequence[Photo] | None = None,
    job: Job = HERE,
) -> Report:
    """Prompt every instance, compare masks and names.

    Args:
        predictor: its own vocabulary is the one that is answered from.
        annotations: the ground truth.
        images_dir: the folder of the photos.
        prompts: how instances are pointed at, see `prompts`.
        oracle_names: whether masks alone are measured and the annotated name of each counts as the
            first, with a score of 1. Then no text model is needed, and the vocabulary only says
            which classes count.
        photos: what `chosen_photos` gave for these; None = all with instances, checked now.
        job: how the photos are gone through.

    Raises:
        AnnotationError: a photo is missing or of another size, a class is not in the vocabulary,
            or there is nothing to evaluate.
        OvsamError: the model makes masks alone, and the names are not an oracle's; or its scores
            are no numbers.
        PromptError: an annotated box lies outside its photo.
        OutputError: the journal is of other settings, or cannot be used.
    """
    if not oracle_names:
        check_names_objects(predictor)
    if photos is None:
        photos = chosen_photos(annotations, images_dir)
    left_out = photos_left_out(annotations, photos)
    objects = evaluated_objects(annotations, photos, predictor.vocabulary)
    photos = [photo for photo in photos if photo.id in objects.by_photo]
    done = photo_by_photo(
        predictor,
        partial(
            _photo_outcomes,
            images_dir=images_dir,
            kind=prompts,
            oracle_names=oracle_names,
        ),
        {photo.id: (photo, objects.by_photo[photo.id]) for photo in photos},
        job=job,
        record=Record(
            Outcome,
            predictor,
            settings=lambda: {
                "measures": "masks" if oracle_names else "masks and names",
                "annotations": annotations.fingerprint,
                "vocabulary": predictor.vocabulary.fingerprint,
                "prompts": prompts,
                "zoom": predictor.zoom,
                "clean": predictor.clean,
            },
            fits=_fits,
        ),
    )
    return Report(
        model=predictor.model_name,
        vocabulary=predictor.vocabulary.name,
        prompts=prompts,
        oracle_names=oracle_names,
        zoom=predictor.zoom,
        photos=len(photos),
        not_counted=replace(left_out, objects_never_answered=objects.left_out),
        seconds=done.seconds,
        outcomes=done.rows,
        novel=predictor.vocabulary.novel,
        merged=objects.merged,
    )


def _fits(item: tuple[Photo, Sequence[NamedInstance]], rows: Sequence[Outcome]) -> bool:
    """Whether these are outcomes of the photo's instances."""
    expected = [(instance.id, name) for instance, name in item[1]]
    return [(row.annotation_id, row.category) for row in rows] == expected


def _photo_outcomes(
    predictor: Segmenter,
    item: tuple[Photo, Sequence[NamedInstance]],
    images_dir: Path,
    kind: EvaluationKind,
    oracle_names: bool,
) -> list[Outcome]:
    photo, instances = item
    pixels = read_annotated_photo(photo, images_dir)
    answers = answer_instances(predictor, pixels, instances, kind, oracle_names=oracle_names)
    return [
        _outcome(instance, name, instance.mask(photo.size_hw), answer)
        for (instance, name), answer in zip(instances, answers, strict=True)
    ]


def _outcome(
    instance: Instance, name: str, ground_truth: NDArray[np.bool_], answer: Answer
) -> Outcome:
    mask = answer.mask
    names = [label.name for label in answer.labels]
    iou = mask_iou(mask, ground_truth)
    of_sizes = [mask_iou(one.mask, ground_truth) for one in answer.sizes]
    area = float(ground_truth.sum()) if np.isnan(instance.area) else instance.area
    return Outcome(
        category=name,
        area=area,
        iou=iou,
        boundary_iou=boundary_iou(mask, ground_truth),
        rank=names.index(name) if name in names else -1,
        score=answer.labels[0].score if answer.labels else 0.0,
        name=names[0] if names else "",
        annotation_id=instance.id,
        problem=_problem(instance, ground_truth),
        iou_best_of_sizes=max(iou, *of_sizes) if of_sizes else None,
    )


def _problem(instance: Instance, mask: NDArray[np.bool_]) -> str:
    try:
        check_instance(instance, (mask.shape[0], mask.shape[1]), mask)
    except AnnotationError as error:
        return str(error)
    return ""
