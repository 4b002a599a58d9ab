"""A predictor over annotated photos: each instance prompted from its annotation, then compared.

Protocol: the prompt comes from the annotation (`prompts`). The mask is compared at the photo's own
size; the name is right if the first one is the annotation's, and by meaning if it is a kind of that
(`meaning`). Crowds are left out. Nothing but the
prompt is taken from the annotation: a point's name comes from the predicted mask, save in the
authors' variant, `point-true-box`. With oracle names masks alone are measured, and each counts as
named right: what a model without names, such as SAM, would reach with a perfect namer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import Candidates
from ovsam.data.check import check_instance
from ovsam.errors import AnnotationError
from ovsam.evaluate.answers import answer_instances, check_names_objects
from ovsam.evaluate.calibration import Calibration, calibrate
from ovsam.evaluate.kinds import EvaluationKind
from ovsam.evaluate.left_out import LeftOut
from ovsam.evaluate.meaning import Meanings, annotated_synsets
from ovsam.evaluate.metrics import (
    Outcome,
    Summary,
    boundary_iou,
    summarise,
    summarise_by_class,
    summarise_by_novelty,
    summarise_by_size,
)
from ovsam.evaluate.objects import EvaluatedObjects, objects_by_vocabulary
from ovsam.evaluate.photos import chosen_photos, photos_left_out, read_annotated_photo
from ovsam.formats.annotations import Annotations, Instance, Photo
from ovsam.geometry import mask_iou
from ovsam.jobs.run import HERE, Job, Record, photo_by_photo
from ovsam.segmenter import Segmenter
from ovsam.structures import Label
from ovsam.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes:
        oracle_names: whether the annotated names were counted in place of the model's.
        novel: the classes that the vocabulary marks as unseen.
        merged: what is said of classes of the file that are one class of the vocabulary.
        kinds_alone: the file's classes of which the vocabulary has kinds and not the class itself.
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
    kinds_alone: tuple[str, ...] = ()

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
        return calibrate(self._scores, [outcome.rank == 0 for outcome in self.outcomes])

    @property
    def calibration_by_meaning(self) -> Calibration:
        """The same where a kind of the right thing is right, too."""
        return calibrate(self._scores, [outcome.rank_by_meaning == 0 for outcome in self.outcomes])

    @property
    def _scores(self) -> list[float]:
        return [outcome.score for outcome in self.outcomes]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            **self.summary.as_dict(),
            **{
                kind: {name: summary.as_dict() for name, summary in group.items()}
                for kind, group in {**self.groups, "by_class": self.by_class}.items()
            },
            "calibration": self.calibration.as_dict(),
            "calibration_by_meaning": self.calibration_by_meaning.as_dict(),
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
            "kinds_alone": list(self.kinds_alone),
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
    """Prompt every instance, compare masks and names over the predictor's own vocabulary.

    Arguments and errors are those of `evaluate_vocabularies`.
    """
    [report] = evaluate_vocabularies(
        predictor,
        annotations,
        images_dir,
        (predictor.vocabulary,),
        prompts=prompts,
        oracle_names=oracle_names,
        photos=photos,
        job=job,
    )
    return report


def evaluate_vocabularies(
    predictor: Segmenter,
    annotations: Annotations,
    images_dir: Path,
    vocabularies: Sequence[Vocabulary],
    *,
    prompts: EvaluationKind,
    oracle_names: bool = False,
    photos: Sequence[Photo] | None = None,
    job: Job = HERE,
) -> tuple[Report, ...]:
    """Prompt every instance, compare masks and the names over each vocabulary.

    Args:
        predictor: of the model.
        annotations: the ground truth.
        images_dir: the folder of the photos.
        vocabularies: as `Predictor.prepare` gives them. Each object is segmented once, and named
            from each.
        prompts: how instances are pointed at, see `prompts`.
        oracle_names: whether masks alone are measured and the annotated name of each counts as the
            first, with a score of 1. Then no text model is needed, and the one vocabulary only says
            which classes count.
        photos: what `chosen_photos` gave for these; None = all with instances, checked now.
        job: how the photos are gone through.

    Returns:
        A report for each vocabulary.

    Raises:
        AnnotationError: a photo is missing or of another size, no vocabulary has a class or a kind
            of it, or there is nothing to evaluate.
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
    objects = objects_by_vocabulary(annotations, photos, vocabularies)
    items = {photo.id: _item(photo, objects) for photo in photos}
    items = {photo_id: item for photo_id, item in items.items() if item.instances}
    done = photo_by_photo(
        predictor,
        partial(
            _photo_outcomes,
            images_dir=images_dir,
            kind=prompts,
            oracle_names=oracle_names,
            vocabularies=tuple(vocabularies),
            synsets=annotated_synsets(annotations.categories),
        ),
        items,
        job=job,
        record=Record(
            Outcome,
            predictor,
            settings=lambda: {
                "measures": "masks" if oracle_names else "masks and names, also by meaning",
                "annotations": annotations.fingerprint,
                "vocabulary": [one.fingerprint for one in vocabularies],
                "prompts": prompts,
                "zoom": predictor.zoom,
                "clean": predictor.clean,
            },
            fits=_fits,
        ),
    )
    return tuple(
        Report(
            model=predictor.model_name,
            vocabulary=vocabulary.name,
            prompts=prompts,
            oracle_names=oracle_names,
            zoom=predictor.zoom,
            photos=len(found.by_photo),
            not_counted=replace(
                left_out, objects_never_answered=found.left_out, objects_unlisted=found.unlisted
            ),
            seconds=done.seconds,
            outcomes=tuple(row for row in done.rows if row.vocabulary == number),
            novel=vocabulary.novel,
            merged=found.merged,
            kinds_alone=found.kinds_alone,
        )
        for number, (vocabulary, found) in enumerate(zip(vocabularies, objects, strict=True))
    )


