"""A contact sheet: some photos of a data set with what is marked on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ovsam.errors import AnnotationError, OvsamError
from ovsam.formats.listing import ListedPhoto
from ovsam.images.draw import draw_mask, object_colour
from ovsam.images.read import read_photo

CELL = 300  # pixels
COLUMNS = 6
_CAPTION = 18
_GROUND, _INK = (250, 250, 250), (30, 30, 30)


def contact_sheet(photos: Sequence[ListedPhoto]) -> NDArray[np.uint8]:
    """Draw photos in rows of `COLUMNS`: `(H, W, 3)` uint8 RGB. What cannot be read is left out."""
    cells = []
    for photo in photos:
        try:
            cells.append((_cell(photo), _caption(photo)))
        except OvsamError:
            continue
    columns, rows = min(COLUMNS, max(1, len(cells))), max(1, -(-len(cells) // COLUMNS))
    height = CELL + _CAPTION
    sheet = Image.new("RGB", (columns * CELL, rows * height), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for i, (cell, caption) in enumerate(cells):
        x, y = i % COLUMNS * CELL, i // COLUMNS * height
        left, top = (CELL - cell.shape[1]) // 2, (CELL - cell.shape[0]) // 2
        sheet.paste(Image.fromarray(cell), (x + left, y + top))
        draw.text((x + 4, y + CELL + 1), caption, fill=_INK, font=font)
    return np.asarray(sheet).copy()


def _cell(photo: ListedPhoto) -> NDArray[np.uint8]:
    pixels = read_photo(photo.open())
    height, width = pixels.shape[:2]
    scale = (CELL - 6) / max(height, width)
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA).astype(np.uint8)
    largest_first = sorted(photo.instances, key=lambda item: -item.area)
    for index, instance in enumerate(largest_first):
        colour = object_colour(index)
        x0, y0, x1, y1 = (round(value * scale) for value in instance.box_xyxy)
        try:
            mask = instance.mask((height, width)).astype(np.uint8)
        except AnnotationError:  # a box alone, or a mask that the check has reported
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
            continue
        small = cv2.resize(mask, size_wh, interpolation=cv2.INTER_AREA) > 0
        draw_mask(canvas, small, colour, 1)
    return canvas


def _caption(photo: ListedPhoto) -> str:
    if photo.label is not None:
        return photo.label
    names = [instance.category for instance in photo.instances if instance.category]
    text = ", ".join(dict.fromkeys(names)) or f"{len(photo.instances)} masks"
    return text if len(text) <= 48 else text[:47] + "…"
