"""Prompt encoder, decoder and ViT block against PyPI's `segment_anything`, with random weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from segment_anything.modeling import MaskDecoder as SamMaskDecoder
from segment_anything.modeling import PromptEncoder as SamPromptEncoder
from segment_anything.modeling import Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import Block
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from ovsam.config import DecoderConfig, SamConfig
from ovsam.images.frame import Frame, whole_photo_logits
from ovsam.model.attention import ViTBlock
from ovsam.model.baselines.sam_encoder import SamEncoder
from ovsam.model.mask import MaskDecoder
from ovsam.model.prompt import PromptEncoder
from tiny_sam import sam_encoder

DIM, GRID = 32, (8, 8)
SIZE = (GRID[0] * 16, GRID[1] * 16)


def randomise(module: Any, seed: int) -> None:
    """Weights that leave nothing at zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise / max(1, parameter[0].numel()) ** 0.5)


@pytest.fixture(scope="module")
def prompt_encoders() -> tuple[PromptEncoder, Any]:
    theirs = SamPromptEncoder(DIM, GRID, SIZE, mask_in_chans=16)
    randomise(theirs, 0)
    ours = PromptEncoder(DIM)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.fixture(scope="module")
def decoders() -> tuple[MaskDecoder, Any]:
    theirs = SamMaskDecoder(
        transformer_dim=DIM,
        transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, num_heads=8, mlp_dim=64),
        num_multimask_outputs=3,
        iou_head_hidden_dim=48,
    )
    randomise(theirs, 1)
    ours = MaskDecoder(DIM, DecoderConfig(mlp_dim=64, iou_dim=48))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


POINTS = torch.tensor([[[10.0, 20.0], [90.0, 64.5]], [[0.0, 0.0], [127.0, 3.0]]])
LABELS = torch.tensor([[1, 0], [1, -1]])
BOXES = torch.tensor([[4.0, 8.0, 60.0, 100.0], [0.0, 0.0, 128.0, 128.0]])
MASKS = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))

PROMPTS: dict[str, dict[str, Tensor]] = {
    "positive point": {"points": POINTS[:, :1], "labels": LABELS[:, :1]},
    "negative point": {"points": POINTS[:1], "labels": torch.tensor([[0, 0]])},
    "padded points": {"points": POINTS, "labels": LABELS},
    "box": {"boxes": BOXES},
    "box and points": {"points": POINTS, "labels": LABELS, "boxes": BOXES},
    "mask": {"masks": MASKS},
    "box and mask": {"boxes": BOXES, "masks": MASKS},
    "all": {"points": POINTS, "labels": LABELS, "boxes": BOXES, "masks": MASKS},
}


@pytest.fixture(params=PROMPTS)
def encoded(
    request: pytest.FixtureRequest, prompt_encoders: tuple[PromptEncoder, Any]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    ours, theirs = prompt_encoders
    given = PROMPTS[request.param]
    points = (given["points"], given["labels"]) if "points" in given else None
    with torch.no_grad():
        return ours(
            given.get("points"), given.get("labels"), given.get("boxes"), given.get("masks"), SIZE
        ), theirs(points, given.get("boxes"), given.get("masks"))


def test_prompt_encoder(encoded: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    (sparse, dense), (their_sparse, their_dense) = encoded
    if sparse.shape[1]:
        torch.testing.assert_close(sparse, their_sparse)
    torch.testing.assert_close(dense, their_dense.expand_as(dense))


def test_dense_positions(prompt_encoders: tuple[PromptEncoder, Any]) -> None:
    ours, theirs = prompt_encoders
    torch.testing.assert_close(ours.dense_positions(GRID), theirs.get_dense_pe())


@torch.no_grad()
def test_decoder(
    encoded: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    prompt_encoders: tuple[PromptEncoder, Any],
    decoders: tuple[MaskDecoder, Any],
) -> None:
    """Our four masks are SAM's single-mask output, then its three of multimask."""
    (sparse, dense), _ = encoded
    ours, theirs = decoders
    embedding = torch.randn(1, DIM, *GRID, generator=torch.Generator().manual_seed(3))
    positions = prompt_encoders[0].dense_positions(GRID)
    mask_logits, predicted_iou = ours(embedding, positions, sparse, dense)
    assert predicted_iou is not None
    for multimask, part in ((False, slice(0, 1)), (True, slice(1, None))):
        expected = theirs(embedding, positions, sparse, dense, multimask)
        torch.testing.assert_close(mask_logits[:, part], expected[0])
        torch.testing.assert_close(predicted_iou[:, part], expected[1])


@pytest.mark.parametrize("grid", [(8, 8), (6, 8), (5, 7)], ids=str)
@pytest.mark.parametrize("window", [0, 4, 14], ids="window {}".format)
@torch.no_grad()
def test_vit_block(window: int, grid: tuple[int, int]) -> None:
    """Windowed, windowed with padding, and global, with relative positions."""
    theirs = Block(
        DIM,
        num_heads=4,
        use_rel_pos=True,
        norm_layer=lambda dim: nn.LayerNorm(dim, eps=1e-6),
        window_size=window,
        input_size=grid,
    )
    randomise(theirs, 4)
    ours = ViTBlock(DIM, heads=4, window=window, grid=8)
    if window or grid == (8, 8):
        ours.load_state_dict(theirs.state_dict(), strict=True)
    else:  # a table of another length is resampled, as SAM's own is
        state = {**theirs.state_dict(), "attn.rel_pos_h": torch.randn(15, DIM // 4)}
        state["attn.rel_pos_w"] = torch.randn(15, DIM // 4)
        ours.load_state_dict(state, strict=True)
        theirs.attn.rel_pos_h = nn.Parameter(state["attn.rel_pos_h"])
        theirs.attn.rel_pos_w = nn.Parameter(state["attn.rel_pos_w"])
    x = torch.randn(2, *grid, DIM, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "size_hw", [(480, 640), (333, 101), (7, 1000), (128, 128), (5, 8)], ids=str
)
def test_postprocess(size_hw: tuple[int, int]) -> None:
    mask_logits = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(6))
    frame = Frame.whole_photo(size_hw, 128)
    assert frame.content_hw == ResizeLongestSide.get_preprocess_shape(*size_hw, 128)
    sam = SimpleNamespace(image_encoder=SimpleNamespace(img_size=128))
    expected = Sam.postprocess_masks(sam, mask_logits, frame.content_hw, size_hw)
    for ours, theirs in zip(mask_logits, expected, strict=True):
        whole = whole_photo_logits(ours.numpy(), frame, size_hw)
        torch.testing.assert_close(torch.from_numpy(whole), theirs)


@torch.no_grad()
def test_image_encoder() -> None:
    theirs = sam_encoder()
    ours = SamEncoder(SamConfig(dim=16, depth=3, heads=2, global_blocks=(1,), window=3), 4, 8)
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(pixels), theirs(pixels), rtol=1e-4, atol=1e-5)
