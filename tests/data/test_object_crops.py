from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from anchored import LEFT, PART, PHOTO, RIGHT, SIZE, anchor
from ovsam.data.anchors import Anchor, AnchoredPhoto, anchored_photos
from ovsam.data.crop_source import CropSource
from ovsam.data.cropped_objects import MIN_AREA
from ovsam.data.dataset import read_data_set
from ovsam.data.object_crops import (
    ObjectCropBatch,
    ObjectCropConfig,
    ObjectCrops,
)
from ovsam.errors import AnnotationError
from ovsam.formats.listing import ListedPhoto
from ovsam.geometry import encode_rle
from ovsam.images.frame import Frame
from ovsam.images.read import read_photo
from photo_folder import write_coco, write_photo


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[AnchoredPhoto]:
    folder = tmp_path_factory.mktemp("photos")
    two = AnchoredPhoto(
        ListedPhoto(write_photo(folder / "two.jpg", [LEFT, RIGHT], PHOTO)),
        "coco",
        (anchor(LEFT, 3), anchor(PART, -1, whole=False), anchor(RIGHT, 5)),
    )
    named = AnchoredPhoto(
        ListedPhoto(write_photo(folder / "named.jpg", [], PHOTO)),
        "imagenet1k",
        (Anchor(None, (0, 0, 160, 120), 2, False),),
    )
    return [two, named]


def crops(
    records: Sequence[AnchoredPhoto],
    *,
    seed: int = 0,
    zoomed: float = 0.5,
    whole: float = 0.2,
    pasted: float = 0.0,
    clicked: float = 0.0,
    prompts: int = 4,
) -> ObjectCrops:
    config = ObjectCropConfig(
        size=SIZE,
        only_named=True,
        count=4,
        prompts=prompts,
        named=1,
        boxes=0.6,
        zoomed=zoomed,
        whole=whole,
        pasted=pasted,
        clicked=clicked,
    )
    sources = [CropSource([record]) for record in records]
    return ObjectCrops(sources, ["coco", "imagenet1k"], config, seed, "mixed")


KINDS: dict[str, dict[str, Any]] = {
    "zoomed": {"zoomed": 1},
    "whole": {"zoomed": 0, "whole": 1},
    "windows": {"zoomed": 0, "whole": 0},
    "clicked": {"clicked": 1},
    "pasted": {"pasted": 1},
}


def same(one: ObjectCropBatch, other: ObjectCropBatch) -> bool:
    pairs = [
        (getattr(one, field.name), getattr(other, field.name)) for field in fields(ObjectCropBatch)
    ]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_a_batch_depends_on_seed_and_number_alone(records: list[AnchoredPhoto]) -> None:
    drawn = crops(records, pasted=0.5, clicked=0.5)
    fifth = drawn[5]
    _ = drawn[0], drawn[6]
    assert same(drawn[5], fifth)
    assert same(crops(records, pasted=0.5, clicked=0.5)[5], fifth)
    assert not same(crops(records, seed=1, pasted=0.5, clicked=0.5)[5], fifth)
    assert not torch.equal(drawn[6].photos, fifth.photos)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_shapes(records: list[AnchoredPhoto], kind: dict[str, Any]) -> None:
    for i in range(5):
        batch = crops(records, **kind)[i]
        count = len(batch.crop)
        assert batch.photos.shape == (4, SIZE, SIZE, 3)
        assert batch.photos.dtype == torch.uint8
        assert set(batch.crop.tolist()) == {0, 1, 2, 3}
        assert batch.crop.bincount().max() <= 4 + 1
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


def test_names_keep_to_their_vocabulary(records: list[AnchoredPhoto]) -> None:
    seen: set[tuple[int, int]] = set()
    for i in range(20):
        batch = crops(records)[i]
        seen |= set(zip(batch.vocabulary.tolist(), batch.class_index.tolist(), strict=True))
        only_named = batch.vocabulary == 1
        assert torch.equal(only_named, ~batch.has_mask)
        assert not batch.masks[only_named].any()
        assert not batch.whole[(batch.class_index == -1) | only_named].any()
    assert seen == {(0, 3), (0, 5), (-1, -1), (1, 2)}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_photo_mask_box_and_point_agree(records: list[AnchoredPhoto], kind: dict[str, Any]) -> None:
    """Flipped or not: the object is where its mask, its box and its click are."""
    checked = 0
    for i in range(15):
        batch = crops(records[:1], **kind)[i]
        brightness = batch.photos.float().mean(3)
        for n in range(len(batch.crop)):
            mask = batch.masks[n].numpy() > 127
            shown = brightness[batch.crop[n]].numpy()
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
    assert checked >= 60


