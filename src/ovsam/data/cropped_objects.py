"""What a crop shows of the objects of its photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ovsam.data.anchors import Anchor, AnchoredPhoto
from ovsam.geometry import decode_rle
from ovsam.images.frame import Frame

T = TypeVar("T")
MIN_AREA = 0.0008  # of the crop; smaller objects say nothing at its resolution


@dataclass(frozen=True)
class CroppedObject:
    """An object as a crop shows it.

    Attributes:
        mask: `(S, S)` coverage of each pixel in [0, 1]; None where only the name is known.
        box_xyxy: `(4,)` in pixels of the crop.
        vocabulary: the name of the vocabulary that `class_index` counts in.
        class_index: -1 without a name.
        whole: see `Anchor.whole`.
        verified_classes: see `DataSet.verified_classes`.
        hidden: pixels of the object, at the crop's scale, that lie outside the crop.
        click_xy: where the crop was clicked, if it was drawn around a click on this object.
    """

    mask: NDArray[np.float32] | None
    box_xyxy: NDArray[np.float64]
    vocabulary: str
    class_index: int
    whole: bool
    verified_classes: tuple[int, ...] | None
    hidden: float = 0.0
    click_xy: NDArray[np.float64] | None = None


def cropped_objects(
    rng: np.random.Generator,
    photo: AnchoredPhoto,
    frame: Frame,
    anchor: Anchor,
    click_xy: NDArray[np.float64] | None,
    others_at_most: int,
) -> list[CroppedObject]:
    """The anchor and a few other objects that a frame shows.

    Args:
        rng: of which others.
        photo: what the frame cuts.
        frame: of the crop.
        anchor: comes first, however little of it is shown.
        click_xy: `(2,)` where the crop is clicked, photo pixels, if it is drawn around a click.
        others_at_most: how many other objects; those that it barely shows are left out.
    """
    corners = np.array([each.box_xyxy for each in photo.anchors])
    low, high = frame.to_model(corners[:, :2]), frame.to_model(corners[:, 2:])
    size = frame.content_hw[0]
    seen = np.minimum(high, size) - np.maximum(low, 0)
    area = np.prod(np.maximum(high - low, 1e-6), axis=1)
    visible = (seen > 4).all(axis=1) & (np.prod(np.maximum(seen, 0), axis=1) > 0.35 * area)
    others = [
        each
        for each, shows in zip(photo.anchors, visible, strict=True)
        if shows and each is not anchor and each.rle is not None
    ]
    found = []
    for each in [anchor, *random_choice(rng, others, others_at_most)]:
        box = frame.to_model(np.array(each.box_xyxy).reshape(2, 2)).ravel()
        mask, hidden = None, 0.0
        if each.rle is not None:
            whole = decode_rle(each.rle)
            mask = frame.cut_mask(whole)
            box = box_of(mask)
            hidden = max(0.0, float(whole.sum() * np.prod(frame.scale_xy) - mask.sum()))
        item = CroppedObject(
            mask,
            box,
            photo.vocabulary,
            each.class_index,
            each.whole,
            photo.verified_classes,
            hidden,
        )
        if each is anchor and click_xy is not None:
            item = replace(item, click_xy=frame.to_model(click_xy))
        found.append(item)
    return found


def box_of(mask: NDArray[np.float32]) -> NDArray[np.float64]:
    """The box `(4,)` xyxy of where a mask `(S, S)` covers more than half; zeros where nowhere."""
    columns = np.flatnonzero((mask > 0.5).any(0))
    rows = np.flatnonzero((mask > 0.5).any(1))
    if not len(columns):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def is_shown(item: CroppedObject) -> bool:
    """Whether enough of an object is in its crop to learn its mask, or only its name is known."""
    return item.mask is None or float((item.mask > 0.5).mean()) >= MIN_AREA


def random_choice(rng: np.random.Generator, items: Sequence[T], count: int) -> list[T]:
    """Some items in random order, at most `count`."""
    picked = rng.permutation(len(items))[:count]
    return [items[i] for i in picked]
