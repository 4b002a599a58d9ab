"""Photos and prompts that several tests of the predictor share."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.structures import Prediction, Prompt

HEIGHT, WIDTH = 150, 200


def blobs(seed: int, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """A photo of soft random spots."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*size_hw, 3)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 6), np.float32)
    photo: NDArray[np.uint8] = np.clip((smooth - 127) * 12 + 127, 0, 255).astype(np.uint8)
    return photo


def coarse_mask(seed: int) -> NDArray[np.float32]:
    """Smooth random logits `(32, 32)`."""
    noise = np.random.default_rng(seed).normal(0, 8, (32, 32)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3) * 5, np.float32)


BOX = np.array([30.0, 40, 120, 110])
PROMPTS = {
    "box": Prompt(box_xyxy=BOX),
    "box elsewhere": Prompt(box_xyxy=np.array([110.0, 5, 180, 60])),
    "box beyond": Prompt(box_xyxy=np.array([-20.0, 90, 60, 170])),
    "point": Prompt(points_xy=np.array([[60.0, 70]])),
    "points": Prompt(points_xy=np.array([[60.0, 70], [150, 20]]), point_labels=np.array([1, 0])),
    "negative point": Prompt(points_xy=np.array([[60.0, 70]]), point_labels=np.array([0])),
    "box and points": Prompt(
        points_xy=np.array([[60.0, 70], [35, 45]]), point_labels=np.array([1, 0]), box_xyxy=BOX
    ),
    "mask": Prompt(mask_logits=coarse_mask(1)),
    "box and mask": Prompt(box_xyxy=BOX, mask_logits=coarse_mask(2)),
    "all": Prompt(points_xy=np.array([[60.0, 70]]), box_xyxy=BOX, mask_logits=coarse_mask(3)),
}


def assert_same(one: Prediction, other: Prediction) -> None:
    """The same answer but for the rounding of floats."""
    assert one.masks.shape == other.masks.shape
    assert (one.masks != other.masks).mean() < 1e-3
    np.testing.assert_allclose(one.low_res_logits, other.low_res_logits, atol=0.02, rtol=1e-3)
    np.testing.assert_allclose(one.predicted_iou, other.predicted_iou, atol=1e-3)
    assert [[label.name for label in row] for row in one.labels] == [
        [label.name for label in row] for row in other.labels
    ]
    for ours, theirs in zip(one.labels, other.labels, strict=True):
        scores = [[label.score for label in row] for row in (ours, theirs)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


def differ(one: Prediction, other: Prediction) -> bool:
    """Whether masks are others."""
    return not np.allclose(one.low_res_logits, other.low_res_logits, atol=0.1)
