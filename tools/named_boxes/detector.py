"""A detector of COCO's classes, and on which of its boxes several views of a photo agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

MIN_SCORE = 0.35  # of a detection in one view
SAME_OBJECT_IOU = 0.55  # boxes that overlap more are of one object
MIN_TOTAL_SCORE = 0.9  # of at least two detections that agree
MARGIN = 3  # pixels; a box that ends so near to a crop's border is cut off by it


@dataclass(frozen=True)
class Detection:
    """A named box `(x, y, width, height)` in photo pixels."""

    name: str
    score: float
    box_xywh: NDArray[np.float64]


class Network(Protocol):
    """What `Detector` asks of OpenCV's `DetectionModel`."""

    def detect(
        self, frame: NDArray[np.uint8], confThreshold: float = ..., /
    ) -> tuple[Sequence[int], Sequence[float], Sequence[Sequence[int]]]:
        """Numbers of classes from 1 on, scores, and boxes `(x, y, width, height)`."""
        ...


class Detector:
    """SSD with MobileNetV3.

    Args:
        network: the network.
        names: of its classes, in their order.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self._network = network
        self._names = names

    def detect(
        self,
        photo: NDArray[np.uint8],
        crop_xyxy: Sequence[int],
        mirrored: bool = False,
        least: float = MIN_SCORE,
    ) -> list[Detection]:
        """What a crop of a photo shows, without what the crop's border cuts off.

        Args:
            photo: `(H, W, 3)`, the last axis as the network wants it.
            crop_xyxy: the crop in photo pixels.
            mirrored: whether the network sees the crop mirrored; boxes are as in the photo.
            least: score of a detection.
        """
        x0, y0, x1, y1 = crop_xyxy
        crop = photo[y0:y1, x0:x1]
        height, width = crop.shape[:2]
        seen = crop[:, ::-1].copy() if mirrored else crop
        detections = []
        for number, score, (x, y, w, h) in zip(*self._network.detect(seen, least), strict=True):
            left, top = max(0, width - x - w if mirrored else x), max(0, y)
            w, h = min(w, width - left), min(h, height - top)
            cut_off = (
                (left < MARGIN and x0 > 0)
                or (top < MARGIN and y0 > 0)
                or (left + w > width - MARGIN and x1 < photo.shape[1])
                or (top + h > height - MARGIN and y1 < photo.shape[0])
            )
            if not cut_off:
                box_xywh = np.array([left + x0, top + y0, w, h], np.float64)
                name = self._names[number - 1].strip()
                detections.append(Detection(name, float(score), box_xywh))
        return detections


def load_detector(folder: Path) -> Detector:
    """The detector whose graph and labels are in a folder; it wants blue, green and red."""
    network = cv2.dnn.DetectionModel(
        str(folder / "frozen_inference_graph.pb"),
        str(folder / "ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt"),
    )
    network.setInputParams(1 / 127.5, (320, 320), (127.5,) * 3, swapRB=True)
    return Detector(network, (folder / "labels.txt").read_text(encoding="utf-8").split("\n"))


def agreed_detections(detections: Sequence[Detection]) -> list[Detection]:
    """Those that two views or more name alike, each with the mean of their boxes by score.

    Detections that overlap the one with the highest score are of its object. It is given where at
    least two have its name, their scores add up to `MIN_TOTAL_SCORE`, and the others' to less than
    half of that sum; its score is the sum.
    """
    rest = sorted(detections, key=lambda detection: -detection.score)
    agreed = []
    while rest:
        best = rest[0]
        boxes = np.stack([detection.box_xywh for detection in rest])
        overlaps = coco_mask.iou(boxes, boxes[:1], [0])[:, 0]
        overlaps[0] = 1  # with itself, however thin
        is_same = overlaps > SAME_OBJECT_IOU
        of_object = [one for one, same in zip(rest, is_same, strict=True) if same]
        rest = [one for one, same in zip(rest, is_same, strict=True) if not same]
        named_alike = [one for one in of_object if one.name == best.name]
        total = sum(one.score for one in named_alike)
        others = sum(one.score for one in of_object) - total
        if len(named_alike) > 1 and total >= MIN_TOTAL_SCORE and others < total / 2:
            weights = [one.score for one in named_alike]
            box_xywh = np.average([one.box_xywh for one in named_alike], axis=0, weights=weights)
            agreed.append(Detection(best.name, total, box_xywh))
    return agreed
