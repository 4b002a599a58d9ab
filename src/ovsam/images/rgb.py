"""What a decoder gives, as upright RGB of eight bits.

All is converted strip by strip: a photo of 100 megapixels takes 300 MB, and what decoders and
numpy have beside it until it is converted would be several times that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_PIXELS = 2**20  # of a strip; one row at least

# The brightest number of integers: of 8 and 16 bits, and of the sensors between them.
_WHITES = (255, 1023, 4095, 16383, 65535)


def strips(size_hw: tuple[int, int]) -> Iterator[slice]:
    """The rows of a picture, some at a time."""
    height, width = size_hw
    rows = max(1, STRIP_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def to_rgb(pixels: Image.Image | NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels as RGB of eight bits, with what is transparent laid on white.

    16-bit values are divided by 257, so that 65535 is white; of colours the upper eight bits are
    taken. But sensors of 10, 12 or 14 bits are saved in 16, nearly black: integers have the
    smallest of the whites 255, 1023, 4095, 16383 and 65535 that none exceeds, and real numbers the
    smallest of 1, 255 and 65535. Where there is none, or numbers are negative, the lowest number
    is black and the highest white.

    Args:
        pixels: an image of Pillow, or numbers `(H, W)` or `(H, W, 3 or 4)`, a fourth being opacity.

    Returns:
        `(H, W, 3)`, writable; the given array where it is that already.
    """
    if isinstance(pixels, Image.Image) and (pixels.mode.startswith("I") or pixels.mode == "F"):
        pixels = np.asarray(pixels)
    if isinstance(pixels, Image.Image):
        size_hw, convert = (pixels.height, pixels.width), _of_image(pixels)
    elif pixels.dtype == np.uint8 and pixels.shape[2:] == (3,) and pixels.flags.writeable:
        return np.ascontiguousarray(pixels)
    else:
        size_hw, convert = (pixels.shape[0], pixels.shape[1]), _of_numbers(pixels)
    rgb = np.empty((*size_hw, 3), np.uint8)
    for rows in strips(size_hw):
        rgb[rows] = convert(rows)
    return rgb


def _of_image(image: Image.Image) -> Callable[[slice], NDArray[np.uint8]]:
    transparent = image.mode in ("RGBA", "LA", "PA", "La") or "transparency" in image.info

    def convert(rows: slice) -> NDArray[np.uint8]:
        strip = image.crop((0, rows.start, image.width, rows.stop))
        return _on_white(strip.convert("RGBA")) if transparent else np.asarray(strip.convert("RGB"))

    return convert


def _of_numbers(pixels: NDArray[Any]) -> Callable[[slice], NDArray[np.uint8]]:
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels[..., None]
    to_eight_bits = _scale(colours)

    def convert(rows: slice) -> NDArray[np.uint8]:
        eight = to_eight_bits(colours[rows])
        if pixels.ndim == 2 or pixels.shape[2] == 3:
            return eight  # grey is the same in all three
        return _on_white(Image.fromarray(np.dstack([eight, _opacity(pixels[rows, :, 3])])))

    return convert


def _on_white(rgba: Image.Image) -> NDArray[np.uint8]:
    white = Image.new("RGBA", rgba.size, "white")
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))


def _scale(values: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """What scales parts of grey values `(H, W, 1)` or colours `(H, W, 3)` to 0..255."""
    if values.dtype == np.uint8:
        return lambda part: part
    finite = values if values.dtype.kind != "f" else values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if values.dtype == np.uint16 and high > _WHITES[-2]:
        if values.shape[2] == 3:
            return lambda part: (part >> 8).astype(np.uint8)
        return lambda part: ((part.astype(np.uint32) + 128) // 257).astype(np.uint8)
    whites = (1, 255, 65535) if values.dtype.kind == "f" else _WHITES
    white = next((white for white in whites if high <= white), None)
    if low >= 0 and white is not None:
        low, high = 0.0, float(white)
    # Halves first: the difference of the largest numbers is none.
    span = max(high / 2 - low / 2, np.finfo(np.float64).tiny)

    def scale(part: NDArray[Any]) -> NDArray[np.uint8]:
        real = part.astype(np.float64)
        if part.dtype.kind == "f":
            real = np.nan_to_num(real, nan=low, posinf=high, neginf=low)
        scaled: NDArray[np.float64] = (real / 2 - low / 2) / span * 255
        eight: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return eight

    return scale


def _opacity(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Opacity of any type, where the highest integer, or 1, is opaque, as 0..255."""
    share = values.astype(np.float64)
    if values.dtype.kind != "f":
        share /= float(np.iinfo(values.dtype).max)
    eight: NDArray[np.uint8] = np.rint(np.nan_to_num(share, nan=1.0).clip(0, 1) * 255).astype(
        np.uint8
    )
    return eight


def upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A photo `(H, W, 3)` turned as EXIF's orientation says, 1 to 8; others turn nothing."""
    turned: Any = rgb
    match orientation:
        case 2:
            turned = cv2.flip(rgb, 1)
        case 3:
            turned = cv2.rotate(rgb, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(rgb, 0)
        case 5:
            turned = cv2.transpose(rgb)
        case 6:
            turned = cv2.rotate(rgb, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.transpose(rgb), cv2.ROTATE_180)
        case 8:
            turned = cv2.rotate(rgb, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.asarray(turned, np.uint8)
