"""The reliability plot: accuracy over score, bin by bin, beside what it should be."""

from __future__ import annotations

import io
from pathlib import Path

from ovsam.evaluate.calibration import Calibration
from ovsam.extras import missing
from ovsam.files import write_atomically

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise missing("The reliability plot", "matplotlib") from error


def draw_reliability(calibration: Calibration, title: str, path: Path) -> None:
    """Draw what `calibration` says above how many instances it says it of.

    Bars are the shares of right names in each bin, dots stand at its mean score and would lie on
    the dashed line if scores could be taken at their word.

    Args:
        calibration: at least one of its bins holds an instance.
        title: what was measured.
        path: the .png file to write.

    Raises:
        OutputError: it cannot be written.
    """
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
