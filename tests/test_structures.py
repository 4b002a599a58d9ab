"""Prompts and predictions are validated once and never change."""

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ovsam.errors import OvsamError, PromptError
from ovsam.structures import Label, Prediction, Prompt

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


def prediction(**fields: Any) -> Prediction:
    """Two masks of a 4 x 5 photo, with some fields replaced."""
    masks = np.zeros((2, 4, 5), dtype=bool)
    masks[0, 1:3, 2:4] = True
    values: dict[str, Any] = {
        "masks": masks,
        "predicted_iou": np.array([0.9, 0.4], np.float32),
        "boxes_xyxy": np.array([[2, 1, 4, 3], [0, 0, 0, 0]], np.float64),
        "low_res_logits": np.zeros((2, 8, 8), np.float32),
        "labels": ((Label("cat", 0.7), Label("dog", 0.2)), ()),
    }
    return Prediction(**{**values, **fields})


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 3), st.just(2)), elements=ANY_FLOAT),
    st.none() | hnp.arrays(np.float64, 4, elements=ANY_FLOAT),
    st.none() | hnp.arrays(np.float32, (2, 2), elements=st.floats(width=32)),
)
def test_no_stray_number_gets_through(
    points: NDArray[np.float64],
    box: NDArray[np.float64] | None,
    mask: NDArray[np.float32] | None,
) -> None:
    try:
        prompt = Prompt(points_xy=points, box_xyxy=box, mask_logits=mask)
    except PromptError as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(prompt.points_xy).all()
    assert len(points) or box is not None or mask is not None
    if prompt.box_xyxy is not None:
        assert np.isfinite(prompt.box_xyxy).all()
        assert (prompt.box_xyxy[2:] > prompt.box_xyxy[:2]).all()
    if prompt.mask_logits is not None:
        assert np.isfinite(prompt.mask_logits).all()


