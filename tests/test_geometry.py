"""Boxes, masks, run lengths and polygons."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from fuzzing import examples
from ovsam import geometry
from ovsam.errors import AnnotationError

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
PAIRS = hnp.arrays(
    np.bool_,
    st.tuples(st.just(2), st.integers(1, 16), st.integers(1, 16)),
)
NUMBERS = st.floats(-1e4, 1e4, allow_nan=False, width=32)


@st.composite
def boxes_xyxy(draw: st.DrawFn) -> list[list[float]]:
    """A few boxes, empty and inverted ones among them."""
    return draw(st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=4))


@given(MASKS)
def test_box_is_the_tightest_that_holds_the_mask(mask: NDArray[np.bool_]) -> None:
    x0, y0, x1, y1 = geometry.mask_to_box_xyxy(mask).astype(int)
    inside = mask[y0:y1, x0:x1]
    assert inside.sum() == mask.sum()
    if mask.any():
        assert inside[0].any() and inside[-1].any()
        assert inside[:, 0].any() and inside[:, -1].any()
    else:
        assert (x0, y0, x1, y1) == (0, 0, 0, 0)


def test_box_of_one_pixel_has_an_exclusive_corner() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[3, 6] = True
    assert geometry.mask_to_box_xyxy(mask).tolist() == [6.0, 3.0, 7.0, 4.0]


def test_boxes_of_several_masks() -> None:
    masks = np.zeros((3, 4, 5), dtype=bool)
    masks[0, 1, 2] = True
    masks[2] = True
    boxes = geometry.masks_to_boxes_xyxy(masks)
    assert boxes.dtype == np.float64
    assert boxes.tolist() == [[2, 1, 3, 2], [0, 0, 0, 0], [0, 0, 5, 4]]
    assert geometry.masks_to_boxes_xyxy(masks[:0]).shape == (0, 4)


@given(boxes_xyxy(), st.integers(1, 500), st.integers(1, 500))
def test_clipped_boxes_lie_on_the_photo_and_stay(
    boxes: list[list[float]], height: int, width: int
) -> None:
    clipped = geometry.clip_box_xyxy(boxes, (height, width))
    assert (clipped >= 0).all()
    assert (clipped[:, ::2] <= width).all() and (clipped[:, 1::2] <= height).all()
    assert np.array_equal(geometry.clip_box_xyxy(clipped, (height, width)), clipped)


def test_clip_one_box() -> None:
    assert geometry.clip_box_xyxy([-3, 2, 90, 70], (60, 80)).tolist() == [0, 2, 80, 60]


@given(boxes_xyxy(), boxes_xyxy())
def test_box_iou_is_bounded_and_symmetric(a: list[list[float]], b: list[list[float]]) -> None:
    iou = geometry.box_iou_xyxy(a, b)
    assert iou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all()
    assert np.allclose(iou, geometry.box_iou_xyxy(b, a).T)


@given(st.tuples(NUMBERS, NUMBERS), st.floats(0.125, 100), st.floats(0.125, 100))
def test_box_iou_with_itself_is_one(corner: tuple[float, float], w: float, h: float) -> None:
    box = [[corner[0], corner[1], corner[0] + w, corner[1] + h]]
    assert geometry.box_iou_xyxy(box, box)[0, 0] == pytest.approx(1.0)


def test_box_iou_by_hand() -> None:
    iou = geometry.box_iou_xyxy([[0, 0, 4, 4]], [[2, 2, 6, 6], [4, 0, 8, 4], [1, 1, 1, 3]])
    assert iou.tolist() == [[pytest.approx(4 / 28), 0.0, 0.0]]
    assert geometry.box_iou_xyxy(np.zeros((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)


@given(PAIRS)
def test_mask_iou_is_bounded_symmetric_and_counts_pixels(pair: NDArray[np.bool_]) -> None:
    a, b = pair
    iou = geometry.mask_iou(a, b)
    union = (a | b).sum()
    assert iou == geometry.mask_iou(b, a)
    assert iou == (pytest.approx((a & b).sum() / union) if union else 0.0)
    assert geometry.mask_iou(a, a) == float(a.any())


def test_mask_iou_needs_one_shape() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        geometry.mask_iou(np.ones((2, 3), dtype=bool), np.ones((3, 2), dtype=bool))


@given(MASKS)
def test_centre_is_as_far_from_the_outside_as_any_pixel(mask: NDArray[np.bool_]) -> None:
    if not mask.any():
        with pytest.raises(ValueError, match="empty mask has no centre"):
            geometry.mask_centre_xy(mask)
        return
    x, y = geometry.mask_centre_xy(mask)
    assert (x % 1, y % 1) == (0.5, 0.5)
    assert mask[int(y), int(x)]
    outside = np.argwhere(~np.pad(mask, 1)) - 1  # the frame around the photo counts
    inside = np.argwhere(mask)
    far = ((inside[:, None] - outside[None]) ** 2).sum(axis=-1).min(axis=1)
    here = ((outside - [int(y), int(x)]) ** 2).sum(axis=-1).min()
    assert here == far.max()


def test_centre_counts_the_border_of_the_photo_as_outside() -> None:
    assert geometry.mask_centre_xy(np.ones((5, 9), dtype=bool)).tolist() == [2.5, 2.5]
    wide = np.zeros((9, 9), dtype=bool)
    wide[:, :5] = True
    assert geometry.mask_centre_xy(wide).tolist() == [2.5, 2.5]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' decode, numpy 2
@given(MASKS)
def test_rle_round_trip_and_pycocotools_agree(mask: NDArray[np.bool_]) -> None:
    rle = geometry.encode_rle(mask)
    assert json.loads(json.dumps(rle)) == rle
    decoded = geometry.decode_rle(rle)
    assert decoded.dtype == np.bool_ and decoded.flags.c_contiguous
    assert np.array_equal(decoded, mask)
    assert np.array_equal(coco_mask.decode(rle), mask)
    assert np.array_equal(geometry.segmentation_to_mask(rle, mask.shape), mask)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12))
def test_uncompressed_rle_equals_its_compressed_form(counts: list[int]) -> None:
    rle = {"size": [sum(counts), 1], "counts": counts}
    compressed = coco_mask.frPyObjects(rle, *rle["size"])
    expected = np.repeat(np.arange(len(counts)) % 2 == 1, counts)[:, None]
    assert np.array_equal(geometry.decode_rle(rle), expected)
    assert np.array_equal(geometry.decode_rle(compressed), expected)  # counts as bytes


def test_rle_with_long_runs() -> None:
    mask = np.zeros((1500, 2000), dtype=bool)
    mask[:, 1900:] = True
    mask[3, 5] = True
    assert np.array_equal(geometry.decode_rle(geometry.encode_rle(mask)), mask)


def test_uncompressed_rle_runs_down_the_columns() -> None:
    mask = geometry.decode_rle({"size": [2, 3], "counts": [1, 2, 3]})
    assert mask.tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 2]}, r"counts must be a string or a list of integers, got None"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, r"list of integers, got \[1\.5, 2\.5\]"),
        ({"size": [2, 2], "counts": [1, 2]}, r"fill its 2 x 2 pixels, got \[1, 2\], which fill 3"),
        ({"size": [2, 2], "counts": [5, -1]}, r"counts must be 0 or more"),
        ({"size": [2, 2], "counts": [2**70, 4 - 2**70]}, r"counts must be 0 or more"),
        ({"size": [2, 2], "counts": ""}, r"which fill 0"),
        ({"size": [2, 2], "counts": "06"}, r"fill its 2 x 2 pixels, got '06', which fill 6"),
        ({"size": [2, 2], "counts": "ab c"}, r"not COCO's compressed text: 'ab c'"),
        ({"size": [2, 2], "counts": "é"}, r"not COCO's compressed text"),
        ({"size": [2, 2], "counts": "\ud800"}, r"not COCO's compressed text"),
        ({"size": [2, 2], "counts": "PPP"}, r"not COCO's compressed text"),
        ({"size": [2, 2], "counts": "o" * 500 + "0"}, r"not COCO's compressed text: 'o+\.\.\."),
        ({"counts": "04"}, r"size must be \[height, width\] in pixels, got None"),
        ({"size": [2, -2], "counts": "04"}, r"size must be \[height, width\]"),
        ({"size": [2, "2"], "counts": "04"}, r"size must be \[height, width\]"),
        ({"size": [2, 2, 2], "counts": "08"}, r"size must be \[height, width\]"),
    ],
)
def test_malformed_rle(rle: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        geometry.decode_rle(rle)


def compressed(numbers: list[int]) -> str:
    """Run lengths, or their differences, in COCO's text: five bits a character, lowest first."""
    text = ""
    for number in numbers:
        more = True
        while more:
            group, number = number & 31, number >> 5
            more = number != (-1 if group & 16 else 0)
            text += chr(48 + group + 32 * more)
    return text


