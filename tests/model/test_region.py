from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from ovsam.config import RegionConfig
from ovsam.model import region as label
from ovsam.model.features import covers_c5
from ovsam.model.region import (
    ContextHead,
    RegionHead,
    Surroundings,
    class_logits,
    fuse,
    scenes_of,
)
from ovsam.model.torch_bank import TorchBank
from ovsam.text.bank import Bank
from tiny_model import TINY, region_head, tiny_model


def test_the_best_synonym_speaks_for_its_class() -> None:
    # The class of one name comes first in the bank, and is the second.
    vectors = np.array([[-1, 0], [1, 0], [0, 1]], np.float32)
    bank = TorchBank.of(Bank.of(vectors, [2, 1]))
    logits = class_logits(torch.tensor([[0.0, 3.0], [-2.0, 0.0]]), bank, scale=10)
    torch.testing.assert_close(logits, torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]]))


def fused(
    head: Tensor,
    clip: Tensor,
    *,
    seen: tuple[bool, ...],
    answerable: bool = True,
    clip_valid: tuple[bool, ...] = (True,),
    alpha: float,
    beta: float,
) -> Tensor:
    """`fuse`; `answerable` is the first class, the others are."""
    others = [True] * (len(seen) - 1)
    return fuse(
        head,
        clip,
        seen=torch.tensor(seen),
        answerable=torch.tensor([answerable, *others]),
        clip_valid=torch.tensor(clip_valid),
        alpha=alpha,
        beta=beta,
    )


def test_fusion_by_hand() -> None:
    head, clip = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0.0, 3.0, 0.0]])
    log_head, log_clip = head.log_softmax(-1)[0], clip.log_softmax(-1)[0]
    [scores] = fused(head, clip, seen=(True, False), alpha=0.25, beta=0.75)
    expected = [
        0.75 * log_head[0] + 0.25 * log_clip[0],  # seen
        0.25 * log_head[1] + 0.75 * log_clip[1],  # unseen
        0.75 * log_head[2] + 0.25 * log_clip[2],  # the background counts as seen
    ]
    torch.testing.assert_close(scores, torch.stack(expected))


def test_fusion_leaves_small_regions_to_the_head() -> None:
    head, clip = torch.randn(2, 4), torch.randn(2, 4)
    scores = fused(head, clip, seen=(True,) * 3, clip_valid=(True, False), alpha=0.5, beta=0.5)
    torch.testing.assert_close(scores[1], head[1].log_softmax(-1))
    assert not torch.allclose(scores[0], head[0].log_softmax(-1))


def test_a_head_that_counts_for_nothing_names_no_small_region_either() -> None:
    """What stage 1 gives (Table 4): the frozen encoder answers, however little it sees."""
    head, clip = torch.randn(1, 4), torch.randn(1, 4)
    scores = fused(head, clip, seen=(True,) * 3, clip_valid=(False,), alpha=1, beta=1)
    torch.testing.assert_close(scores, clip.log_softmax(-1))


def test_a_class_that_may_not_be_the_answer_still_takes_its_share() -> None:
    head = torch.tensor([[5.0, 1.0, 0.0]])
    without, of_all = (
        fused(head, head, seen=(True, True), answerable=first, alpha=0.5, beta=0.5)[0]
        for first in (False, True)
    )
    assert without[0] == -math.inf
    torch.testing.assert_close(without[1:], of_all[1:])


def test_a_mask_that_vanishes_at_stride_32_covers_nothing() -> None:
    c5 = torch.zeros(1, 1, 2, 2)
    logits = torch.full((2, 1, 16, 16), -1.0)
    logits[0, 0, :8, :8] = 1
    logits[1, 0, 0, 0] = 1
    assert covers_c5(logits, c5).tolist() == [True, False]


