"""Pictures of masks: black and white with grey rims, numbers, palettes, colours, transparency."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from fuzzing import examples
from ovsam.errors import AnnotationError
from ovsam.formats.label_map import CUT, WITH_VOID, map_numbers, map_objects
from ovsam.geometry import decode_rle, mask_to_box_xyxy

Mask = NDArray[np.uint8]


def ellipse() -> Mask:
    mask = np.zeros((120, 160), np.uint8)
    cv2.ellipse(mask, (80, 60), (50, 35), 20, 0, 360, 255, -1)
    return mask


def rectangle() -> Mask:
    mask = np.zeros((120, 160), np.uint8)
    mask[31:93, 41:122] = 255
    return mask


def lines() -> Mask:
    mask = np.zeros((120, 160), np.uint8)
    for x in range(10, 150, 20):
        cv2.line(mask, (x, 10), (150 - x, 110), 255, 1)
    return mask


def jpeg(mask: Mask, quality: int) -> Mask:
    return as_read(Image.fromarray(mask), "JPEG", quality=quality)


def as_read(image: Image.Image, kind: str = "PNG", **how: Any) -> NDArray[Any]:
    file = io.BytesIO()
    image.save(file, kind, **how)
    with Image.open(file) as opened:
        opened.load()
        return map_numbers(opened)


def resized(mask: Mask, scale: float, how: int) -> Mask:
    return cv2.resize(mask, None, fx=scale, fy=scale, interpolation=how).astype(np.uint8)


SOFT: dict[str, Callable[[Mask], NDArray[Any]]] = {
    "half": lambda mask: resized(mask, 0.5, cv2.INTER_AREA),
    "two thirds": lambda mask: resized(mask, 0.67, cv2.INTER_LINEAR),
    "twice": lambda mask: resized(mask, 2, cv2.INTER_LINEAR),
    "cubic": lambda mask: resized(mask, 1.7, cv2.INTER_CUBIC),
    "JPEG 30": lambda mask: jpeg(mask, 30),
    "JPEG 75": lambda mask: jpeg(mask, 75),
    "JPEG 95": lambda mask: jpeg(mask, 95),
    "16 bits": lambda mask: resized(mask, 0.5, cv2.INTER_AREA).astype(np.uint16) * 257,
}


@pytest.mark.parametrize("soft", SOFT)
@pytest.mark.parametrize("drawn", [ellipse, rectangle, lines])
def test_a_mask_with_grey_rims_is_one_object(drawn: Callable[[], Mask], soft: str) -> None:
    mask = SOFT[soft](drawn())
    expected = mask > (127 if mask.dtype == np.uint8 else 32767)
    assert len(np.unique(mask)) > 2, "it has grey rims"
    found = map_objects(mask)
    [one] = found.objects
    assert np.array_equal(decode_rle(one.rle), expected)
    assert one.box_xyxy == tuple(mask_to_box_xyxy(expected))
    assert one.area == expected.sum()
    assert found.notes == (CUT,)


def test_a_wide_blur_is_cut_at_half() -> None:
    mask = cv2.GaussianBlur(ellipse(), (0, 0), 6).astype(np.uint8)
    [one] = map_objects(mask).objects
    assert np.array_equal(decode_rle(one.rle), mask > 127)


def cells() -> Mask:
    """Six discs that are numbered in steps of 40, on 0."""
    numbers = np.zeros((60, 400), np.uint8)
    for number in range(1, 7):
        cv2.circle(numbers, (60 * number - 20, 30), 24, 40 * number, -1)
    return numbers


def voc() -> Mask:
    """Objects 1 and 2 with a rim of void, as Pascal VOC draws them."""
    numbers = np.zeros((120, 160), np.uint8)
    for number, x in ((1, 45), (2, 110)):
        cv2.circle(numbers, (x, 60), 30, 255, -1)
        cv2.circle(numbers, (x, 60), 26, number, -1)
    return numbers


@pytest.mark.parametrize("numbers", [cells, voc])
@pytest.mark.parametrize(
    "mixed",
    [
        lambda numbers: resized(numbers, 0.5, cv2.INTER_LINEAR),
        lambda numbers: resized(numbers, 1.5, cv2.INTER_LINEAR),
        lambda numbers: resized(numbers, 2, cv2.INTER_CUBIC),
        lambda numbers: jpeg(numbers, 90),
    ],
)
def test_mixed_numbers_are_refused(
    numbers: Callable[[], Mask], mixed: Callable[[Mask], Mask]
) -> None:
    with pytest.raises(AnnotationError, match=r"numbers run into one another .* nearest neighbour"):
        map_objects(mixed(numbers()))


def test_a_slow_gradient_is_refused() -> None:
    numbers = np.repeat(np.arange(20, dtype=np.uint8), 8)[None].repeat(50, axis=0)
    with pytest.raises(AnnotationError, match="run into one another"):
        map_objects(numbers)


def numbered(*numbers: int, dtype: type = np.uint8) -> NDArray[Any]:
    """Squares of 4 x 4 pixels on 0, one for each number."""
    picture: NDArray[Any] = np.zeros((8, 8 * len(numbers)), dtype)
    for i, number in enumerate(numbers):
        picture[2:6, 8 * i + 2 : 8 * i + 6] = number
    return picture


@pytest.mark.parametrize(
    ("picture", "expected", "notes"),
    [
        (numbered(1), [1], ()),
        (numbered(255), [255], ()),
        (numbered(7), [7], ()),
        (numbered(1, 2, 255), [1, 2], (WITH_VOID,)),
        (numbered(255, 1), [1], (WITH_VOID,)),
        (numbered(1, 255, 256, dtype=np.uint16), [1, 255, 256], ()),
        (numbered(1, 255, dtype=np.uint16), [1, 255], ()),
        (numbered(1, 255, dtype=np.int32), [1, 255], ()),
        (numbered(65535, dtype=np.uint16), [65535], ()),
        (numbered(24001, 24002, 26000, dtype=np.uint16), [24001, 24002, 26000], ()),
        (numbered(*range(1, 301), dtype=np.uint16), list(range(1, 301)), ()),
        (numbered(), [], ()),
        (numbered(0), [], ()),
        (voc(), [1, 2], (WITH_VOID,)),
        (cells(), [40, 80, 120, 160, 200, 240], ()),
    ],
)
def test_each_number_is_an_object(
    picture: NDArray[Any], expected: list[int], notes: tuple[str, ...]
) -> None:
    found = map_objects(picture)
    assert [one.number for one in found.objects] == expected
    for one in found.objects:
        assert np.array_equal(decode_rle(one.rle), picture == one.number)
        assert one.box_xyxy == tuple(mask_to_box_xyxy(picture == one.number))
        assert one.area == (picture == one.number).sum()
    assert found.notes == notes


def test_a_ring_of_one_number_is_an_object() -> None:
    """Cells with a border class between them and the ground."""
    numbers = np.zeros((40, 40), np.uint8)
    cv2.circle(numbers, (20, 20), 12, 2, -1)
    cv2.circle(numbers, (20, 20), 12, 1, 1)
    assert [one.number for one in map_objects(numbers).objects] == [1, 2]


@pytest.mark.parametrize("bad", [np.full((4, 4), 0.5, np.float32), np.full((4, 4), -1, np.int32)])
def test_values_that_are_no_numbers_of_objects(bad: NDArray[Any]) -> None:
    with pytest.raises(AnnotationError, match="must be whole numbers from 0 on"):
        map_objects(bad)


WHITE = rectangle() > 0


def test_one_bit() -> None:
    assert np.array_equal(as_read(Image.fromarray(WHITE)), rectangle())


def paletted(indices: Mask, colours: list[int]) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(colours)
    return image


def test_a_palette_of_greys_is_what_it_shows() -> None:
    """An optimiser may well number white 0 and black 1."""
    image = paletted((~WHITE).astype(np.uint8), [255, 255, 255, 0, 0, 0])
    assert np.array_equal(as_read(image), rectangle())


def test_a_palette_of_colours_is_numbers() -> None:
    indices = voc()
    colours = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * 3 * 252 + [224, 224, 192]
    assert np.array_equal(as_read(paletted(indices, colours)), indices)


def test_colours_are_numbers_and_one_channel_is_grey() -> None:
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:8] = 255, 0, 0
    assert set(np.unique(as_read(Image.fromarray(picture)))) == {0, 255}
    picture[:, 12:] = 0, 255, 1
    numbers = as_read(Image.fromarray(picture))
    assert set(np.unique(numbers)) == {0, 255, 255 * 256 + 65536}
    assert len(map_objects(numbers).objects) == 2, "255 is no void among larger numbers"
    grey = Image.merge("RGB", [Image.fromarray(ellipse())] * 3)
    assert np.array_equal(as_read(grey), ellipse())


def test_a_coloured_jpeg_is_grey() -> None:
    grey = Image.merge("RGB", [Image.fromarray(ellipse())] * 3)
    [one] = map_objects(as_read(grey, "JPEG", quality=80)).objects
    assert np.count_nonzero(decode_rle(one.rle) != (ellipse() > 0)) < 60


def with_alpha(colour: NDArray[Any], alpha: Mask) -> Image.Image:
    picture = np.dstack([np.broadcast_to(colour, (*alpha.shape, 3)), alpha]).astype(np.uint8)
    return Image.fromarray(picture)


def test_transparency() -> None:
    opaque, mask = np.full_like(rectangle(), 255), rectangle()
    black = np.zeros(3)
    assert np.array_equal(as_read(with_alpha(mask[..., None], opaque)), mask)
    assert np.array_equal(as_read(with_alpha(np.full(3, 255), mask)), mask)
    assert np.array_equal(as_read(with_alpha(black, mask)), mask), "black on nothing"
    assert np.array_equal(as_read(with_alpha(mask[..., None], mask)), mask)
    numbers = voc()
    seen = np.where(np.arange(160) < 80, 255, 0).astype(np.uint8) * np.ones((120, 1), np.uint8)
    assert np.array_equal(
        as_read(with_alpha(numbers[..., None], seen)), np.where(seen > 0, numbers, 0)
    )
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3))
    assert np.array_equal(as_read(with_alpha(noise, mask)), mask), "a photo that is cut out"
    grey = Image.merge("LA", [Image.fromarray(mask), Image.fromarray(opaque)])
    assert np.array_equal(as_read(grey), mask)


def test_sixteen_bits() -> None:
    picture = numbered(300, 7, dtype=np.uint16)
    assert np.array_equal(as_read(Image.fromarray(picture)), picture)


def test_many_small_objects_side_by_side() -> None:
    """Small tiles side by side are no mixed numbers either."""
    order = np.random.default_rng(0).permutation(64**2)
    numbers = order.astype(np.uint16).reshape(64, 64).repeat(3, axis=0).repeat(3, axis=1)
    found = map_objects(numbers)
    assert len(found.objects) == 64**2 - 1
    assert all(one.area == 9 for one in found.objects)


@pytest.mark.fuzz
@settings(max_examples=examples(200), derandomize=True, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 0, 0, 1, 2, 128, 254, 255]),
    )
)
def test_any_picture_is_split_or_refused(numbers: NDArray[Any]) -> None:
    try:
        found = map_objects(numbers)
    except AnnotationError:
        return
    drawn = np.zeros(numbers.shape, np.int64)
    for one in found.objects:
        mask = decode_rle(one.rle)
        assert mask.sum() == one.area > 0
        drawn += mask
    assert drawn.max(initial=0) <= 1
    left_out = numbers[(drawn == 0) & (numbers != 0)]
    if found.notes == (CUT,):
        assert len(found.objects) <= 1
    else:
        assert set(np.unique(left_out)) <= ({255} if found.notes == (WITH_VOID,) else set())
