from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from ovsam.config import EncoderConfig
from ovsam.errors import CheckpointError
from ovsam.model.build import build, expected_state
from ovsam.model.presets import MODELS, named_config


@pytest.mark.parametrize(
    ("name", "millions"), [("rn50x16", 304), ("rn50", 165), ("rn50x64", 568), ("convnext-l", 321)]
)
def test_parameters_are_those_of_the_paper(name: str, millions: int) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build(named_config(name)).parameters())
    assert abs(count / 1e6 - millions) < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "keras"}, "Unknown kind of encoder 'keras'"),
        ({"architecture": "hf-hub:someone/model"}, "Unknown open_clip architecture 'hf-hub"),
        ({"kind": "lite", "architecture": "hf-hub:someone/model"}, "Unknown lite architecture"),
    ],
)
def test_what_a_foreign_configuration_may_not_ask_for(change: dict[str, str], message: str) -> None:
    encoder: EncoderConfig = replace(named_config("rn50").encoder, **change)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=message):
        build(replace(named_config("rn50"), encoder=encoder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_dim": 64}, "'RN50-quickgelu' has text_dim 1024, the configuration says 64."),
        ({"pool_size": 8}, "'RN50-quickgelu' has pool_size 7, the configuration says 8."),
    ],
)
def test_what_a_clip_does_not_give(change: Any, message: str) -> None:
    config = replace(MODELS["rn50"], encoder=replace(MODELS["rn50"].encoder, **change))
    with pytest.raises(CheckpointError, match=re.escape(message)):
        expected_state(config)
