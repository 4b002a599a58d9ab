"""Configurations as earlier versions wrote them; all other fields are in model/test_restore_config.

A checkpoint of an earlier version is one of today's whose metadata says the same in other words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from foreign_files import as_json
from ovsam.config import CalibrationConfig, CalibrationFit, ModelConfig
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


def test_a_calibration_was_once_one_fit() -> None:
    one = {"temperature": 0.789, "threshold": 0.245, "classes": 80}
    older = {**as_json(TINY), "calibration": one}
    fit = CalibrationFit(temperature=0.789, threshold=0.245, classes=80)
    assert JSON.validate_python(older).calibration == CalibrationConfig(fits=(fit,))
    never = {"temperature": 1.0, "threshold": 0.0, "classes": 0}
    assert JSON.validate_python({**as_json(TINY), "calibration": never}) == TINY


@pytest.mark.parametrize(
    ("classes", "temperature", "threshold", "holds"),
    [
        (1, 0.8, 0.25, False),
        (40, 0.8, 0.25, True),
        (80, 0.8, 0.25, True),
        (81, 0.8, 0.05, False),  # longer than 80: the threshold is that of the next longer one
        (1264, 0.8, 0.05, False),  # 80 · 15.8 = 1264, and 20,000 / 15.8 = 1266
        (1266, 0.9, 0.05, False),
        (10_000, 0.9, 0.05, True),
        (20_000, 0.9, 0.05, True),
        (20_001, 0.9, 0.0, False),
    ],
)
def test_which_fit_is_for_a_vocabulary_of_so_many_classes(
    classes: int, temperature: float, threshold: float, holds: bool
) -> None:
    short = CalibrationFit(temperature=0.8, threshold=0.25, classes=80)
    long = CalibrationFit(temperature=0.9, threshold=0.05, classes=20_000)
    calibration = CalibrationConfig(fits=(short, long))
    assert calibration.temperature(classes) == temperature
    assert calibration.threshold(classes) == threshold
    assert calibration.holds(classes) == holds


def test_never_calibrated() -> None:
    never = CalibrationConfig()
    assert (never.temperature(80), never.threshold(80), never.holds(80)) == (1.0, 0.0, False)
