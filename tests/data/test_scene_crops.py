from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coco_rows import polygon
from ovsam.data.scene_crops import SceneCrop, SceneCropConfig, _rasterised, draw_scene_crop
from ovsam.errors import AnnotationError, PhotoError
from ovsam.formats.annotations import Instance
from ovsam.formats.layouts import list_photos
from ovsam.formats.listing import ListedPhoto
from ovsam.formats.skipped import Skipped
from ovsam.geometry import encode_rle, mask_iou
from ovsam.images.frame import Frame
from photo_folder import rectangle, write_photo

PHOTO = (40, 60)  # height, width
LEFT = (6, 10, 26, 30)  # xyxy; lies left of the middle
RIGHT = (40, 5, 56, 35)
TRIANGLE = [10.0, 8.0, 50.0, 8.0, 10.0, 36.0]  # 40 wide, 28 high, area 560


def thing(box: tuple[int, int, int, int], segmentation: Any, category: str = "thing") -> Instance:
    x0, y0, x1, y1 = box
    return Instance(7, 0, category, (x0, y0, x1, y1), float("nan"), segmentation)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dark photo on which LEFT and RIGHT are bright."""
    masks = [rectangle(*box, size_hw=PHOTO) for box in (LEFT, RIGHT)]
    return write_photo(tmp_path_factory.mktemp("photos") / "two.png", masks, PHOTO)


@pytest.fixture
def photo(file: Path) -> ListedPhoto:
    right = encode_rle(rectangle(*RIGHT, size_hw=PHOTO))
    return ListedPhoto(
        file,
        size_hw=PHOTO,
        instances=(thing(LEFT, polygon(*LEFT), "left"), thing(RIGHT, right, "right")),
    )


def config(factor: float, **more: Any) -> SceneCropConfig:
    """Crops of 120 pixels; at factor 1 the photo is doubled and just fits."""
    return SceneCropConfig(size=120, scale_range=(factor, factor), **more)


def drawn(photo: ListedPhoto, config: SceneCropConfig, count: int = 20) -> Iterator[SceneCrop]:
    for index in range(count):
        scene = draw_scene_crop(np.random.default_rng((0, index)), photo, config, [])
        if scene is not None:
            yield scene


def test_a_scene_depends_on_its_random_numbers_alone(photo: ListedPhoto) -> None:
    config = SceneCropConfig(size=64)
    one, same, other = (
        draw_scene_crop(np.random.default_rng((0, index)), photo, config, []) for index in (3, 3, 4)
    )
    assert one is not None and same is not None and other is not None
    for field in ("photo", "masks", "has_mask", "boxes_xyxy"):
        assert torch.equal(getattr(one, field), getattr(same, field))
    assert one.categories == same.categories
    assert not torch.equal(one.photo, other.photo)


def test_a_whole_photo_by_hand(photo: ListedPhoto) -> None:
    """Doubled to 80 x 120, padded below; mirrored, an object's x0 is 120 minus its x1."""
    plain = {"left": [12.0, 20, 52, 60], "right": [80.0, 10, 112, 70]}
    mirrored = {"left": [68.0, 20, 108, 60], "right": [8.0, 10, 40, 70]}
    seen = []
    for scene in drawn(photo, config(1)):
        assert scene.name == str(photo.path)
        assert scene.content_hw == (80, 120)
        assert scene.photo.shape == (120, 120, 3)
        assert scene.photo.dtype == torch.uint8
        assert not scene.photo[80:].any()
        assert scene.photo[:80].all()
        boxes = dict(zip(scene.categories, scene.boxes_xyxy.tolist(), strict=True))
        assert boxes in (plain, mirrored)
        seen.append(boxes == plain)
        for mask, (x0, y0, x1, y1) in zip(
            scene.masks, scene.boxes_xyxy.int().tolist(), strict=True
        ):
            expected = torch.zeros(120, 120, dtype=torch.bool)
            expected[y0:y1, x0:x1] = True
            # Sampling rounds corners off.
            assert (mask != expected).sum() <= 4
            assert (scene.photo[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] > 200).all()
    assert {True, False} == set(seen)
    assert 0.2 < np.mean(seen) < 0.8


def test_a_photo_smaller_than_the_crop_is_padded_right_and_below(photo: ListedPhoto) -> None:
    for scene in drawn(photo, config(0.5), 5):
        assert scene.content_hw == (40, 60)
        assert scene.photo[:40, :60].all()
        assert not scene.photo[40:].any()
        assert not scene.photo[:, 60:].any()
        left = scene.boxes_xyxy[scene.categories.index("left")].tolist()
        assert left in ([6, 10, 26, 30], [34, 10, 54, 30])


