"""The checkpoints of a run: saving it, and going on with it where it stopped.

A checkpoint is a folder, complete when it has its name; the last two are kept.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ovsam.bounded_json import parse_json
from ovsam.errors import TrainingError, first_line
from ovsam.formats.skipped import Skipped
from ovsam.model.weights_file import check_archive
from ovsam.train.launch import gathered
from ovsam.train.settings import RENAMED

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"  # their folder, within the run's
KEPT = 2  # the last one, and the one before in case the disk spoils it
_STATE, _AVERAGED = "state.pt", "averaged.pt"
_ABOUT = "about.json"  # what decided the run, and the version of the code
_VALUE_SHOWN = 24  # characters of a setting in a message; digests are longer


@dataclass(eq=False)
class RunState:
    """A run between two steps: all that a checkpoint holds.

    Attributes:
        stage: what learns, as Fabric wraps it.
        optimizer: as Fabric wraps it.
        parameters: what of the stage is trained, by name.
        averaged: the averaged weights of the same.
        step: how many steps are done.
        skipped: what could not be used so far.
        history: losses by name since the last row of the log.
    """

    stage: Any
    optimizer: Any
    parameters: Mapping[str, nn.Parameter]
    averaged: dict[str, Tensor]
    step: int = 0
    skipped: set[Skipped] = field(default_factory=set)
    history: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def with_averaged_weights(self) -> Iterator[None]:
        """Have the averaged weights in the model's place, so that they can be saved as it."""
        self._swap()
        yield
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.averaged[name])
            self.averaged[name] = kept


