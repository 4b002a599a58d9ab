"""How often each object is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anchored import LEFT, anchor
from ovsam.data.anchors import Anchor, AnchoredPhoto
from ovsam.data.crop_source import CropSource
from ovsam.formats.listing import ListedPhoto

BOX = Anchor(None, (0, 0, 5, 5), 0, False)


def photos(classes: list[int]) -> list[AnchoredPhoto]:
    """A photo for each object."""
    listed = ListedPhoto(Path("a.jpg"))
    return [AnchoredPhoto(listed, "coco", (anchor(LEFT, index),)) for index in classes]


@pytest.mark.parametrize(("balance", "rare"), [(0.0, 0.1), (0.5, 0.25), (1.0, 0.5)])
def test_a_rare_class_is_drawn_as_the_balance_says(balance: float, rare: float) -> None:
    """Of nine objects of one class and one of another: 1 of 10, 1 of 3 + 1, 1 of 2."""
    source = CropSource(photos([0] * 9 + [1]), balance=balance)
    rng = np.random.default_rng(0)
    drawn = [source.draw(rng) for _ in range(4000)]
    assert np.mean([each.class_index for _, each in drawn]) == pytest.approx(rare, abs=0.02)
    assert len({id(each) for _, each in drawn}) == 10
    assert all(each in photo.anchors for photo, each in drawn)


def test_what_has_no_mask_is_no_cutout() -> None:
    both = [AnchoredPhoto(ListedPhoto(Path("a.jpg")), "coco", (anchor(LEFT, 1), BOX))]
    assert len(CropSource(both).anchors) == 2
    for source in (CropSource(both, cutouts=True), CropSource(both).only_masks()):
        assert [each.class_index for _, each in source.anchors] == [1]
    kept = CropSource(both, 0.3, 0.5, cutouts=True).only_masks()
    assert (kept.share, kept.balance, kept.cutouts) == (0.3, 0.5, True)
