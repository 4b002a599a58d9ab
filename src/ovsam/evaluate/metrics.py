"""Numbers of one object and their means over objects, in all and by group.

IoU hardly notices the outline of a large object, nearly all of whose pixels are inside. Boundary
IoU (Cheng et al., CVPR 2021) does: it compares only the pixels of each mask within a distance d of
its own outline, d being 2% of the photo's diagonal. The photo's border counts as an outline, as it
does in the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ovsam.config import Area, Share
from ovsam.formats.annotations import LARGE_AREA, SMALL_AREA
from ovsam.geometry import mask_iou

DIAGONAL_SHARE = 0.02


@dataclass(frozen=True)
class Outcome:
    """What became of one instance.

    Attributes:
        category: its annotated name, as the vocabulary writes it.
        area: annotated area, photo pixels.
        iou: of predicted and annotated mask, at the photo's own size.
        boundary_iou: of the two masks (see `boundary_iou`), at the photo's own size.
        rank: place of the annotated name among the predicted ones, 0 = first; -1 = not among
            them.
        score: of the first predicted name, right or wrong, in [0, 1].
        name: the first predicted name.
        annotation_id: of the instance in its file; 0 where that plays no part.
        rank_by_meaning: place of the first predicted name that is the annotated class or a kind of
            it, as `rank`.
        levels_below: how many hypernyms below the annotated class the first name is, 0 for the
            class itself; None where it is neither the class nor a kind of it.
        vocabulary: which of several the names are of, counted from 0.
        problem: one sentence if its annotated mask, box and photo do not belong together, see
            `ovsam.data.check`.
        iou_best_of_sizes: of a click, the largest IoU that one of its sizes has, an oracle's
            choice; None for other prompts.
    """

    category: str
    area: Area
    iou: Share
    boundary_iou: Share
    rank: Annotated[int, Field(ge=-1, lt=5)]
    score: Share
    name: str = ""
    annotation_id: int = 0
    problem: str = ""
    rank_by_meaning: Annotated[int, Field(ge=-1, lt=5)] = -1
    levels_below: Annotated[int, Field(ge=0)] | None = None
    vocabulary: int = 0
    iou_best_of_sizes: Share | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values, without the problem and the number of the vocabulary."""
        content = asdict(self)
        del content["problem"], content["vocabulary"]
        if self.iou_best_of_sizes is None:
            del content["iou_best_of_sizes"]
        return content


@dataclass(frozen=True)
class Summary:
    """Means over instances as fractions; None where there is no instance.

    Attributes:
        iou: mean IoU.
        boundary_iou: mean boundary IoU.
        accuracy: share whose first name is the annotated one.
        accuracy_top5: share whose name is among the first five.
        instances: how many.
        share_below20: share with an IoU of less than 0.2: another thing was segmented, or a part.
        share_below50: the same with less than 0.5.
        accuracy_by_meaning: share whose first name is the annotated class or a kind of it.
        accuracy_by_meaning_top5: share that has such a name among the first five.
        right_itself: of the first names that are right by meaning, the share that is the annotated
            class itself; None where none is right, as in the next.
        right_levels_below: how many hypernyms below the class they are on average.
        iou_best_of_sizes: mean of the best of what each click may mean, an oracle's choice; None
            for prompts other than clicks, too.
    """

    iou: float | None
    boundary_iou: float | None
    accuracy: float | None
    accuracy_top5: float | None
    instances: int
    share_below20: float | None = None
    share_below50: float | None = None
    accuracy_by_meaning: float | None = None
    accuracy_by_meaning_top5: float | None = None
    right_itself: float | None = None
    right_levels_below: float | None = None
    iou_best_of_sizes: float | None = None

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain JSON values; the oracle of clicks only where there is one."""
        content = asdict(self)
        if self.iou_best_of_sizes is None:
            del content["iou_best_of_sizes"]
        return content


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Mean IoU and boundary IoU, the shares of instances named right at first or within five names.

    Example:
        >>> cat, dog = Outcome("cat", 9, 0.5, 0.25, 0, 0.9), Outcome("dog", 9, 1.0, 0.75, 3, 0.4)
        >>> summary = summarise([cat, dog])
        >>> summary.iou, summary.boundary_iou, summary.accuracy, summary.accuracy_top5
        (0.75, 0.5, 0.5, 1.0)
    """
    if not outcomes:
        return Summary(None, None, None, None, 0)
    ious = np.array([outcome.iou for outcome in outcomes])
    ranks = np.array([outcome.rank for outcome in outcomes])
    by_meaning = np.array([outcome.rank_by_meaning for outcome in outcomes])
    below = [outcome.levels_below for outcome in outcomes if outcome.levels_below is not None]
    best = [outcome.iou_best_of_sizes for outcome in outcomes]
    oracle = [iou for iou in best if iou is not None]
    return Summary(
        iou=float(ious.mean()),
        boundary_iou=float(np.mean([outcome.boundary_iou for outcome in outcomes])),
        accuracy=float((ranks == 0).mean()),
        accuracy_top5=float(((ranks >= 0) & (ranks < 5)).mean()),
        instances=len(outcomes),
        share_below20=float((ious < 0.2).mean()),
        share_below50=float((ious < 0.5).mean()),
        accuracy_by_meaning=float((by_meaning == 0).mean()),
        accuracy_by_meaning_top5=float((by_meaning >= 0).mean()),
        right_itself=float(np.mean([level == 0 for level in below])) if below else None,
        right_levels_below=float(np.mean(below)) if below else None,
        iou_best_of_sizes=float(np.mean(oracle)) if len(oracle) == len(outcomes) else None,
    )


