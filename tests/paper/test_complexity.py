from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from ovsam.cli.app import app
from ovsam.config import (
    AdapterConfig,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    RegionConfig,
    ZoomConfig,
)
from ovsam.errors import CheckpointError
from ovsam.hub import SHIPPED
from ovsam.model.build import build
from ovsam.model.presets import MODELS
from ovsam.paper import complexity as module
from ovsam.paper.complexity import Complexity, Part, complexity, model_names

TINY = ModelConfig(
    name="tiny",
    image_size=256,
    encoder=EncoderConfig(
        kind="lite",
        architecture="efficientnet_lite2",
        channels=(24, 48, 120, 1280),
        text_dim=384,
        pool_size=4,
    ),
    adapter=AdapterConfig(dim=64, depth=1, heads=4, window=8, global_blocks=()),
    embed_dim=64,
    decoder=DecoderConfig(mlp_dim=128, iou_dim=64, high_resolution=True),
)
counted = cache(complexity)


def _parts(counts: Complexity) -> dict[str, Part]:
    return {part.name: part for part in counts.parts}


@pytest.mark.parametrize("name", ["rn50x16", "convnext-l-single", "image-crop", "feature-crop"])
def test_totals_are_the_paper_s(name: str) -> None:
    counts = counted(name)
    assert counts.paper == pytest.approx((counts.total, counts.parameters), rel=0.005)


def test_parts_of_rn50x16() -> None:
    parts = _parts(counted("rn50x16"))
    giga = {name: part.multiply_adds / 1e9 for name, part in parts.items()}
    million = {name: part.parameters / 1e6 for name, part in parts.items()}
    assert giga["trunk"] == pytest.approx(498.6, abs=0.05)
    assert counted("rn50x16").encode / 1e9 == pytest.approx(1116, abs=0.5)
    assert counted("rn50x16").prompt / 1e9 == pytest.approx(6.4, abs=0.05)
    assert million["trunk"] == pytest.approx(167.3, abs=0.05)
    assert million["SAM2CLIP adapter"] == pytest.approx(128.8, abs=0.05)
    assert million["feature pyramid"] + million["region head"] == pytest.approx(4.0, abs=0.05)
    assert million["mask decoder"] == pytest.approx(3.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "giga"), [("rn50", 112.2), ("rn50x64", 1324.4), ("convnext-l", 718.1)]
)
def test_trunks_alone(name: str, giga: float) -> None:
    config = MODELS[name]
    with torch.device("meta"), torch.inference_mode():
        trunk = module._encoder_parts(build(config).encoder, config.image_size)[0]
    assert trunk.multiply_adds / 1e9 == pytest.approx(giga, abs=0.1)


def test_what_reuses_weights_adds_no_parameters() -> None:
    plain = module.Complexity("tiny", _count(TINY), None)
    zooming = module.Complexity(
        "tiny", _count(replace(TINY, zoom=ZoomConfig(size=128, crop_scales=(1.6,)))), None
    )
    with torch.device("meta"):
        model = build(TINY)
    assert plain.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert zooming.parameters == plain.parameters
    assert zooming.encode == plain.encode
    again = _parts(zooming)["zoom: encode again"]
    assert again.per == "prompt"
    assert again.multiply_adds == pytest.approx(plain.encode / 4, rel=0.05)


def test_a_baseline_of_ours_shares_its_trunk() -> None:
    """Feature-Crop costs what is left without a region head; Image-Crop the trunk for each crop."""
    own, feature, image = map(
        _parts, (counted(name) for name in ("rn50", "rn50-feature-crop", "rn50-image-crop"))
    )
    assert own.keys() - feature.keys() == {"feature pyramid", "region head"}
    assert all(own[name] == part for name, part in feature.items())
    crop = image["trunk on the crop"]
    assert (crop.per, crop.parameters) == ("prompt", 0)
    # 224 x 224 of 1024 x 1024 pixels, and the attention pooling
    trunk, head = own["trunk"].multiply_adds, own["trunk's own head"].multiply_adds
    expected = trunk * (224 / 1024) ** 2 + head
    assert crop.multiply_adds == pytest.approx(expected, rel=0.001)


def test_a_checkpoint_s_path_may_have_a_baseline_behind_it() -> None:
    named, path = counted("lite-feature-crop"), counted(f"{SHIPPED}-feature-crop")
    assert (path.total, path.parameters) == (named.total, named.parameters)
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'none\.safetensors'"):
        complexity("none.safetensors-feature-crop")


def test_sam_alone_has_no_trunk() -> None:
    assert {part.name for part in counted("sam-h").parts} == {
        "SAM's encoder",
        "prompt encoder",
        "mask decoder",
    }
    assert counted("sam-h").paper == pytest.approx((2.9986e12, 641.09e6), rel=0.005)


def test_masks_alone_need_no_region_head() -> None:
    own, alone = (
        {part.name for part in _count(config)} for config in (TINY, replace(TINY, region=None))
    )
    assert own - alone == {"feature pyramid", "region head", "trunk's own head"}


def _count(config: ModelConfig) -> tuple[Part, ...]:
    with torch.device("meta"), torch.inference_mode():
        return module._ovsam_parts(config)


def test_a_multiply_add_is_counted_once() -> None:
    with torch.device("meta"):
        layer = nn.Linear(30, 20)
        part, out = module._part("linear", "photo", layer, lambda: layer(torch.empty(7, 30)))
    assert (part.parameters, part.multiply_adds) == (30 * 20 + 20, 7 * 30 * 20)
    assert out.shape == (7, 20)


def test_attention_is_counted() -> None:
    q = torch.empty(1, 2, 10, 8, device="meta")
    part, _ = module._part(
        "attention",
        "photo",
        nn.Identity(),
        lambda: nn.functional.scaled_dot_product_attention(q, q, q),
    )
    assert part.multiply_adds == 2 * (2 * 10 * 10 * 8)


def test_names() -> None:
    assert {"rn50", "rn50x16", "rn50x64", "convnext-l", "sam-h"} <= set(model_names())
    with pytest.raises(CheckpointError, match=r"no model 'resnet'.*rn50x16"):
        complexity("resnet")


def test_the_command_prints_parts_and_the_paper_s_figures() -> None:
    result = CliRunner().invoke(app, ["complexity", "rn50"])
    assert result.exit_code == 0
    lines = {
        line.split("  ")[1].strip(): line.split()
        for line in result.stdout.splitlines()
        if "  " in line.strip()
    }
    assert lines["trunk"][-2:] == ["38.32", "112.16"]
    assert lines["the paper"][-2:] == ["165.00", "728.00"]


def test_the_command_refuses_an_unknown_model() -> None:
    result = CliRunner().invoke(app, ["complexity", "resnet"])
    assert result.exit_code == 2
    assert "error: There is no model 'resnet'" in result.stderr


def test_a_class_token_s_parts_hold_all_of_the_region_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 6: the token attends to 8 x 8 cells of C5, 256 channels wide."""
    region = RegionConfig(kind="token+clip", levels=(2, 3))
    monkeypatch.setitem(MODELS, "tiny", replace(TINY, region=region))
    parts = _parts(complexity("tiny"))
    head = build(MODELS["tiny"]).region_head
    assert head is not None
    total = sum(p.numel() for p in head.parameters())
    assert parts["token's map"].parameters + parts["region head"].parameters == total
    assert parts["token's map"].multiply_adds == 8 * 8 * 1280 * 256
    assert parts["region head"].multiply_adds > 2 * 2 * 64 * 256 * 256  # keys and values, twice
