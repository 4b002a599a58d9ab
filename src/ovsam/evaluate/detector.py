"""A detector from torchvision: photos in, boxes in COCO's results format out.

It is Faster R-CNN with a MobileNetV3 backbone at 320 pixels, small enough for a CPU. Its weights
come from a file; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from ovsam.errors import AnnotationError, CheckpointError
from ovsam.evaluate.photos import check_photos, read_annotated_photo
from ovsam.formats.annotations import Photo
from ovsam.formats.coco_results import BoxResult
from ovsam.formats.ground_truth import GroundTruth
from ovsam.jobs.run import Job, Progress, photo_by_photo
from ovsam.model.state_dict import check_finite
from ovsam.model.tensors import as_arrays, fill
from ovsam.model.weights_file import read_tensors

_CLASS_SCORES = "roi_heads.box_predictor.cls_score.weight"  # (classes and background, features)
_COUNTER = "num_batches_tracked"  # of a batch norm that is trained; unused where it is not


def load_detector(weights: Path) -> nn.Module:
    """The detector with its weights, for as many classes as they have.

    Args:
        weights: `.safetensors`, or what `torch.save` wrote of a state dict, alone or under "model".

    Raises:
        CheckpointError: no such file, a damaged or foreign one, or one that could run code.
    """
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in read_tensors(weights).items()
    }
    scores = state.get(_CLASS_SCORES)
    if scores is None or scores.ndim != 2 or len(scores) < 2:
        raise CheckpointError(
            f"'{weights}' holds no weights of torchvision's fasterrcnn_mobilenet_v3_large_320_fpn: "
            f"it has no {_CLASS_SCORES!r} of two classes or more. Give such weights."
        )
    detector: nn.Module = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=len(scores)
    )
    counters = {k: v for k, v in detector.state_dict().items() if k.endswith(_COUNTER)}
    fill(detector, {**counters, **state}, weights)
    check_finite(as_arrays(state), weights)
    return detector.eval()


def detect(
    detector: nn.Module,
    ground_truth: GroundTruth,
    images_dir: Path,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> list[BoxResult]:
    """Boxes of the photos of an annotation file, photo by photo, the best of each first.

    Args:
        detector: what `load_detector` gave.
        ground_truth: the photos and the ids of the classes; its annotations play no part.
        images_dir: the folder of the photos.
        limit: only the first so many photos of the annotation file.
        progress: called with (photos done, photos in all) after each photo.

    Raises:
        AnnotationError: a photo is missing or of another size, or the detector's classes are not
            those of the annotation file.
    """
    listed = ground_truth.annotations.photos[:limit]
    photos = check_photos(ground_truth.annotations.source, listed, images_dir)
    category_ids = _category_ids(detector, ground_truth)
    done = photo_by_photo(
        detector,
        partial(_detect_in, images_dir=images_dir, category_ids=category_ids),
        {photo.id: photo for photo in photos},
        job=Job(progress=progress),
    )
    return list(done.rows)


@torch.inference_mode()
def _detect_in(
    detector: nn.Module, photo: Photo, images_dir: Path, category_ids: Mapping[int, int]
) -> list[BoxResult]:
    pixels = torch.from_numpy(read_annotated_photo(photo, images_dir).copy())  # (H, W, 3)
    found: dict[str, Tensor] = detector([pixels.permute(2, 0, 1).float() / 255])[0]
    columns = (found[key].double().tolist() for key in ("boxes", "labels", "scores"))
    return [
        {
            "image_id": photo.id,
            "category_id": category_ids[int(label)],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": score,
        }
        for (x0, y0, x1, y1), label, score in zip(*columns, strict=True)
        if int(label) in category_ids and x0 < x1 and y0 < y1
    ]


def _category_ids(detector: Any, ground_truth: GroundTruth) -> dict[int, int]:
    """What each of the detector's labels, from 1 on, is called in the annotation file.

    A detector of as many classes as the file has numbers them in the order of their ids. Any other
    one must have the file's own ids as labels, as torchvision's for COCO have.
    """
    labels = detector.roi_heads.box_predictor.cls_score.out_features - 1  # 0 is the background
    ids = sorted(ground_truth.categories)
    if labels == len(ids):
        return dict(enumerate(ids, start=1))
    if ids and 1 <= ids[0] and ids[-1] <= labels:
        return {number: number for number in ids}
    raise AnnotationError(
        f"The detector tells {labels} classes apart, but {ground_truth.source!r} lists "
        f"{len(ids)} with ids that are not its labels: give the annotations that it was trained "
        "for."
    )
