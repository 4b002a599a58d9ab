"""What decoders give as RGB of eight bits: in strips the same as at once."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ovsam.images import rgb
from ovsam.images.read import read_photo
from ovsam.images.rgb import strips, to_rgb, upright

SIZE_HW = (23, 10)


def numbers(kind: str, bands: int, most: float) -> NDArray[Any]:
    shape = SIZE_HW if bands == 1 else (*SIZE_HW, bands)
    values = np.random.default_rng(bands).random(shape) * most
    if kind == "float32":
        values[3, 4], values[5, 6] = np.nan, np.inf
    return values.astype(kind)


def images() -> dict[str, Image.Image]:
    colours = Image.fromarray(numbers("uint8", 4, 256))
    palette = colours.convert("RGB").quantize(16)
    see_through = palette.copy()
    see_through.info["transparency"] = bytes(range(0, 160, 10))
    found = {mode: colours.convert(mode) for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK")}
    wide = Image.fromarray(numbers("uint16", 1, 65536))
    return {**found, "P": palette, "P, see-through": see_through, "I;16": wide}


@pytest.mark.parametrize(
    "pixels",
    [
        *(pytest.param(image, id=mode) for mode, image in images().items()),
        *(
            pytest.param(numbers(kind, bands, most), id=f"{kind} x {bands}, {most}")
            for bands in (1, 3, 4)
            for kind, most in (
                *(("uint8", 256), ("uint16", 4096), ("uint16", 65536), ("int32", 2**30)),
                *(("float32", 1), ("float32", 1e9)),
            )
        ),
    ],
)
def test_strips_are_the_whole(
    pixels: Image.Image | NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.errstate(invalid="ignore"):
        whole = to_rgb(pixels)
        monkeypatch.setattr(rgb, "STRIP_PIXELS", 35)  # three rows
        found = to_rgb(pixels)
    assert len(list(strips(SIZE_HW))) == 8
    assert found.dtype == np.uint8 and found.shape == (*SIZE_HW, 3) and found.flags.writeable
    assert np.array_equal(found, whole)
    if isinstance(pixels, Image.Image) and pixels.mode in ("1", "L", "RGB", "CMYK", "P"):
        if "transparency" not in pixels.info:
            assert np.array_equal(found, np.asarray(pixels.convert("RGB")))


def test_strips_cover_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rgb, "STRIP_PIXELS", 30)
    assert list(strips((7, 10))) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(strips((2, 100))) == [slice(0, 1), slice(1, 2)]
    assert list(strips((0, 10))) == []


def test_sixteen_bit_colours_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose red and blue OpenCV has the other way round."""
    monkeypatch.setattr(rgb, "STRIP_PIXELS", 35)
    for bands in (3, 4):
        values = numbers("uint16", bands, 65536)
        values[..., 3:] = 65535
        order = cv2.COLOR_RGB2BGR if bands == 3 else cv2.COLOR_RGBA2BGRA
        file = cv2.imencode(".png", cv2.cvtColor(values, order))[1].tobytes()
        assert np.array_equal(read_photo(file), values[..., :3] >> 8)


def test_what_is_rgb_already_is_not_copied() -> None:
    pixels = numbers("uint8", 3, 256)
    assert to_rgb(pixels) is pixels
    pixels.setflags(write=False)
    assert to_rgb(pixels) is not pixels


@pytest.mark.parametrize("orientation", range(10))
def test_upright_as_pillow_does_it(orientation: int) -> None:
    pixels = numbers("uint8", 3, 256)
    turns = Image.Transpose
    turn = {
        **{2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM},
        **{5: turns.TRANSPOSE, 6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90},
    }.get(orientation)
    image = Image.fromarray(pixels)
    expected = np.asarray(image if turn is None else image.transpose(turn))
    found = upright(pixels, orientation)
    assert np.array_equal(found, expected) and found.flags.c_contiguous and found.flags.writeable
