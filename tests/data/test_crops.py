from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovsam.data.crops import MIN_AREA, Batch, SquareConfig, Squares, _objects
from ovsam.data.sources import Instance, PhotoRecord
from ovsam.model.image import Frame
from photo_folder import instance, rectangle, write_photo

SIZE = 64
PHOTO = (120, 160)
LEFT = rectangle(10, 20, 70, 110, size_hw=PHOTO)  # lies left, so that a flip shows
PART = rectangle(20, 30, 40, 60, size_hw=PHOTO)  # of it
RIGHT = rectangle(100, 5, 150, 55, size_hw=PHOTO)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoRecord]:
    folder = tmp_path_factory.mktemp("photos")
    two = PhotoRecord(
        write_photo(folder / "two.jpg", [LEFT, RIGHT], PHOTO),
        "coco",
        (instance(LEFT, 3), instance(PART, -1, whole=False), instance(RIGHT, 5)),
    )
    named = PhotoRecord(
        write_photo(folder / "named.jpg", [], PHOTO),
        "imagenet1k",
        (Instance(None, (0, 0, 160, 120), 2, False),),
    )
    return [two, named]


def squares(
    records: Sequence[PhotoRecord],
    *,
    seed: int = 0,
    zoomed: float = 0.5,
    whole: float = 0.2,
    pasted: float = 0.0,
    clicked: float = 0.0,
    prompts: int = 4,
) -> Squares:
    config = SquareConfig(
        SIZE,
        count=4,
        prompts=prompts,
        named=1,
        boxes=0.6,
        zoomed=zoomed,
        whole=whole,
        pasted=pasted,
        clicked=clicked,
    )
    sources = [([record], 1.0) for record in records]
    return Squares(sources, ["coco", "imagenet1k"], config, seed=seed, length=100)


KINDS: dict[str, dict[str, Any]] = {
    "zoomed": {"zoomed": 1},
    "whole": {"zoomed": 0, "whole": 1},
    "windows": {"zoomed": 0, "whole": 0},
    "clicked": {"clicked": 1},
    "pasted": {"pasted": 1},
}


def same(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch)
    )


def test_a_batch_depends_on_seed_and_number_alone(records: list[PhotoRecord]) -> None:
    drawn = squares(records, pasted=0.5, clicked=0.5)
    fifth = drawn[5]
    _ = drawn[0], drawn[6]
    assert same(drawn[5], fifth)
    assert same(squares(records, pasted=0.5, clicked=0.5)[5], fifth)
    assert not same(squares(records, seed=1, pasted=0.5, clicked=0.5)[5], fifth)
    assert not torch.equal(drawn[6].photos, fifth.photos)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_shapes(records: list[PhotoRecord], kind: dict[str, Any]) -> None:
    for i in range(5):
        batch = squares(records, **kind)[i]
        count = len(batch.square)
        assert batch.photos.shape == (4, SIZE, SIZE, 3)
        assert batch.photos.dtype == torch.uint8
        assert set(batch.square.tolist()) == {0, 1, 2, 3}
        assert batch.square.bincount().max() <= 4 + 1
        assert batch.masks.shape == (count, SIZE, SIZE)
        assert batch.boxes_xyxy.shape == (count, 4)
        assert batch.points_xy.shape == (count, 1, 2)
        for name in ("hidden", "has_mask", "whole", "is_box", "vocabulary", "class_index"):
            assert getattr(batch, name).shape == (count,)
        sides = batch.boxes_xyxy[:, 2:] - batch.boxes_xyxy[:, :2]
        assert (sides > 0).all()
        assert ((batch.boxes_xyxy >= -1) & (batch.boxes_xyxy <= SIZE)).all()
        area = (batch.masks > 127).float().mean((1, 2))
        assert (area[batch.has_mask] >= MIN_AREA).all()


def test_names_keep_to_their_vocabulary(records: list[PhotoRecord]) -> None:
    seen: set[tuple[int, int]] = set()
    for i in range(20):
        batch = squares(records)[i]
        seen |= set(zip(batch.vocabulary.tolist(), batch.class_index.tolist(), strict=True))
        only_named = batch.vocabulary == 1
        assert torch.equal(only_named, ~batch.has_mask)
        assert not batch.masks[only_named].any()
        assert not batch.whole[(batch.class_index == -1) | only_named].any()
    assert seen == {(0, 3), (0, 5), (-1, -1), (1, 2)}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_photo_mask_box_and_point_agree(records: list[PhotoRecord], kind: dict[str, Any]) -> None:
    """Flipped or not: the object is where its mask, its box and its click are."""
    checked = 0
    for i in range(15):
        batch = squares(records[:1], **kind)[i]
        brightness = batch.photos.float().mean(3)
        for n in range(len(batch.square)):
            mask = batch.masks[n].numpy() > 127
            shown = brightness[batch.square[n]].numpy()
            inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
            if inside.any():  # nothing is brighter than an object
                assert np.median(shown[inside]) > shown.max() - 40
            x, y = batch.points_xy[n, 0].tolist()
            near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)))
            if kind != KINDS["pasted"] or not batch.is_box[n]:
                column, row = (min(SIZE - 1, max(0, int(value))) for value in (x, y))
                assert near[row, column]
            rows, columns = np.nonzero(mask)
            tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            sides = np.tile(tight[2:] - tight[:2], 2)
            assert (np.abs(batch.boxes_xyxy[n].numpy() - tight) <= 0.3 * sides + 1).all()
            checked += 1
    assert checked > 60


