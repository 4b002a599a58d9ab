"""A stage of a few numbers: what the loop does to it can be worked out by hand."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ovsam.formats.skipped import Skipped
from ovsam.train.loop import Engine
from ovsam.train.settings import EngineSettings, ScheduleSettings
from ovsam.train.stage import Finished, Stage

TESTS = Path(__file__).parent.parent
SCRIPT = [str(TESTS / "train" / "toy_stage.py")]


@dataclass(frozen=True)
class ToyBatch:
    inputs: Tensor  # (B, 3)
    names: tuple[str, ...]
    seed: int
    skipped: tuple[Skipped, ...] = ()


class ToyBatches:
    """Sample k is drawn from the seed k; micro-batch i holds the samples `size * i` onwards."""

    photos = 400
    annotations = 800

    def __init__(
        self,
        size: int = 2,
        spoilt: int = 0,
        nan_from: int | None = None,
        skipped: tuple[Skipped, ...] = (),
    ) -> None:
        self.size, self.spoilt, self.nan_from = size, spoilt, nan_from
        self.skipped = skipped

    def __getitem__(self, index: int) -> ToyBatch:
        samples = range(index * self.size, (index + 1) * self.size)
        rows = [torch.randn(3, generator=torch.Generator().manual_seed(k)) for k in samples]
        inputs = torch.stack(rows)
        if self.nan_from is not None and index >= self.nan_from:
            inputs[0, 0] = torch.nan
        spoilt = Skipped(f"spoilt{index}.jpg", "It is no photo.")
        skipped = (spoilt,) if index < self.spoilt else ()
        return ToyBatch(inputs, tuple(f"{k}.jpg" for k in samples), index, skipped)


class ToyStage(Stage):
    """Learns to halve its input; its frozen part is never trained nor saved."""

    loss_names = ("fit", "noise")

    def __init__(self, killed_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.hidden = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 3)
        self.killed_at, self.calls = killed_at, 0

    def heavy_modules(self) -> Iterable[nn.Module]:
        return [self.hidden]

    def losses(self, batch: ToyBatch) -> dict[str, Tensor]:
        if self.calls == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        guess = self.out(self.norm(self.hidden(batch.inputs))) + 0 * self.frozen(batch.inputs)
        noise = torch.randn(len(guess), 3, generator=torch.Generator().manual_seed(batch.seed))
        return {
            "fit": (guess - batch.inputs / 2).square().mean(),
            "noise": 0.01 * (guess * noise).mean(),
        }


def toy_settings(**changes: Any) -> EngineSettings:
    schedule = ScheduleSettings(peak=0.01, warm_up=2, end=0.1)
    settings = EngineSettings(
        steps=8,
        schedule=schedule,
        clip=1.0,
        precision="32-true",
        workers=0,
        log_every=2,
        save_every=3,
        average=1,
    )
    return replace(settings, **changes)


def run_toy(
    folder: Path, settings: EngineSettings | None = None, killed_at: int | None = None
) -> Finished:
    return Engine(settings or toy_settings(), folder).fit(ToyStage(killed_at), ToyBatches())


def _draw(stage: Stage) -> NDArray[np.uint8]:
    """Goes through the model with the averaged weights, as a picture of its answers does."""
    assert isinstance(stage, ToyStage)
    with torch.no_grad():
        stage.out(stage.norm(stage.hidden(torch.ones(1, 3))))
    return np.zeros((4, 4, 3), np.uint8)


def start(arguments: list[str], processes: int = 1) -> subprocess.CompletedProcess[str]:
    """The toy run in processes of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}",
        "OMP_NUM_THREADS": "1",
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), *SCRIPT, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def last_weights(folder: Path, name: str = "averaged.pt") -> dict[str, Tensor]:
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    weights: dict[str, Tensor] = torch.load(newest / name, weights_only=True)["model"]
    return weights


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Arguments: folder, then settings as `name=value`; `killed_at` and `size` are the toy's."""
    import json

    given = dict(item.split("=") for item in sys.argv[2:])
    values = {name: json.loads(value) for name, value in given.items()}
    killed_at, size = values.pop("killed_at", None), values.pop("size", 2)
    engine = Engine(toy_settings(**values), Path(sys.argv[1]))
    engine.fit(ToyStage(killed_at), ToyBatches(size), _draw)


if __name__ == "__main__":
    main()