def test_pixels_masks_and_boxes_of_a_crop_agree(photo: ListedPhoto) -> None:
    """At factor 2 the crop shows 30 x 30 of 40 x 60 photo pixels, four times as large."""
    corners = set()
    for scene in drawn(photo, config(2)):
        assert scene.content_hw == (120, 120)
        bright = scene.photo.float().mean(2) > 130
        shown = scene.masks.any(0)
        assert (bright != shown).float().mean() < 0.02
        for mask, box in zip(scene.masks, scene.boxes_xyxy.tolist(), strict=True):
            rows, columns = np.nonzero(mask.numpy())
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        corners |= {tuple(box[:2]) for box in scene.boxes_xyxy.tolist()}
    assert len(corners) > 20


def test_scales_fill_their_range(photo: ListedPhoto) -> None:
    sizes = [
        scene.content_hw[1]
        for scene in drawn(photo, SceneCropConfig(size=120, scale_range=(0.5, 1.0)), 60)
    ]
    assert 60 <= min(sizes) < 70
    assert 110 < max(sizes) <= 120


def test_polygons_are_rasterised_where_the_crop_shows_them() -> None:
    """Against the centre of each pixel, put into the triangle's equations."""
    frame = Frame((20.0, 10.0), (15.0, 20.0), (60, 80), (80, 80))  # four pixels for one
    mask, corner = _rasterised([frame.to_model(np.reshape(TRIANGLE, (-1, 2)))], frame)
    assert corner == (0, 0)
    assert mask.shape == (60, 80)
    y, x = (np.mgrid[:60, :80] + 0.5) / 4 + np.array([10, 20]).reshape(2, 1, 1)
    truth = (x - 10) / 40 + (y - 8) / 28 < 1
    assert (mask != truth).sum() <= 8
    assert 0 < truth.sum() < truth.size


def test_areas_grow_with_the_crops_scale(photo: ListedPhoto) -> None:
    photo = replace(photo, instances=(thing((10, 8, 50, 36), [TRIANGLE]),))
    for scene in drawn(photo, config(1), 5):
        assert scene.masks[0].sum() == pytest.approx(560 * 2 * 2, rel=0.02)
    for scene in drawn(photo, config(0.5), 5):
        assert scene.masks[0].sum() == pytest.approx(560, rel=0.02)


def test_two_polygons_are_one_object(photo: ListedPhoto) -> None:
    both = polygon(2, 2, 12, 12) + polygon(7, 7, 17, 17)  # 100 + 100 - 25 photo pixels
    photo = replace(photo, instances=(thing((2, 2, 17, 17), both),))
    [scene] = drawn(photo, config(1), 1)
    assert scene.masks.sum() == 175 * 4
    assert len(scene.masks) == 1


def test_polygons_and_run_lengths_of_an_object_agree(photo: ListedPhoto) -> None:
    box = (10, 8, 50, 36)
    drawn_as = thing(box, [TRIANGLE])
    sampled = thing(box, encode_rle(drawn_as.mask(PHOTO)))
    for factor in (0.5, 1.0, 1.7):
        for index in range(5):
            masks = []
            for instance in (drawn_as, sampled):
                scene = draw_scene_crop(
                    np.random.default_rng(index),
                    replace(photo, instances=(instance,)),
                    config(factor),
                    [],
                )
                assert scene is not None
                masks.append(scene.masks[0].numpy())
            assert mask_iou(*masks) > 0.96


def test_objects_of_which_the_crop_shows_little_are_dropped(photo: ListedPhoto) -> None:
    small = (thing((20, 20, 25, 26), polygon(20, 20, 25, 26), "small"),)  # 30 pixels, 120 doubled
    with_small = replace(photo, instances=photo.instances + small)
    for scene in drawn(with_small, config(0.5), 5):
        assert sorted(scene.categories) == ["left", "right"]
    for scene in drawn(with_small, config(1), 5):
        assert sorted(scene.categories) == ["left", "right", "small"]
    for scene in drawn(with_small, config(1, min_area=121), 5):
        assert sorted(scene.categories) == ["left", "right"]
    for scene in drawn(with_small, config(2, min_area=300), 20):
        assert scene.masks.flatten(1).sum(1).min() >= 300


def test_no_more_objects_than_asked_for_and_any_of_them(photo: ListedPhoto) -> None:
    found = [scene.categories for scene in drawn(photo, config(1, objects=1))]
    assert set(found) == {("left",), ("right",)}
    orders = [scene.categories for scene in drawn(photo, config(1))]
    assert set(orders) == {("left", "right"), ("right", "left")}