@pytest.mark.parametrize(
    ("side", "level"), [(1, 0), (111, 0), (112, 1), (223, 1), (224, 2), (447, 2), (500, 3)]
)
def test_level_by_the_size_of_the_region(side: float, level: int) -> None:
    head = region_head(levels=(0, 1, 2, 3), finest_scale=56)
    boxes = torch.tensor([[10.0, 10, 10 + side, 10 + side], [10, 10, 10 + side / 2, 10 + 2 * side]])
    assert head.levels_of(boxes).tolist() == [level, level]


def test_few_levels_take_all_sizes() -> None:
    head = region_head(levels=(2, 3), finest_scale=112)
    boxes = torch.tensor([[0.0, 0, 0, 0], [0, 0, 30, 30], [0, 0, 300, 300], [0, 0, 2000, 2000]])
    assert head.levels_of(boxes).tolist() == [0, 0, 1, 1]


def test_each_region_reads_its_own_image_and_level() -> None:
    """Whatever the order of boxes of all sizes and images, each gets what it gets alone."""
    torch.manual_seed(0)
    head = region_head(levels=(2, 3), finest_scale=64).requires_grad_(False)
    maps = [torch.rand(2, 1, 16, 16), torch.rand(2, 1, 8, 8)]
    boxes = torch.tensor([[0.0, 0, 200, 200], [5, 5, 40, 40], [50, 60, 250, 250], [1, 1, 9, 9]])
    batch = torch.tensor([0, 1, 1, 0])
    assert not head.sees_masks
    together = head(maps, boxes, batch, None)
    for i in range(4):
        own: list[Tensor] = [level[batch[i]][None] for level in maps]
        alone = head(own, boxes[i : i + 1], torch.zeros(1, dtype=torch.long), None)
        torch.testing.assert_close(together[i : i + 1], alone)


def token_head(kind: Literal["token", "token+clip"]) -> RegionHead:
    torch.manual_seed(0)
    config = RegionConfig(kind=kind, fpn_dim=8)
    return label.region_head((1, 1, 1, 6), 5, config).requires_grad_(False)


