"""Configurations as earlier versions wrote them; all other fields are in model/test_restore_config.

A checkpoint of an earlier version is one of today's whose metadata says the same in other words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from foreign_files import as_json
from ovsam.config import ModelConfig
from ovsam.model.presets import named_config
from tiny_model import TINY

JSON = TypeAdapter(ModelConfig)
ORACLE = {"cuts": "nothing", "context_tokens": 0, "conv_adapter": None}


def test_the_scales_of_the_zoom_were_once_its_contexts() -> None:
    config = as_json(TINY)
    config["zoom"]["contexts"] = config["zoom"].pop("crop_scales")
    assert JSON.validate_python(config) == TINY
    config["zoom"]["crop_scales"] = [1.0]
    with pytest.raises(ValidationError, match=r"zoom\.contexts\s+Unexpected keyword argument"):
        JSON.validate_python(config)


@pytest.mark.parametrize("config", [named_config("sam-b"), replace(TINY, region=None)])
def test_masks_alone_were_once_a_baseline_named_by_an_oracle(config: ModelConfig) -> None:
    older = {**as_json(config), "name": f"{config.name}-oracle", "baseline": ORACLE}
    older["region"] = as_json(TINY)["region"]
    assert JSON.validate_python(older) == config
    assert not config.names_objects


def test_sams_were_once_named_for_their_vit() -> None:
    config = named_config("sam-b+rn50-image-crop")
    older = {**as_json(config), "name": "sam-vit-b+rn50-image-crop"}
    assert JSON.validate_python(older) == config


@pytest.mark.parametrize("change", [{"baseline": None}, {"baseline": {"cuts": "image"}}])
def test_any_other_model_names(change: dict[str, Any]) -> None:
    assert JSON.validate_python({**as_json(TINY), **change}).names_objects
