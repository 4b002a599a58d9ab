from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovsam.candidates import FramedMasks
from ovsam.config import ClickRanking
from ovsam.errors import CheckpointError
from ovsam.images.frame import Frame
from ovsam.predictor import zoom as module
from ovsam.predictor.predictor import Predictor
from ovsam.predictor.views import EncodedImage, View, decode
from ovsam.predictor.zoom import Zoom, averaged
from ovsam.structures import Prompt
from predictor.scenes import BOX, HEIGHT, WIDTH, blobs
from tiny_model import ONE_TOKEN, TINY, tiny_predictor


@pytest.mark.parametrize("pad", [16, 37])
def test_a_zoomed_mask_moves_with_the_photo(
    predictor: Predictor, photo: EncodedImage, pad: int
) -> None:
    """More photo on the left and above shifts what a prompt finds, and changes nothing else."""
    wider = predictor.encode(np.pad(blobs(0), ((pad, 0), (pad, 0), (0, 0)), mode="edge"))
    box = np.array([70.0, 55, 120, 95])  # its square lies in the photo
    points = np.array([[90.0, 70], [75, 60]])
    labels = np.array([1, 0])
    for here, there in (
        (Prompt(box_xyxy=box), Prompt(box_xyxy=box + pad)),
        (Prompt(points, labels, box), Prompt(points + pad, labels, box + pad)),
    ):
        [found] = predictor.predict(photo, here, zoom=True)
        [moved] = predictor.predict(wider, there, zoom=True)
        assert found.mask.sum() > 100
        assert not moved.mask[:pad].any()
        different = moved.mask[pad:, pad:] != found.mask
        assert different.sum() < 0.02 * found.mask.sum()
        np.testing.assert_allclose(moved.boxes_xyxy, found.boxes_xyxy + pad, atol=1)
        assert moved.name == found.name


def test_a_box_is_answered_by_the_mean_of_its_squares(
    predictor: Predictor, photo: EncodedImage
) -> None:
    """Each square alone gives what the mean is made of."""
    config, default = predictor.config, predictor.config.zoom
    assert default is not None
    prompt = Prompt(box_xyxy=np.array([60.0, 40, 130, 110]))

    def logits(*crop_scales: float) -> NDArray[np.float32]:
        zoom = replace(default, crop_scales=crop_scales)
        looking = tiny_predictor(replace(config, zoom=zoom), clean=False)
        [found] = looking.predict(photo, prompt, zoom=True)
        return np.asarray(found.low_res_logits[0])

    wide, narrow = logits(1.6), logits(1.3)
    inside = (slice(8, 14), slice(11, 19))  # cells that every view shows
    both = logits(1.6, 1.3)[inside]
    np.testing.assert_allclose(both, (wide + narrow)[inside] / 2, atol=0.3)
    assert (
        np.abs(both - wide[inside]).mean() > 2 * np.abs(both - (wide + narrow)[inside] / 2).mean()
    )


