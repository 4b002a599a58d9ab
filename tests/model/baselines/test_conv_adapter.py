"""Convolutions beside the frozen trunk: nothing at first, then what they have learnt."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from ovsam.model.baselines.conv_adapter import conv_adapter

Kind = Literal["vit-adapter", "mimdet"]
KINDS: tuple[Kind, ...] = ("vit-adapter", "mimdet")
CHANNELS = (3, 4, 5, 6)
PIXELS = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
PYRAMID = [
    torch.randn(2, c, 64 // s, 96 // s, generator=torch.Generator().manual_seed(s))
    for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
]


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_c5_is_the_trunk_s(kind: Kind) -> None:
    assert torch.equal(conv_adapter(kind, CHANNELS)(PIXELS, PYRAMID), PYRAMID[3])


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_it_learns(kind: Kind) -> None:
    adapter = conv_adapter(kind, CHANNELS)
    torch.nn.init.ones_(adapter.gamma)
    adapter(PIXELS, PYRAMID).square().mean().backward()
    unused = [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


@pytest.mark.parametrize("kind", KINDS)
def test_photos_of_a_batch_are_apart(kind: Kind) -> None:
    adapter = conv_adapter(kind, CHANNELS)
    torch.nn.init.ones_(adapter.gamma)
    both = adapter(PIXELS, PYRAMID)
    assert both.shape == PYRAMID[3].shape
    alone = adapter(PIXELS[1:], [level[1:] for level in PYRAMID])
    torch.testing.assert_close(both[1:], alone)
    assert not torch.allclose(both, adapter(PIXELS.flip(0), PYRAMID))


def test_a_vit_adapter_looks_at_the_trunk_s_features_a_stem_does_not() -> None:
    other = [level.flip(0) for level in PYRAMID[:3]] + PYRAMID[3:]
    for kind, same in (("vit-adapter", False), ("mimdet", True)):
        adapter = conv_adapter(kind, CHANNELS)  # type: ignore[arg-type]
        torch.nn.init.ones_(adapter.gamma)
        assert torch.allclose(adapter(PIXELS, PYRAMID), adapter(PIXELS, other)) == same
