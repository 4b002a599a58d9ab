"""Where a run takes place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ovsam.errors import TrainingError
from ovsam.train.loop import Engine
from train.toy_stage import (
    toy_settings,
)


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_half_the_bits_only_where_the_processor_has_instructions_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    settings = replace(toy_settings(), device="cpu", precision="auto")
    assert Engine(settings, tmp_path).settings.precision == chosen
    explicit = Engine(replace(settings, precision="32-true"), tmp_path).settings
    assert explicit.precision == "32-true"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"engine\.device is cuda, and PyTorch finds no CUDA"):
        Engine(toy_settings(device="cuda"), tmp_path)
