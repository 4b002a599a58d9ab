"""The training loop of every stage, on Lightning Fabric: it knows nothing of what is learnt.

A run is a function of its settings: the data of step s, its random numbers and its learning rate
depend on the seed and s alone. So a run that is killed at any moment and started again from its
last checkpoint ends with the weights of a run that was left alone, bit for bit.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass, fields, is_dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, Dataset

from ovsam.bounded_json import parse_json
from ovsam.errors import OvsamError, TrainingError
from ovsam.extras import missing
from ovsam.formats.skipped import Skipped, too_many
from ovsam.model.weights_file import check_archive
from ovsam.train.folder_lock import alone_in
from ovsam.train.logger import Record
from ovsam.train.schedule import rate_share
from ovsam.train.settings import EngineSettings

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
except ImportError as error:
    raise missing("Training", "lightning-fabric") from error

log = logging.getLogger(__name__)
T = TypeVar("T")
Draw = Callable[["Stage"], NDArray[np.uint8]]

CHECKPOINTS = "checkpoints"
ABOUT = "about.json"  # of a checkpoint: what decided its run, and the version of the code
FREE = {"log_every", "save_every", "workers", "device", "compile", "shard"}  # change no weights
VALUE_SHOWN = 24  # characters of a setting in a message; digests are longer
KEPT = 2  # checkpoints: the last one, and the one before in case the disk spoils it


class Batch(Protocol):
    """What a stage learns from at once: a dataclass with tensors, for any depth."""

    @property
    def names(self) -> tuple[str, ...]:
        """The photos in it, for messages."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Photos that should have been in it but cannot be read, and their bad annotations."""


class Batches(Protocol):
    """The run's micro-batches: item i is a function of the seed and i alone."""

    @property
    def photos(self) -> int:
        """How many photos there are to draw from."""

    @property
    def annotations(self) -> int | None:
        """How many annotations there are, those that are left out among them; None = unknown."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What is left out, as far as it is known before anything is drawn."""

    def __getitem__(self, index: int) -> Batch:
        """Micro-batch `index`; there is no end to them."""


class Stage(nn.Module, ABC):
    """A model with what it is taught: parameters that require a gradient are trained."""

    loss_names: tuple[str, ...]

    @abstractmethod
    def heavy_modules(self) -> Iterable[nn.Module]:
        """What is worth compiling and sharding apart: modules that every batch goes through."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The losses of a micro-batch by name; their sum is minimised.

        Each is a mean over the batch's images, and random numbers are drawn from the batch's own
        seeds, so that it does not matter how the images of a step are spread.
        """

    def forward(self, work: Callable[[Stage], T]) -> T:
        """Do some work with the stage: the way in that shares gradients and gathers shards."""
        return work(self)


@dataclass(frozen=True)
class Finished:
    """What a run gives.

    Attributes:
        averaged: the averaged weights of the trained parameters by name, on the CPU.
        skipped: what could not be used.
    """

    averaged: dict[str, Tensor]
    skipped: tuple[Skipped, ...]