@pytest.mark.parametrize("along", [0, 1], ids=["upright", "flat"])
def test_a_mask_is_pasted_where_its_square_lies(
    predictor: Predictor, photo: EncodedImage, along: int
) -> None:
    """Neither mirrored nor turned: its cells are those of the square's own low resolution."""
    box = np.array([20.0, 100, 60, 110])
    box = box if along else box[[1, 0, 3, 2]] * 1.2
    [found] = predictor.segment(photo, Prompt(box_xyxy=box), zoom=True)
    square = Frame.square_around(box.tolist(), 1.6, 64)
    assert found.frame == square
    inside = found.mask_logits[0] > 0
    assert 0.1 < inside.mean() < 0.9
    assert (inside != inside[:, ::-1]).mean() > 0.1 < (inside != inside[::-1]).mean()
    mask, expected = found.mask, np.zeros((HEIGHT, WIDTH), bool)
    scale = square.window_hw[0] / 16  # photo pixels of a cell
    for y, x in np.ndindex(HEIGHT, WIDTH):
        column = int((x + 0.5 - square.origin_xy[0]) // scale)
        row = int((y + 0.5 - square.origin_xy[1]) // scale)
        if 0 <= row < 16 and 0 <= column < 16:
            expected[y, x] = inside[row, column]
    wrong = (mask != expected).sum() / expected.sum()
    assert wrong < 0.25  # of pixels within a cell of the edge
    assert not mask[~_shown(square)].any()


def _shown(square: Frame) -> NDArray[np.bool_]:
    """Photo pixels that a square covers, if only in part."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    (x0, y0), (side, _) = square.origin_xy, square.window_hw
    shown: NDArray[np.bool_] = (xs > x0 - 1) & (xs < x0 + side) & (ys > y0 - 1) & (ys < y0 + side)
    return shown


def test_the_mean_of_squares_by_hand() -> None:
    """Squares of 32 x 32 photo pixels, cells of 4: the second lies a cell further to the right."""
    first = Frame((0.0, 0.0), (32.0, 32.0), (32, 32), (32, 32))
    second = Frame((4.0, 0.0), (32.0, 32.0), (32, 32), (32, 32))
    logits = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
    found = averaged([FramedMasks(first, logits), FramedMasks(second, logits)])
    assert found.frame == first
    assert np.array_equal(found.mask_logits[1], logits[1]), "only the first mask is averaged"
    # Cell 3 of the first is cell 2 of the second, whose value is 1 less.
    np.testing.assert_allclose(found.mask_logits[0][:, 1:], logits[0][:, 1:] - 0.5)
    # Column 0 the second does not show: -10 there.
    np.testing.assert_allclose(found.mask_logits[0][:, 0], (logits[0][:, 0] - 10) / 2)
    assert np.array_equal(averaged([FramedMasks(first, logits)]).mask_logits, logits)


def test_where_it_zooms(predictor: Predictor, photo: EncodedImage) -> None:
    """On the box, clipped; around a mask and its points; on all where nothing is known."""
    mask = np.full((32, 32), -5, np.float32)
    mask[8:16, 4:12] = 5  # model pixels 16 to 48 and 32 to 64; photo pixels are 1.5625 wide
    cases: list[tuple[Prompt, tuple[float, float, float, float], tuple[float, ...]]] = [
        (Prompt(box_xyxy=[-20, 90, 60, 170]), (0, 90, 60, 150), (1.6, 1.3)),
        (Prompt(mask_logits=mask), (25, 50, 75, 100), (1.3,)),
        (Prompt(points_xy=[[100, 60]], mask_logits=mask), (25, 50, 100, 100), (1.3,)),
        (Prompt(mask_logits=np.full((32, 32), -5)), (0, 0, WIDTH, HEIGHT), (1.3,)),
        (Prompt([[100, 60]], mask_logits=np.full((32, 32), -5)), (100, 60, 101, 61), (1.3,)),
        (Prompt([[100, 60], [9, 9]], [1, 0], mask_logits=mask), (25, 50, 100, 100), (1.3,)),
    ]
    for prompt, box, scales in cases:
        [found] = predictor.segment(photo, prompt, zoom=True)
        expected = [Frame.square_around(box, scale, 64) for scale in scales]
        assert [view.frame for view in found.views] == expected
        assert found.frame == expected[0]
    [three] = predictor.segment(photo, cases[0][0], zoom=True, multimask=True)
    assert [view.frame for view in three.views] == [Frame.square_around((0, 90, 60, 150), 1.3, 64)]


def test_where_a_click_is_searched_for(
    predictor: Predictor, photo: EncodedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In squares of 0.2, 0.5 and 1 times the longest side, 200 pixels, that hold all clicks."""
    searched: list[list[Frame]] = []

    def spy(backend: Any, asked: Sequence[tuple[View, Prompt]]) -> Any:
        searched.append([view.frame for view, _ in asked])
        return decode(backend, asked)

    monkeypatch.setattr(module, "decode", spy)
    seen = {"content_hw": (32, 32), "input_hw": (32, 32)}
    # Around (80, 80): the clicks on the object are 40 apart, so no side is less than 60.
    near = Prompt([[60, 70], [100, 90], [150, 20]], [1, 1, 0])
    predictor.segment(photo, near, zoom=True)
    assert searched.pop() == [
        Frame((50.0, 50.0), (60.0, 60.0), **seen),
        Frame((30.0, 30.0), (100.0, 100.0), **seen),
        Frame((-20.0, -20.0), (200.0, 200.0), **seen),
    ]
    # 120 apart: two of the squares would be the same.
    predictor.segment(photo, Prompt([[20, 70], [140, 90]]), zoom=True)
    assert searched.pop() == [
        Frame((-10.0, -10.0), (180.0, 180.0), **seen),
        Frame((-20.0, -20.0), (200.0, 200.0), **seen),
    ]
    predictor.segment(photo, Prompt([[60, 70]], [0]), zoom=True)
    assert searched.pop() == [photo.frame], "no click is on the object"
    predictor.segment(photo, Prompt(box_xyxy=BOX), zoom=True)
    assert not searched, "a box tells where to look"


def test_a_model_that_does_not_zoom_unless_told_to(photo: EncodedImage) -> None:
    """It looks at one square, at its own size, and does not search for clicks."""
    predictor = tiny_predictor(replace(TINY, zoom=None))
    assert not predictor.zoom
    assert predictor._zoom.prompts_at_once == 8
    box = (30, 40, 120, 110)
    [plain] = predictor.segment(photo, Prompt(box_xyxy=box))
    assert [view.frame for view in plain.views] == [photo.frame]
    [zoomed] = predictor.segment(photo, Prompt(box_xyxy=box), zoom=True)
    assert [view.frame for view in zoomed.views] == [Frame.square_around(box, 1.6, 128)]
    assert not predictor._zoom._searches
    assert Zoom(predictor._backend, TINY)._searches
    without_scores = replace(ONE_TOKEN, zoom=TINY.zoom)
    assert not Zoom(predictor._backend, without_scores)._searches, "masks cannot be compared"


def test_a_ranking_of_other_features_is_refused() -> None:
    assert TINY.zoom is not None
    ranking = ClickRanking(weights=((1.0,),) * 3, biases=(0.0,), output=(1.0,))
    with pytest.raises(CheckpointError, match=r"for 26 features of a mask, got 3; fit it again"):
        tiny_predictor(replace(TINY, zoom=replace(TINY.zoom, click_ranking=ranking)))


def test_clicks_are_ranked_by_what_was_fitted(photo: EncodedImage) -> None:
    """Where the last token alone scores, one of its masks is taken."""
    assert TINY.zoom is not None
    rows = np.zeros((26, 1))
    rows[25] = 1  # of the last token
    last = ClickRanking(weights=tuple(map(tuple, rows)), biases=(0.0,), output=(1000.0,))
    predictor = tiny_predictor(replace(TINY, zoom=replace(TINY.zoom, click_ranking=last)))
    click, zoom = Prompt([[60, 70]]), Zoom(predictor._backend, predictor.config)
    squares, _ = zoom.search(photo, click)
    [mask] = zoom.coarse_masks(photo, click)
    assert any((mask.mask_logits[0] == square.mask_logits[-1]).all() for square in squares)
