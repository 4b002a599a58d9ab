"""Whether a score of 0.8 means that eight of ten such names are right (Guo et al., ICML 2017).

Instances are put into bins by the score of their first name. Where names are as certain as their
scores say, the mean score of a bin is the share of its names that are right. The expected
calibration error (ECE) is the mean distance of the two, each bin weighing what it holds. The
reliability plot shows both, bin by bin.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ovsam.extras import check_installed
from ovsam.files import write_atomically

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
            "bins": [asdict(part) for part in self.bins],
        }


def calibrate(scores: ArrayLike, correct: ArrayLike, count: int = BINS) -> Calibration:
    """Put objects into `count` bins of one width by the score of their first name.

    Args:
        scores: `(N,)` of the first names, in [0, 1].
        correct: `(N,)` whether each is right.
        count: of bins.
    """
    scores, correct = np.asarray(scores, np.float64), np.asarray(correct, np.float64)
    edges = [i / count for i in range(count + 1)]
    places = np.digitize(scores, edges[1:-1], right=True)
    bins = []
    for i in range(count):
        chosen = places == i
        some = bool(chosen.any())
        bins.append(
            Bin(
                low=edges[i],
                high=edges[i + 1],
                instances=int(chosen.sum()),
                score=float(scores[chosen].mean()) if some else None,
                accuracy=float(correct[chosen].mean()) if some else None,
            )
        )
    return Calibration(tuple(bins))


def check_plottable() -> None:
    """Refuse a reliability plot before anything is measured for it.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    check_installed("The reliability plot", ("matplotlib",))


def draw_reliability(calibration: Calibration, title: str, path: Path) -> None:
    """Draw the share of right names in each bin over its scores, above how many instances it has.

    Dots stand at a bin's mean score; they would lie on the dashed line if scores were
    probabilities.

    Args:
        calibration: at least one of its bins holds an instance.
        title: what was measured.
        path: the .png file to write.

    Raises:
        MissingPackageError: matplotlib is not installed.
        OutputError: it cannot be written.
    """
    check_plottable()
    from matplotlib.figure import Figure

    filled = [part for part in calibration.bins if part.instances]
    left = [part.low for part in filled]
    widths = [part.high - part.low for part in filled]
    shares = [part.accuracy or 0.0 for part in filled]
    scores = [part.score or 0.0 for part in filled]
    figure = Figure(figsize=(4.2, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.bar(left, shares, widths, align="edge", color="#9ecae1", edgecolor="white")
    above.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=1)
    above.plot(scores, shares, "o", color="#08519c", markersize=4, clip_on=False)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share named right")
    above.set_title(f"{title}\nECE {calibration.error or 0.0:.3f}", fontsize=9)
    below.bar(left, [part.instances for part in filled], widths, align="edge", color="#9ecae1")
    below.set(xlabel="score of the first name", ylabel="instances")
    for panel in (above, below):
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
