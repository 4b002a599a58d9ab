"""Image -> features -> prompt -> mask -> label: the shapes at each step, and what may learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ovsam.config import AdapterConfig, DecoderConfig, ModelConfig
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.torch_bank import TorchBank, TorchPrototypes
from ovsam.text.bank import Bank
from tiny_model import ONE_TOKEN, TINY, HashedText, tiny_model

CONFIGS = {
    "lite": TINY,
    "release": ONE_TOKEN,
    "SAM's decoder": replace(TINY, decoder=DecoderConfig(mlp_dim=32)),
    "single scale, positions": replace(
        TINY,
        adapter=AdapterConfig(
            dim=32, depth=1, heads=4, window=4, global_blocks=(), multi_scale=False
        ),
    ),
}
BOXES = torch.tensor([[10.0, 20, 90, 70], [0, 0, 128, 128], [64, 64, 80, 90]])


@pytest.fixture
def model() -> OVSAM:
    return tiny_model()


def pixels(count: int, height: int = 128, width: int = 128) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def prototypes() -> TorchPrototypes:
    vectors = HashedText().embed([f"class {i}" for i in range(10)])
    bank = TorchBank.of(Bank.of(vectors, [2] * 5))
    seen = torch.tensor([True, True, False, False, False])
    return TorchPrototypes(bank, seen, torch.ones(5, dtype=torch.bool))


@pytest.mark.parametrize("size_hw", [(128, 128), (64, 64), (96, 160)], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.no_grad()
def test_shapes(config: ModelConfig, size_hw: tuple[int, int]) -> None:
    model = tiny_model(config)
    height, width = size_hw
    features = model.encode(pixels(2, height, width))
    assert features.input_hw == size_hw
    assert features.c5 is not None and features.embedding is not None
    assert features.c5.shape == (2, 24, height // 32, width // 32)
    assert features.embedding.shape == (2, 32, height // 16, width // 16)
    assert [level.shape[1:] for level in features.fpn_maps] == [
        (16, height // 16, width // 16),
        (16, height // 32, width // 32),
    ]
    batch = torch.tensor([0, 1, 1])
    logits, predicted_iou = model.decode(features, PromptBatch(boxes_xyxy=BOXES), batch)
    count = config.decoder.mask_tokens
    assert logits.shape == (3, count, height // 4, width // 4)
    assert (None if predicted_iou is None else predicted_iou.shape) == (
        (3, 4) if count == 4 else None
    )
    scores = model.label(features, BOXES, logits[:, :1], prototypes(), batch)
    assert scores.shape == (3, 6)
    assert torch.isfinite(scores).all()


def one(features: Features, i: int) -> Features:
    """The features of one image of the batch."""
    row, sharp = slice(i, i + 1), features.high_resolution
    assert features.c5 is not None and features.embedding is not None
    return Features(
        c5=features.c5[row],
        embedding=features.embedding[row],
        high_resolution=(sharp[0][row], sharp[1][row]) if sharp else None,
        fpn_maps=tuple(level[row] for level in features.fpn_maps),
        input_hw=features.input_hw,
    )


@torch.no_grad()
def test_a_batch_of_images_equals_one_by_one(model: OVSAM) -> None:
    images = pixels(3)
    together = model.encode(images)
    batch = torch.tensor([2, 0, 1])
    points, labels = BOXES[:, None, :2] + 5, torch.ones(3, 1, dtype=torch.long)
    logits, predicted_iou = model.decode(together, PromptBatch(points, labels, BOXES), batch)
    scores = model.label(together, BOXES, logits[:, :1], prototypes(), batch)
    assert predicted_iou is not None
    for i, image in enumerate(batch):
        row = slice(i, i + 1)
        alone = model.encode(images[image][None])
        torch.testing.assert_close(
            alone.embedding, one(together, int(image)).embedding, rtol=1e-4, atol=1e-4
        )
        mask, iou = model.decode(alone, PromptBatch(points[row], labels[row], BOXES[row]))
        assert iou is not None
        torch.testing.assert_close(logits[row], mask, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(predicted_iou[row], iou, rtol=1e-3, atol=1e-3)
        score = model.label(alone, BOXES[row], mask[:, :1], prototypes())
        torch.testing.assert_close(scores[row], score, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_an_image_does_not_see_its_neighbours(model: OVSAM) -> None:
    images = pixels(2)
    changed = torch.cat([images[:1], images[1:] + 1])
    before, after = model.encode(images).embedding, model.encode(changed).embedding
    assert before is not None and after is not None
    torch.testing.assert_close(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_what_learns_and_what_does_not(model: OVSAM) -> None:
    model.train()
    features = model.encode(pixels(1))
    logits, predicted_iou = model.decode(features, PromptBatch(boxes_xyxy=BOXES))
    points, labels = BOXES[:, None, :2] + 5, torch.tensor([[1], [0], [1]])
    clicked, _ = model.decode(features, PromptBatch(points, labels))
    no_batch = torch.zeros(3, dtype=torch.long)
    regions = model.embed_regions(features, BOXES, no_batch, None)
    assert predicted_iou is not None
    loss = logits.square().mean() + clicked.square().mean() + predicted_iou.square().mean()
    (loss + regions.square().mean()).backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters()}
    learning = {
        name.partition(".")[0]
        for name, gradient in gradients.items()
        if gradient is not None and gradient.any()
    }
    assert learning == {
        "adapter",
        "prompt_encoder",
        "mask_decoder",
        "high_resolution",
        "region_head",
    }
    assert not any(p.requires_grad for p in model.encoder.parameters())


def test_the_trunk_stays_in_eval_mode(model: OVSAM) -> None:
    statistics = {name: value.clone() for name, value in model.encoder.named_buffers()}
    model.train()
    assert model.training and model.mask_decoder.training
    assert not any(module.training for module in model.encoder.modules())
    model.encode(pixels(2))
    for name, value in model.encoder.named_buffers():
        torch.testing.assert_close(value, statistics[name])
