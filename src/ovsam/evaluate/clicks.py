"""Interactive segmentation: how the mask improves with every corrective click.

Protocol (as of RITM and f-BRS): the first click is the centre of the annotated mask. Each further
one is the centre of the larger of the two kinds of error, what is missed or what is too much, found
where the error is thickest; it comes with all clicks before it and the mask so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ovsam.config import Share
from ovsam.errors import AnnotationError
from ovsam.evaluate.left_out import NOTHING, LeftOut
from ovsam.evaluate.photos import chosen_photos, photos_left_out, read_annotated_photo
from ovsam.formats.annotations import Annotations, Instance, Photo
from ovsam.geometry import mask_centre_xy, mask_iou
from ovsam.jobs.run import HERE, Job, Record, photo_by_photo
from ovsam.segmenter import Segmenter
from ovsam.structures import Prompt

GOALS = (0.85, 0.9)  # IoU that clicks are counted to


@dataclass(frozen=True)
class ClickReport:
    """What `evaluate_clicks` found.

    Attributes:
        iou: `(instances, clicks)` after each click; so many clicks are the most that is counted.
        not_counted: how much more there is.
    """

    model: str
    zoom: bool
    photos: int
    seconds: float
    iou: NDArray[np.float64]
    not_counted: LeftOut = NOTHING

    @property
    def clicks(self) -> int:
        """How often each instance is clicked at most."""
        return int(self.iou.shape[1])

    @property
    def curve(self) -> list[float]:
        """Mean IoU after 1, 2, ... clicks."""
        return [float(value) for value in self.iou.mean(0)]

    def clicks_to(self, goal: float) -> float:
        """Mean number of clicks until the IoU is reached (NoC); all of them where it never is."""
        reached = self.iou >= goal
        first = np.where(reached.any(1), reached.argmax(1) + 1, self.clicks)
        return float(first.mean())

    def never(self, goal: float) -> int:
        """How many instances do not reach the IoU with any of the clicks."""
        return int((self.iou < goal).all(1).sum())

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "instances": len(self.iou),
            "clicks": self.clicks,
            "iou_after_clicks": self.curve,
            **{f"noc{round(goal * 100)}": self.clicks_to(goal) for goal in GOALS},
            **{f"never{round(goal * 100)}": self.never(goal) for goal in GOALS},
            "model": self.model,
            "prompts": "clicks",
            "zoom": self.zoom,
            "photos": self.photos,
            "without_pixel": self.not_counted.objects_without_pixel,
            "not_counted": self.not_counted.as_dict(),
            "seconds": round(self.seconds, 2),
        }


def evaluate_clicks(
    predictor: Segmenter,
    annotations: Annotations,
    images_dir: Path,
    *,
    clicks: int,
    photos: Sequence[Photo] | None = None,
    job: Job = HERE,
) -> ClickReport:
    """Click every instance with a mask until it has had all clicks.

    Args:
        predictor: it segments only: neither a vocabulary nor a text model is needed.
        annotations: the ground truth.
        images_dir: the folder of the photos.
        clicks: for each instance.
        photos: what `chosen_photos` gave for these; None = all with instances, checked now.
        job: how the photos are gone through.

    Raises:
        AnnotationError: a photo is missing or of another size, or there is nothing to evaluate.
        OutputError: the journal is of other settings, or cannot be used.
    """
    if photos is None:
        photos = chosen_photos(annotations, images_dir)
    curve: Any = Annotated[list[Share], Field(min_length=clicks, max_length=clicks)]
    done = photo_by_photo(
        predictor,
        partial(_photo_curves, images_dir=images_dir, clicks=clicks),
        {photo.id: (photo, annotations.by_photo[photo.id]) for photo in photos},
        job=job,
        record=Record[list[float]](
            curve,
            predictor,
            settings=lambda: {
                "measures": "masks after clicks",
                "annotations": annotations.fingerprint,
                "clicks": clicks,
                "zoom": predictor.zoom,
                "clean": predictor.clean,
            },
            fits=lambda item, rows: len(rows) == len(_clickable_masks(*item)),
        ),
    )
    if not done.rows:
        raise AnnotationError(
            f"There is no instance to click on in {annotations.source!r}: no mask of its first "
            f"{len(photos):,} photos has a pixel. Correct the masks."
        )
    return ClickReport(
        model=predictor.model_name,
        zoom=predictor.zoom,
        photos=len(photos),
        seconds=done.seconds,
        iou=np.array(done.rows).reshape(-1, clicks),
        not_counted=replace(
            photos_left_out(annotations, photos),
            objects_without_pixel=sum(len(annotations.by_photo[p.id]) for p in photos)
            - len(done.rows),
        ),
    )


def _photo_curves(
    predictor: Segmenter,
    item: tuple[Photo, Sequence[Instance]],
    images_dir: Path,
    clicks: int,
) -> list[list[float]]:
    """IoU after each click of each instance with a mask."""
    photo, instances = item
    encoded = predictor.encode(read_annotated_photo(photo, images_dir))
    masks = _clickable_masks(photo, instances)
    return [_curve(predictor, encoded, mask, clicks) for mask in masks]


def _clickable_masks(photo: Photo, instances: Sequence[Instance]) -> list[NDArray[np.bool_]]:
    """Those `(H, W)` that have a pixel to be clicked on."""
    drawn = (instance.mask(photo.size_hw) for instance in instances)
    return [mask for mask in drawn if mask.any()]


def next_click(
    predicted: NDArray[np.bool_], ground_truth: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], int]:
    """Where a person would click next: photo pixels `(2,)`, and 1 for missed, 0 for too much.

    The masks `(H, W)` differ somewhere.
    """
    missed, surplus = ground_truth & ~predicted, predicted & ~ground_truth
    label = int(_thickness(missed) >= _thickness(surplus))
    return mask_centre_xy(missed if label else surplus), label


def _thickness(error: NDArray[np.bool_]) -> float:
    padded = np.pad(error, 1).astype(np.uint8)
    return float(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())


def _curve(
    predictor: Segmenter,
    encoded: Any,
    ground_truth: NDArray[np.bool_],
    clicks: int,
) -> list[float]:
    """IoU after each click."""
    made = simulated_clicks(predictor, encoded, ground_truth, clicks)
    ious = [mask_iou(mask, ground_truth) for _, mask in made]
    return ious + [1.0] * (clicks - len(ious))


def simulated_clicks(
    predictor: Segmenter, encoded: Any, ground_truth: NDArray[np.bool_], clicks: int
) -> Iterator[tuple[Prompt, NDArray[np.bool_]]]:
    """Each click's prompt, with those before it, and the mask `(H, W)` that the model gave for it.

    There are fewer where a mask is just the annotated one.
    """
    points, labels = [mask_centre_xy(ground_truth)], [1]
    mask_logits = None
    for _ in range(clicks):
        prompt = Prompt(np.stack(points), np.array(labels), mask_logits=mask_logits)
        [candidates] = predictor.segment(encoded, [prompt])
        mask = candidates.mask
        yield prompt, mask
        if (mask == ground_truth).all():
            return
        point, label = next_click(mask, ground_truth)
        points.append(point)
        labels.append(label)
        mask_logits = candidates.low_res_logits[0]
