"""Whether a score of 0.8 means that eight of ten such names are right (Guo et al., ICML 2017).

Instances are put into bins by the score of their first name. Where names are as certain as their
scores say, the mean score of a bin is the share of its names that are right. The expected
calibration error (ECE) is the mean distance of the two, each bin weighing what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovsam.evaluate.metrics import Outcome

BINS = 15  # of one width each


@dataclass(frozen=True)
class Bin:
    """Instances whose first name has a score in (low, high]; a score of 0 is in the first bin.

    Attributes:
        low: scores are above this.
        high: and up to this.
        instances: how many.
        score: their mean score; None where there is none.
        accuracy: share of them that is named right at first; None where there is none.
    """

    low: float
    high: float
    instances: int
    score: float | None
    accuracy: float | None

    @property
    def gap(self) -> float:
        """Distance of score and accuracy, in [0, 1]; 0 where there is no instance."""
        if self.score is None or self.accuracy is None:
            return 0.0
        return abs(self.score - self.accuracy)


@dataclass(frozen=True)
class Calibration:
    """Score beside accuracy, bin by bin, from the lowest scores to the highest."""

    bins: tuple[Bin, ...]

    @property
    def instances(self) -> int:
        """In all bins."""
        return sum(part.instances for part in self.bins)

    @property
    def error(self) -> float | None:
        """The expected calibration error, in [0, 1]; None where there is no instance."""
        if not self.instances:
            return None
        return sum(part.instances * part.gap for part in self.bins) / self.instances

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "ece": self.error,
            "bins": [
                {
                    "low": part.low,
                    "high": part.high,
                    "instances": part.instances,
                    "score": part.score,
                    "accuracy": part.accuracy,
                }
                for part in self.bins
            ],
        }


def calibrate(outcomes: Sequence[Outcome], count: int = BINS) -> Calibration:
    """Put outcomes into `count` bins of one width by the score of their first name."""
    scores = np.array([outcome.score for outcome in outcomes], dtype=np.float64)
    right = np.array([outcome.rank == 0 for outcome in outcomes], dtype=np.float64)
    edges = [i / count for i in range(count + 1)]
    place = np.digitize(scores, edges[1:-1], right=True)
    bins = []
    for i in range(count):
        chosen = place == i
        some = bool(chosen.any())
        bins.append(
            Bin(
                low=edges[i],
                high=edges[i + 1],
                instances=int(chosen.sum()),
                score=float(scores[chosen].mean()) if some else None,
                accuracy=float(right[chosen].mean()) if some else None,
            )
        )
    return Calibration(tuple(bins))
