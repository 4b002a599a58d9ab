"""The report of a finished run: one Markdown page with the curves and what was left out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovsam.errors import and_more
from ovsam.extras import missing
from ovsam.files import write_atomically
from ovsam.formats.skipped import Skipped
from ovsam.train.logger import CSV, PICTURES

try:
    import matplotlib
    from matplotlib import pyplot
except ImportError as error:
    raise missing("Training, which draws its curves,", "matplotlib") from error

MOST_LISTED = 100  # of what could not be used
ROWS = 12  # of the table; the CSV file has them all
SMOOTHED_OVER = 8  # rows of the log
REPORT, CURVES, RECIPE = "report.md", "curves.png", "recipe.json"


def write_report(
    folder: Path,
    recipe: dict[str, Any],
    skipped: Sequence[Skipped],
    crowds: Mapping[str, int] | None = None,
) -> None:
    """Write `report.md` beside the run's log.

    Args:
        folder: of the run.
        recipe: all that decided it.
        skipped: what could not be used.
        crowds: crowd regions by the data set that has them, which took no part.
    """
    _draw_curves(folder / CSV, folder / CURVES)
    with (folder / CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [rows[i * (len(rows) - 1) // (ROWS - 1)] for i in range(ROWS)]
    if len(rows) <= ROWS:
        shown = rows
    write_atomically(folder / RECIPE, json.dumps(recipe, indent=1).encode())
    parts = [
        f"# A run of `{recipe['model']}`, stage {recipe['stage']}",
        f"{rows[-1]['step']} steps. All settings: [{RECIPE}]({RECIPE}); every row: [{CSV}]({CSV}).",
        f"![learning rate, losses, pace and memory over the steps]({CURVES})",
        "\n".join(
            [_row(rows[0]), _row(["---"] * len(rows[0])), *(_row(r.values()) for r in shown)]
        ),
    ]
    pictures = sorted((folder / PICTURES).glob("*.png"))
    if pictures:
        last = f"{PICTURES}/{pictures[-1].name}"
        parts.insert(
            3, f"Photos that it did not learn from, annotated and predicted:\n\n![]({last})"
        )
    regions = [f"- `{name}`: {count:,}" for name, count in (crowds or {}).items() if count]
    if regions:
        parts += ["## Crowd regions (`iscrowd` 1), which were left out", "\n".join(regions)]
    for annotation, heading in ((False, "Photos"), (True, "Annotations")):
        left_out = [one for one in skipped if one.annotation == annotation]
        if left_out:
            parts.append(f"## {heading} that could not be used: {len(left_out):,}")
            lines = [f"- `{one.name}`: {one.why}" for one in left_out[:MOST_LISTED]]
            if len(left_out) > MOST_LISTED:
                lines.append(f"- … {and_more(len(left_out) - MOST_LISTED)}")
            parts.append("\n".join(lines))
    write_atomically(folder / REPORT, ("\n\n".join(parts) + "\n").encode(errors="replace"))


def _row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _draw_curves(log: Path, picture: Path) -> None:
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
