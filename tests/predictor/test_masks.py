from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

from ovsam.candidates import SIZES, Candidates, Sizes
from ovsam.geometry import mask_iou
from ovsam.images.frame import Frame
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage, View, decode
from ovsam.predictor.zoom import Zoom
from ovsam.structures import Prompt
from predictor.scenes import PROMPTS, assert_same
from tiny_model import tiny_predictor


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_many_prompts_are_answered_in_groups(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch, zoom: bool
) -> None:
    """However many there are, no more squares are held than of one group."""
    prompts = [PROMPTS["box"], PROMPTS["point"], PROMPTS["box beyond"]] * 3
    together = predictor.predict(photo, prompts, zoom=zoom)
    sizes: list[int] = []

    def spy(backend: Any, pairs: Sequence[tuple[View, Prompt]]) -> Any:
        sizes.append(len({view.frame for view, _ in pairs}) if zoom else len(pairs))
        return decode(backend, pairs)

    monkeypatch.setattr("ovsam.predictor.masks.PROMPTS_AT_ONCE", 4)
    monkeypatch.setattr("ovsam.predictor.masks.decode", spy)
    grouped = predictor.predict(photo, prompts, zoom=zoom)
    if zoom:  # as many squares as the prompts have, at most 8
        assert max(sizes) <= 8 and len(sizes) == 3
    else:
        assert sizes == [4, 4, 1]
    for one, other in zip(grouped, together, strict=True):
        assert_same(one, other)


def test_a_group_has_no_more_squares_than_fit(predictor: Predictor) -> None:
    assert Zoom(predictor._backend, predictor.config).prompts_at_once == 4  # of two squares each


def reachable_bytes(root: object) -> int:
    """Bytes of all arrays and tensors that an object keeps alive, each counted once."""
    seen: set[int] = set()
    total, stack = 0, [root]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, type) or item is sys.modules:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            total += item.nbytes if item.base is None else 0
            stack.append(item.base)
        elif isinstance(item, torch.Tensor):
            total += item.untyped_storage().nbytes()
        elif isinstance(item, memoryview):
            stack.append(item.obj)
        else:
            stack += gc.get_referents(item)
    return total


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_candidates_hold_no_more_than_their_masks(predictor: Predictor, zoom: bool) -> None:
    """3,000 prompts at 12 megapixels hold megabytes; their masks would be 36 GB."""
    photo = predictor.encode(np.zeros((3000, 4000, 3), np.uint8))
    prompts = [
        Prompt(box_xyxy=[x, y, x + 900, y + 700]) for x in range(0, 3000, 1000) for y in (0, 900)
    ]
    found = predictor.segment(photo, prompts, zoom=zoom)
    # 32 x 32 cells of the whole photo; or 16 x 16 of each of two squares, and of their mean.
    of_one = 4 * (3 * 16 * 16 if zoom else 32 * 32)
    extra = 500  # predicted IoU, the prompt's box
    assert len(prompts) * of_one <= reachable_bytes(found) <= len(prompts) * (of_one + extra)
    assert 3000 * (of_one + extra) < 20e6
    assert reachable_bytes(photo.features) > 1000 and reachable_bytes(photo) > 36e6
    mask = found[-1].mask  # one is painted where it is wanted
    assert mask.shape == (3000, 4000)
    assert reachable_bytes(found) <= len(prompts) * (of_one + extra), "and not kept"
    whole = Frame.whole_photo((3000, 4000), 128)
    assert found[-1].photo_frame == whole and found[-1].size_hw == (3000, 4000)


@pytest.mark.parametrize("zoom", [False, True], ids=["whole photo", "zoomed"])
def test_the_sizes_of_a_click(predictor: Predictor, photo: EncodedImage, zoom: bool) -> None:
    """In order, unlike each other, and the best is the mask that is given without a size."""
    for x, y in ((60, 70), (100, 30), (150, 120)):
        click = Prompt([[x, y]])
        [sizes] = predictor.sizes(photo, click, zoom=zoom)
        masks = [one.mask for one in sizes.masks]
        areas = [int(mask.sum()) for mask in masks]
        assert 1 <= len(masks) <= 3 and areas == sorted(areas)
        assert all(len(one) == 1 and 0 <= one.predicted_iou[0] <= 1 for one in sizes.masks)
        for i, mask in enumerate(masks):
            assert all(mask_iou(mask, other) < 0.8 for other in masks[:i])
        [default] = predictor.segment(photo, click, zoom=zoom)
        assert mask_iou(masks[sizes.best], default.mask) > 0.99
        for size in SIZES:
            [chosen] = predictor.segment(photo, click, zoom=zoom, size=size)
            assert (chosen.mask == sizes.of(size).mask).all()
            [named] = predictor.predict(photo, click, zoom=zoom, size=size)
            assert (named.mask == chosen.mask).all() and named.labels[0]


def test_the_middle_of_fewer_than_three_sizes() -> None:
    one, other, third = (cast("Candidates", name) for name in "abc")
    assert [Sizes((one,), 0).of(size) for size in SIZES] == [one] * 3
    assert [Sizes((one, other), 1).of(size) for size in SIZES] == [one, other, other]
    assert [Sizes((one, other), 0).of(size) for size in SIZES] == [one, one, other]
    assert [Sizes((one, other, third), 0).of(size) for size in SIZES] == [one, other, third]


def test_masks_are_cleaned_unless_they_are_not_to_be(photo: EncodedImage) -> None:
    """Random masks have specks: some go, and logits, boxes and pictures are of the same mask."""
    prompts = list(PROMPTS.values())
    plain, tidy = tiny_predictor(clean=False), tiny_predictor()
    before, after = plain.segment(photo, prompts), tidy.segment(photo, prompts)
    assert any((a.mask_logits != b.mask_logits).any() for a, b in zip(after, before, strict=True))
    for a, b in zip(after, before, strict=True):
        assert (np.abs(a.mask_logits) == np.abs(b.mask_logits)).all()
        assert len(a.views) == len(b.views)
