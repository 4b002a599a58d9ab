"""The training loop of every stage: it knows nothing of what is learnt.

A run is a function of its settings: the data of step s, its random numbers and its learning rate
depend on the seed and s alone. So a run that is killed at any moment and started again from its
last checkpoint ends with the weights of a run that was left alone, bit for bit.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ovsam.errors import OvsamError, TrainingError
from ovsam.formats.skipped import Skipped, too_many
from ovsam.train.checkpoints import Checkpoints, RunState, united
from ovsam.train.folder_lock import alone_in
from ovsam.train.launch import gathered, launch
from ovsam.train.logger import RunLogger
from ovsam.train.settings import EngineSettings, rate_share
from ovsam.train.stage import Batch, Batches, Finished, Stage

log = logging.getLogger(__name__)
Draw = Callable[[Stage], NDArray[np.uint8]]

CHANGE_NO_WEIGHTS = {"log_every", "save_every", "workers", "device", "compile", "shard"}


class Engine:
    """Trains stages; started by `torchrun`, as one of its processes.

    Args:
        settings: of the run.
        folder: where checkpoints and the log go.

    Raises:
        TrainingError: there is no such device.
    """

    def __init__(self, settings: EngineSettings, folder: Path) -> None:
        self.fabric, self.settings = launch(settings)
        self.folder = folder

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
            draw: makes a picture of what the averaged weights predict, for each checkpoint.
            decided_by: what the weights depend on beside the engine's settings, by name; a
                checkpoint is only gone on with if all of it is the same.

        Raises:
            TrainingError: a loss or gradient is not finite, more than 1% of the data cannot be
                used, the folder holds another run or one that is going on, or no checkpoint in it
                can be read.
            OSError: the folder cannot be written.
        """
        settings = self.settings
        decided = {
            n: json.dumps(v) for n, v in asdict(settings).items() if n not in CHANGE_NO_WEIGHTS
        }
        checkpoints = Checkpoints(self.fabric, self.folder, {**decided, **(decided_by or {})})
        logger = RunLogger(self.folder, stage.loss_names)
        with alone_in(self.folder) if self.fabric.is_global_zero else nullcontext():
            run = self._begun(stage)
            self._resume(run, checkpoints, logger)
            self._note_skipped(run, batches, batches.skipped)
            run.stage.train()
            waiting = iter(self._micro_batches(batches, run.step))
            if self.fabric.is_global_zero:
                log.info(
                    "%d photos, step %d of %d; a line every %d steps, a checkpoint every %d",
                    batches.photos,
                    run.step,
                    settings.steps,
                    settings.log_every,
                    settings.save_every,
                )
            started, first, images = time.monotonic(), run.step, 0
            while run.step < settings.steps:
                seen = [next(waiting) for _ in range(settings.accumulate)]
                images += sum(len(batch.names) for batch in seen) * self.world
                for batch in seen:
                    self._note_skipped(run, batches, batch.skipped)
                # What drops out depends on the step alone, so that a run goes on exactly.
                torch.manual_seed((settings.seed * 1_000_003 + run.step) % 2**63)
                self._learn(run, seen)
                run.step += 1
                if run.step % settings.log_every == 0 or run.step == settings.steps:
                    elapsed = time.monotonic() - started
                    every = united(gathered(self.fabric, run.skipped))
                    self._note_skipped(run, batches, every)
                    self._report(run, logger, elapsed / (run.step - first), images / elapsed)
                if run.step % settings.save_every == 0 or run.step == settings.steps:
                    show = None if draw is None else partial(self._show, run, logger, draw)
                    checkpoints.save(run, show)
            return Finished(checkpoints.averaged_weights(), tuple(sorted(run.skipped)))

    def _begun(self, stage: Stage) -> RunState:
        """A run before its first step."""
        if self.settings.compile:
            for module in stage.heavy_modules():
                module.compile()
        wrapped = self.fabric.setup_module(stage)
        parameters = {n: p for n, p in stage.named_parameters() if p.requires_grad}
        matrices = [p for p in parameters.values() if p.ndim > 1]
        vectors = [p for p in parameters.values() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=self.settings.schedule.peak
        )
        return RunState(
            stage=wrapped,
            optimizer=self.fabric.setup_optimizers(optimizer),
            parameters=parameters,
            averaged={name: p.detach().clone() for name, p in parameters.items()},
        )

    def _resume(self, run: RunState, checkpoints: Checkpoints, logger: RunLogger) -> None:
        checkpoint = checkpoints.resume(run)
        if checkpoint is None:
            logger.begin()
        elif self.fabric.is_global_zero:
            logger.forget_after(run.step)
            log.info("continuing at step %d of %s", run.step, checkpoint)

    def _micro_batches(self, batches: Batches, step: int) -> Iterator[Any]:
        """Those of this process from a step on, in the order of the run."""
        rank, world, accumulate = self.fabric.global_rank, self.world, self.settings.accumulate
        counts = range(step * accumulate, self.settings.steps * accumulate)
        order = _InOrder(batches, [count * world + rank for count in counts])
        loader: DataLoader[Any] = DataLoader(
            order, batch_size=None, num_workers=self.settings.workers, shuffle=False
        )
        for batch in loader:
            if isinstance(batch, OvsamError):
                raise batch
            yield batch

    def _learn(self, run: RunState, micro_batches: Sequence[Batch]) -> None:
        """One step of the optimiser."""
        settings = self.settings
        share = rate_share(run.step, settings.steps, settings.schedule)
        for group in run.optimizer.param_groups:
            group["lr"] = settings.schedule.peak * share
        run.optimizer.zero_grad(set_to_none=True)
        names: list[str] = []
        for k, batch in enumerate(micro_batches):
            names += batch.names
            last = k == len(micro_batches) - 1
            with self.fabric.no_backward_sync(run.stage, enabled=not last):
                moved = on_device(batch, self.fabric.device)
                losses = run.stage(partial(_losses, batch=moved))
                total = torch.stack(list(losses.values())).sum()
                _check_finite(run.step, total, names, losses)
                self.fabric.backward(total / len(micro_batches))
            for name, loss in losses.items():
                run.history.setdefault(name, []).append(loss.item())
        norm = self.fabric.clip_gradients(
            run.stage, run.optimizer, max_norm=settings.clip, error_if_nonfinite=False
        )
        assert norm is not None
        _check_finite(run.step, norm, names, {"norm of the gradient": norm})
        run.optimizer.step()
        kept = (1 - 1 / (run.step + 1)) ** (settings.average + 1)
        with torch.no_grad():
            for name, parameter in run.parameters.items():
                run.averaged[name].lerp_(parameter, 1 - kept)

    def _note_skipped(self, run: RunState, batches: Batches, skipped: Iterable[Skipped]) -> None:
        new = set(skipped) - run.skipped
        for one in sorted(new):
            log.warning("left out%s '%s': %s", ", in" * one.annotation, one.name, one.why)
        run.skipped |= new
        if new and (sentence := too_many(run.skipped, batches.photos, batches.annotations)):
            raise TrainingError(sentence)

    def _report(
        self, run: RunState, logger: RunLogger, pace: float, images_per_second: float
    ) -> None:
        # Processes may have met different losses: sums and counts of all, in one fixed order.
        lists = [run.history.get(name, []) for name in logger.loss_names]
        sums = torch.tensor([[sum(values), len(values)] for values in lists], dtype=torch.float64)
        sums = torch.as_tensor(self.fabric.all_reduce(sums, reduce_op="sum"))
        named = zip(logger.loss_names, sums.tolist(), strict=True)
        means = {name: value / count for name, (value, count) in named if count}
        run.history.clear()
        if self.fabric.is_global_zero:
            rate = run.optimizer.param_groups[0]["lr"]
            logger.write(run.step, rate, means, images_per_second, _memory_gb())
            log.info(
                "step %d of %d, %.2f s a step, %.0f min to go, %s",
                run.step,
                self.settings.steps,
                pace,
                math.ceil(pace * (self.settings.steps - run.step) / 60),
                " ".join(f"{name} {mean:.3f}" for name, mean in sorted(means.items())),
            )

    def _show(self, run: RunState, logger: RunLogger, draw: Draw) -> None:
        picture = run.stage(draw)
        if self.fabric.is_global_zero:
            logger.show(run.step, picture)


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


def _check_finite(
    step: int, value: Tensor, names: Sequence[str], parts: Mapping[str, Tensor]
) -> None:
    if torch.isfinite(value).all():
        return
    found = ", ".join(f"{name} {part.item():g}" for name, part in parts.items())
    raise TrainingError(
        f"Step {step} is not finite ({found}) with the photos {', '.join(names)}. Look at "
        "their annotations, or lower the learning rate; the last checkpoint is untouched."
    )


def on_device(item: Any, device: torch.device) -> Any:
    """A batch with all of its tensors on a device."""
    if isinstance(item, Tensor):
        return item.to(device)
    if isinstance(item, tuple):
        return tuple(on_device(part, device) for part in item)
    if is_dataclass(item) and not isinstance(item, type):
        parts = {field.name: getattr(item, field.name) for field in fields(item)}
        return replace(item, **{name: on_device(part, device) for name, part in parts.items()})
    return item


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