def test_half_of_the_crops_are_mirrored(records: list[AnchoredPhoto]) -> None:
    """In a whole photo the large object lies left, in a mirrored one right."""
    drawn = crops(records[:1], zoomed=0, whole=1)
    left = []
    for i in range(20):
        batch = drawn[i]
        large = (batch.class_index == 3).nonzero()[:, 0]
        centre = batch.boxes_xyxy[large].reshape(-1, 2, 2).mean(1)
        assert (centre[:, 0] - SIZE / 2).abs().min() > 4
        left += (centre[:, 0] < SIZE / 2).tolist()
    assert 0.25 < np.mean(left) < 0.75


def test_boxes_are_exact_or_a_little_off(records: list[AnchoredPhoto]) -> None:
    drawn = crops(records[:1], zoomed=1)
    exact = []
    for i in range(15):
        batch = drawn[i]
        for mask, box in zip(batch.masks, batch.boxes_xyxy, strict=True):
            rows, columns = np.nonzero(mask.numpy() > 127)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            exact.append(np.allclose(box, tight, atol=0.01))
    assert 0.6 < np.mean(exact) < 0.9


def test_crops_around_clicks_are_prompted_by_the_click(records: list[AnchoredPhoto]) -> None:
    config = crops(records[:1], clicked=1)
    sizes = []
    for i in range(10):
        batch = config[i]
        first = [batch.crop.tolist().index(crop) for crop in range(4)]
        assert not batch.is_box[first].any()
        sizes += (batch.masks[first] > 127).float().mean((1, 2)).tolist()
    assert min(sizes) < 0.1
    assert max(sizes) > 0.5


def test_a_pasted_object_covers_what_lies_below(records: list[AnchoredPhoto]) -> None:
    """Masks of whole objects in a crop never overlap: who is on top has the pixel."""
    pasted = crops([_only(records[0], 0), _only(records[0], 2)], zoomed=0, whole=1, pasted=1)
    plain = crops([_only(records[0], 0), _only(records[0], 2)], zoomed=0, whole=1)
    areas: dict[bool, list[float]] = {True: [], False: []}
    for i in range(15):
        batch = pasted[i]
        assert batch.crop.bincount().max() == 2
        for crop in range(4):
            masks = batch.masks[batch.crop == crop].int()
            areas[True].append((masks[0] > 127).float().mean().item())
            assert masks.sum(0).max() <= 256
        areas[False].append((plain[i].masks > 127).float().mean().item())
    assert np.std(areas[True]) > 2 * np.std(areas[False])  # they come in all sizes


def _only(record: AnchoredPhoto, index: int) -> AnchoredPhoto:
    return AnchoredPhoto(record.photo, record.vocabulary, (record.anchors[index],))


def test_boxes_without_masks_are_named_as_the_predictor_looks_at_them(tmp_path: Path) -> None:
    """Zoomed on, with no mask to be asked for; no crop of masks alone is drawn from them."""
    write_photo(tmp_path / "1.jpg", [], PHOTO)
    described = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": PHOTO[0], "width": PHOTO[1]}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [60, 40, 20, 10]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(described))
    photos, _ = anchored_photos(read_data_set(tmp_path / "boxes.json", tmp_path, name="coco"))
    assert photos[0].anchors == (Anchor(None, (60, 40, 80, 50), 0, False),)
    drawn = crops(photos, zoomed=1.0, clicked=1.0, pasted=1.0)
    for index in range(4):
        batch = drawn[index]
        assert not batch.has_mask.any()
        assert (batch.class_index == 0).all()
        longer = (batch.boxes_xyxy[:, 2:] - batch.boxes_xyxy[:, :2]).amax(1)
        assert (longer > SIZE / 3).all()  # of the whole photo it would be an eighth
    config = replace(drawn.config, only_named=False)
    with pytest.raises(AnnotationError, match="no photo has a mask"):
        ObjectCrops([CropSource(photos)], ["coco"], config, 0, "box")
    # Beside an object with a mask, on the same photo, it is no reason for a crop either.
    masked = Anchor(encode_rle(np.ones(PHOTO, bool)), (0, 0, PHOTO[1], PHOTO[0]), 0, True)
    both = [replace(photos[0], anchors=(*photos[0].anchors, masked))]
    drawn = ObjectCrops([CropSource(both)], ["coco"], config, 0, "box")
    assert all(drawn[index].has_mask.all() for index in range(8))