@given(
    st.lists(st.tuples(ANY_FLOAT, ANY_FLOAT), min_size=1, max_size=3),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_points_pass_only_inside(
    points: list[tuple[float, float]], height: int, width: int
) -> None:
    inside = all(0 <= x <= width and 0 <= y <= height for x, y in points)
    try:
        Prompt(points_xy=np.array(points)).check_inside((height, width))
    except PromptError:
        assert not inside
    else:
        assert inside


def test_points_are_positive_unless_labelled() -> None:
    prompt = Prompt(points_xy=np.array([[1.5, 2.5], [3, 4]]))
    assert prompt.point_labels is not None
    assert prompt.point_labels.tolist() == [1, 1]
    assert prompt.points_xy.dtype == np.float64
    assert prompt.point_labels.dtype == np.int64


def test_lists_are_taken_too() -> None:
    prompt = Prompt([[1, 2]], [0], [0, 0, 4, 4])
    assert prompt.box_xyxy is not None and prompt.box_xyxy.tolist() == [0, 0, 4, 4]
    empties: list[Any] = [[], (), [[]], np.zeros((0, 2), "c8"), np.zeros(0, "M8[s]")]
    for empty in empties:
        assert Prompt(empty, [], box_xyxy=[0, 0, 4, 4]).points_xy.shape == (0, 2)


def test_frozen_and_independent_of_the_callers_arrays() -> None:
    points = np.array([[1.0, 2.0]])
    prompt = Prompt(points_xy=points)
    points[0, 0] = 99
    assert prompt.points_xy[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        prompt.points_xy[0, 0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        prompt.box_xyxy = None  # type: ignore[misc]


def test_an_array_that_nobody_can_change_is_kept() -> None:
    """Masks of a photo of 100 megapixels have 100 MB."""
    masks = np.zeros((2, 4, 5), dtype=bool)
    part, turned = masks[:], np.asfortranarray(masks)
    for array in (masks, part, turned):
        kept = prediction(masks=array).masks
        assert kept is not array and kept.flags.c_contiguous
        array.setflags(write=False)
    assert prediction(masks=masks).masks is masks
    assert prediction(masks=part).masks is not part, "what it is a part of can be changed"
    assert prediction(masks=turned).masks.flags.c_contiguous
    assert dataclasses.replace(prediction(masks=masks), calibrated=True).masks is masks


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"A prompt needs a point, a box or a mask, got none of them"),
        ({"points_xy": [1, 2]}, r"must have shape \(N, 2\), got \(2,\)\. Wrap a single point"),
        ({"points_xy": [[1, 2, 3]]}, r"must have shape \(N, 2\), got \(1, 3\)"),
        ({"points_xy": [[1, np.nan]]}, r"points_xy must be finite numbers, got \[\[1\.0, nan\]\]"),
        ({"points_xy": [[-np.inf, 0]]}, r"points_xy must be finite numbers"),
        ({"points_xy": [[1, 2]], "point_labels": [1, 0]}, r"shape \(1,\), one for each.*\(2,\)"),
        ({"points_xy": [[1, 2]], "point_labels": [2]}, r"must be 1 .* or 0 .*got \[2\]"),
        ({"points_xy": [[1, 2]], "point_labels": [np.nan]}, r"must be 1 .* or 0 .*got \[nan\]"),
        ({"box_xyxy": [1, 2, 3]}, r"box_xyxy must have shape \(4,\), x0 y0 x1 y1, got \(3,\)"),
        ({"box_xyxy": [[0, 0, 4, 4]]}, r"box_xyxy must have shape \(4,\).*got \(1, 4\)"),
        ({"box_xyxy": [0, 0, np.nan, 4]}, r"box_xyxy must be finite numbers, got .*nan"),
        ({"box_xyxy": [0, 0, np.inf, 4]}, r"box_xyxy must be finite numbers"),
        ({"box_xyxy": [9, 0, 4, 4]}, r"x0 < x1 and y0 < y1, got 9, 0, 4, 4\. Swap the corners"),
        ({"box_xyxy": [0, 9, 4, 4]}, r"x0 < x1 and y0 < y1, got 0, 9, 4, 4"),
        ({"box_xyxy": [4, 4, 4, 4]}, r"x0 < x1 and y0 < y1.*give it some area"),
        ({"mask_logits": np.zeros((2, 3))}, r"mask_logits must have shape \(L, L\).*got \(2, 3\)"),
        ({"mask_logits": np.zeros((1, 2, 2))}, r"mask_logits must have shape \(L, L\)"),
        ({"mask_logits": np.full((2, 2), np.nan)}, r"mask_logits must be finite numbers"),
    ],
)
def test_bad_prompts(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        Prompt(**fields)
    assert isinstance(caught.value, OvsamError)


HUGE = 10**400
ODD: list[Any] = [
    "1",
    b"1",
    ["1", "2"],
    [["1", "2"]],
    [[True, False]],
    np.array([[True, False]]),
    [[1 + 0j, 2]],
    [[None, 1]],
    [[HUGE, 1]],
    [[-HUGE, 1]],
    [[2**70, 10**5000]],
    np.array([[1, True]], object),
    np.array([["a", 1]], object),
    np.array([["2024-01-01", "2024-01-02"]], "datetime64[D]"),
    np.array([[1, 2]], "timedelta64[s]"),
    np.array([[(1, 2), (3, 4)]], [("x", int), ("y", int)]),
    np.ma.array([[1, 2]], mask=[[True, False]]),
    [[1, 2], [3]],
    {"x": 1},
    {1, 2},
    object(),
    [[[[]]], 5],
]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("field", ["points_xy", "point_labels", "box_xyxy", "mask_logits"])
def test_what_is_no_array_of_numbers(field: str, value: Any) -> None:
    fields = {"points_xy": [[1, 2]]} if field == "point_labels" else {}
    with pytest.raises(PromptError, match=f"^{field} must") as caught:
        Prompt(**fields, **{field: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("number", [1e9 + 1, -2e9, 1e38, 1.7e308, np.longdouble("1e4000")])
def test_numbers_too_large_to_compute_with(number: float) -> None:
    for fields in (
        {"points_xy": [[number, 1]]},
        {"box_xyxy": [0, 0, abs(number), 1]},
        {"mask_logits": [[number]]},
    ):
        [name] = fields
        with pytest.raises(
            PromptError, match=f"^{name} must (lie between -1,000,000,000|be finite)"
        ):
            Prompt(**fields)


def test_what_is_an_array_of_numbers() -> None:
    """As other libraries hand them out."""
    values: list[Any] = [
        np.array([[3, 4]], object),  # a row of a table
        np.array([[3, 4]], np.float16),
        np.array([[3, 4]], np.uint8),
        np.ma.array([[3, 4]], mask=False),
        [(Fraction(3), np.float32(4))],
        np.array([[3, 4]], np.longdouble),
        range(0),
    ]
    for value in values:
        points = Prompt(points_xy=value, box_xyxy=[0, 0, 1, 1]).points_xy
        assert points.dtype == np.float64
        assert points.tolist() == ([[3, 4]] if len(value) else [])
    for labels in (
        [True, False],
        np.array([True, False]),
        [1.0, 0.0],
        (1, 0),
        np.array([1, 0], "u1"),
    ):
        assert Prompt([[1, 2], [3, 4]], labels).point_labels.tolist() == [1, 0]
    assert Prompt(box_xyxy=[-1e9, -1e9, 1e9, 1e9]).clipped((3, 4)).box_xyxy is not None


def test_points_are_bounded_and_so_is_a_mask() -> None:
    assert len(Prompt([[1, 2]] * 1000).points_xy) == 1000
    with pytest.raises(PromptError, match="points_xy must have at most 2,000 numbers, got 2,002"):
        Prompt([[1, 2]] * 1001)
    wide = np.broadcast_to(np.float32(0), (10**6, 10**6))  # of four bytes
    with pytest.raises(PromptError, match="mask_logits must have at most 16,777,216 numbers"):
        Prompt(mask_logits=wide)


def test_clipped() -> None:
    prompt = Prompt([[1, 2]], [0], [-5, 2.5, 1e9, 7], np.zeros((2, 2)))
    inside = prompt.clipped((10, 20))
    assert inside.box_xyxy is not None and inside.box_xyxy.tolist() == [0, 2.5, 20, 7]
    assert (inside.points_xy.tolist(), inside.point_labels.tolist()) == ([[1, 2]], [0])
    assert inside.mask_logits is not None
    assert prompt.box_xyxy is not None and prompt.box_xyxy.tolist() == [-5, 2.5, 1e9, 7]
    with pytest.raises(PromptError, match="outside the photo"):
        Prompt(box_xyxy=[-5, 0, 0, 5]).clipped((10, 20))
    assert Prompt([[1, 2]]).clipped((10, 20)).box_xyxy is None


@pytest.mark.parametrize("point", [(-0.1, 5), (5, -0.1), (20.1, 5), (5, 10.1)])
def test_point_outside(point: tuple[float, float]) -> None:
    prompt = Prompt(points_xy=np.array([[3, 3], point]))
    message = r"Point \(.*\) is outside the photo, which is 20 pixels wide and 10 high"
    with pytest.raises(PromptError, match=message):
        prompt.check_inside((10, 20))


@pytest.mark.parametrize("box", [(-5, 0, 0, 4), (20, 0, 25, 4), (0, -5, 4, 0), (0, 10, 4, 15)])
def test_box_outside(box: tuple[float, ...]) -> None:
    prompt = Prompt(box_xyxy=np.array(box, dtype=np.float64))
    message = r"Box \(.*\) is outside the photo, which is 20 pixels wide and 10 high"
    with pytest.raises(PromptError, match=message):
        prompt.check_inside((10, 20))


def test_a_box_may_stick_out_and_points_may_touch_the_border() -> None:
    Prompt(box_xyxy=np.array([-5.0, -5, 1, 1])).check_inside((10, 20))
    Prompt(points_xy=np.array([[0, 0], [20, 10]])).check_inside((10, 20))


def test_prediction_gives_the_best_mask_and_name() -> None:
    result = prediction()
    assert np.array_equal(result.mask, result.masks[0])
    assert result.name == "cat"
    assert result.labels[0][1] == Label("dog", 0.2)
    assert result.mask_scores is result.predicted_iou, "by SAM's name"
    with pytest.raises(ValueError, match="read-only"):
        result.masks[0, 0, 0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.labels = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"predicted_iou": np.zeros(3)}, r"predicted_iou must have shape \(2,\), got \(3,\)"),
        ({"boxes_xyxy": np.zeros((1, 4))}, r"boxes_xyxy must have shape \(2, 4\), got \(1, 4\)"),
        ({"masks": np.zeros((2, 4), dtype=bool)}, r"masks must be \(M, H, W\)"),
        ({"low_res_logits": np.zeros((1, 8, 8))}, r"low_res_logits \(M, L, L\)"),
        ({"labels": ()}, r"labels must have one entry per mask \(2\), got 0"),
    ],
)
def test_inconsistent_predictions(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prediction(**fields)
