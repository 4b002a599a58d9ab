"""A predictor over annotated photos: each instance prompted from its annotation, then compared.

Protocol: the prompt is the annotated box, or the centre of the annotated mask (the pixel farthest
from its outside, at the size at which the network sees the photo). The mask is compared at the
photo's own size; the name is right if the first one is the annotation's. Crowds are left out.
Nothing but the prompt is taken from the annotation: names come from the predicted mask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovsam.data.coco import Annotations, Instance, Photo
from ovsam.errors import AnnotationError
from ovsam.evaluate.metrics import (
    Outcome,
    Summary,
    summarise,
    summarise_by_novelty,
    summarise_by_size,
)
from ovsam.geometry import mask_centre_xy, mask_iou
from ovsam.photo import read_photo
from ovsam.structures import Prediction, Prompt
from ovsam.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ovsam.predictor import Predictor

PromptKind = Literal["box", "point"]
NOTHING = "There is no instance to evaluate: no photo has one that counts."
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What `evaluate` found; `left_out` counts instances of classes that are never answered."""

    model: str
    vocabulary: str
    prompts: PromptKind
    zoom: bool
    photos: int
    left_out: int
    seconds: float
    outcomes: tuple[Outcome, ...]

    @property
    def summary(self) -> Summary:
        """Over all instances."""
        return summarise(self.outcomes)

    @property
    def groups(self) -> dict[str, dict[str, Summary]]:
        """Summaries by size and, for COCO's open-vocabulary split, by novelty."""
        groups = {"by_size": summarise_by_size(self.outcomes)}
        if self.vocabulary == "coco-ov":
            groups["by_novelty"] = summarise_by_novelty(self.outcomes)
        return groups

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            **self.summary.as_dict(),
            **{
                kind: {name: summary.as_dict() for name, summary in group.items()}
                for kind, group in self.groups.items()
            },
            "model": self.model,
            "vocabulary": self.vocabulary,
            "prompts": self.prompts,
            "zoom": self.zoom,
            "photos": self.photos,
            "left_out": self.left_out,
            "seconds": round(self.seconds, 2),
        }


