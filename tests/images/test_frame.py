from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide

from ovsam.images.frame import (
    Frame,
    move_logits,
    paste_logits,
    resample,
    whole_photo_logits,
)
from ovsam.model.pixels import to_pixels

numbers = st.floats(-500, 2000)
sides = st.floats(4, 3000)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    if draw(st.booleans()):
        size_hw = (draw(st.integers(1, 3000)), draw(st.integers(1, 3000)))
        return Frame.whole_photo(size_hw, draw(st.sampled_from([128, 512, 1024])))
    x, y = draw(numbers), draw(numbers)
    box = (x, y, x + draw(sides), y + draw(sides))
    return Frame.square_around(box, draw(st.floats(1, 3)), draw(st.sampled_from([64, 256])))


def blurred_noise(size_hw: tuple[int, int], seed: int = 0, blur: float = 3) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (*size_hw, 3)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), blur), np.float32)
    stretched: NDArray[np.uint8] = np.clip((smooth - 127) * blur + 127, 0, 255).astype(np.uint8)
    return stretched


@given(frames(), st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_to_model_and_to_photo_are_inverse(frame: Frame, points: list[tuple[float, float]]) -> None:
    points_xy = np.array(points)
    there = frame.to_model(points_xy)
    np.testing.assert_allclose(frame.to_photo(there), points_xy, atol=1e-6)
    np.testing.assert_allclose(frame.to_model(frame.to_photo(points_xy)), points_xy, atol=1e-6)


@given(frames())
def test_corners_of_the_window_are_corners_of_the_content(frame: Frame) -> None:
    low = np.array(frame.origin_xy)
    np.testing.assert_allclose(frame.to_model(low), [0, 0], atol=1e-6)
    high = low + frame.window_hw[::-1]
    np.testing.assert_allclose(frame.to_model(high), frame.content_hw[::-1], atol=1e-6)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_whole_photo_has_the_size_that_sam_gives_it(height: int, width: int) -> None:
    expected = ResizeLongestSide.get_preprocess_shape(height, width, 1024)
    frame = Frame.whole_photo((height, width), 1024)
    assert frame.content_hw == tuple(max(1, side) for side in expected)
    assert frame.input_hw == (1024, 1024)


def test_square_around_centres_the_box() -> None:
    frame = Frame.square_around((10, 20, 50, 40), 1.5, 64)
    assert frame.origin_xy == (0, 0)  # a side of 60 around (30, 30)
    assert frame.window_hw == (60, 60)
    tiny = Frame.square_around((10, 10, 11, 11), 2.0, 64)
    assert tiny.window_hw == (8, 8)  # a box of one pixel still gets context


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_cut_inside_is_crop_and_resize(scale: float) -> None:
    photo = blurred_noise((200, 240))
    frame = Frame.square_around((60, 40, 124, 104), 1.0, int(64 * scale))
    crop = photo[40:104, 60:124]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    expected = cv2.resize(crop, frame.content_hw[::-1], interpolation=interpolation)
    cut = frame.cut(photo)
    inner = slice(2, -2)  # a resized crop does not know what lies beyond its border
    difference = np.abs(cut[inner, inner].astype(int) - expected[inner, inner].astype(int))
    assert difference.max() <= 2
    assert expected.std() > 10  # there was something to get wrong


def test_cut_of_the_whole_photo_is_a_resize() -> None:
    photo = blurred_noise((90, 120))
    expected = cv2.resize(photo, (64, 48), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(Frame.whole_photo((90, 120), 64).cut(photo), expected)


@pytest.mark.parametrize("size", [32, 400], ids=["shrunk", "enlarged"])
def test_cut_beyond_the_border_is_grey(size: int) -> None:
    photo = np.full((100, 100, 3), 255, np.uint8)
    frame = Frame.square_around((-100, -100, 100, 100), 1.0, size)
    cut, half = frame.cut(photo), size // 2
    edge = size // 100 + 2  # where grey and photo mix
    assert (cut[: half - edge] == 127).all()
    assert (cut[:, : half - edge] == 127).all()
    assert (cut[half + edge : -edge, half + edge : -edge] == 255).all()
    nowhere = Frame.square_around((500, 500, 700, 700), 1.0, size)
    assert (nowhere.cut(photo) == 127).all()


def test_cut_mask_is_the_coverage() -> None:
    mask = np.zeros((64, 64), np.bool_)
    mask[16:48, 18:50] = True  # columns 18 and 49 fill half a cell of the output each
    coverage = Frame.square_around((0, 0, 64, 64), 1.0, 16).cut_mask(mask)
    expected = np.zeros((16, 16), np.float32)
    expected[4:12, 4:13] = 1
    expected[4:12, [4, 12]] = 0.5
    np.testing.assert_allclose(coverage, expected, atol=0.01)


@given(st.floats(0.1, 2.0), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_cut_mask_keeps_the_area(scale: float, dx: float, dy: float) -> None:
    x, y = np.meshgrid(np.arange(400), np.arange(400))
    mask = np.hypot(x - 200, y - 190) < 120
    side = 320
    box = (40 + dx, 30 + dy, 40 + dx + side, 30 + dy + side)
    frame = Frame.square_around(box, 1.0, int(side * scale))
    area = frame.cut_mask(mask).sum() / np.prod(frame.scale_xy)
    assert area == pytest.approx(mask.sum(), rel=0.01)


@given(st.floats(60, 140), st.floats(60, 140), st.floats(0.1, 3))
def test_cut_shows_what_to_model_says(x: float, y: float, scale: float) -> None:
    """A blob of the photo lands where the coordinates say."""
    xs, ys = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    blob = 255 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 8**2))
    frame = Frame.square_around((x - 37.3, y - 40, x + 42.7, y + 40), 1.0, int(80 * scale))
    cut = frame.cut(np.repeat(blob[..., None], 3, 2).astype(np.uint8))[..., 0].astype(float)
    grid = np.arange(cut.shape[0]) + 0.5
    found = np.array([(cut.sum(0) * grid).sum(), (cut.sum(1) * grid).sum()]) / cut.sum()
    tolerance = 0.05 + 0.1 * scale  # the photo has whole numbers
    np.testing.assert_allclose(found, frame.to_model(np.array([x, y])), atol=tolerance)


def test_resample_samples_cell_centres() -> None:
    ramp = np.tile(np.arange(128, dtype=np.float32) + 0.5, (128, 1))  # value = x of the pixel
    low = resample(ramp, np.zeros(2), np.full(2, 8.0), (16, 16), border=None)
    assert low.shape == (16, 16)
    np.testing.assert_allclose(low[3], np.arange(16) * 8 + 4, atol=0.05)


def test_to_pixels_normalises_then_pads_with_zeros() -> None:
    content = np.full((2, 3, 3), (10, 20, 30), np.uint8)
    pixels = to_pixels(content, (4, 4), mean=(0, 10, 20), std=(10, 5, 2))
    assert pixels.shape == (1, 3, 4, 4)
    assert pixels[0, :, 0, 0].tolist() == [1, 2, 5]
    assert pixels[0, :, 1, 2].tolist() == [1, 2, 5]
    assert not pixels[0, :, 2:].any()
    assert not pixels[0, :, :, 3:].any()


def ramps(size: int) -> NDArray[np.float32]:
    """Logits `(size, size)` that grow by 1 a cell to the right and by 100 downwards."""
    rows, columns = np.mgrid[:size, :size]
    return np.asarray(100 * rows + columns, np.float32)


def test_logits_move_to_where_they_lie_in_another_frame() -> None:
    """Cells of 2 photo pixels to cells of 4, which lie between them, and back beyond an edge."""
    fine = Frame((8.0, 4.0), (32.0, 32.0), (64, 64), (64, 64))  # 16 x 16 cells
    coarse = Frame((0.0, 0.0), (64.0, 64.0), (64, 64), (64, 64))  # 16 x 16 cells
    moved = move_logits(ramps(16), fine, coarse)
    assert moved.shape == (16, 16)
    # The coarse cell (row 3, column 5) is centred on photo pixel (22, 14): in fine cells 7 and 5,
    # less the half that is a cell's own centre.
    assert moved[3, 5] == pytest.approx(100 * 4.5 + 6.5)
    assert (moved[0] == -10).all() and (moved[:, :2] == -10).all(), "the fine frame ends there"
    assert (moved[9:] == -10).all() and (moved[:, 10:] == -10).all()
    assert np.array_equal(move_logits(ramps(16), fine, fine), ramps(16))


def test_a_square_is_pasted_where_it_lies() -> None:
    square = Frame((-4.0, 6.0), (32.0, 32.0), (64, 64), (64, 64))  # cells of 2 photo pixels
    (rows, columns), values = paste_logits(ramps(16), square, (30, 50))
    assert (rows, columns) == (slice(6, 30), slice(0, 28))
    assert values.shape == (24, 28)
    # The photo's pixel (row 15, column 10) is centred on cell (4.75, 7.25) from the corner; cubic
    # sampling is off a straight line by 0.05 of a cell.
    for ramp, cell in ((ramps(16) // 100, 4.25), (ramps(16) % 100, 6.75)):
        _, values = paste_logits(ramp, square, (30, 50))
        assert values[15 - 6, 10] == pytest.approx(cell, abs=0.06)
    part, nothing = paste_logits(ramps(16), square, (5, 50))
    assert nothing.size == 0 and np.zeros((5, 50))[part].size == 0
    for corner in ((-32.0, 6.0), (6.0, 30.0)):  # it ends where the photo starts, and the reverse
        beside = Frame(corner, (32.0, 32.0), (64, 64), (64, 64))
        part, nothing = paste_logits(ramps(16), beside, (30, 50))
        assert nothing.size == 0 and np.zeros((30, 50))[part].size == 0


def test_logits_of_a_whole_photo_lose_the_padding() -> None:
    frame = Frame.whole_photo((24, 32), 64)  # 16 x 16 cells of 2 photo pixels; 12 rows are photo
    whole = whole_photo_logits(np.stack([ramps(16), -ramps(16)]), frame, (24, 32))
    assert whole.shape == (2, 24, 32)
    assert whole[0, 13, 9] == pytest.approx(100 * 6.25 + 4.25, abs=0.5)
    np.testing.assert_allclose(whole[1], -whole[0])
