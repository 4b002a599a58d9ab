"""A predictor over annotated photos: each instance prompted from its annotation, then compared.

Protocol: the prompt comes from the annotation (`prompts`). The mask is compared at the photo's own
size; the name is right if the first one is the annotation's. Crowds are left out. Nothing but the
prompt is taken from the annotation: a point's name comes from the predicted mask, save in the
authors' variant, `point-true-box`; an oracle alone is told the name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ovsam.data.check import check_instance
from ovsam.errors import AnnotationError, OvsamError, PhotoError, PromptError, quoted
from ovsam.evaluate.boundary import boundary_iou
from ovsam.evaluate.calibration import Calibration, calibrate
from ovsam.evaluate.left_out import LeftOut, beyond
from ovsam.evaluate.metrics import (
    Outcome,
    Summary,
    summarise,
    summarise_by_class,
    summarise_by_novelty,
    summarise_by_size,
)
from ovsam.evaluate.prompts import EvaluationKind, annotated_prompt
from ovsam.formats.annotations import Annotations, Instance, Photo
from ovsam.formats.crowds import IF_OBJECTS, OPTION
from ovsam.formats.labelme import photo_source
from ovsam.geometry import mask_iou
from ovsam.images.folder import PhotoFolder
from ovsam.images.read import check_whole, read_photo
from ovsam.jobs.processes import Workers
from ovsam.jobs.run import Progress, photo_by_photo
from ovsam.structures import Prediction, Prompt
from ovsam.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovsam.predictor.predictor import Predictor

ASKED_AT_ONCE = 64  # bounds the memory of masks; as many as are answered together without zoom


@dataclass(frozen=True)
class Report:
    """What `evaluate` found."""

    model: str
    vocabulary: str
    prompts: EvaluationKind
    zoom: bool
    photos: int
    not_counted: LeftOut
    seconds: float
    outcomes: tuple[Outcome, ...]
    novel: tuple[str, ...] = ()
    """The classes that the vocabulary marks as unseen."""
    merged: tuple[str, ...] = ()
    """What is said of classes of the file that are one class of the vocabulary."""

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
    predictor: Predictor,
    annotations: Annotations,
    images_dir: Path,
    *,
    prompts: EvaluationKind,
    zoom: bool | None = None,
    limit: int | None = None,
    photos: Sequence[Photo] | None = None,
    journal: Path | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Report:
    """Prompt every instance, compare masks and names.

    Args:
        predictor: its own vocabulary is the one that is answered from.
        annotations: what is right.
        images_dir: the folder of the photos.
        prompts: how instances are pointed at, see `prompts`.
        zoom: as for `Predictor.predict`; None = the model's own default.
        limit: only the first so many photos that have instances.
        photos: what `chosen_photos` gave for these; None = they are chosen, and checked, now.
        journal: a file of what became of each photo; where it is there, what it holds is not
            done again. `limit` may be another.
        workers: processes that the photos are shared out over.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: a photo is missing or of another size, a class is not in the vocabulary,
            or there is nothing to evaluate.
        PromptError: an annotated box lies outside its photo.
        OutputError: the journal is of other settings, or cannot be used.
    """
    if photos is None:
        photos = chosen_photos(annotations, images_dir, limit)
    left_out = photos_left_out(annotations, photos)
    found = counted(annotations, photos, predictor.vocabulary)
    photos = [photo for photo in photos if photo.id in found.by_photo]
    zoomed = predictor.zoom if zoom is None else zoom
    done = photo_by_photo(
        predictor,
        partial(_evaluate_photo, images_dir=images_dir, kind=prompts, zoom=zoom),
        {photo.id: (photo, found.by_photo[photo.id]) for photo in photos},
        Outcome,
        fits=_fits,
        settings=lambda: {
            "measures": "masks and names",
            "annotations": annotations.fingerprint,
            "vocabulary": predictor.vocabulary.fingerprint,
            "prompts": prompts,
            "zoom": zoomed,
        },
        journal=journal,
        workers=workers,
        progress=progress,
    )
    return Report(
        model=predictor.name,
        vocabulary=predictor.vocabulary.name,
        prompts=prompts,
        zoom=zoomed,
        photos=len(photos),
        not_counted=replace(left_out, objects_never_answered=found.left_out),
        seconds=done.seconds,
        outcomes=done.rows,
        novel=predictor.vocabulary.novel,
        merged=found.merged,
    )


@dataclass(frozen=True)
class Counted:
    """What is evaluated.

    Attributes:
        by_photo: by photo id the instances that count, each with its right name.
        left_out: how many do not, being of classes that are never answered.
        merged: a sentence for each class of the vocabulary that is several of the file's.
    """

    by_photo: dict[int, list[tuple[Instance, str]]]
    left_out: int
    merged: tuple[str, ...]


def counted(annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary) -> Counted:
    """The instances of the photos with their right names.

    Raises:
        AnnotationError: a class is not in the vocabulary, or no instance counts.
        PromptError: an annotated box lies outside its photo.
    """
    answerable = dict(zip(vocabulary.classes, vocabulary.answerable, strict=True))
    names = annotations.names_in(vocabulary)
    kept: dict[int, list[tuple[Instance, str]]] = {}
    meant: dict[str, dict[str, None]] = {}  # the file's classes by ours, in the order of objects
    left_out = 0
    for photo in photos:
        for instance in annotations.by_photo[photo.id]:
            _check_box(annotations, photo, instance)
            name = right_name(annotations, instance, vocabulary, names)
            meant.setdefault(name, {})[instance.category] = None
            if answerable[name]:
                kept.setdefault(photo.id, []).append((instance, name))
            else:
                left_out += 1
    if not kept:
        raise AnnotationError(
            f"There is no instance to evaluate in {annotations.source!r}: the vocabulary "
            f"{vocabulary.name!r} never answers the classes of its {left_out:,} instances. Give "
            "another with --vocabulary."
        )
    merged = [
        f"{' and '.join(map(quoted, classes))} are both {quoted(name)}"
        if len(classes) == 2
        else f"{', '.join(map(quoted, classes))} are all {quoted(name)}"
        for name, classes in meant.items()
        if len(classes) > 1
    ]
    return Counted(kept, left_out, tuple(merged))


def _check_box(annotations: Annotations, photo: Photo, instance: Instance) -> None:
    try:
        Prompt(box_xyxy=instance.box_xyxy).check_inside(photo.size_hw)
    except PromptError as error:
        raise PromptError(
            f"Annotation {instance.id} of {annotations.source!r}: {error} Correct it or take it "
            "out of the file."
        ) from error


def right_name(
    annotations: Annotations,
    instance: Instance,
    vocabulary: Vocabulary,
    names: Mapping[str, str | None],
) -> str:
    """The vocabulary's name for an annotated object, as `Annotations.names_in` has found it.

    Raises:
        AnnotationError: it has none.
    """
    name = names[instance.category]
    if name is None:
        start = f"{instance.category.lower()} ("
        near = next(
            (other for other in vocabulary.classes if other.lower().startswith(start)), None
        )
        but = "" if near is None else f" (it has {quoted(near)})"
        raise AnnotationError(
            f"Annotation {instance.id} of {annotations.source!r} is of the class "
            f"{quoted(instance.category)}, which the vocabulary {vocabulary.name!r} does not have"
            f"{but}. Give one that has it with --vocabulary, such as the annotation file itself."
        )
    return name


def chosen_photos(annotations: Annotations, images_dir: Path, limit: int | None) -> Sequence[Photo]:
    """The first photos that have instances, named as they lie in the folder.

    All of them are there and of the annotated size.

    Raises:
        AnnotationError: no photo has an instance, one is missing or of another size, or a mask is
            malformed.
        PhotoError: a photo is none.
    """
    photos = [photo for photo in annotations.photos if photo.id in annotations.by_photo][:limit]
    if not photos:
        but, so = "", "Give a file with objects."
        if annotations.crowds:
            but = f" but {annotations.crowds:,} crowd regions (iscrowd 1), which do not count"
            so = f"{IF_OBJECTS} {OPTION}."
        raise AnnotationError(
            f"There is no instance to evaluate in {annotations.source!r}: it lists "
            f"{len(annotations.photos):,} photos and marks nothing on them{but}. {so}"
        )
    annotations.check_masks(photos)
    return check_photos(annotations.source, photos, images_dir)


def photos_left_out(annotations: Annotations, photos: Sequence[Photo]) -> LeftOut:
    """What `chosen_photos` left out, where it chose these."""
    marked = [photo for photo in annotations.photos if photo.id in annotations.by_photo]
    return replace(
        beyond(annotations, marked[len(photos) :]),
        photos_without_objects=len(annotations.photos) - len(marked),
    )


def read_annotated_photo(photo: Photo, images_dir: Path) -> NDArray[np.uint8]:
    """The photo `(H, W, 3)`.

    Raises:
        AnnotationError: its size is not that of the annotations.
        PhotoError: it cannot be read.
    """
    with _of_photo(photo):
        pixels = read_photo(photo_source(images_dir / photo.file_name))
    _check_size(photo, images_dir, pixels.shape)
    return pixels


@contextmanager
def _of_photo(photo: Photo) -> Iterator[None]:
    """Says which photo of the annotations cannot be read."""
    try:
        yield
    except PhotoError as error:
        raise PhotoError(f"Photo {photo.id} of the annotations: {error}") from error


def _check_size(photo: Photo, images_dir: Path, size_hw: tuple[int, ...]) -> None:
    if size_hw[:2] != photo.size_hw:
        raise AnnotationError(
            f"Photo {quoted(photo.file_name)} (id {photo.id}) in {str(images_dir)!r} is "
            f"{size_hw[1]} x {size_hw[0]} pixels, but the annotations say {photo.size_hw[1]} x "
            f"{photo.size_hw[0]}. Give the photos that were annotated with --images."
        )


def check_photos(source: str, photos: Sequence[Photo], images_dir: Path) -> Sequence[Photo]:
    """The photos, named as they lie in the folder; all must be there and the annotated ones.

    Every photo is decoded: what passes here is read in the run, which takes far longer.

    Raises:
        AnnotationError: says how many are missing and names the first, or the first of another
            size.
        PhotoError: a photo is none, or cut short.
    """
    folder = PhotoFolder(images_dir)
    places = [folder.find(photo.file_name) for photo in photos]
    missing = [photo for photo, place in zip(photos, places, strict=True) if place is None]
    if missing:
        raise AnnotationError(
            f"{len(missing)} of {len(photos)} photos are missing in {str(images_dir)!r}, first "
            f"{quoted(missing[0].file_name)} (id {missing[0].id} of {source!r}). Give the folder "
            "of the photos with --images."
        )
    found = []
    for photo, place in zip(photos, places, strict=True):
        assert place is not None
        with _of_photo(photo):
            size_hw = check_whole(photo_source(place))
        _check_size(photo, images_dir, size_hw)
        found.append(replace(photo, file_name=place.relative_to(images_dir).as_posix()))
    return found


def _fits(asked: tuple[Photo, Sequence[tuple[Instance, str]]], rows: Sequence[Outcome]) -> bool:
    """Whether these are outcomes of the photo's instances."""
    wanted = [(instance.id, name) for instance, name in asked[1]]
    return [(row.annotation_id, row.category) for row in rows] == wanted