class Engine:
    """Runs stages; started by `torchrun`, one of its processes.

    Args:
        settings: of the run.
        folder: where checkpoints and the record go.
    """

    def __init__(self, settings: EngineSettings, folder: Path) -> None:
        accelerator = settings.device
        if accelerator == "auto":
            accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        elif accelerator == "cuda" and not torch.cuda.is_available():
            raise TrainingError(
                "engine.device is cuda, and PyTorch finds no CUDA device here. Set it to cpu, or "
                "to auto, or install a build of PyTorch for the device."
            )
        if settings.precision == "auto":
            settings = replace(settings, precision=_fast_precision(accelerator))
        assert settings.precision != "auto"
        self.settings, self.folder = settings, folder
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=processes,
            num_nodes=nodes,
            precision=settings.precision,
            strategy=_strategy(settings, processes * nodes),
        )
        self.fabric.launch()

    @property
    def world(self) -> int:
        """How many processes train together."""
        return self.fabric.world_size

    def fit(
        self,
        stage: Stage,
        batches: Batches,
        draw: Draw | None = None,
        decided_by: Mapping[str, str] | None = None,
    ) -> Finished:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            stage: what learns.
            batches: what it learns from.
            draw: makes a picture of what the averaged weights answer, for each checkpoint.
            decided_by: what the weights depend on beside the engine's settings, by name; a
                checkpoint is only gone on with if all of it is the same.

        Raises:
            TrainingError: a loss or gradient is not finite, more than 1% of the data cannot be
                used, the folder holds another run or one that is going on, or no checkpoint in it
                can be read.
            OSError: the folder cannot be written.
        """
        settings = {n: json.dumps(v) for n, v in asdict(self.settings).items() if n not in FREE}
        decided = {**settings, **(decided_by or {})}
        with alone_in(self.folder) if self.fabric.is_global_zero else nullcontext():
            run = _Run(self.fabric, self.settings, self.folder, stage, batches, draw, decided)
            return run.to_the_end()


def _fast_precision(accelerator: str) -> Literal["32-true", "bf16-mixed"]:
    """bfloat16 where the device has instructions for it."""
    if accelerator == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has else "32-true"


def _strategy(settings: EngineSettings, world: int) -> Any:
    if settings.shard:
        return ModelParallelStrategy(
            _sharded,
            data_parallel_size=world,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
        )
    return DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"


def _sharded(stage: nn.Module, mesh: Any) -> nn.Module:
    """Shard a stage, its heavy modules apart, so that only one of them at a time is whole."""
    assert isinstance(stage, Stage)
    for module in stage.heavy_modules():
        fully_shard(module, mesh=mesh["data_parallel"])
    # Gathered anew for each use, since checkpoints exchange weights in between.
    fully_shard(stage, mesh=mesh["data_parallel"], reshard_after_forward=True)
    return stage


def _losses(stage: Stage, batch: Any) -> dict[str, Tensor]:
    """The stage's losses, with a gradient for every parameter whatever the batch holds.

    Processes that add up their gradients must all have the same ones.
    """
    losses = stage.losses(batch)
    heavy = {id(p) for module in stage.heavy_modules() for p in module.parameters()}
    light = [p.sum() for p in stage.parameters() if p.requires_grad and id(p) not in heavy]
    first = next(iter(losses))
    if light:
        losses[first] = losses[first] + 0 * torch.stack(light).sum()
    return losses


class _Run:
    """One run's state between its steps."""

    def __init__(
        self,
        fabric: Fabric,
        settings: EngineSettings,
        folder: Path,
        stage: Stage,
        batches: Batches,
        draw: Draw | None,
        decided_by: Mapping[str, str],
    ) -> None:
        self.fabric, self.settings, self.folder, self.batches = fabric, settings, folder, batches
        self.draw, self.decided_by = draw, decided_by
        if settings.compile:
            for module in stage.heavy_modules():
                module.compile()
        self.stage = fabric.setup_module(stage)
        self.parameters = {n: p for n, p in stage.named_parameters() if p.requires_grad}
        matrices = [p for p in self.parameters.values() if p.ndim > 1]
        vectors = [p for p in self.parameters.values() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=settings.schedule.peak
        )
        self.optimizer: Any = fabric.setup_optimizers(optimizer)  # wrapped, else the same
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.record = Record(folder, stage.loss_names)
        self.step = 0
        self.skipped: set[Skipped] = set()
        self.history: dict[str, list[float]] = {}  # losses since the last row of the record

    def to_the_end(self) -> Finished:
        self._resume()
        self._note_skipped(self.batches.skipped)
        self.stage.train()
        waiting = iter(self._micro_batches())
        settings = self.settings
        if self.fabric.is_global_zero:
            log.info(
                "%d photos, step %d of %d; a line every %d steps, a checkpoint every %d",
                self.batches.photos,
                self.step,
                settings.steps,
                settings.log_every,
                settings.save_every,
            )
        started, first, images = time.monotonic(), self.step, 0
        while self.step < settings.steps:
            seen = [next(waiting) for _ in range(settings.accumulate)]
            images += sum(len(batch.names) for batch in seen) * self.fabric.world_size
            self._learn(seen)
            self.step += 1
            if self.step % settings.log_every == 0 or self.step == settings.steps:
                elapsed = time.monotonic() - started
                self._report(elapsed / (self.step - first), images / elapsed)
            if self.step % settings.save_every == 0 or self.step == settings.steps:
                self._save()
        return Finished(self._whole_average(), tuple(sorted(self.skipped)))

    def _micro_batches(self) -> Iterator[Any]:
        """Those of this process, in the order of the run."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        counts = range(
            self.step * self.settings.accumulate, self.settings.steps * self.settings.accumulate
        )
        order = _InOrder(self.batches, [count * world + rank for count in counts])
        workers = self.settings.workers
        loader: DataLoader[Any] = DataLoader(
            order,
            batch_size=None,
            num_workers=workers,
            shuffle=False,
        )
        for batch in loader:
            if isinstance(batch, OvsamError):
                raise batch
            yield batch

    def _learn(self, micro_batches: Sequence[Batch]) -> None:
        share = rate_share(self.step, self.settings.steps, self.settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.schedule.peak * share
        self.optimizer.zero_grad(set_to_none=True)
        names: list[str] = []
        for k, batch in enumerate(micro_batches):
            self._note_skipped(batch.skipped)
            names += batch.names
            last = k == len(micro_batches) - 1
            with self.fabric.no_backward_sync(self.stage, enabled=not last):
                moved = _moved(batch, self.fabric.device)
                losses = self.stage(partial(_losses, batch=moved))
                total = torch.stack(list(losses.values())).sum()
                self._check_finite(total, names, losses)
                self.fabric.backward(total / len(micro_batches))
            for name, loss in losses.items():
                self.history.setdefault(name, []).append(loss.item())
        norm = self.fabric.clip_gradients(
            self.stage, self.optimizer, max_norm=self.settings.clip, error_if_nonfinite=False
        )
        assert norm is not None
        self._check_finite(norm, names, {"norm of the gradient": norm})
        self.optimizer.step()
        kept = (1 - 1 / (self.step + 1)) ** (self.settings.average + 1)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.averaged[name].lerp_(parameter, 1 - kept)

    def _check_finite(
        self, value: Tensor, names: Sequence[str], parts: Mapping[str, Tensor]
    ) -> None:
        if torch.isfinite(value).all():
            return
        found = ", ".join(f"{name} {part.item():g}" for name, part in parts.items())
        raise TrainingError(
            f"Step {self.step} is not finite ({found}) with the photos {', '.join(names)}. Look at "
            "their annotations, or lower the learning rate; the last checkpoint is untouched."
        )

    def _note_skipped(self, skipped: Iterable[Skipped]) -> None:
        new = set(skipped) - self.skipped
        for one in sorted(new):
            log.warning("left out%s '%s': %s", ", in" * one.annotation, one.name, one.why)
        self.skipped |= new
        if not new:
            return
        sentence = too_many(self.skipped, self.batches.photos, self.batches.annotations)
        if sentence is not None:
            raise TrainingError(sentence)

    def _report(self, pace: float, images_per_second: float) -> None:
        self._note_skipped(_united(self._gathered(self.skipped)))
        # Processes may have met different losses: sums and counts of all, in one fixed order.
        lists = [self.history.get(name, []) for name in self.record.loss_names]
        sums = torch.tensor([[sum(values), len(values)] for values in lists], dtype=torch.float64)
        sums = torch.as_tensor(self.fabric.all_reduce(sums, reduce_op="sum"))
        named = zip(self.record.loss_names, sums.tolist(), strict=True)
        means = {name: value / count for name, (value, count) in named if count}
        self.history.clear()
        if self.fabric.is_global_zero:
            rate = self.optimizer.param_groups[0]["lr"]
            self.record.write(self.step, rate, means, images_per_second, _memory_gb())
            log.info(
                "step %d of %d, %.2f s a step, %.0f min to go, %s",
                self.step,
                self.settings.steps,
                pace,
                math.ceil(pace * (self.settings.steps - self.step) / 60),
                " ".join(f"{name} {mean:.3f}" for name, mean in sorted(means.items())),
            )

    def _gathered(self, item: Any) -> list[Any]:
        """What each process has, in the order of their ranks."""
        if self.fabric.world_size == 1:
            return [item]
        found: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(found, item)
        return found

    # Checkpoints: a folder each, complete when it has its name

    def _save(self) -> None:
        final = self.folder / CHECKPOINTS / f"{self.step:08d}"
        temporary = final.with_suffix(".tmp")
        if self.fabric.is_global_zero:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self.fabric.barrier()
        state: dict[str, Any] = {
            "model": self.stage,
            "optimizer": self.optimizer,
            "step": self.step,
            "history": self._gathered(self.history),
            "skipped": [astuple(one) for one in sorted(_united(self._gathered(self.skipped)))],
        }
        self._write(temporary / "state.pt", state)
        self._swap_average()
        self._write(temporary / "averaged.pt", {"model": self.stage})
        if self.draw is not None:
            picture = self.stage(self.draw)
            if self.fabric.is_global_zero:
                self.record.show(self.step, picture)
        self._swap_average()
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            about = {"version": metadata.version("ovsam"), "decided_by": self.decided_by}
            (temporary / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
            for path in temporary.iterdir():
                _flush(path)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            self._remove_old()
        self.fabric.barrier()

    def _remove_old(self) -> None:
        for old in _checkpoints(self.folder)[:-KEPT]:
            shutil.rmtree(old)

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        trained = {"model": lambda name, _: name in self.parameters}
        try:
            self.fabric.save(path, state, filter=trained)
        except RuntimeError as error:  # torch's writer says no more of a full disk
            reason = str(error).strip().partition("\n")[0]
            raise OSError(
                f"'{path}' cannot be written, perhaps for lack of space ({reason})"
            ) from (error)

    def _resume(self) -> None:
        saved = _checkpoints(self.folder)
        if not saved:
            self.record.begin()
            return
        for checkpoint in reversed(saved):
            try:
                self._load(checkpoint)
                break
            except TrainingError:  # it is of another run
                raise
            except Exception as error:  # what is damaged raises what it likes
                reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
                log.warning(
                    "The checkpoint '%s' cannot be read (%s): it is left out.", checkpoint, reason
                )
        else:
            raise TrainingError(
                f"No checkpoint in '{self.folder / CHECKPOINTS}' can be read. Delete that folder "
                "to begin anew, or choose another output folder."
            )
        if len(set(self._gathered(self.step))) > 1:
            raise TrainingError(
                f"The processes do not see the same checkpoints in '{self.folder}'. All of them "
                "must see one folder."
            )
        if self.fabric.is_global_zero:
            self._remove_old()  # a run that was killed may have begun to
            self.record.forget_after(self.step)
            log.info("continuing at step %d of %s", self.step, checkpoint)

    def _load(self, checkpoint: Path) -> None:
        """Take over all that a checkpoint holds; raises whatever its damage makes torch raise.

        Raises:
            TrainingError: it is of another run.
        """
        self._check_same_run(checkpoint, _decided_by(checkpoint))
        check_archive(checkpoint / "averaged.pt")
        check_archive(checkpoint / "state.pt")
        load = partial(self.fabric.load, strict=False, weights_only=True)
        load(checkpoint / "averaged.pt", {"model": self.stage})
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()}
        objects = {"model": self.stage, "optimizer": self.optimizer}
        state = load(checkpoint / "state.pt", objects)
        histories = state["history"]
        if len(histories) == self.fabric.world_size:
            self.history = histories[self.fabric.global_rank]
        self.skipped = {
            # Runs that began with an older version have names alone.
            Skipped(one, "It cannot be used.") if isinstance(one, str) else Skipped(*one)
            for one in state["skipped"]
        }
        self.step = state["step"]

    def _check_same_run(self, checkpoint: Path, theirs: Mapping[str, str]) -> None:
        mine = self.decided_by
        other = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
        if other:
            told = (_difference(name, theirs.get(name), mine.get(name)) for name in other)
            raise TrainingError(
                f"'{checkpoint}' belongs to a run with another {', '.join(told)}. "
                "Choose another output folder, or restore the settings to go on."
            )

    @torch.no_grad()
    def _swap_average(self) -> None:
        """Exchange weights and averaged weights, so that either can be saved as the model."""
        for name, parameter in self.parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.averaged[name])
            self.averaged[name] = kept

    def _whole_average(self) -> dict[str, Tensor]:
        path = _checkpoints(self.folder)[-1] / "averaged.pt"
        saved = torch.load(path, map_location="cpu", weights_only=True)
        weights: dict[str, Tensor] = saved["model"]
        return weights


def _moved(item: Any, device: torch.device) -> Any:
    """A batch with all of its tensors on a device."""
    if isinstance(item, Tensor):
        return item.to(device)
    if isinstance(item, tuple):
        return tuple(_moved(part, device) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        parts = {field.name: getattr(item, field.name) for field in fields(item)}
        return replace(item, **{name: _moved(part, device) for name, part in parts.items()})
    return item


def _difference(name: str, theirs: str | None, mine: str | None) -> str:
    """A setting's name, with both values where they are short."""
    values = [str(value) for value in (theirs, mine)]
    if max(map(len, values)) > VALUE_SHOWN:
        return name
    return f"{name} ({values[0]} there, {values[1]} now)"


def _united(sets: Iterable[Iterable[Skipped]]) -> set[Skipped]:
    return {one for several in sets for one in several}


def _flush(path: Path) -> None:
    """Wait until a file is on the disk, so that the name of its folder never promises more."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _checkpoints(folder: Path) -> list[Path]:
    """Complete ones, oldest first."""
    return sorted(path for path in (folder / CHECKPOINTS).glob("[0-9]" * 8) if path.is_dir())


def _decided_by(checkpoint: Path) -> dict[str, str]:
    """What decided the run that a checkpoint is of."""
    about = parse_json((checkpoint / ABOUT).read_bytes())
    if not isinstance(about, dict) or not isinstance(about["decided_by"], dict):
        raise ValueError("it does not say what decided its run")
    return about["decided_by"]


def _memory_gb() -> float:
    """The most that this process has held: of the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    import resource  # not on Windows, where only this figure is missing

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class _InOrder(Dataset[Any]):
    """Chosen micro-batches, in a given order."""

    def __init__(self, batches: Batches, indices: Sequence[int]) -> None:
        self.batches, self.indices = batches, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Batch | OvsamError:
        try:
            return self.batches[self.indices[position]]
        except OvsamError as error:  # a worker would wrap what it raises in a traceback
            return error
