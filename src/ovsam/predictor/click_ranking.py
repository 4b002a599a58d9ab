"""Which of the masks found under a click is the object that a person means.

A click is decoded in squares of several sizes around it, so that speck, part, object and
surroundings are all among the masks. What a mask has in common with the others, and how it lies in
its square, tells them apart; of that a small network makes a score, which was fitted on annotated
objects (`python -m tools.click_ranking`). It sees no pixel of the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ovsam.candidates import FramedMasks
from ovsam.config import ClickRanking
from ovsam.geometry import masks_to_boxes_xyxy
from ovsam.images.frame import STRIDE

LARGER = 1.5  # a mask that contains another has at least so many times its area
CONTAINED = 0.85  # and at least this share of it
AGREEMENT_POWER = 3  # of the overlap with which one mask supports another
BOUND = 6.0  # of logits, beyond which a mask is as sure as it gets
TOKENS = 4  # masks of a square, each of which learnt to be of another kind
MISSED, MISSED_WITHIN = 0.22, 0.04  # IoU at which an object counts as missed by half; the slope
FEATURES = 22 + TOKENS  # of a mask
UNLIKE = 0.7  # masks that overlap less are not the same object


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What K masks of nested squares have in common.

    Attributes:
        area: `(K,)` photo pixels.
        shared: `(K, K)` photo pixels that two masks both have.
        iou_within: `(K, K)` their IoU in the narrower of their two squares.
    """

    area: NDArray[np.float64]
    shared: NDArray[np.float64]
    iou_within: NDArray[np.float64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """`(K, K)` their IoU, 0 for empty masks."""
        union = self.area[:, None] + self.area - self.shared
        return self.shared / np.maximum(union, 1e-9)


def overlaps(squares: Sequence[FramedMasks]) -> Overlaps:
    """Of the masks of squares with one centre, the narrowest first; each at its own resolution."""
    counts = [len(square.mask_logits) for square in squares]
    ends = np.cumsum([0, *counts])
    shared, within = np.zeros((2, ends[-1], ends[-1]))
    area = np.zeros(ends[-1])
    for i, square in enumerate(squares):
        seen = np.concatenate([wider.in_frame(square.frame) for wider in squares[i:]]) > 0
        cells = seen.reshape(len(seen), -1).astype(np.float32)
        mine, others = slice(ends[i], ends[i + 1]), slice(ends[i], None)
        of_cell = float(np.prod(STRIDE / square.frame.scale_xy))
        both, each = cells[: counts[i]] @ cells.T, cells.sum(1)
        area[mine] = each[: counts[i]] * of_cell
        shared[mine, others] = both * of_cell
        within[mine, others] = both / np.maximum(each[: counts[i], None] + each - both, 1)
        shared[others, mine], within[others, mine] = shared[mine, others].T, within[mine, others].T
    return Overlaps(area, shared, within)


def features(
    squares: Sequence[FramedMasks],
    predicted_iou: NDArray[np.float32],
    common: Overlaps,
    clicks_xy: NDArray[np.float64],
    size_hw: tuple[int, int],
) -> NDArray[np.float64]:
    """What tells the masks apart, `(K, FEATURES)`.

    Args:
        squares: with one centre, the narrowest first.
        predicted_iou: `(K,)` of their masks, in this order.
        common: what `overlaps` found.
        clicks_xy: `(N, 2)` those on the object, photo pixels, in all squares.
        size_hw: the photo's, in pixels.
    """
    sure = np.clip(predicted_iou, 0, 1).astype(np.float64)
    logits = np.concatenate([square.mask_logits for square in squares])
    masks = logits > 0
    which = np.repeat(np.arange(len(squares)), [len(square.mask_logits) for square in squares])
    narrower, wider = which[None] < which[:, None], which[None] > which[:, None]
    iou, area = common.iou, common.area
    alike = np.where(np.eye(len(area), dtype=bool), 0, iou)
    inside = (common.shared > CONTAINED * area[:, None]) & (area > LARGER * area[:, None])
    weight = np.sqrt(sure)

    def mean(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (values * chosen) @ sure / np.maximum(chosen.sum(1), 1)
        return found

    rim = np.ones(masks.shape[1:], bool)
    rim[1:-1, 1:-1] = False
    cells = np.maximum(masks.sum((1, 2)), 1)
    boxes = masks_to_boxes_xyxy(masks)
    of_box = boxes[:, 2:] - boxes[:, :2]
    firm = (logits > 1).sum((1, 2)) / np.maximum((logits > -1).sum((1, 2)), 1)
    bounded = np.clip(logits, -BOUND, BOUND)
    places = np.stack([square.frame.to_model(clicks_xy) / STRIDE for square in squares])
    away, depth = _place(masks, places[which])
    sides = np.array([max(square.frame.window_hw) for square in squares])
    share = np.log(area / (size_hw[0] * size_hw[1]) + 1e-5)
    agreed = alike**3 @ weight
    votes = agreed**2 * sure + 1e-6
    usual = np.average(share, weights=votes)
    spread = np.sqrt(np.average((share - usual) ** 2, weights=votes))
    place = np.concatenate([np.arange(len(square.mask_logits)) for square in squares])
    columns = (
        agreed,
        alike @ weight,
        mean(common.iou_within**2, narrower),
        mean(common.iou_within**2, wider),
        inside @ sure,
        inside.T @ sure,
        sure,
        share,
        masks.mean((1, 2)),
        masks[:, rim].mean(1),
        of_box.max(1) / masks.shape[2],
        firm,
        away,
        depth,
        np.log(sides / max(size_hw))[which],
        # Of all masks alike: they say how much the others count.
        np.full(len(area), usual),
        np.full(len(area), spread),
        share - usual,
        np.full(len(area), agreed.max()),
        np.abs(bounded).mean((1, 2)),
        np.where(masks, bounded, 0).sum((1, 2)) / cells,
        (logits > 2).sum((1, 2)) / cells,
        *(place == token for token in range(TOKENS)),
    )
    return np.stack(columns, 1).astype(np.float64)


def _place(
    masks: NDArray[np.bool_], clicks_xy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where clicks `(K, N, 2)`, in cells, lie in masks `(K, L, L)`.

    Returns:
        `(K,)` how far the mask's mean is from theirs, in square roots of its area; and how deep in
        the mask the outermost lies, as a share of the depth that its deepest cell has.
    """
    count, side = masks.sum((1, 2)), masks.shape[2]
    middles = np.arange(side) + 0.5
    mean_xy = np.stack([masks.sum(1) @ middles, masks.sum(2) @ middles], 1)
    mean_xy /= np.maximum(count, 1)[:, None]
    away = np.hypot(*(mean_xy - clicks_xy.mean(1)).T) * (count > 0)
    padded = np.pad(masks.astype(np.uint8), ((0, 0), (1, 1), (1, 1)))  # the square's edge is one
    depths = [cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_3) for mask in padded]
    depth = np.stack(depths)[:, 1:-1, 1:-1]
    # A click in the middle of the square lies on a corner of four cells.
    low = np.clip(np.ceil(clicks_xy).astype(int) - 1, 0, side - 1)
    high = np.clip(np.floor(clicks_xy).astype(int), 0, side - 1)
    each = np.arange(len(masks))[:, None]
    corners = [depth[each, y[..., 1], x[..., 0]] for x in (low, high) for y in (low, high)]
    deepest = np.where(count > 0, depth.max((1, 2)), 1)
    return away / np.sqrt(np.maximum(count, 1)), np.max(corners, axis=0).min(1) / deepest


def worth(iou: NDArray[np.floating]) -> NDArray[np.float64]:
    """What a mask of such IoU with the object is worth: the IoU, and 1 more unless it misses it.

    A mask that overlaps less than about 0.2 shows another thing, so that one which has a good part
    of each of two likely objects is preferred to a perfect one of the likelier.
    """
    found: NDArray[np.float64] = iou + 1 / (1 + np.exp((MISSED - iou) / MISSED_WITHIN))
    return found


def expected_worth(
    ranking: ClickRanking, features: NDArray[np.float64], common: Overlaps
) -> NDArray[np.float64]:
    """What each of K masks with features `(K, F)` is expected to be worth, `(K,)`.

    The softmax of the network's scores is how likely each of the masks is the object.
    """
    hidden = np.tanh(features @ np.array(ranking.weights) + np.array(ranking.biases))
    scores = hidden @ np.array(ranking.output)
    odds = np.exp(scores - scores.max())
    expected: NDArray[np.float64] = worth(common.iou) @ (odds / odds.sum())
    return expected


def agreement(
    squares: Sequence[FramedMasks], predicted_iou: NDArray[np.float32], common: Overlaps
) -> NDArray[np.float64]:
    """How many of K masks are like each, `(K,)`: what ranks them for a model without a ranking.

    A high power of the overlap counts near copies alone: what squares of different sizes agree
    upon is an object, while parts and surroundings, which overlap too, differ from one to the next.
    A mask as wide as its square is cut off by it, so it is neither chosen nor counted.
    """
    masks = np.concatenate([square.mask_logits for square in squares]) > 0
    boxes = masks_to_boxes_xyxy(masks)
    whole = (boxes[:, 2:] - boxes[:, :2]).max(1) < masks.shape[2]
    votes = np.sqrt(np.clip(predicted_iou, 0, None)) * whole
    if not votes.any():
        votes = np.sqrt(np.clip(predicted_iou, 1e-6, None))
    supported: NDArray[np.float64] = common.iou**AGREEMENT_POWER @ votes * (votes > 0)
    return supported


def distinct(ranks: NDArray[np.float64], common: Overlaps, most: int) -> list[int]:
    """The first of K masks by their ranks `(K,)`, then the next that are unlike all before.

    `most` at most, and at least one; an empty mask only where it is the first.
    """
    iou = common.iou
    first, *others = np.argsort(-ranks, kind="stable").tolist()
    found = [first]
    for i in others:
        if len(found) < most and common.area[i] and (iou[i, found] < UNLIKE).all():
            found.append(i)
    return found