def test_the_photo_that_cannot_be_read_is_blamed(tmp_path: Path) -> None:
    """Not the one that an object of it was to be pasted into."""
    names = [f"{number}.jpg" for number in range(4)]
    write_coco(tmp_path / "a.json", tmp_path, ["cat", "dog"], names)
    photos, _ = anchored_photos(read_data_set(tmp_path / "a.json", tmp_path, name="coco"))
    path = photos[0].photo.path
    path.write_bytes(path.read_bytes()[:300])
    drawn = crops(photos, zoomed=1.0, pasted=1.0)
    skipped = {one.name for index in range(12) for one in drawn[index].skipped}
    assert skipped == {photos[0].photo.name}


def test_cutouts_are_pasted_on_other_photos(records: list[AnchoredPhoto], tmp_path: Path) -> None:
    """Each is whole, of 0.3 to 0.9 of the crop, comes first and is never drawn where it lies."""
    cutout = AnchoredPhoto(
        ListedPhoto(write_photo(tmp_path / "cutout.jpg", [RIGHT], PHOTO)),
        "cut",
        (anchor(RIGHT, 7),),
    )
    config = ObjectCropConfig(
        size=SIZE, count=8, prompts=2, named=1, boxes=1, zoomed=0.7, clicked=0.5, pasted=1
    )
    sources = [CropSource(records[:1]), CropSource([cutout], share=1e6, cutouts=True)]
    drawn = ObjectCrops(sources, ["coco", "cut"], config, 0, "mixed")
    for index in range(6):
        batch = drawn[index]
        assert all(name.endswith("cutout.jpg") for name in batch.names)
        firsts = [int((batch.crop == crop).nonzero()[0]) for crop in range(8)]
        assert batch.vocabulary[firsts].tolist() == [1] * 8
        assert batch.class_index[firsts].tolist() == [7] * 8
        areas = (batch.masks[firsts] / 255).sum((1, 2))
        assert (batch.hidden[firsts] < 0.02 * areas).all(), "no more than by rounding"
        for mask in batch.masks[firsts] > 127:
            rows, columns = mask.nonzero().T
            side = 1 + int(torch.max(rows.max() - rows.min(), columns.max() - columns.min()))
            assert 0.3 * SIZE - 1 <= side <= 0.9 * SIZE + 1
        assert (batch.vocabulary == 0).any(), "the objects below it are there, too"


def test_cutouts_alone_have_nothing_to_be_pasted_on(records: list[AnchoredPhoto]) -> None:
    config = ObjectCropConfig(size=SIZE, count=1, prompts=1, boxes=1)
    with pytest.raises(AnnotationError, match="nothing to draw 'box' batches from"):
        ObjectCrops([CropSource(records, cutouts=True)], ["coco"], config, 0, "box")


def test_the_photos_around_the_crops(records: list[AnchoredPhoto]) -> None:
    config = ObjectCropConfig(size=SIZE, count=3, prompts=1, boxes=1, zoomed=1)
    drawn = ObjectCrops([CropSource(records[:1])], ["coco"], config, 0, "box", whole_size=96)
    batch = drawn[0]
    assert batch.wholes is not None and batch.wholes_hw is not None and batch.photo_hw is not None
    assert batch.wholes.shape == (3, 96, 96, 3) and batch.wholes_hw.tolist() == [[72, 96]] * 3
    assert (batch.wholes[:, 72:] == 127).all(), "the rest is grey"
    content = Frame.whole_photo((120, 160), 96).cut(read_photo(records[0].photo.open()))
    assert (batch.wholes[0, :72].numpy() == content).all(), "neither flipped nor recoloured"
    # The photo is as many times larger than the object there as in the photo itself.
    sides = batch.boxes_xyxy[:, 2:] - batch.boxes_xyxy[:, :2]
    expected = [a.box_xyxy for a in records[0].anchors]
    shares = {(160 / (x1 - x0), 120 / (y1 - y0)) for x0, y0, x1, y1 in expected}
    for (width, height), (high, wide) in zip(sides.tolist(), batch.photo_hw.tolist(), strict=True):
        nearest = min(abs(wide / width - a) / a + abs(high / height - b) / b for a, b in shares)
        assert nearest < 0.4, "but for the noise of boxes"
    assert crops(records)[0].wholes is None, "nobody asked for them"
