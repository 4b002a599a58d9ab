"""What is drawn over a photo."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ovsam.geometry import mask_to_box_xyxy
from ovsam.images import draw as overlay
from ovsam.images import rgb
from ovsam.images.draw import PALETTE, draw_overlay, object_colour
from ovsam.structures import Label, Prediction, Prompt


def prediction(mask: NDArray[np.bool_], name: str = "cat") -> Prediction:
    return Prediction(
        masks=mask[None],
        predicted_iou=np.array([0.9], dtype=np.float32),
        boxes_xyxy=mask_to_box_xyxy(mask)[None],
        low_res_logits=np.zeros((1, 8, 8), dtype=np.float32),
        labels=((Label(name, 0.5),),),
    )


def square(size_hw: tuple[int, int], x: int, y: int, side: int) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_photo_is_left_alone_and_result_is_writable() -> None:
    photo = np.zeros((60, 80, 3), dtype=np.uint8)
    photo.setflags(write=False)
    drawn = draw_overlay(photo, [prediction(square((60, 80), 30, 30, 20))])
    assert drawn.shape == photo.shape
    assert drawn.dtype == np.uint8
    assert drawn.flags.writeable
    assert not photo.any()


def test_in_place_and_in_strips_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    found = [prediction(square((90, 120), 5, 5, 70)), prediction(square((90, 120), 40, 30, 20))]
    prompts = [Prompt(points_xy=[[30, 40]]), Prompt(box_xyxy=[40, 30, 60, 50])]
    expected = draw_overlay(photo, found, prompts)
    monkeypatch.setattr(rgb, "STRIP_PIXELS", 300)
    overlay.draw_predictions(photo, found, prompts)
    assert np.array_equal(photo, expected)


@pytest.mark.parametrize("at", [(0, 0), (3, 50), (150, 70), (100, 100)])
def test_a_tag_changes_its_own_part_alone(at: tuple[int, int]) -> None:
    """What Pillow draws on a part of the photo is what it draws on all of it."""
    photo = np.random.default_rng(0).integers(0, 256, (130, 260, 3)).astype(np.uint8)
    font, text = overlay._font(15), "Ångström 0.50"
    tag = overlay._Rectangle(*at, int(font.getlength(text)) + 30, 24)
    whole = Image.fromarray(photo)
    overlay._draw_pill(ImageDraw.Draw(whole), tag, text, font, PALETTE[0])
    overlay._draw_tag(photo, tag, text, font, PALETTE[0])
    assert np.array_equal(photo, np.asarray(whole))


def test_nothing_drawn_without_predictions() -> None:
    photo = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert (draw_overlay(photo, []) == photo).all()


def test_inside_is_tinted_by_45_percent_and_outside_is_not() -> None:
    photo = np.full((200, 200, 3), 100, dtype=np.uint8)
    drawn = draw_overlay(photo, [prediction(square((200, 200), 80, 80, 60))])
    expected = [round(100 * 0.55 + channel * 0.45) for channel in PALETTE[0]]
    assert np.abs(drawn[110, 110].astype(int) - expected).max() <= 1
    assert (drawn[190, 190] == 100).all()


def test_hole_stays_clear() -> None:
    mask = square((200, 200), 40, 40, 120) & ~square((200, 200), 80, 80, 40)
    drawn = draw_overlay(np.full((200, 200, 3), 100, dtype=np.uint8), [prediction(mask)])
    assert (drawn[100, 100] == 100).all()


def test_empty_mask_has_no_tag() -> None:
    photo = np.full((50, 50, 3), 7, dtype=np.uint8)
    assert (draw_overlay(photo, [prediction(np.zeros((50, 50), dtype=bool))]) == photo).all()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (7, 9), (33, 500)])
def test_any_size_of_photo(size_hw: tuple[int, int]) -> None:
    prompt = Prompt(
        points_xy=np.array([[size_hw[1], size_hw[0]]], dtype=float),
        box_xyxy=np.array([-5.0, -5.0, 2 * size_hw[1], 2 * size_hw[0]]),
    )
    result = prediction(np.ones(size_hw, dtype=bool), "a name much wider than such a photo " * 5)
    drawn = draw_overlay(np.zeros((*size_hw, 3), dtype=np.uint8), [result], [prompt])
    assert drawn.shape == (*size_hw, 3)
    assert drawn.any(-1).all(), "the mask is everywhere"


def test_points_are_green_on_and_red_off_the_object() -> None:
    photo = np.zeros((200, 200, 3), dtype=np.uint8)
    prompt = Prompt(
        points_xy=np.array([[50.0, 150.0], [150.0, 150.0]]), point_labels=np.array([1, 0])
    )
    drawn = draw_overlay(photo, [prediction(np.zeros((200, 200), dtype=bool))], [prompt])
    red, green, _ = drawn[150, 50]
    assert green > red
    red, green, _ = drawn[150, 150]
    assert red > green


def test_tags_do_not_cover_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    draw_tag = overlay._draw_tag

    def spy(draw, tag, text, font, colour) -> None:  # type: ignore[no-untyped-def]
        places.append(tag)
        draw_tag(draw, tag, text, font, colour)

    monkeypatch.setattr(overlay, "_draw_tag", spy)
    mask = square((480, 640), 300, 200, 40)
    draw_overlay(np.zeros((480, 640, 3), dtype=np.uint8), [prediction(mask)] * 12)
    assert len(places) == 12
    assert all(one.overlap(other) == 0 for one, other in combinations(places, 2))
    assert all(tag.x >= 0 and tag.x + tag.width <= 640 for tag in places)
    assert all(tag.y >= 0 and tag.y + tag.height <= 480 for tag in places)


def test_first_21_colours_differ() -> None:
    assert len({object_colour(index) for index in range(21)}) == 21


def test_name_outside_the_font_is_drawn() -> None:
    photo = np.zeros((100, 100, 3), dtype=np.uint8)
    drawn = draw_overlay(photo, [prediction(square((100, 100), 30, 50, 40), "кот 猫 🐈")])
    assert (drawn == 255).all(-1).any(), "letters are white, and nothing else is"
