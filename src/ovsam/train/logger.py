"""The log of a run: one CSV row and TensorBoard's scalars for each report."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ovsam.extras import missing
from ovsam.files import write_atomically, write_picture

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CSV = "log.csv"
TENSORBOARD = "tensorboard"
PICTURES = "pictures"
# The files that a run has made in these two.
_BOARDS = f"{TENSORBOARD}/events.out.tfevents.*"
_SHOWN = f"{PICTURES}/{'[0-9]' * 8}.png"


class RunLogger:
    """The log in a run's folder.

    Args:
        folder: of the run.
        loss_names: what losses there can be; a report may lack some.
    """

    def __init__(self, folder: Path, loss_names: Sequence[str]) -> None:
        self.folder, self.loss_names = folder, tuple(loss_names)
        self._first: int | None = None  # what TensorBoard has from there on, it forgets

    @property
    def _columns(self) -> list[str]:
        return ["step", "learning_rate", *self.loss_names, "images_per_second", "memory_gb"]

    @cached_property
    def _board(self) -> SummaryWriter:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("The log of a run", "tensorboard") from error

        return SummaryWriter(str(self.folder / TENSORBOARD), purge_step=self._first)

    def show(self, step: int, picture: NDArray[np.uint8]) -> None:
        """Keep a picture `(H, W, 3)` RGB of what the model predicts at a step."""
        (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        write_picture(self.folder / PICTURES / f"{step:08d}.png", picture)
        self._board.add_image("predictions", picture, step, dataformats="HWC")

    def begin(self) -> None:
        """Begin: rows of an earlier run that left no checkpoint would be written again.

        What no run has made stays: the folder may be one of photos, too.
        """
        (self.folder / CSV).unlink(missing_ok=True)
        for made in (*self.folder.glob(_BOARDS), *self.folder.glob(_SHOWN)):
            made.unlink()

    def forget_after(self, step: int) -> None:
        """Drop the rows after a step: they will be written again."""
        self._first = step + 1
        path = self.folder / CSV
        if path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            rows = [row for row in text.splitlines(keepends=True) if row[-1] == "\n"]
            steps = [row.partition(",")[0] for row in rows]
            numbered = zip(rows[1:], steps[1:], strict=True)
            kept = [row for row, at in numbered if at.isdecimal() and int(at) <= step]
            if rows:
                write_atomically(path, "".join([rows[0], *kept]).encode())
            else:  # killed before the first row was on the disk
                path.unlink()

    def write(
        self,
        step: int,
        rate: float,
        losses: Mapping[str, float],
        images_per_second: float,
        memory_gb: float,
    ) -> None:
        """Add a row; a loss that did not occur is left empty (nan)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CSV
        new = not path.exists()
        values = [losses.get(name, math.nan) for name in self.loss_names]
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(self._columns)
            row = [f"{value:.5f}" for value in values]
            writer.writerow(
                [step, f"{rate:.3e}", *row, f"{images_per_second:.2f}", f"{memory_gb:.2f}"]
            )
        scalars = {f"loss/{name}": value for name, value in losses.items()}
        scalars |= {"learning_rate": rate, "images_per_second": images_per_second}
        for name, value in (scalars | {"memory_gb": memory_gb}).items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
