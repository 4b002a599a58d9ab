"""Runs of the benchmark that nobody made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ovsam.benchmark.machine import Machine
from ovsam.benchmark.record import FORMAT, ModelRun, Row, Run

MACHINE = Machine("Linux x86_64", "Slow 1", 2, ("AVX", "FMA"), 8_000_000_000)


def made_model(name: str, rows: Mapping[str, Sequence[float]]) -> ModelRun:
    """With those times in milliseconds."""
    return ModelRun(name, "f00d", "fake", [Row(n, "ms", list(v)) for n, v in rows.items()])


def made_run(*models: ModelRun, machine: Machine = MACHINE) -> Run:
    """Of those models."""
    return Run(
        format=FORMAT,
        machine=machine,
        versions={"ovsam": "1.0", "numpy": "2.0"},
        threads=2,
        load_average=0.0,
        photo="made up, 640 x 480",
        vocabularies={"coco": 80},
        yardstick_ms=[5.0],
        peak_bytes=1_000_000_000,
        models=list(models),
    )
