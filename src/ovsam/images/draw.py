"""Predictions drawn over their photo: tinted mask, crisp outline, name tag and prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ovsam.images.rgb import strips
from ovsam.structures import Prediction, Prompt

# Okabe and Ito, "Color universal design": distinct with every common colour blindness.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (204, 121, 167),  # reddish purple
    (240, 228, 66),  # yellow
    (0, 158, 115),  # bluish green
    (213, 94, 0),  # vermilion
    (0, 114, 178),  # blue
)
_TINT = 0.45
_CASING = (20, 20, 20)
_PILL = (24, 24, 27)
_ON = (34, 197, 94)
_OFF = (239, 68, 68)


def object_colour(index: int) -> tuple[int, int, int]:
    """RGB of the object at `index`: the palette, then lighter and darker rounds of it."""
    colour = np.array(PALETTE[index % len(PALETTE)], dtype=np.float64)
    lap = index // len(PALETTE) % 3
    if lap == 1:
        colour += (255 - colour) * 0.5
    elif lap == 2:
        colour *= 0.55
    red, green, blue = (int(channel) for channel in colour)
    return red, green, blue


def draw_overlay(
    photo: NDArray[np.uint8], predictions: Sequence[Prediction], prompts: Sequence[Prompt] = ()
) -> NDArray[np.uint8]:
    """Draw the best mask and name of each prediction over a copy of the photo.

    Args:
        photo: `(H, W, 3)` uint8 RGB.
        predictions: drawn largest first, so that small objects stay visible.
        prompts: the prompts of the predictions, drawn too: points on an object green, points off
            it red, a box as a thin frame.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    canvas = np.array(photo, order="C")
    draw_predictions(canvas, predictions, prompts)
    return canvas


def draw_predictions(
    canvas: NDArray[np.uint8], predictions: Sequence[Prediction], prompts: Sequence[Prompt] = ()
) -> None:
    """The same on `canvas` itself: a photo of 100 megapixels takes 300 MB, and so does a copy."""
    height, width = canvas.shape[:2]
    thickness = max(1, round(max(height, width) / 400))
    areas = [int(prediction.mask.sum()) for prediction in predictions]
    for index in sorted(range(len(predictions)), key=lambda index: -areas[index]):
        draw_mask(canvas, predictions[index].mask, object_colour(index), thickness)
    for index, prompt in enumerate(prompts):
        draw_prompt(canvas, prompt, object_colour(index), thickness)
    _draw_tags(canvas, predictions, [area > 0 for area in areas], prompts)