class _Item(NamedTuple):
    """A photo, its instances that count, and what each vocabulary calls each of them.

    The name is None where an instance does not count with that vocabulary.
    """

    photo: Photo
    instances: list[Instance]
    names: list[tuple[str | None, ...]]


def _item(photo: Photo, objects: Sequence[EvaluatedObjects]) -> _Item:
    named: list[tuple[Instance, list[str | None]]] = []
    numbers: dict[int, int] = {}  # by the object, as some formats have no ids
    for which, found in enumerate(objects):
        for instance, name in found.by_photo.get(photo.id, ()):
            number = numbers.setdefault(id(instance), len(named))
            if number == len(named):
                named.append((instance, [None] * len(objects)))
            named[number][1][which] = name
    return _Item(photo, [instance for instance, _ in named], [tuple(names) for _, names in named])


def _fits(item: _Item, rows: Sequence[Outcome]) -> bool:
    """Whether these are outcomes of the photo's instances."""
    expected = [
        (instance.id, name, which)
        for instance, names in zip(item.instances, item.names, strict=True)
        for which, name in enumerate(names)
        if name is not None
    ]
    return [(row.annotation_id, row.category, row.vocabulary) for row in rows] == expected


def _photo_outcomes(
    predictor: Segmenter,
    item: _Item,
    images_dir: Path,
    kind: EvaluationKind,
    oracle_names: bool,
    vocabularies: Sequence[Vocabulary],
    synsets: Mapping[str, str | None],
) -> list[Outcome]:
    photo, instances, named = item
    first = [next(name for name in names if name is not None) for names in named]
    answers = answer_instances(
        predictor,
        read_annotated_photo(photo, images_dir),
        list(zip(instances, first, strict=True)),
        kind,
        oracle_names=oracle_names,
        vocabularies=vocabularies,
    )
    meanings = [Meanings(one) for one in vocabularies]
    rows = []
    for instance, names, answer in zip(instances, named, answers, strict=True):
        truth = instance.mask(photo.size_hw)
        of_mask = _mask_outcome(instance, truth, answer.mask, answer.sizes)
        labels = (answer.labels, *(more.labels[0] for more in answer.more_names))
        for which, name in enumerate(names):
            if name is not None:
                below = [
                    meanings[which].levels_below(one.name, name, synsets[instance.category])
                    for one in labels[which]
                ]
                rows.append(_named(replace(of_mask, vocabulary=which), name, labels[which], below))
    return rows


def _mask_outcome(
    instance: Instance,
    ground_truth: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    sizes: Sequence[Candidates],
) -> Outcome:
    """What became of the mask; no name counts yet."""
    iou = mask_iou(mask, ground_truth)
    of_sizes = [mask_iou(one.mask, ground_truth) for one in sizes]
    return Outcome(
        category="",
        area=float(ground_truth.sum()) if np.isnan(instance.area) else instance.area,
        iou=iou,
        boundary_iou=boundary_iou(mask, ground_truth),
        rank=-1,
        score=0.0,
        annotation_id=instance.id,
        problem=_problem(instance, ground_truth),
        iou_best_of_sizes=max(iou, *of_sizes) if of_sizes else None,
    )


def _named(
    outcome: Outcome, category: str, labels: Sequence[Label], below: Sequence[int | None]
) -> Outcome:
    """With the names that were given, each of them so many levels below the annotated class."""
    names = [label.name for label in labels]
    right = [level is not None for level in below]
    return replace(
        outcome,
        category=category,
        rank=names.index(category) if category in names else -1,
        score=labels[0].score if labels else 0.0,
        name=names[0] if names else "",
        rank_by_meaning=right.index(True) if any(right) else -1,
        levels_below=below[0] if below else None,
    )


def _problem(instance: Instance, mask: NDArray[np.bool_]) -> str:
    try:
        check_instance(instance, (mask.shape[0], mask.shape[1]), mask)
    except AnnotationError as error:
        return str(error)
    return ""
