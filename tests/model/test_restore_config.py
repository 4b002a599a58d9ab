"""Configurations that somebody else wrote: they load or are refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from foreign_files import (
    CHECKS,
    CONFIGS,
    JSON,
    WHOLE,
    as_json,
    loads_or_is_refused,
    refused,
    replaced,
    with_metadata,
)
from fuzzing import examples
from ovsam.hub import SHIPPED
from ovsam.model.ovsam import OVSAM
from ovsam.model.presets import MODELS
from ovsam.predictor.load_torch import torch_predictor
from ovsam.structures import Prompt
from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES
from ovsam.vocabulary.load import load_vocabulary
from tiny_model import HashedText

ODD: list[Any] = [
    *(0, 1, -1, 3, 7, 32, 33, 64, 1000, 2**31, 2**63, -(2**63), 10**30),
    *(0.0, -0.5, 0.3, 1e-300, 1e30, 1e308, float("nan"), float("inf"), -float("inf")),
    *(None, True, False, "", "x", "lite", "a\nb", "\x00", "x" * 10_000, "../../etc"),
    *([], [0], [1, 1], [-1], [0, 1, 2, 3], [3, 2], [1e9] * 4, [[[]]], ["a"] * 999, [9] * 999),
    *({}, {"a": 1}, {"kind": "none"}, {"size": 0}),
]


def answers(model: OVSAM) -> None:
    """Whether it can be used: a box and a click on a photo."""
    names = load_vocabulary("cat, dog, lamp")
    predictor = torch_predictor(model, HashedText(), PLAIN_TEMPLATES, TextStore(None), names)
    photo = predictor.encode(np.full((40, 60, 3), 99, np.uint8))
    for prompt in (Prompt(box_xyxy=[5, 5, 30, 30]), Prompt(points_xy=[[20, 20]])):
        [found] = predictor.predict(photo, prompt)
        assert found.masks.shape[1:] == (40, 60)


def places(content: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a configuration, and every element of its lists."""
    yield where
    pairs: Any = content.items() if isinstance(content, dict) else []
    if isinstance(content, list):
        pairs = enumerate(content)
    for key, value in pairs:
        yield from places(value, (*where, key))


FIELDS = [(name, place) for name, config in CONFIGS.items() for place in places(as_json(config))]


