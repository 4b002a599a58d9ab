from __future__ import annotations

import pytest
import torch

from ovsam.model.prompt import (
    PromptEncoder,
    RandomFourierPositions,
    region_mask_logits,
)
from ovsam.model.prompt_batch import NOT_A_POINT

SIZE = (64, 96)


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(16).requires_grad_(False)


def test_tokens_of_each_kind(encoder: PromptEncoder) -> None:
    points, labels = torch.tensor([[[3.0, 4.0], [50.0, 60.0]]]), torch.tensor([[1, 0]])
    boxes, masks = torch.tensor([[1.0, 2.0, 30.0, 40.0]]), torch.zeros(1, 1, 16, 24)
    shapes = {
        "points": encoder(points, labels, None, None, SIZE),
        "box": encoder(None, None, boxes, None, SIZE),
        "box, points": encoder(points, labels, boxes, None, SIZE),
        "mask": encoder(None, None, None, masks, SIZE),
        "all": encoder(points, labels, boxes, masks, SIZE),
    }
    tokens = {kind: sparse.shape[1] for kind, (sparse, _) in shapes.items()}
    assert tokens == {"points": 3, "box": 2, "box, points": 4, "mask": 0, "all": 4}
    assert {tuple(dense.shape) for _, dense in shapes.values()} == {(1, 16, 4, 6)}


def test_tokens_are_places_and_kinds(encoder: PromptEncoder) -> None:
    """Half a pixel further, as shares of the input's width, 96, and height, 64."""
    kinds = [encoder._point_type(i)[0] for i in range(4)]
    point, off = torch.tensor([[[23.5, 47.5], [71.5, 15.5]]]), torch.tensor([[1, 0]])
    box = torch.tensor([[11.5, 7.5, 47.5, 55.5]])
    places = torch.tensor([[0.25, 0.75], [0.75, 0.25], [0.125, 0.125], [0.5, 0.875]])
    expected = encoder.pe_layer(places) + torch.stack([kinds[i] for i in (1, 0, 2, 3)])
    torch.testing.assert_close(encoder(point, off, box, None, SIZE)[0][0], expected)
    alone, dense = encoder(point, off, None, None, SIZE)
    torch.testing.assert_close(alone[0, :2], expected[:2])
    torch.testing.assert_close(alone[0, 2], encoder.not_a_point_embed.weight[0])
    assert torch.equal(dense[0, :, 3, 5], encoder.no_mask_embed.weight[0])


def test_a_padding_point_is_the_same_wherever_it_lies(encoder: PromptEncoder) -> None:
    points = torch.tensor([[[3.0, 4.0], [50.0, 60.0]], [[3.0, 4.0], [0.0, 0.0]]])
    labels = torch.tensor([[1, NOT_A_POINT], [1, NOT_A_POINT]])
    sparse, _ = encoder(points, labels, None, None, SIZE)
    torch.testing.assert_close(sparse[0], sparse[1])
    # The token that SAM adds where there is no box is such a point too.
    alone, _ = encoder(points[:1, :1], labels[:1, :1], None, None, SIZE)
    torch.testing.assert_close(alone[0], sparse[0, :2])
    torch.testing.assert_close(sparse[0, 1], sparse[0, 2])


def test_labels_and_places_tell_points_apart(encoder: PromptEncoder) -> None:
    points = torch.tensor([[[3.0, 4.0]], [[3.0, 4.0]], [[30.0, 4.0]]])
    sparse, _ = encoder(points, torch.tensor([[1], [0], [1]]), None, None, SIZE)
    assert not torch.allclose(sparse[0, 0], sparse[1, 0])
    assert not torch.allclose(sparse[0, 0], sparse[2, 0])


def test_a_batch_equals_one_by_one(encoder: PromptEncoder) -> None:
    generator = torch.Generator().manual_seed(1)
    points = 60 * torch.rand(3, 2, 2, generator=generator)
    labels = torch.tensor([[1, 0], [1, NOT_A_POINT], [0, 0]])
    boxes = torch.tensor([[1.0, 2, 30, 40], [0, 0, 96, 64], [5, 5, 6, 6]])
    masks = torch.randn(3, 1, 16, 24, generator=generator)
    sparse, dense = encoder(points, labels, boxes, masks, SIZE)
    for i in range(3):
        row = slice(i, i + 1)
        one, one_dense = encoder(points[row], labels[row], boxes[row], masks[row], SIZE)
        torch.testing.assert_close(sparse[row], one)
        torch.testing.assert_close(dense[row], one_dense)


def test_positions_fit_any_grid(encoder: PromptEncoder) -> None:
    """The cell in the middle has the code of the middle, whatever the grid."""
    middle = encoder.pe_layer(torch.tensor([0.5, 0.5]))
    for side in (1, 3, 7):
        code = encoder.dense_positions((side, side))
        assert code.shape == (1, 16, side, side)
        torch.testing.assert_close(code[0, :, side // 2, side // 2], middle)
    code = encoder.dense_positions((2, 4))
    torch.testing.assert_close(code[0, :, 1, 2], encoder.pe_layer(torch.tensor([0.625, 0.75])))


def test_positions_do_not_move_in_half_precision() -> None:
    """A matrix product under autocast would round them to some pixels of 1024."""
    torch.manual_seed(0)
    positions = RandomFourierPositions(16)
    xy = torch.rand(50, 2)
    with torch.autocast("cpu", torch.bfloat16):
        in_half = positions(xy)
    assert torch.equal(in_half, positions(xy))


def test_regions_as_masks_by_hand() -> None:
    """The second has no mask: it is its box, columns 4 to 10 of 8 x 16 pixels."""
    coverage = torch.tensor([[0.0, 0.25, 0.5, 1.0]]).expand(2, 1, 2, 4)
    boxes = torch.tensor([[0.0, 0, 16, 8], [4, 0, 10, 8]])
    found = region_mask_logits(coverage, torch.tensor([True, False]), boxes, (8, 16))
    assert found.shape == (2, 1, 2, 4)
    assert found[0, 0].tolist() == [[-4, -2, 0, 4]] * 2
    assert found[1, 0].tolist() == [[-4, 4, 0, -4]] * 2