def test_compressed_by_hand() -> None:
    mask = geometry.decode_rle({"size": [2, 3], "counts": compressed([1, 2, 3])})
    assert mask.tolist() == [[False, True, False], [True, False, False]]
    mask = geometry.decode_rle({"size": [1, 9], "counts": compressed([1, 4, 2, -2])})
    assert mask.tolist() == [[False, *[True] * 4, *[False] * 2, *[True] * 2]]


BIG = 2**38


def wrapping() -> list[int]:
    """Differences of which the runs, all 0 or more, make 2**64 + 10,000: in 64 bits 10,000."""
    steps, rest = 11_584, 8_544  # 11,584 * 11,585 / 2 + 8,544 = 2**26
    odd = [BIG if left == rest else 0 for left in range(steps, 0, -1)]
    return [10_000, *(number for one in odd for number in (one, BIG))]


@pytest.mark.parametrize(
    "counts",
    [
        compressed(wrapping()),
        compressed([BIG] * 12_000),
        compressed([BIG, BIG, *[0] * 20_000]),
        compressed([2**27] * 10_001),
        compressed([0] * 10_002),
        [2**63, 2**63, 10_000],  # 10,000 in 64 bits
        [2**62] * 4 + [10_000],
        [10**4299] * 100,  # whose sum has more digits than Python prints
        [-(2**63), 2**63, 10_000],
        [0] * 10_002,
        "0" * 10**6,
    ],
)
def test_run_lengths_that_overflow_are_refused_before_they_are_drawn(
    counts: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "repeat", refuse_more_than(np.repeat, 10**7))
    rle = {"size": [100, 100], "counts": counts}
    for function in (
        geometry.check_segmentation,
        geometry.segmentation_to_mask,
        geometry.segmentation_to_rle,
    ):
        with pytest.raises(AnnotationError, match="0 or more and fill its 100 x 100") as caught:
            function(rle, (100, 100))
        assert len(str(caught.value)) < 300


