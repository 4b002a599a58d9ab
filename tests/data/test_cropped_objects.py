"""Which objects a crop shows, and how much of them is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anchored import LEFT, PART, RIGHT, SIZE, anchor
from ovsam.data.anchors import AnchoredPhoto
from ovsam.data.cropped_objects import cropped_objects
from ovsam.formats.listing import ListedPhoto
from ovsam.images.frame import Frame


def objects_of(frame: Frame, *masks: NDArray[np.bool_]) -> Any:
    anchors = tuple(anchor(mask) for mask in masks)
    photo = AnchoredPhoto(ListedPhoto(Path("none.jpg")), "coco", anchors)
    return cropped_objects(np.random.default_rng(0), photo, frame, anchors[0], None, 3)


def test_hidden_by_hand() -> None:
    # The crop shows columns 10..50 of an object in columns 10..70, each pixel 1.6 wide and high.
    [item] = objects_of(Frame.square_around((10, 60, 50, 100), 1.0, SIZE), LEFT)
    assert item.mask.sum() == pytest.approx(40 * 40 * 1.6**2, rel=0.02)
    assert item.hidden == pytest.approx((60 * 90 - 40 * 40) * 1.6**2, rel=0.02)
    [item] = objects_of(Frame.square_around((0, 0, 160, 120), 1.0, SIZE), LEFT)
    assert item.hidden == pytest.approx(0, abs=10)


def test_objects_that_the_crop_barely_shows_are_left_out() -> None:
    frame = Frame.square_around((10, 20, 74, 84), 1.0, SIZE)
    assert len(objects_of(frame, LEFT, PART, RIGHT)) == 2
    wide = Frame.square_around((0, 0, 160, 160), 1.0, SIZE)
    assert len(objects_of(wide, LEFT, PART, RIGHT)) == 3