class Checkpoints:
    """Those of one run.

    Args:
        fabric: the run's processes, which all see its folder.
        folder: of the run.
        decided_by: what the weights depend on, by name; a checkpoint that differs in any of it is
            of another run.
    """

    def __init__(self, fabric: Fabric, folder: Path, decided_by: Mapping[str, str]) -> None:
        self.fabric, self.folder, self.decided_by = fabric, folder, decided_by

    def save(self, run: RunState, with_average: Callable[[], None] | None = None) -> None:
        """Write the checkpoint of this step, in all processes together.

        Args:
            run: what to save.
            with_average: called while the averaged weights are in the model's place.

        Raises:
            OSError: the folder cannot be written.
        """
        final = self.folder / CHECKPOINTS / f"{run.step:08d}"
        temporary = final.with_suffix(".tmp")
        if self.fabric.is_global_zero:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self.fabric.barrier()
        state: dict[str, Any] = {
            "model": run.stage,
            "optimizer": run.optimizer,
            "step": run.step,
            "history": gathered(self.fabric, run.history),
            "skipped": [astuple(one) for one in sorted(united(gathered(self.fabric, run.skipped)))],
        }
        self._write(temporary / _STATE, state, run)
        with run.with_averaged_weights():
            self._write(temporary / _AVERAGED, {"model": run.stage}, run)
            if with_average is not None:
                with_average()
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            about = {"version": metadata.version("ovsam"), "decided_by": self.decided_by}
            (temporary / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
            for path in temporary.iterdir():
                _flush(path)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            self._remove_old()
        self.fabric.barrier()

    def _write(self, path: Path, state: dict[str, Any], run: RunState) -> None:
        trained = {"model": lambda name, _: name in run.parameters}
        try:
            self.fabric.save(path, state, filter=trained)
        except RuntimeError as error:  # torch's writer says no more of a full disk
            raise OSError(
                f"'{path}' cannot be written, perhaps for lack of space ({first_line(error)})"
            ) from error

    def resume(self, run: RunState) -> Path | None:
        """Take over the last checkpoint that can be read, in all processes together.

        Returns:
            The checkpoint; None where there is none, and the run begins.

        Raises:
            TrainingError: it is of another run, none can be read, or the processes do not see the
                same.
        """
        saved = self._complete()
        if not saved:
            return None
        for checkpoint in reversed(saved):
            try:
                self._load(checkpoint, run)
                break
            except TrainingError:  # it is of another run
                raise
            except Exception as error:  # what is damaged raises what it likes
                _log.warning(
                    "The checkpoint '%s' cannot be read (%s): it is left out.",
                    checkpoint,
                    first_line(error),
                )
        else:
            raise TrainingError(
                f"No checkpoint in '{self.folder / CHECKPOINTS}' can be read. Delete that folder "
                "to begin again, or choose another output folder."
            )
        if len(set(gathered(self.fabric, run.step))) > 1:
            raise TrainingError(
                f"The processes do not see the same checkpoints in '{self.folder}'. All of them "
                "must see one folder."
            )
        if self.fabric.is_global_zero:
            self._remove_old()  # a run that was killed may have begun to
        return checkpoint

    def _load(self, checkpoint: Path, run: RunState) -> None:
        """Take over all that a checkpoint holds; raises whatever its damage makes torch raise.

        Raises:
            TrainingError: it is of another run.
        """
        self._check_same_run(checkpoint)
        check_archive(checkpoint / _AVERAGED)
        check_archive(checkpoint / _STATE)
        load = partial(self.fabric.load, strict=False, weights_only=True)
        load(checkpoint / _AVERAGED, {"model": run.stage})
        run.averaged = {name: p.detach().clone() for name, p in run.parameters.items()}
        objects = {"model": run.stage, "optimizer": run.optimizer}
        state = load(checkpoint / _STATE, objects)
        histories = state["history"]
        if len(histories) == self.fabric.world_size:
            run.history = histories[self.fabric.global_rank]
        run.skipped = {
            # Runs that began with an older version have names alone.
            Skipped(one, "It cannot be used.") if isinstance(one, str) else Skipped(*one)
            for one in state["skipped"]
        }
        run.step = state["step"]

    def _check_same_run(self, checkpoint: Path) -> None:
        mine, theirs = self.decided_by, _decided_by(checkpoint)
        other = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
        if other:
            different = (_difference(name, theirs.get(name), mine.get(name)) for name in other)
            raise TrainingError(
                f"'{checkpoint}' belongs to a run with another {', '.join(different)}. "
                "Choose another output folder, or restore the settings to go on."
            )

    def averaged_weights(self) -> dict[str, Tensor]:
        """Those of the last checkpoint by name, whole and on the CPU, of a sharded run, too."""
        saved = torch.load(self._complete()[-1] / _AVERAGED, map_location="cpu", weights_only=True)
        weights: dict[str, Tensor] = saved["model"]
        return weights

    def _complete(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        paths = (self.folder / CHECKPOINTS).glob("[0-9]" * 8)
        return sorted(path for path in paths if path.is_dir())

    def _remove_old(self) -> None:
        for old in self._complete()[:-KEPT]:
            shutil.rmtree(old)


def united(sets: Iterable[Iterable[Skipped]]) -> set[Skipped]:
    """All that is in any of several sets."""
    return {one for several in sets for one in several}


def _decided_by(checkpoint: Path) -> dict[str, str]:
    """What decided the run that a checkpoint is of, settings by the names that they have now."""
    about = parse_json((checkpoint / _ABOUT).read_bytes())
    if not isinstance(about, dict) or not isinstance(about["decided_by"], dict):
        raise ValueError("it does not say what decided its run")
    decided: dict[str, str] = {}
    for name, value in about["decided_by"].items():
        for old, new in RENAMED.items():
            value = value.replace(f'"{old}": ', f'"{new}": ')
        decided[RENAMED.get(name) or name] = value
    return decided


def _difference(name: str, theirs: str | None, mine: str | None) -> str:
    """A setting's name, with both values where they are short."""
    values = [str(value) for value in (theirs, mine)]
    if max(map(len, values)) > _VALUE_SHOWN:
        return name
    return f"{name} ({values[0]} there, {values[1]} now)"


def _flush(path: Path) -> None:
    """Wait until a file is on the disk, so that the name of its folder never promises more."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