def _evaluate_photo(
    predictor: Predictor,
    asked: tuple[Photo, Sequence[tuple[Instance, str]]],
    images_dir: Path,
    kind: EvaluationKind,
    zoom: bool | None,
) -> list[Outcome]:
    photo, instances = asked
    pixels = read_annotated_photo(photo, images_dir)
    masks = [instance.mask(photo.size_hw) for instance, _ in instances]
    answers = ask(predictor, pixels, instances, masks, kind, zoom)
    return [
        _outcome(instance, name, mask, prediction)
        for (instance, name), mask, (_, prediction) in zip(instances, masks, answers, strict=True)
    ]


def ask(
    predictor: Predictor,
    pixels: NDArray[np.uint8],
    asked: Sequence[tuple[Instance, str]],
    masks: Sequence[NDArray[np.bool_]],
    kind: EvaluationKind,
    zoom: bool | None,
    top: int = 5,
) -> Iterator[tuple[Prompt, Prediction]]:
    """Point at instances of a photo `(H, W, 3)` as a kind of evaluation does, some at a time.

    Args:
        predictor: who is asked.
        pixels: the photo.
        asked: what is pointed at, with the right names, which an oracle is told.
        masks: their annotated masks `(H, W)`.
        kind: how.
        zoom: as for `Predictor.predict`.
        top: how many names.

    Raises:
        OvsamError: the model's scores are no numbers.
    """
    size_hw = pixels.shape[0], pixels.shape[1]
    prompt_kind = "point" if kind == "point-true-box" else kind
    prompts = [
        annotated_prompt(instance, mask, prompt_kind, size_hw, predictor.config.image_size)
        for (instance, _), mask in zip(asked, masks, strict=True)
    ]
    true_boxes = [instance.box_xyxy for instance, _ in asked]
    names = [name for _, name in asked]
    encoded = predictor.encode(pixels)
    for first in range(0, len(prompts), ASKED_AT_ONCE):
        some = slice(first, first + ASKED_AT_ONCE)
        predictions = predictor.predict(
            encoded,
            prompts[some],
            zoom=zoom,
            top=top,
            name_boxes_xyxy=true_boxes[some] if kind == "point-true-box" else None,
            right_names=names[some] if predictor.has_oracle else None,
        )
        if not all(math.isfinite(score) for said in predictions for _, score in said.labels[0]):
            raise OvsamError(
                f"{predictor.name} gives scores that are no finite numbers, and nothing can be "
                "measured so. Its weights may be damaged: convert or download them again."
            )
        yield from zip(prompts[some], predictions, strict=True)


def _outcome(
    instance: Instance, name: str, mask: NDArray[np.bool_], prediction: Prediction
) -> Outcome:
    labels = prediction.labels[0]
    predicted = [label.name for label in labels]
    area = float(mask.sum()) if np.isnan(instance.area) else instance.area
    return Outcome(
        category=name,
        area=area,
        iou=mask_iou(prediction.mask, mask),
        boundary_iou=boundary_iou(prediction.mask, mask),
        rank=predicted.index(name) if name in predicted else -1,
        score=labels[0].score if labels else 0.0,
        name=prediction.name,
        annotation_id=instance.id,
        problem=_problem(instance, mask),
    )


def _problem(instance: Instance, mask: NDArray[np.bool_]) -> str:
    try:
        check_instance(instance, (mask.shape[0], mask.shape[1]), mask)
    except AnnotationError as error:
        return str(error)
    return ""