def draw_mask(
    canvas: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Tint and outline a mask `(H, W)` on `canvas` `(H, W, 3)`, in place.

    Args:
        canvas: uint8 RGB.
        mask: what to draw; an empty one draws nothing.
        colour: RGB 0..255.
        thickness: of the outline, in pixels.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return
    columns = np.flatnonzero(mask.any(axis=0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = mask[window]
    part = canvas[window]  # a view: only the object's own part is touched
    table = _tint_table(colour)
    for strip in strips(inside.shape):
        np.copyto(part[strip], cv2.LUT(part[strip], table), where=inside[strip, :, None])
    contours, _ = cv2.findContours(
        inside.view(np.uint8),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_NONE,
        offset=(int(columns[0]), int(rows[0])),
    )
    cv2.drawContours(canvas, contours, -1, _CASING, thickness + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)


def _tint_table(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """For each grey value 0..255 and channel the value tinted with `colour`: (1, 256, 3)."""
    values = np.arange(256)[:, None] * (1 - _TINT) + np.array(colour) * _TINT  # (256, 3)
    table: NDArray[np.uint8] = values.round().astype(np.uint8)[None]
    return table


def draw_prompt(
    canvas: NDArray[np.uint8], prompt: Prompt, colour: tuple[int, int, int], thickness: int
) -> None:
    """Draw a prompt's box and points on `canvas` `(H, W, 3)`, in place.

    Args:
        canvas: uint8 RGB.
        prompt: in the canvas's pixels.
        colour: of the box, RGB 0..255; points are green on an object and red off it.
        thickness: of outlines, in pixels.
    """
    height, width = canvas.shape[:2]
    if prompt.box_xyxy is not None:
        limits = np.array([width, height, width, height]) - 1
        x0, y0, x1, y1 = (int(v) for v in np.clip(np.floor(prompt.box_xyxy), 0, limits))
        line = max(1, thickness // 2)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), _CASING, line + 2)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, line)
    radius = _dot_radius(thickness)
    for (x, y), label in zip(prompt.points_xy, prompt.point_labels, strict=True):
        centre = (int(min(x, width - 1)), int(min(y, height - 1)))
        cv2.circle(canvas, centre, radius + max(1, thickness), (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, radius, _ON if label else _OFF, -1, cv2.LINE_AA)


def _dot_radius(thickness: int) -> int:
    return 2 + thickness


@dataclass(frozen=True)
class _Rectangle:
    """A tag's place on the photo, in pixels, max corner exclusive."""

    x: int
    y: int
    width: int
    height: int

    def overlap(self, other: _Rectangle) -> int:
        """Shared area in pixels."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(across, 0) * max(down, 0)


def _draw_tags(
    canvas: NDArray[np.uint8],
    predictions: Sequence[Prediction],
    visible: Sequence[bool],
    prompts: Sequence[Prompt],
) -> None:
    height, width = canvas.shape[:2]
    size = min(max(13, round(max(width, height) / 45)), max(9, height // 4))
    font = _font(size)
    radius = _dot_radius(max(1, round(max(width, height) / 400))) + 2
    dots = [
        _Rectangle(int(x) - radius, int(y) - radius, 2 * radius, 2 * radius)
        for prompt in prompts
        for x, y in prompt.points_xy
    ]
    taken: list[_Rectangle] = []
    for index, prediction in enumerate(predictions):
        if not visible[index] or not prediction.labels[0]:
            continue
        label = prediction.labels[0][0]
        name, score = f"{label.name}", f" {label.score:.2f}"
        if prediction.none_of_these[0]:
            name, score = "none of these", ""
        text = _fit(name, score, font, width - 3 * size)
        tag_size = (int(font.getlength(text)) + 2 * size, round(1.6 * size))
        tag = _place(tag_size, prediction.boxes_xyxy[0], (width, height), taken, dots)
        taken.append(tag)
        _draw_tag(canvas, tag, text, font, object_colour(index))


def _draw_tag(
    canvas: NDArray[np.uint8],
    tag: _Rectangle,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
) -> None:
    # Pillow draws on a copy: of the tag alone, with room for letters that stand out of it.
    left, top = max(tag.x - tag.height, 0), max(tag.y - tag.height, 0)
    part = canvas[top : tag.y + 2 * tag.height, left : tag.x + tag.width + tag.height]
    image = Image.fromarray(part)
    _draw_pill(
        ImageDraw.Draw(image), replace(tag, x=tag.x - left, y=tag.y - top), text, font, colour
    )
    part[:] = np.asarray(image)


def _draw_pill(
    draw: ImageDraw.ImageDraw,
    tag: _Rectangle,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
) -> None:
    box = (tag.x, tag.y, tag.x + tag.width - 1, tag.y + tag.height - 1)
    line = max(1, tag.height // 16)
    draw.rounded_rectangle(box, radius=tag.height // 2, fill=_PILL, outline=colour, width=line)
    dot = tag.height // 3
    centre_y = tag.y + tag.height // 2
    left = tag.x + tag.height * 3 // 10
    draw.ellipse((left, centre_y - dot // 2, left + dot, centre_y - dot // 2 + dot), fill=colour)
    at = (left + dot + tag.height // 6, centre_y)
    draw.text(at, text, fill=(255, 255, 255), font=font, anchor="lm")


def _place(
    size: tuple[int, int],
    box_xyxy: NDArray[np.float64],
    photo_size: tuple[int, int],
    taken: Sequence[_Rectangle],
    dots: Sequence[_Rectangle],
) -> _Rectangle:
    """The first free place near the object; where there is none, the least covered one."""
    best, best_cost = None, float("inf")
    for x, y in _places(size, box_xyxy, photo_size):
        tag = _Rectangle(x, y, *size)
        cost = sum(2 * tag.overlap(other) for other in taken)  # worse than a covered point
        cost += sum(tag.overlap(dot) for dot in dots)
        if cost == 0:
            return tag
        if cost < best_cost:
            best, best_cost = tag, cost
    assert best is not None  # _places is never empty
    return best


def _places(
    size: tuple[int, int], box_xyxy: NDArray[np.float64], photo_size: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Corners for a tag, kept inside the photo: above, inside, below, then ever farther off."""
    width, height = size
    x0, y0, x1, y1 = (round(float(value)) for value in box_xyxy)
    gap = max(2, height // 6)
    rows = [y0 - height - gap, y0 + gap, y1 + gap, y1 - height - gap]
    rows += [y0 + step * (height + gap) for step in range(1, 40)]
    rows += [y0 - step * (height + gap) for step in range(2, 40)]
    for y in rows:
        for x in (x0, (x0 + x1 - width) // 2, x1 - width, x0 - width - gap, x1 + gap):
            yield (
                min(max(x, 0), max(photo_size[0] - width, 0)),
                min(max(y, 0), max(photo_size[1] - height, 0)),
            )


def _fit(
    name: str, ending: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, limit: int
) -> str:
    """`name` + `ending`, the name shortened until the text is at most `limit` pixels wide."""
    text = name + ending
    while len(name) > 1 and font.getlength(text) > limit:
        name = name[: max(1, len(name) * 3 // 4)].rstrip()
        text = f"{name}…{ending}"
    return text


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype("DejaVuSans-Bold.ttf", size)  # knows more scripts
    except OSError:
        return ImageFont.load_default(size)
