"""Which of a detector's boxes are prompts, and which classes count: chosen and checked at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovsam.errors import AnnotationError
from ovsam.evaluate.average_precision import LVIS_DETECTIONS, ground_truth_rows
from ovsam.evaluate.left_out import LeftOut, beyond_limit
from ovsam.evaluate.objects import name_in
from ovsam.evaluate.photos import check_photos
from ovsam.formats.annotations import Photo
from ovsam.formats.coco_results import Detection, Detections
from ovsam.formats.ground_truth import GroundTruth, Rules
from ovsam.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Plan:
    """Which boxes are prompts and what counts, all of it checked.

    Attributes:
        photos: those that count.
        items: those with a box, and their boxes that count, by photo id.
        vocabulary: what our names are from; None = the detector's names count.
        names: with our names, the category id that each stands for; None = the detector's.
        evaluated_classes: ids of the classes that count.
        not_counted: what does not, as far as it is known beforehand.
    """

    photos: Sequence[Photo]
    items: Mapping[int, tuple[Photo, Sequence[Detection]]]
    vocabulary: Vocabulary | None
    names: Mapping[str, int] | None
    evaluated_classes: frozenset[int]
    not_counted: LeftOut


def plan(
    ground_truth: GroundTruth,
    detections: Detections,
    images_dir: Path,
    vocabulary: Vocabulary | None,
    *,
    limit: int | None = None,
) -> Plan:
    """Choose photos and boxes, and check all that the work needs, before a model is loaded.

    Args:
        ground_truth: the annotations.
        detections: a detector's boxes.
        images_dir: the folder of the photos; those without a box are not read.
        vocabulary: what our names are from; None = the detector's names count.
        limit: only the first so many photos of the annotation file.

    Raises:
        AnnotationError: a photo is missing or of another size, an annotated mask is malformed,
            there is no box, or the vocabulary lacks the class of an annotated object.
    """
    every = ground_truth.annotations.photos
    photos = every[:limit]
    if not photos:
        raise AnnotationError(
            f"There is no photo to evaluate: {ground_truth.source!r} lists none. Give a file that "
            "does."
        )
    boxes = detections.by_photo
    with_boxes = [photo for photo in photos if photo.id in boxes]
    checked = check_photos(ground_truth.source, with_boxes, images_dir)
    names, evaluated = None, frozenset(ground_truth.categories)
    if vocabulary is not None:
        names = _categories_by_name(ground_truth, photos, vocabulary)
        answerable = dict(zip(vocabulary.classes, vocabulary.answerable, strict=True))
        evaluated -= {number for name, number in names.items() if not answerable[name]}
    if not checked:
        raise AnnotationError(
            f"There is no box to evaluate: the results have none in the {len(photos):,} photos of "
            f"{ground_truth.source!r} that count. Check that both are of the same photos."
        )
    rows = ground_truth_rows(ground_truth, {photo.id: photo for photo in photos})  # or refuse it
    items = {photo.id: (photo, _chosen(boxes[photo.id], ground_truth.rules)) for photo in checked}
    late = every[len(photos) :]
    never = sum(not row["iscrowd"] and row["category_id"] not in evaluated for row in rows)
    not_counted = replace(
        beyond_limit(ground_truth.annotations, late),
        objects_never_answered=never,
        boxes_beyond_limit=sum(len(boxes.get(photo.id, ())) for photo in late),
        boxes_beyond_best=sum(len(boxes[i]) - len(kept) for i, (_, kept) in items.items()),
    )
    return Plan(photos, items, vocabulary, names, evaluated, not_counted)


def _chosen(detections: Sequence[Detection], rules: Rules) -> Sequence[Detection]:
    """Those that count."""
    if rules == "coco":
        return detections
    return sorted(detections, key=lambda found: found.score, reverse=True)[:LVIS_DETECTIONS]


def _categories_by_name(
    ground_truth: GroundTruth, photos: Sequence[Photo], vocabulary: Vocabulary
) -> dict[str, int]:
    """The category id that each name of the vocabulary stands for, where it stands for one."""
    found: dict[str, int] = {}
    names = ground_truth.annotations.names_in(vocabulary)
    for number, category in ground_truth.categories.items():
        name = names[category.name]
        if name is not None and found.setdefault(name, number) != number:
            raise AnnotationError(
                f"The classes {ground_truth.categories[found[name]].name!r} and {category.name!r} "
                f"of {ground_truth.source!r} are both {name!r} in the vocabulary "
                f"{vocabulary.name!r}. Give one that tells them apart, such as the annotation file "
                "itself."
            )
    for photo in photos:
        for instance in ground_truth.annotations.by_photo.get(photo.id, ()):
            name_in(ground_truth.annotations, instance, vocabulary, names)  # or refuse it
    return found