def summarise_by_size(outcomes: Sequence[Outcome]) -> dict[str, Summary]:
    """One summary each for COCO's small, medium and large instances."""
    areas: NDArray[np.float64] = np.array([outcome.area for outcome in outcomes])
    return {
        "small": summarise(_where(outcomes, areas < SMALL_AREA)),
        "medium": summarise(_where(outcomes, (areas >= SMALL_AREA) & (areas < LARGE_AREA))),
        "large": summarise(_where(outcomes, areas >= LARGE_AREA)),
    }


def summarise_by_class(outcomes: Sequence[Outcome]) -> dict[str, Summary]:
    """One summary for each class that has an instance, in alphabetical order."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.category, []).append(outcome)
    return {name: summarise(groups[name]) for name in sorted(groups)}


def summarise_by_novelty(
    outcomes: Sequence[Outcome], novel_classes: Container[str]
) -> dict[str, Summary]:
    """One summary each for base and novel classes of an open-vocabulary split."""
    novel = np.array([outcome.category in novel_classes for outcome in outcomes], dtype=bool)
    return {
        "base": summarise(_where(outcomes, ~novel)),
        "novel": summarise(_where(outcomes, novel)),
    }


def _where(outcomes: Sequence[Outcome], chosen: NDArray[np.bool_]) -> list[Outcome]:
    return [outcome for outcome, keep in zip(outcomes, chosen, strict=True) if keep]


def boundary_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """IoU of the boundaries of two masks `(H, W)` bool of one photo; 0 if both are empty."""
    return mask_iou(boundary(a), boundary(b))


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels `(H, W)` of a mask of a whole photo that are near something outside of it.

    Near is within d pixels, counted as a king moves on a board; d is `DIAGONAL_SHARE` of the
    photo's diagonal, rounded, at least 1.

    Example:
        >>> boundary(np.ones((4, 5), dtype=bool)).astype(int)
        array([[1, 1, 1, 1, 1],
               [1, 0, 0, 0, 1],
               [1, 0, 0, 0, 1],
               [1, 1, 1, 1, 1]])
    """
    distance = max(1, round(DIAGONAL_SHARE * math.hypot(*mask.shape)))
    padded = np.pad(mask, 1).astype(np.uint8)
    # Beyond the padding OpenCV sees neither in nor out, so the padding is what erodes the border.
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    near: NDArray[np.bool_] = mask & (inner == 0)
    return near
