from __future__ import annotations

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from ovsam.data.noise import any_pixel_xy, jittered_box
from ovsam.data.prompts import (
    NO_POINT,
    PromptConfig,
    Prompts,
    draw_prompts,
    next_click,
)
from ovsam.data.scene_crops import SceneCrop
from ovsam.model.prompt_batch import NOT_A_POINT

SIZE = 64
CONTENT = (48, 64)
BOXES = [[4, 4, 24, 44], [30, 10, 60, 20], [40, 30, 50, 40]]


def scene(masked: int = 3, ell: bool = False) -> SceneCrop:
    """Three rectangles, of which the first few have masks; `ell` leaves a corner out of each."""
    masks = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks[:masked], BOXES, strict=False):
        mask[y0:y1, x0:x1] = True
        if ell:
            mask[y0 : (y0 + y1) // 2, (x0 + x1) // 2 : x1] = False
    return SceneCrop(
        name="made up",
        photo=torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8),
        content_hw=CONTENT,
        masks=masks,
        has_mask=torch.arange(3) < masked,
        boxes_xyxy=torch.tensor(BOXES, dtype=torch.float32),
        categories=("a", "b", "c"),
    )


def prompts(config: PromptConfig, drawn: SceneCrop | None = None, seed: int = 0) -> Prompts:
    return draw_prompts(np.random.default_rng(seed), drawn or scene(), config)


def on(masks: Tensor, index: Tensor, points_xy: Tensor) -> list[bool]:
    column, row = points_xy.long().unbind(1)
    return [bool(value) for value in masks[index, row, column]]


def test_no_point_is_the_prompt_encoders() -> None:
    assert NO_POINT == NOT_A_POINT


def test_prompts_depend_on_their_random_numbers_alone() -> None:
    config = PromptConfig(jittered=0.5, negatives=0.5)
    one, same, other = prompts(config), prompts(config), prompts(config, seed=1)
    names = [field.name for field in fields(Prompts)]
    assert all(torch.equal(getattr(one, name), getattr(same, name)) for name in names)
    assert not torch.equal(one.points_xy, other.points_xy)


def test_half_boxes_half_points_of_all_objects_in_turn() -> None:
    drawn = prompts(PromptConfig())
    assert drawn.is_box.tolist() == [True] * 20 + [False] * 20
    assert sorted(Counter(drawn.object_index.tolist()).values()) == [13, 13, 14]
    for half in (drawn.object_index[:20], drawn.object_index[20:]):
        assert sorted(Counter(half.tolist()).values()) in ([6, 7, 7], [6, 6, 8])
    first = {int(prompts(PromptConfig(), seed=seed).object_index[0]) for seed in range(20)}
    assert first == {0, 1, 2}


def test_of_more_objects_than_prompts_any_are_asked_for_once() -> None:
    pairs = [prompts(PromptConfig(count=2), seed=seed).object_index.tolist() for seed in range(30)]
    assert all(one != other for one, other in pairs)
    assert {index for pair in pairs for index in pair} == {0, 1, 2}


def test_boxes_are_exact_and_points_lie_on_their_object() -> None:
    drawn, made = prompts(PromptConfig(), scene(ell=True)), scene(ell=True)
    assert torch.equal(drawn.boxes_xyxy, made.boxes_xyxy[drawn.object_index])
    assert drawn.point_labels.tolist() == [[-1, -1]] * 20 + [[1, -1]] * 20
    points = drawn.points_xy[20:, 0]
    assert all(on(made.masks, drawn.object_index[20:], points))
    assert len({tuple(point) for point in points.tolist()}) > 15
    assert torch.equal(points % 1, torch.full_like(points, 0.5))


def test_objects_without_masks_are_prompted_by_their_boxes() -> None:
    drawn = prompts(PromptConfig(negatives=1), scene(masked=1))
    boxes = int(drawn.is_box.sum())
    assert drawn.is_box.tolist() == [True] * boxes + [False] * (40 - boxes)
    assert set(drawn.object_index[boxes:].tolist()) == {0}
    assert boxes > 30
    assert (drawn.point_labels[drawn.object_index > 0] == -1).all()


def test_the_share_of_boxes_is_kept() -> None:
    assert prompts(PromptConfig(count=10, boxes=0.2)).is_box.sum() == 2
    assert prompts(PromptConfig(count=10, boxes=1)).is_box.all()


def test_jittered_boxes_are_off_by_a_tenth_of_their_sides() -> None:
    config = PromptConfig(count=3000, boxes=1, jittered=1)
    drawn, exact = prompts(config), scene().boxes_xyxy
    off = (drawn.boxes_xyxy - exact[drawn.object_index])[drawn.object_index == 0]
    # Object 0 is 20 wide and 40 high; noise beyond 4 pixels at its left and top would be cut off.
    assert off[:, 2].std().item() == pytest.approx(2, rel=0.1)
    assert off[:, 1].std().item() == pytest.approx(0.1 * 40, rel=0.2)
    assert off.mean(0).abs().max() < 1
    x0, y0, x1, y1 = drawn.boxes_xyxy.T
    assert (x1 - x0).min() >= 1 and (y1 - y0).min() >= 1
    assert x0.min() >= 0 and y0.min() == 0 and x1.max() <= 64 and y1.max() == 48
    halved = prompts(PromptConfig(count=300, boxes=1, jittered=0.5))
    moved = (halved.boxes_xyxy != exact[halved.object_index]).any(1)
    assert 0.35 < moved.float().mean() < 0.65