def refuse_more_than(repeat: Any, most: int) -> Any:
    def guarded(values: Any, counts: Any) -> Any:
        assert np.asarray(counts, dtype=object).sum() <= most, "it would fill the memory"
        return repeat(values, counts)

    return guarded


@pytest.mark.parametrize("counts", ["o", [2**62], [2**31, 2**31]])
def test_a_mask_larger_than_any_photo_is_refused(counts: object) -> None:
    with pytest.raises(AnnotationError, match="134,217,728 pixels at most in all"):
        geometry.decode_rle({"size": [2**31, 2**31], "counts": counts})


@given(
    st.lists(st.one_of(st.integers(-9, 99), st.integers(-(2**41), 2**41)), max_size=12),
    st.integers(0, 40),
    st.integers(0, 40),
)
@pytest.mark.fuzz
@settings(max_examples=examples(300))
def test_any_numbers_are_a_mask_or_an_annotation_error(
    numbers: list[int], height: int, width: int
) -> None:
    runs = [*numbers, height * width - sum(numbers)]
    for counts in (compressed(numbers), numbers, compressed(runs), runs):
        rle = {"size": [height, width], "counts": counts}
        try:
            mask = geometry.decode_rle(rle)
        except AnnotationError as error:
            assert "\n" not in str(error) and len(str(error)) < 300
        else:
            assert mask.shape == (height, width)
            assert mask.sum() == geometry.rle_area(rle)


@given(st.text(max_size=30), st.integers(0, 40), st.integers(0, 40))
@pytest.mark.fuzz
@settings(max_examples=examples(200))
def test_any_text_is_a_mask_or_an_annotation_error(text: str, height: int, width: int) -> None:
    try:
        mask = geometry.decode_rle({"size": [height, width], "counts": text})
    except AnnotationError:
        return
    assert mask.shape == (height, width)