def evaluate(
    predictor: Predictor,
    annotations: Annotations,
    images_dir: Path,
    *,
    prompts: PromptKind,
    zoom: bool | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Prompt every instance, compare masks and names.

    Args:
        predictor: its own vocabulary is the one that is answered from.
        annotations: what is right.
        images_dir: the folder of the photos.
        prompts: annotated boxes, or centres of annotated masks.
        zoom: as for `Predictor.predict`; None = the model's own default.
        limit: only the first so many photos that have instances.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: a photo is missing or of another size, a class is not in the vocabulary,
            or there is nothing to evaluate.
    """
    photos = chosen_photos(annotations, images_dir, limit)
    kept, left_out = _evaluated(annotations, photos, predictor.vocabulary)
    photos = [photo for photo in photos if photo.id in kept]
    if not photos:
        raise AnnotationError(NOTHING)
    outcomes: list[Outcome] = []
    start = time.perf_counter()
    for done, photo in enumerate(photos, start=1):
        outcomes += _evaluate_photo(predictor, photo, kept[photo.id], images_dir, prompts, zoom)
        if progress is not None:
            progress(done, len(photos))
    return Report(
        model=predictor.name,
        vocabulary=predictor.vocabulary.name,
        prompts=prompts,
        zoom=predictor.zoom if zoom is None else zoom,
        photos=len(photos),
        left_out=left_out,
        seconds=time.perf_counter() - start,
        outcomes=tuple(outcomes),
    )


def centre_point_xy(mask: NDArray[np.bool_], image_size: int) -> NDArray[np.float64]:
    """The mask's centre `(2,)` in photo pixels, found at the size at which the network sees it.

    Args:
        mask: `(H, W)` photo pixels, not empty.
        image_size: longest side of the photo as the network sees it, in pixels.
    """
    height, width = mask.shape
    scale = image_size / max(height, width)
    seen_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    seen = np.asarray(Image.fromarray(mask).resize(seen_wh, Image.Resampling.NEAREST))
    if not seen.any():  # an object too small for the network's grid
        return mask_centre_xy(mask)
    centre_xy: NDArray[np.float64] = mask_centre_xy(seen) * (width, height) / seen_wh
    return centre_xy


def _evaluated(
    annotations: Annotations, photos: Sequence[Photo], vocabulary: Vocabulary
) -> tuple[dict[int, list[tuple[Instance, str]]], int]:
    """By photo id the instances that count, each with its right name; and how many do not."""
    names = {name.lower(): name for name in vocabulary.classes}
    answerable = dict(zip(vocabulary.classes, vocabulary.answerable, strict=True))
    kept: dict[int, list[tuple[Instance, str]]] = {}
    left_out = 0
    for photo in photos:
        for instance in annotations.by_photo[photo.id]:
            name = _right_name(instance.category, names)
            if name is None:
                raise AnnotationError(
                    f"Annotation {instance.id} is of the class {instance.category!r}, which the "
                    f"vocabulary {vocabulary.name!r} does not have. Give one that has it, such as "
                    "the annotation file itself."
                )
            if answerable[name]:
                kept.setdefault(photo.id, []).append((instance, name))
            else:
                left_out += 1
    return kept, left_out


def _right_name(category: str, names: dict[str, str]) -> str | None:
    whole = " ".join(category.replace("_", " ").split()).lower()
    if whole in names:
        return names[whole]
    first = Vocabulary.from_names([category]).classes[0].lower()
    return names.get(first)


def chosen_photos(annotations: Annotations, images_dir: Path, limit: int | None) -> Sequence[Photo]:
    """The first photos that have instances, all of them there.

    Raises:
        AnnotationError: no photo has an instance, or one is missing.
    """
    photos = [photo for photo in annotations.photos if photo.id in annotations.by_photo][:limit]
    if not photos:
        raise AnnotationError(NOTHING)
    _check_photos(photos, images_dir)
    return photos


def read_annotated_photo(photo: Photo, images_dir: Path) -> NDArray[np.uint8]:
    """The photo `(H, W, 3)`.

    Raises:
        AnnotationError: its size is not that of the annotations.
        PhotoError: it cannot be read.
    """
    pixels = read_photo(images_dir / photo.file_name)
    if pixels.shape[:2] != photo.size_hw:
        raise AnnotationError(
            f"{photo.file_name!r} is {pixels.shape[1]} x {pixels.shape[0]} pixels, but the "
            f"annotations say {photo.size_hw[1]} x {photo.size_hw[0]}."
        )
    return pixels


def _check_photos(photos: Sequence[Photo], images_dir: Path) -> None:
    missing = [photo.file_name for photo in photos if not (images_dir / photo.file_name).is_file()]
    if missing:
        raise AnnotationError(
            f"{len(missing)} of {len(photos)} photos are missing in {str(images_dir)!r}, first "
            f"{missing[0]!r}. Give the folder of the photos with --images."
        )


def _evaluate_photo(
    predictor: Predictor,
    photo: Photo,
    instances: Sequence[tuple[Instance, str]],
    images_dir: Path,
    kind: PromptKind,
    zoom: bool | None,
) -> list[Outcome]:
    pixels = read_annotated_photo(photo, images_dir)
    masks = [instance.mask(photo.size_hw) for instance, _ in instances]
    prompts = [
        _prompt(instance, mask, kind, predictor.config.image_size)
        for (instance, _), mask in zip(instances, masks, strict=True)
    ]
    predictions = predictor.predict(predictor.encode(pixels), prompts, zoom=zoom, top=5)
    return [
        _outcome(instance, name, mask, prediction)
        for (instance, name), mask, prediction in zip(instances, masks, predictions, strict=True)
    ]


def _prompt(
    instance: Instance, mask: NDArray[np.bool_], kind: PromptKind, image_size: int
) -> Prompt:
    if kind == "box":
        return Prompt(box_xyxy=np.array(instance.box_xyxy))
    if mask.any():
        return Prompt(points_xy=centre_point_xy(mask, image_size)[None])
    x0, y0, x1, y1 = instance.box_xyxy  # an object thinner than a pixel has no mask
    limits = mask.shape[1], mask.shape[0]
    return Prompt(points_xy=np.clip([[(x0 + x1) / 2, (y0 + y1) / 2]], 0, limits))


def _outcome(
    instance: Instance, name: str, mask: NDArray[np.bool_], prediction: Prediction
) -> Outcome:
    predicted = [label.name for label in prediction.labels[0]]
    area = float(mask.sum()) if np.isnan(instance.area) else instance.area
    return Outcome(
        category=name,
        area=area,
        iou=mask_iou(prediction.mask, mask),
        rank=predicted.index(name) if name in predicted else -1,
    )
