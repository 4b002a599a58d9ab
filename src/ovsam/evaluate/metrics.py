"""Numbers from outcomes: means of IoU and accuracy over instances, in all and by group.

Pure numpy; the types say what numbers may be.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ovsam.config import Area, Share
from ovsam.formats.annotations import LARGE_AREA, SMALL_AREA


@dataclass(frozen=True)
class Outcome:
    """What became of one instance.

    Attributes:
        category: its right name, as the vocabulary writes it.
        area: annotated area, photo pixels.
        iou: of predicted and annotated mask, at the photo's own size.
        boundary_iou: of the two masks' boundaries (see `boundary`), at the photo's own size.
        rank: place of the right name among the predicted ones, 0 = first; -1 = not among them.
        score: of the first predicted name, right or wrong, in [0, 1].
        name: the first predicted name.
        annotation_id: of the instance in its file; 0 where nobody asks.
        problem: one sentence if its annotated mask, box and photo do not belong together, see
            `ovsam.data.check`.
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

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values, without the problem."""
        content = asdict(self)
        del content["problem"]
        return content


@dataclass(frozen=True)
class Summary:
    """Means over instances as fractions; None where there is no instance."""

    iou: float | None
    boundary_iou: float | None
    accuracy: float | None
    accuracy_top5: float | None
    instances: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain JSON values."""
        return {
            "iou": self.iou,
            "boundary_iou": self.boundary_iou,
            "accuracy": self.accuracy,
            "accuracy_top5": self.accuracy_top5,
            "instances": self.instances,
        }


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Mean IoU and boundary IoU, the shares of instances named right at first or within five names.

    Example:
        >>> cat, dog = Outcome("cat", 9, 0.5, 0.25, 0, 0.9), Outcome("dog", 9, 1.0, 0.75, 3, 0.4)
        >>> summarise([cat, dog])
        Summary(iou=0.75, boundary_iou=0.5, accuracy=0.5, accuracy_top5=1.0, instances=2)
    """
    if not outcomes:
        return Summary(None, None, None, None, 0)
    ious = np.array([outcome.iou for outcome in outcomes])
    ranks = np.array([outcome.rank for outcome in outcomes])
    return Summary(
        iou=float(ious.mean()),
        boundary_iou=float(np.mean([outcome.boundary_iou for outcome in outcomes])),
        accuracy=float((ranks == 0).mean()),
        accuracy_top5=float(((ranks >= 0) & (ranks < 5)).mean()),
        instances=len(outcomes),
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
