"""The log of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ovsam.extras import missing

try:
    import matplotlib
    from matplotlib import pyplot
except ImportError as error:
    raise missing("Training, which draws its curves,", "matplotlib") from error

SMOOTHED_OVER = 8  # rows of the log


def draw_curves(log: Path, picture: Path) -> None:
    """Draw every loss of `log` (CSV: step, learning_rate, losses by name) over the steps."""
    matplotlib.use("Agg")
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = np.array([int(row["step"]) for row in rows])
    names = [name for name in rows[0] if name != "step"]
    figure, panels = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.2))
    for panel, name in zip(panels, names, strict=True):
        values = np.array([float(row[name]) for row in rows])
        panel.plot(steps, values, color="#9ecae1", linewidth=0.8)
        width = min(SMOOTHED_OVER, len(values))
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        panel.plot(steps[width - 1 :], smooth, color="#08519c", linewidth=1.5)
        panel.set_title(name.replace("_", " "))
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
