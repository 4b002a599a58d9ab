"""What a detector holds possible of what it is unsure of: a few votes for each box.

Few objects are so plain that several views of a photo agree upon them. Of the others, too, the
detector knows something: that a thing is rather a bowl than a cup, and no horse. Each such box is
seen closer, and written several times, with each class as often as its scores say; a network that
draws one of these at a time learns the scores (Hinton et al. 2015, "Distilling the knowledge in a
neural network").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovsam.images.frame import Frame
from tools.named_boxes.detector import Detection, Detector

PROPOSED = 0.25  # least score in a view of the photo
MIN_SIDE = 8  # pixels
SAME_BOX_IOU = 0.5
MOST = 15  # boxes of a photo
SQUARES = ((1.35, False), (2.0, True), (3.0, False))  # times the box; whether mirrored
SQUARE_SIDE = 320  # pixels, as the network sees it
SEEN = 0.02  # least score in a square
OVERLAP = 0.4  # IoU with the box from which a detection in a square is of it
LIKELY = 0.2  # least score of the best name
VOTES = 8  # of a box
SHARPNESS = 1.5  # power of the scores


def proposals(
    detector: Detector, photo: NDArray[np.uint8], crop_shares: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Boxes `(x, y, width, height)` of what may be objects, the surest first.

    Args:
        detector: the detector.
        photo: `(H, W, 3)`.
        crop_shares: sides of the crops in which the photo is seen, shares of its sides.
    """
    found: list[Detection] = []
    for crop_xyxy in _crops(photo.shape[1], photo.shape[0], crop_shares):
        found += detector.detect(photo, crop_xyxy, least=PROPOSED)
    rest = [one.box_xywh for one in sorted(found, key=lambda one: -one.score)]
    rest = [box for box in rest if box[2:].min() >= MIN_SIDE]
    kept: list[NDArray[np.float64]] = []
    while rest and len(kept) < MOST:
        kept.append(rest.pop(0))
        if rest:
            overlaps = coco_mask.iou(np.stack(rest), kept[-1][None], [0])[:, 0]
            rest = [box for box, iou in zip(rest, overlaps, strict=True) if iou < SAME_BOX_IOU]
    return kept


def _crops(width: int, height: int, shares: Sequence[float]) -> Iterator[list[int]]:
    """The whole photo, then for each share the fewest even crops of that size that cover it."""
    yield [0, 0, width, height]
    for share in shares:
        count = int(np.ceil(1 / share))
        for x in np.linspace(0, 1 - share, count):
            for y in np.linspace(0, 1 - share, count):
                corners = x * width, y * height, (x + share) * width, (y + share) * height
                yield [round(corner) for corner in corners]


def name_scores(
    detector: Detector, photo: NDArray[np.uint8], box_xywh: NDArray[np.float64]
) -> dict[str, float]:
    """What the box may be, by squares around it: the mean score of each name.

    Empty where the first square shows nothing likely, or the mean of all does not.
    """
    x, y, width, height = box_xywh
    corners = np.array([[x, y], [x + width, y + height]])
    total: dict[str, float] = {}
    for times, mirrored in SQUARES:
        frame = Frame.square_around(corners.ravel().tolist(), times, SQUARE_SIDE)
        low, high = frame.to_model(corners)
        own = np.concatenate([low, high - low])[None]
        whole = (0, 0, SQUARE_SIDE, SQUARE_SIDE)
        best: dict[str, float] = {}
        for one in detector.detect(frame.cut(photo), whole, mirrored, least=SEEN):
            overlap = float(coco_mask.iou(one.box_xywh[None], own, [0])[0, 0])
            if overlap > OVERLAP:
                best[one.name] = max(best.get(one.name, 0.0), one.score * overlap)
        if not total and max(best.values(), default=0.0) < LIKELY:
            return {}
        for name, score in best.items():
            total[name] = total.get(name, 0.0) + score / len(SQUARES)
    return total if max(total.values()) >= LIKELY else {}


def votes(scores: Mapping[str, float]) -> dict[str, int]:
    """`VOTES` divided among names by `SHARPNESS` powers of their scores, by largest remainders.

    Example:
        >>> votes({"bowl": 0.5, "cup": 0.3, "horse": 0.01})
        {'bowl': 5, 'cup': 3}
    """
    powers = {name: score**SHARPNESS for name, score in scores.items()}
    shares = {name: VOTES * power / sum(powers.values()) for name, power in powers.items()}
    counts = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name])
    for name in by_remainder[: VOTES - sum(counts.values())]:
        counts[name] += 1
    return {name: count for name, count in counts.items() if count}
