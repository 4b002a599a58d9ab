"""What is folded or projected once gives what the plain form gives, with random weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ovsam.config import ModelConfig
from ovsam.model.ovsam import OVSAM
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.two_way import TwoWayTransformer
from tiny_model import ONE_TOKEN, TINY, tiny_model

DIM = 32
SIZE = (96, 128)
BOXES = torch.tensor([[10.0, 20, 90, 90], [0, 0, 128, 64], [40, 8, 60, 24]])
POINTS, LABELS = BOXES[:, None, :2] + 5, torch.ones(3, 1, dtype=torch.long)
MASKS = 4 * torch.randn(3, 24, 32, generator=torch.Generator().manual_seed(0))
PROMPTS: dict[str, PromptBatch[Tensor]] = {
    "boxes": PromptBatch(boxes_xyxy=BOXES),
    "one box": PromptBatch(boxes_xyxy=BOXES[:1]),
    "points": PromptBatch(POINTS, LABELS),
    "many points": PromptBatch(POINTS.repeat(1, 20, 1), LABELS.repeat(1, 20)),
    "boxes and points": PromptBatch(POINTS, LABELS, BOXES),
    "masks": PromptBatch(mask_logits=MASKS),
    "a box and a mask": PromptBatch(boxes_xyxy=BOXES[:1], mask_logits=MASKS[:1]),
}
SAM = replace(TINY, name="tiny-sam", decoder=replace(TINY.decoder, box_as_mask=False))


def assert_equal_to_rounding(found: Tensor, expected: Tensor) -> None:
    """Float32 differences below 1e-4 of the largest value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def plainly(model: OVSAM, prompts: PromptBatch[Tensor], images: Tensor, index: Tensor) -> Tensor:
    """Mask logits as SAM computes them, every cell projected for every prompt."""
    features = model.encode(images)
    assert features.embedding is not None
    embedding, sharp = features.embedding[index], None
    if features.high_resolution is not None:
        sharp = (features.high_resolution[0][index], features.high_resolution[1][index])
    sparse, dense = model.encode_prompts(prompts, SIZE)
    positions = model.prompt_encoder.dense_positions((SIZE[0] // 16, SIZE[1] // 16))
    decoder = model.mask_decoder.train()
    logits: Tensor = decoder(embedding, positions, sparse, dense, sharp)[0]
    decoder.eval()
    return logits


@pytest.fixture(scope="module", params=[TINY, ONE_TOKEN, SAM], ids=lambda config: config.name)
def model(request: pytest.FixtureRequest) -> OVSAM:
    config: ModelConfig = request.param
    return tiny_model(config)


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("kept", [True, False], ids=["projected before", "projected now"])
@torch.no_grad()
def test_masks_of_one_image(model: OVSAM, kind: str, kept: bool) -> None:
    prompts, images = PROMPTS[kind], torch.randn(1, 3, *SIZE)
    features = model.encode(images)
    assert features.shared is not None
    found, _ = model.decode(features if kept else replace(features, shared=None), prompts)
    first = torch.zeros(len(prompts), dtype=torch.long)
    assert_equal_to_rounding(found, plainly(model, prompts, images, first))


@pytest.mark.parametrize("kind", PROMPTS)
@torch.no_grad()
def test_masks_of_several_images(model: OVSAM, kind: str) -> None:
    prompts, images = PROMPTS[kind], torch.randn(2, 3, *SIZE)
    index = torch.tensor([1, 0, 1])[: len(prompts)]
    found, _ = model.decode(model.encode(images), prompts, index)
    assert_equal_to_rounding(found, plainly(model, prompts, images, index))


@pytest.mark.parametrize("heads", [1, 4, 8])
@pytest.mark.parametrize("grid", [(4, 4), (3, 7)], ids=str)
@pytest.mark.parametrize("images", [1, 3])
@torch.no_grad()
def test_the_transformer(heads: int, grid: tuple[int, int], images: int) -> None:
    torch.manual_seed(heads)
    transformer = TwoWayTransformer(DIM, heads, mlp_dim=16)
    image, pe, tokens = (
        torch.randn(images, DIM, *grid),
        torch.randn(1, DIM, *grid),
        torch.randn(3, 5, DIM),
    )
    expected = transformer(image.expand(3, -1, -1, -1), pe, tokens)
    transformer.eval()
    ways = [transformer(image, pe, tokens)]
    ways.append(transformer(image, None, tokens, transformer.shared(None, pe)))
    if images == 1:
        shared = transformer.shared(image, pe)
        ways.append(transformer(image, None, tokens, shared))
        ways.append(transformer(image, None, tokens, shared.without_image()))
    for found in ways:
        for one, other in zip(found, expected, strict=True):
            assert_equal_to_rounding(one, other)


def test_training_projects_nothing_before() -> None:
    model = tiny_model(SAM).train()
    assert model.encode(torch.randn(1, 3, *SIZE)).shared is None
