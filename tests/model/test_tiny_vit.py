"""MobileSAM's encoder against timm's TinyViT, with random weights and the last stride changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from timm.models.tiny_vit import TinyVit
from torch import nn

from ovsam.config import TinyViTConfig
from ovsam.model.tiny_vit import TinyViTEncoder

SMALL = TinyViTConfig(dims=(8, 16, 24, 40), depths=(1, 2, 2, 1), heads=(2, 3, 5), windows=(3, 4, 3))


def timm_encoder() -> Any:
    """The same trunk by timm, at stride 16 as in MobileSAM; nothing of it at zero or one."""
    torch.manual_seed(0)
    trunk: Any = TinyVit(
        num_classes=0,
        embed_dims=SMALL.dims,
        depths=SMALL.depths,
        num_heads=(1, *SMALL.heads),
        window_sizes=(1, *SMALL.windows),
        drop_path_rate=0.0,
    ).eval()
    trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
    for name, tensor in trunk.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape), alpha=0.2)
    return trunk


def mobile_sam_name(name: str) -> str:
    """timm's name of a tensor -> MobileSAM's."""
    name = re.sub(r"\bconv\.", "c.", name)  # of a convolution with its norm
    name = name.replace("patch_embed.conv1", "patch_embed.seq.0")
    name = name.replace("patch_embed.conv2", "patch_embed.seq.2")
    # timm has what leads to a stage in that stage, MobileSAM in the one before.
    name = re.sub(r"stages\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
    return name.replace("stages.", "layers.")


def without_neck() -> TinyViTEncoder:
    encoder = TinyViTEncoder(SMALL, 16).eval()
    encoder.neck = nn.Sequential()
    return encoder


@torch.no_grad()
@pytest.mark.parametrize("size_hw", [(192, 192), (96, 64)], ids=str)
def test_is_timms(size_hw: tuple[int, int]) -> None:
    """192 is whole windows at each stage; 96 x 64 is filled up."""
    theirs, ours = timm_encoder(), without_neck()
    state = theirs.state_dict()
    ours.load_state_dict({mobile_sam_name(k): v for k, v in state.items() if k[:4] != "head"})
    pixels = torch.randn(2, 3, *size_hw)
    expected = theirs.forward_features(pixels)
    found = ours(pixels)
    assert found.shape == (2, 40, size_hw[0] // 16, size_hw[1] // 16)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_names_are_those_of_mobile_sam_s_file() -> None:
    shapes = {name: tuple(t.shape) for name, t in TinyViTEncoder(SMALL, 16).state_dict().items()}
    expected = {
        "patch_embed.seq.2.c.weight": (8, 4, 3, 3),
        "layers.0.blocks.0.conv2.bn.running_mean": (32,),
        "layers.0.downsample.conv1.c.weight": (16, 8, 1, 1),
        "layers.1.blocks.1.attn.attention_biases": (2, 9),
        "layers.2.blocks.0.attn.qkv.bias": (72,),
        "layers.3.blocks.0.local_conv.c.weight": (40, 1, 3, 3),
        "layers.3.blocks.0.mlp.fc1.weight": (160, 40),
        "neck.3.weight": (16,),
    }
    assert expected == {name: shapes.get(name) for name in expected}


def test_neck_gives_the_embedding_and_nothing_learns() -> None:
    encoder = TinyViTEncoder(SMALL, 16)
    assert encoder(torch.zeros(1, 3, 64, 96)).shape == (1, 16, 4, 6)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.train()(torch.randn(1, 3, 64, 64))  # statistics are frozen, too
    torch.testing.assert_close(dict(encoder.state_dict()), before)
