"""How the training loop runs: typed, checked as a whole, the same for every stage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

RENAMED = {
    "again": "refinement_weight",
    "anew": "reinitialise",
    "looks": "crops",
    "recompute": "checkpoint_activations",
}
"""Settings of recipes by the names that they had before, which old run folders know them by."""

ADDED = {
    "among": None,
    "balance": 0.0,
    "cutouts": False,
    "fpn_dim": None,
    "name_loss": {"own": 1.0, "among": {}},
}
"""Settings that old run folders do not have, and with which their runs are as they were."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ScheduleSettings:
    """The learning rate: a linear warm-up times a decay."""

    peak: float = Field(gt=0, le=100)
    """The rate after the warm-up."""
    warm_up: int = Field(default=500, ge=0)
    """Steps until the peak is reached."""
    warm_up_from: float = Field(default=0.001, gt=0, le=1)
    """The first step's rate as a share of the peak."""
    decay: Literal["cosine", "drops"] = "cosine"
    """Along a cosine over the whole run, or by a factor of ten at each of `drops`."""
    end: float = Field(default=0.01, ge=0, le=1)
    """Where the cosine ends, as a share of the peak."""
    drops: tuple[float, ...] = ()
    """When the rate drops, as shares of the run (epochs 8 and 11 of 12: 0.667, 0.917)."""

    def contradictions(self) -> Iterator[str]:
        """A sentence for each setting that others contradict."""
        if (self.decay == "drops") != bool(self.drops):
            yield 'drops must be given with decay = "drops", and only with it'
        if any(not 0 < drop < 1 for drop in self.drops):
            yield f"drops must be shares of the run between 0 and 1, got {self.drops}"


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class EngineSettings:
    """One run of the loop."""

    steps: int = Field(gt=0)
    """Optimiser steps."""
    schedule: ScheduleSettings
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of data order, augmentation and initial weights."""
    weight_decay: float = Field(default=0.05, ge=0, le=100)
    """AdamW's, for matrices and kernels; none for norms and biases."""
    clip: float = Field(gt=0)
    """Greatest norm of the gradient."""
    accumulate: int = Field(default=1, gt=0)
    """Micro-batches of each process that make one step."""
    average: float = Field(default=3.0, ge=0, le=1000)
    """A run gives the mean of its weights; those after step t count with t to this power, so that
    it spans the same part of a short run as of a long one (Karras et al. 2024, §3.1)."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """"auto" is bf16-mixed where the device has instructions for it. A processor without them takes
    many times as long for bfloat16 as for float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    shard: bool = False
    """Whether weights, gradients and optimiser are sharded over the processes (FSDP)."""
    compile: bool = False
    """Whether torch.compile builds kernels for the model."""
    workers: int = Field(default=2, ge=0)
    """Processes that prepare data, for each process that trains."""
    log_every: int = Field(default=50, gt=0)
    save_every: int = Field(default=500, gt=0)
    """Steps between checkpoints; a killed run goes on from the last one."""


def rate_share(step: int, steps: int, settings: ScheduleSettings) -> float:
    """Warm-up times decay at a step (0 = the first of `steps`).

    Example:
        >>> drops = ScheduleSettings(peak=1e-4, warm_up=0, decay="drops", drops=(0.5,))
        >>> [rate_share(step, 4, drops) for step in range(4)]
        [1.0, 1.0, 0.1, 0.1]
    """
    warm = 1.0
    if step < settings.warm_up - 1:
        first = settings.warm_up_from
        warm = first + (1 - first) * step / (settings.warm_up - 1)
    if settings.decay == "drops":
        return warm * 0.1 ** sum(step >= drop * steps for drop in settings.drops)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (settings.end + (1 - settings.end) * cosine)
