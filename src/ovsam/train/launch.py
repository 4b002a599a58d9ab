"""Where a run takes place: its device, precision and processes, on Lightning Fabric."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard

from ovsam.errors import TrainingError
from ovsam.extras import missing
from ovsam.train.settings import EngineSettings
from ovsam.train.stage import Stage

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
except ImportError as error:
    raise missing("Training", "lightning-fabric") from error


def launch(settings: EngineSettings) -> tuple[Fabric, EngineSettings]:
    """Join the processes of a run, of which `torchrun` starts several.

    Returns:
        The processes, and the settings with the precision that "auto" stands for here.

    Raises:
        TrainingError: there is no such device.
    """
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
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=accelerator,
        devices=processes,
        num_nodes=nodes,
        precision=settings.precision,
        strategy=_strategy(settings, processes * nodes),
    )
    fabric.launch()
    return fabric, settings


def gathered(fabric: Fabric, item: Any) -> list[Any]:
    """What each process has, in the order of their ranks."""
    if fabric.world_size == 1:
        return [item]
    found: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(found, item)
    return found


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
    # Gathered again for each use, since checkpoints exchange weights in between.
    fully_shard(stage, mesh=mesh["data_parallel"], reshard_after_forward=True)
    return stage