@pytest.mark.fuzz
@settings(max_examples=examples(40), derandomize=True, suppress_health_check=CHECKS)
@given(
    field=st.sampled_from(FIELDS),
    value=st.sampled_from(ODD),
    more=st.tuples(st.sampled_from(FIELDS), st.sampled_from(ODD)) | st.none(),
)
def test_whatever_a_field_holds(
    field: tuple[str, tuple[Any, ...]],
    value: Any,
    more: tuple[tuple[str, tuple[Any, ...]], Any] | None,
    sound: dict[str, Path],
    tmp_path: Path,
) -> None:
    """What loads has the tensors of the file and can be used."""
    name, place = field
    config = replaced(as_json(CONFIGS[name]), place, value)
    if more is not None and more[0][0] == name and more[0][1][:1] != place[:1] and place:
        config = replaced(config, more[0][1], more[1])
    path = tmp_path / "odd.safetensors"
    path.write_bytes(with_metadata(sound[name].read_bytes(), config=json.dumps(config)))
    model = loads_or_is_refused(path, load_file(sound[name]))
    if model is not None and name in ("whole", "token") and model.config.image_size <= 256:
        answers(model)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("image_size",), 0, "image_size: Input should be greater than or equal to 32"),
        (("image_size",), -1, "image_size: Input should be a multiple of 32"),
        (("image_size",), 1e30, "image_size: "),
        (("image_size",), -32, "image_size: Input should be greater than or equal to 32"),
        (("image_size",), 2**31, "image_size: Input should be less than or equal to 4096"),
        (("image_size",), 256, "adapter.pos_embed (1, 8, 8, 32) instead of (1, 16, 16, 32)"),
        (("name",), "a\nb", "name: it must be printable, in one line"),
        (("encoder", "text_dim"), -1, "encoder.text_dim: Input should be greater than or equal"),
        (("encoder", "text_dim"), 0, "encoder: channels and text_dim must be greater than 0"),
        (("encoder", "pool_size"), 0, "encoder.pool_size: Input should be greater than or equal"),
        (("encoder", "pool_size"), 1000, "encoder.pool_size: Input should be less than or equal"),
        (("encoder", "pixel_std", 1), 0, "encoder.pixel_std.1: Input should be greater than"),
        (("encoder", "pixel_mean", 0), float("nan"), "encoder.pixel_mean.0: Input should be a fi"),
        (("encoder", "kind"), "none", "encoder: channels and text_dim must be 0 where kind is no"),
        (("encoder", "kind"), "keras", "Unknown kind of encoder 'keras'"),
        (("adapter", "heads"), 5, "adapter: dim must be a multiple of heads, got 32 and 5"),
        (("adapter", "window"), 0, "adapter.window: Input should be greater than or equal to 1"),
        (("adapter", "depth"), 10**9, "adapter.depth: Input should be less than or equal to 128"),
        (("adapter", "depth"), 128, "missing: "),
        (("adapter", "dim"), 16384, "adapter.pos_embed (1, 8, 8, 32) instead of (1, 8, 8, 16384)"),
        (("adapter", "global_blocks"), [2], "adapter: global_blocks must be different numbers"),
        (("adapter", "global_blocks"), [1, 1], "adapter: global_blocks must be different numbers"),
        (("embed_dim",), 40, "embed_dim: Input should be a multiple of 16"),
        (("decoder", "mask_tokens"), 3, "decoder.mask_tokens: Input should be 1 or 4"),
        (("region", "levels"), [2, 2], "region: levels must be different and ascend"),
        (("region", "levels"), [4], "region.levels.0: Input should be less than or equal to 3"),
        (("region", "levels"), [], "region.levels: Tuple should have at least 1 item"),
        (("zoom", "size"), 100, "zoom.size: Input should be a multiple of 32"),
        (("zoom", "click_size"), 4096, "config: zoom.size and zoom.click_size must be at most im"),
        (("zoom", "crop_scales"), [0.0], "zoom.crop_scales.0: Input should be greater than"),
        (("zoom", "crop_scales"), [], "zoom.crop_scales: Tuple should have at least 1 item"),
        (("fusion_alpha",), 1.5, "fusion_alpha: Input should be less than or equal to 1"),
        (("logit_scale",), float("inf"), "logit_scale: Input should be a finite number"),
        (("seen_classes",), [1] * 100_000, "seen_classes.0: Input should be a valid string"),
        (
            ("calibration",),
            {"temperature": 0, "classes": 80},
            "calibration.fits.0.temperature: Input should be greater",
        ),
        (
            ("calibration",),
            {"fits": [{"classes": 80}, {"classes": 80}]},
            "calibration: fits must be of different numbers of classes and ascend",
        ),
        ((), {"a" * 500 + str(i): 1 for i in range(5000)}, "5,003 things are wrong with it"),
        ((), {**as_json(WHOLE), "a\nb" * 99: 1}, r"'a\nba\nba"),
    ],
)
def test_a_field_out_of_its_bounds(
    place: tuple[Any, ...], value: Any, message: str, sound: dict[str, Path], tmp_path: Path
) -> None:
    config = replaced(as_json(WHOLE), place, value)
    path = tmp_path / "odd.safetensors"
    path.write_bytes(with_metadata(sound["whole"].read_bytes(), config=json.dumps(config)))
    assert message in refused(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (24, 48, 121, 1280)}, "has channels (24, 48, 120, 1280), the configuration"),
        ({"architecture": "efficientnet_lite0"}, "efficientnet_lite0' has channels (24, 40, 112"),
        ({"text_dim": 383}, "must have shape (254, 383), got (254, 384)"),
    ],
)
def test_what_the_trunk_does_not_give(change: Any, message: str, tmp_path: Path) -> None:
    config = replace(MODELS["lite"], encoder=replace(MODELS["lite"].encoder, **change))
    path = tmp_path / "lite.safetensors"
    text = JSON.dump_json(config).decode()
    path.write_bytes(with_metadata(SHIPPED.read_bytes(), config=text))
    assert message in refused(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "x" * 5000}, "its format is 'xxx"),
        ({"config": "[" * 100_000}, "The configuration"),
        ({"config": "1" * 5_000_000}, "it has 5,000,000 characters, 4,194,304 at most"),
        ({"config": "1" * 100_000}, "The configuration"),
        ({"parts": "[" * 100_000}, "no fingerprints"),
        ({"parts": '{"a\\nb": [1]}'}, "do not belong together"),
        ({"text_names": "[" * 100_000}, "does not say which names"),
        ({"text_names": '"ab"'}, "does not say which names"),
        ({"text_names": "[1, 2]"}, "does not say which names"),
        ({"text_names": "[]"}, "must have shape (0, 8), got (2, 8)"),
        ({"text_names": '["a"]'}, "must have shape (1, 8), got (2, 8)"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else next(iter(value)),
)
def test_metadata_of_any_kind(
    metadata: dict[str, str], message: str, sound: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(with_metadata(sound["whole"].read_bytes(), **metadata))
    assert message in refused(path)