def test_rle_of_another_photo() -> None:
    rle = geometry.encode_rle(np.ones((4, 6), dtype=bool))
    with pytest.raises(AnnotationError, match=r"photo's size \[6, 4\].*got \[4, 6\]"):
        geometry.segmentation_to_mask(rle, (6, 4))


def test_polygons_cover_their_pixels() -> None:
    squares = [[1, 1, 4, 1, 4, 3, 1, 3], [6, 0, 8, 0, 8, 2, 6, 2]]
    mask = geometry.segmentation_to_mask(squares, (5, 9))
    expected = np.zeros((5, 9), dtype=bool)
    expected[1:3, 1:4] = True
    expected[0:2, 6:8] = True
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, expected)
    assert np.array_equal(geometry.polygons_to_mask(squares, (5, 9)), expected)


@given(
    st.lists(
        st.lists(st.integers(-20, 40), min_size=6, max_size=10).filter(lambda p: len(p) % 2 == 0),
        min_size=1,
        max_size=3,
    )
)
def test_polygons_that_stick_out_stay_in_their_box(polygons: list[list[int]]) -> None:
    mask = geometry.polygons_to_mask(polygons, (20, 30))
    assert mask.shape == (20, 30)
    x0, y0, x1, y1 = geometry.mask_to_box_xyxy(mask)
    if mask.any():
        assert x0 >= min(min(p[::2]) for p in polygons) and x1 <= max(max(p[::2]) for p in polygons)
        assert y0 >= min(min(p[1::2]) for p in polygons)
        assert y1 <= max(max(p[1::2]) for p in polygons)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], r"list of polygons or an RLE, got \[\]"),
        ("06", r"list of polygons or an RLE, got '06'"),
        (None, r"list of polygons or an RLE, got None"),
        ([[0, 0, 4, 4]], r"at least 3 points \(6 numbers\), got \[0, 0, 4, 4\]"),
        ([[0, 0, 4, 4, 2, 2, 1]], r"at least 3 points"),
        ([0, 0, 4, 4, 2, 2], r"at least 3 points \(6 numbers\), got 0"),
        ([[[0, 0], [4, 4], [2, 2]]], r"flat list x, y, x, y"),
        ([["a", "b", "c", "d", "e", "f"]], r"flat list of numbers"),
        ([[0, 0, 4, 4, 2, float("nan")]], r"on its photo of 8 x 6 pixels"),
        ([[0, 0, 4, 4, 2, float("inf")]], r"on its photo of 8 x 6 pixels"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], r"on its photo of 8 x 6 pixels"),
        ([[0, 0, 4, 0, 4, 4]] * 10_001, r"10,000 polygons at most, got 10,001\. Give its mask as"),
        ([[0, 0, *[999, 999, 0, 0] * 5_010]], r"10,000,000 pixels long at most, got 10,020,001\."),
        ([[0, 0, *[999, 999, 0, 0] * 501]] * 10, r"10,000,000 pixels long at most, got 10,020,010"),
    ],
)
def test_malformed_segmentation(segmentation: Any, message: str) -> None:
    for function in (geometry.segmentation_to_mask, geometry.segmentation_to_rle):
        with pytest.raises(AnnotationError, match=message):
            function(segmentation, (6, 8))


@given(MASKS)
def test_a_code_from_any_segmentation_is_the_mask(mask: NDArray[np.bool_]) -> None:
    text = geometry.encode_rle(mask)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], mask.T.ravel(), [2]]))))
    counts = [0] * int(mask[0, 0]) + runs.tolist()
    for segmentation in (text, {"size": list(mask.shape), "counts": counts}):
        assert geometry.segmentation_to_rle(segmentation, mask.shape) == text
        assert geometry.rle_area(segmentation) == mask.sum()


def test_a_code_from_polygons_is_their_mask() -> None:
    squares = [[1, 1, 4, 1, 4, 3, 1, 3], [3, 0, 8, 0, 8, 2, 3, 2]]
    code = geometry.segmentation_to_rle(squares, (5, 9))
    assert np.array_equal(geometry.decode_rle(code), geometry.polygons_to_mask(squares, (5, 9)))
    assert geometry.rle_area(code) == 6 + 10 - 1  # they share a pixel
    with pytest.raises(AnnotationError, match=r"photo's size \[6, 4\].*got \[5, 9\]"):
        geometry.segmentation_to_rle(code, (6, 4))