@pytest.mark.parametrize("kind", ["token", "token+clip"])
def test_a_class_token_knows_its_region_by_the_mask(kind: Literal["token", "token+clip"]) -> None:
    head = token_head(kind)
    assert head.sees_masks
    maps = head.pyramid([torch.zeros(1)] * 3 + [torch.rand(2, 6, 4, 4)])
    boxes, batch = torch.zeros(3, 4), torch.tensor([0, 1, 1])
    masks = torch.full((3, 1, 32, 32), -9.0)
    masks[0, :, :16], masks[1, :, :16], masks[2, :, 16:] = 9.0, 9.0, 9.0
    together = head(maps, boxes, batch, masks)
    assert together.shape == (3, 5)
    for i in range(3):
        own = [level[batch[i]][None] for level in maps]
        alone = head(own, boxes[:1], torch.zeros(1, dtype=torch.long), masks[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    for one, other in ((0, 1), (1, 2)):
        assert not torch.allclose(together[one], together[other])


def test_what_the_frozen_encoder_holds_under_the_mask_is_averaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = token_head("token+clip")
    assert isinstance(head, label.TokenHead)
    joined: list[Tensor] = []

    def recorded(x: Tensor) -> Tensor:
        joined.append(x)
        return x[:, :5]

    cells: list[Tensor] = []

    def seen(token: Tensor, of_region: Tensor) -> Tensor:
        cells.append(of_region)
        return token

    monkeypatch.setattr(head.to_text, "forward", recorded)
    for layer in head.layers:
        monkeypatch.setattr(layer, "forward", seen)
    c5 = torch.arange(24.0).reshape(1, 6, 2, 2)  # channel k holds 4 k + 0, 1, 2, 3
    masks = torch.full((1, 1, 16, 16), -99.0)
    masks[..., :8, :] = 99.0  # the upper two cells
    maps = head.pyramid([torch.zeros(1)] * 3 + [c5])
    head(maps, torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), masks)
    torch.testing.assert_close(joined[0][0, 8:], torch.arange(6.0) * 4 + 0.5)
    # The token attends to C5 at its own width, marked where the mask is.
    covered = torch.tensor([1.0, 1, 0, 0])
    expected = head.project(c5).flatten(2)[0].T + covered[:, None] * head.inside
    assert len(cells) == 2
    for of_layer in cells:
        torch.testing.assert_close(of_layer[0], expected)
    torch.testing.assert_close(joined[0][0, :8], head.class_token[0, 0])


def test_a_layer_of_the_class_token_adds_what_it_finds() -> None:
    """Attention and MLP that give the same vector whatever they see: the token gains both."""
    layer = label._CrossAttention(8).requires_grad_(False)
    layer.attention.out_proj.weight.zero_()
    layer.attention.out_proj.bias.copy_(torch.arange(8.0))
    last = layer.mlp.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.zero_()
    last.bias.fill_(0.5)
    token = torch.randn(3, 1, 8)
    torch.testing.assert_close(layer(token, torch.randn(3, 4, 8)), token + torch.arange(8.0) + 0.5)


# What is around


def test_a_scene_leaves_the_padding_out() -> None:
    c5 = torch.zeros(2, 1, 2, 4)
    c5[0, 0, 0, :2] = torch.tensor([3.0, 5.0])  # 32 x 64 pixels of photo
    c5[0, 0, 1] = 100.0
    c5[1] = torch.arange(8.0).reshape(2, 4)  # all of 64 x 128
    found = scenes_of(c5, torch.tensor([[32, 64], [64, 128]]))
    torch.testing.assert_close(found, torch.tensor([[4.0], [3.5]]))
    # A photo of a few pixels has one cell.
    assert scenes_of(c5[:1], torch.tensor([[3, 5]])).tolist() == [[3.0]]


def context_head() -> tuple[ContextHead, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    head = ContextHead((4, 4, 8, 8), 16, RegionConfig(kind="context", fpn_dim=8, levels=(2, 3)))
    pyramid = [torch.rand(1, channels, side, side) for channels, side in ((8, 8), (8, 4))]
    return head.eval(), head.pyramid([pyramid[0], pyramid[0], *pyramid])


def test_surroundings_change_what_a_region_is() -> None:
    head, maps = context_head()
    boxes, first = torch.tensor([[16.0, 32.0, 80.0, 96.0]]), torch.zeros(1, dtype=torch.long)

    def embedded(scene: Tensor, size: float, boxes: Tensor = boxes) -> Tensor:
        around = Surroundings(scene, torch.full((len(boxes), 2), size))
        with torch.no_grad():
            found: Tensor = head(maps, boxes, first.expand(len(boxes)), None, around)
        return found

    scene = torch.rand(1, 8)
    one = embedded(scene, 128)
    assert one.shape == (1, 16)
    assert not torch.allclose(one, embedded(scene.flip(1), 128), atol=1e-3), "another scene"
    assert not torch.allclose(one, embedded(scene, 1280), atol=1e-3), "a smaller part of its photo"
    # A scene is normalised, so its brightness says nothing; regions do not depend on each other.
    torch.testing.assert_close(embedded(3 * scene, 128), one, rtol=1e-3, atol=1e-3)
    both = embedded(scene.expand(2, -1), 128, torch.cat([boxes, boxes / 2]))
    torch.testing.assert_close(both[:1], one)


def test_a_picture_is_the_photo_where_nothing_else_is_said() -> None:
    model = tiny_model(replace(TINY, region=RegionConfig(kind="context", levels=(2, 3))))
    pixels = torch.rand(1, 3, 64, 96)
    features = model.encode(pixels, content_hw=torch.tensor([[64, 64]]))
    assert features.c5 is not None
    boxes, first = torch.tensor([[8.0, 8.0, 40.0, 56.0]]), torch.zeros(1, dtype=torch.long)
    scene = features.c5[:, :, :, :2].mean((2, 3))
    around = Surroundings(scene, torch.tensor([[64.0, 64.0]]))
    found = model.embed_regions(features, boxes, first, None)
    torch.testing.assert_close(found, model.embed_regions(features, boxes, first, None, around))