def test_half_of_the_squares_are_mirrored(records: list[PhotoRecord]) -> None:
    """In a whole photo the large object lies left, in a mirrored one right."""
    drawn = squares(records[:1], zoomed=0, whole=1)
    left = []
    for i in range(20):
        batch = drawn[i]
        large = (batch.class_index == 3).nonzero()[:, 0]
        centre = batch.boxes_xyxy[large].reshape(-1, 2, 2).mean(1)
        assert (centre[:, 0] - SIZE / 2).abs().min() > 4
        left += (centre[:, 0] < SIZE / 2).tolist()
    assert 0.25 < np.mean(left) < 0.75


def test_boxes_are_exact_or_a_little_off(records: list[PhotoRecord]) -> None:
    drawn = squares(records[:1], zoomed=1)
    exact = []
    for i in range(15):
        batch = drawn[i]
        for mask, box in zip(batch.masks, batch.boxes_xyxy, strict=True):
            rows, columns = np.nonzero(mask.numpy() > 127)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            exact.append(np.allclose(box, tight, atol=0.01))
    assert 0.3 < np.mean(exact) < 0.7


def test_squares_around_clicks_are_prompted_by_the_click(records: list[PhotoRecord]) -> None:
    config = squares(records[:1], clicked=1)
    sizes = []
    for i in range(10):
        batch = config[i]
        first = [batch.square.tolist().index(square) for square in range(4)]
        assert not batch.is_box[first].any()
        sizes += (batch.masks[first] > 127).float().mean((1, 2)).tolist()
    assert min(sizes) < 0.1
    assert max(sizes) > 0.5


def objects_of(frame: Frame, *masks: NDArray[np.bool_]) -> Any:
    record = PhotoRecord(Path("none.jpg"), "coco", tuple(instance(mask) for mask in masks))
    return _objects(np.random.default_rng(0), record, frame, record.instances[0], None, 3)


def test_hidden_by_hand() -> None:
    # The square shows columns 10..50 of an object in columns 10..70, each pixel 1.6 wide and high.
    [item] = objects_of(Frame.square_around((10, 60, 50, 100), 1.0, SIZE), LEFT)
    assert item.mask.sum() == pytest.approx(40 * 40 * 1.6**2, rel=0.02)
    assert item.hidden == pytest.approx((60 * 90 - 40 * 40) * 1.6**2, rel=0.02)
    [item] = objects_of(Frame.square_around((0, 0, 160, 120), 1.0, SIZE), LEFT)
    assert item.hidden == pytest.approx(0, abs=10)


def test_objects_that_the_square_barely_shows_are_left_out() -> None:
    frame = Frame.square_around((10, 20, 74, 84), 1.0, SIZE)
    assert len(objects_of(frame, LEFT, PART, RIGHT)) == 2
    wide = Frame.square_around((0, 0, 160, 160), 1.0, SIZE)
    assert len(objects_of(wide, LEFT, PART, RIGHT)) == 3


def test_a_pasted_object_covers_what_lies_below(records: list[PhotoRecord]) -> None:
    """Masks of whole objects in a square never overlap: who is on top has the pixel."""
    pasted = squares([_only(records[0], 0), _only(records[0], 2)], zoomed=0, whole=1, pasted=1)
    plain = squares([_only(records[0], 0), _only(records[0], 2)], zoomed=0, whole=1)
    areas: dict[bool, list[float]] = {True: [], False: []}
    for i in range(15):
        batch = pasted[i]
        assert batch.square.bincount().max() == 2
        for square in range(4):
            masks = batch.masks[batch.square == square].int()
            areas[True].append((masks[0] > 127).float().mean().item())
            assert masks.sum(0).max() <= 256
        areas[False].append((plain[i].masks > 127).float().mean().item())
    assert np.std(areas[True]) > 2 * np.std(areas[False])  # they come in all sizes


def _only(record: PhotoRecord, index: int) -> PhotoRecord:
    return PhotoRecord(record.path, record.vocabulary, (record.instances[index],))