def test_objects_without_masks_keep_their_boxes(photo: ListedPhoto) -> None:
    only_box = replace(photo, instances=(thing(LEFT, None), photo.instances[1]))
    for scene in drawn(only_box, config(1), 5):
        index = scene.has_mask.tolist().index(False)
        assert scene.boxes_xyxy[index].tolist() in ([12, 20, 52, 60], [68, 20, 108, 60])
        assert not scene.masks[index].any()
        assert scene.masks[1 - index].any()
    for scene in drawn(only_box, config(2)):
        for box, has_mask in zip(scene.boxes_xyxy, scene.has_mask, strict=True):
            assert has_mask or (0 <= box.min() and box.max() <= 120)


def test_a_whole_photos_name_has_one_box_around_what_is_seen(file: Path) -> None:
    named = ListedPhoto(file, label="n01440764")
    for factor, box in ((0.5, [0, 0, 60, 40]), (1, [0, 0, 120, 80]), (2, [0, 0, 120, 120])):
        for scene in drawn(named, config(factor), 3):
            assert scene.categories == ("n01440764",)
            assert scene.boxes_xyxy.tolist() == [box]
            assert scene.has_mask.tolist() == [False]


def test_a_photo_that_shows_nothing_gives_no_scene(photo: ListedPhoto) -> None:
    rng = np.random.default_rng(0)
    assert draw_scene_crop(rng, replace(photo, instances=()), config(1), []) is None
    assert draw_scene_crop(rng, photo, config(1, min_area=10_000), []) is None


def test_crops_without_objects_are_drawn_again(photo: ListedPhoto) -> None:
    """One crop in twenty shows the corner; of the crops drawn up to ten times, two in five."""
    corner = replace(photo, instances=(thing((0, 0, 4, 4), polygon(0, 0, 4, 4)),))
    scenes = list(drawn(corner, config(2), 40))
    assert 8 <= len(scenes) <= 30
    assert all(scene.masks.any() for scene in scenes)


def test_what_is_wrong_is_said(photo: ListedPhoto, file: Path) -> None:
    rng = np.random.default_rng(0)
    broken: list[tuple[Any, str]] = [
        ([[1.0, 2.0, 3.0]], "Annotation 7: A polygon must be a flat list"),
        ([[1.0, 2.0, 3.0, float("nan"), 5.0, 6.0]], "must lie on its photo"),
        ([], "list of polygons or an RLE"),
        ("polygon", "list of polygons or an RLE"),
        ({"size": [4, 4], "counts": [16]}, "must have its photo's size"),
    ]
    for segmentation, message in broken:
        wrong: list[Skipped] = []
        spoilt = replace(photo, instances=(thing(LEFT, segmentation), photo.instances[1]))
        scene = draw_scene_crop(rng, spoilt, config(1), wrong)
        assert scene is not None and len(scene.masks) == 1  # the other one is drawn
        [one] = wrong
        assert (one.name, one.annotation) == (photo.name, True)
        assert re.search(message, one.why)
    with pytest.raises(AnnotationError, match="is 60 x 40 pixels, its annotations say 30 x 20"):
        draw_scene_crop(rng, ListedPhoto(file, size_hw=(20, 30), label="name"), config(1), [])
    with pytest.raises(PhotoError, match="does not exist"):
        draw_scene_crop(rng, replace(photo, path=file.with_name("none.png")), config(1), [])


@pytest.mark.data
@pytest.mark.parametrize("layout", ["coco", "sa1b"])
def test_masks_are_those_of_the_whole_photo_moved_along(photos_root: Path, layout: str) -> None:
    """A photo that is just fitted: masks against those rasterised at its own size."""
    images = photos_root / "coco_sample/val2017"
    coco = photos_root / "coco_sample/annotations/instances_val2017.json"
    path = coco if layout == "coco" else photos_root / "bsds500"
    if not path.exists():
        pytest.skip(f"needs {path}")
    found = (p for p in list_photos(path, images, print).photos if p.instances)
    photo = next(found)
    assert photo.size_hw is not None
    exact = SceneCropConfig(size=max(photo.size_hw), scale_range=(1, 1))
    for scene in drawn(photo, exact, 2):
        height, width = scene.content_hw
        assert (height, width) == photo.size_hw
        truths = [instance.mask(photo.size_hw) for instance in photo.instances]
        for mask in scene.masks.numpy():
            plain = mask[:height, :width]
            best = max(mask_iou(m, t) for t in truths for m in (plain, plain[:, ::-1]))
            assert best > 0.97