def test_the_noise_of_large_boxes_is_limited() -> None:
    large = SceneCrop(
        name="large",
        photo=torch.zeros(0),
        content_hw=(1024, 1024),
        masks=torch.zeros(1, 1, 1, dtype=torch.bool),
        has_mask=torch.tensor([False]),
        boxes_xyxy=torch.tensor([[200.0, 200, 800, 800]]),
        categories=("",),
    )
    off = prompts(PromptConfig(count=200, jittered=1), large).boxes_xyxy - large.boxes_xyxy
    assert off.abs().max() == 20
    assert (off.abs() == 20).float().mean() > 0.5  # the noise's deviation is 60


def test_the_noise_of_a_box_that_sticks_out_is_that_of_its_part() -> None:
    size_hw, exact = (40, 60), np.array([50.0, 10, 60, 40])
    for out in (1, 300, 1e7):
        box = np.add(exact, [0, 0, out, 2 * out])
        for seed in range(5):
            noisy = jittered_box(np.random.default_rng(seed), box, size_hw)
            same = jittered_box(np.random.default_rng(seed), exact, size_hw)
            assert noisy.tolist() == same.tolist()
            assert abs(noisy[0] - 50) < 5  # a tenth of ten pixels, not of what sticks out


def test_negative_points_lie_beside_the_object() -> None:
    made = scene(ell=True)
    drawn = prompts(PromptConfig(count=400, negatives=0.5), made)
    with_negative = drawn.point_labels[:, 1] == 0
    assert 0.4 < with_negative.float().mean() < 0.6
    assert 0.4 < with_negative[drawn.is_box].float().mean() < 0.6
    index, points = drawn.object_index[with_negative], drawn.points_xy[with_negative, 1]
    assert not any(on(made.masks, index, points))
    for number, (x0, y0, x1, y1) in enumerate(BOXES):
        x, y = points[index == number].T
        assert x0 - (x1 - x0) / 4 <= x.min() and x.max() <= x1 + (x1 - x0) / 4
        assert max(0, y0 - np.ceil((y1 - y0) / 4)) <= y.min()
        assert y.max() <= min(48, y1 + np.ceil((y1 - y0) / 4))


def test_an_object_that_fills_all_of_the_photo_has_no_negative_points() -> None:
    full = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    made = SceneCrop(
        name="full",
        photo=torch.zeros(0),
        content_hw=(SIZE, SIZE),
        masks=full,
        has_mask=torch.tensor([True]),
        boxes_xyxy=torch.tensor([[0.0, 0, SIZE, SIZE]]),
        categories=("",),
    )
    assert (prompts(PromptConfig(negatives=1), made).point_labels[:, 1] == -1).all()


def test_any_pixel_of_a_thin_mask_is_as_likely() -> None:
    mask = np.zeros((30, 30), np.bool_)
    mask[3, 5] = mask[20, 29] = mask[29, 0] = True
    rng = np.random.default_rng(0)
    counts = Counter(tuple(np.asarray(any_pixel_xy(rng, mask)).tolist()) for _ in range(900))
    assert set(counts) == {(5.5, 3.5), (29.5, 20.5), (0.5, 29.5)}
    assert min(counts.values()) > 250
    assert any_pixel_xy(rng, np.zeros((4, 4), np.bool_)) is None


def clicks(mask_logits: Tensor, masks: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    return next_click(mask_logits, masks, stride, torch.Generator().manual_seed(0))


def test_a_click_goes_where_the_mask_is_wrong() -> None:
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[:, 1, 2] = True
    logits = torch.where(masks, 1.0, -1.0)
    logits[0, 1, 2] = -1  # missed: row 1, column 2
    logits[1, 3, 5] = 1  # wrong: row 3, column 5
    points, labels = clicks(logits, masks, stride=4)
    assert points.tolist() == [[[10, 6]], [[22, 14]]]
    assert labels.tolist() == [[1], [0]]


def test_every_wrong_pixel_is_as_likely() -> None:
    masks = torch.zeros(900, 4, 4, dtype=torch.bool)
    masks[:, 0] = True
    logits = torch.where(masks, 1.0, -1.0)
    logits[:, 0, 1] = logits[:, 0, 3] = -1
    logits[:, 2, 0] = 1
    points, labels = clicks(logits, masks, stride=1)
    found = Counter(tuple(point) for point in points[:, 0].tolist())
    assert set(found) == {(1.5, 0.5), (3.5, 0.5), (0.5, 2.5)}
    assert min(found.values()) > 250
    assert labels[:, 0].tolist() == [int(y == 0.5) for y in points[:, 0, 1].tolist()]


def test_where_nothing_is_wrong_a_click_says_what_is_there() -> None:
    masks = torch.zeros(200, 2, 2, dtype=torch.bool)
    masks[:, 0, 0] = True
    points, labels = clicks(torch.where(masks, 1.0, -1.0), masks, stride=2)
    assert {tuple(point) for point in points[:, 0].tolist()} == {(1, 1), (3, 1), (1, 3), (3, 3)}
    assert torch.equal(labels[:, 0] == 1, (points[:, 0] == 1).all(1))
