"""Reads a photo as a person sees it: upright, eight bits, RGB, or one clear error."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ovsam.errors import PhotoError
from ovsam.label_map import map_numbers

DEFAULT_MAX_PIXELS = 128 * 2**20
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif")
"""In lower case: what the names of photos in a folder end in."""


class _TiffImageFile(TiffImageFile):
    """Pillow's TIFF reader without its check of a global limit; `_decode` has checked ours."""

    def load_prepare(self) -> None:
        # Newer versions of Pillow give a rotated TIFF the size of the upright picture.
        stored_size = getattr(self, "_tile_size", self.size)
        self.im = Image.new(self.mode, stored_size).im
        super().load_prepare()


# Called directly instead of `Image.open`, for two reasons. That one checks the size against a
# global of Pillow, which a library must not change and cannot ignore; and it tries some forty
# formats, among them ones that start other programs.
_READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),  # an MPO (two views of a phone) gives its main view
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"II*\x00", _TiffImageFile),
    (b"MM\x00*", _TiffImageFile),
    (b"II+\x00", _TiffImageFile),
    (b"MM\x00+", _TiffImageFile),
    (b"BM", BmpImageFile),
)
# How files that are not cut short begin and, but for what some cameras put behind it, end.
_ENDS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))
_FORMATS = "JPEG, PNG, WebP, BMP, TIFF or GIF"

# What Pillow's decoders raise on damaged files; SyntaxError is theirs, not Python's.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_UPRIGHT = {  # EXIF orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)
_ORIENTATION_TAG = 0x0112


def read_photo(
    source: str | Path | bytes | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read a photo and turn it upright.

    The EXIF orientation is applied, transparency is laid on white, an animation gives its first
    frame, and more than eight bits are scaled to eight. The size is checked before any pixel is
    decoded.

    Args:
        source: a path, the bytes of a file, or a file opened in binary mode.
        max_pixels: photos of more pixels than this are refused.

    Returns:
        `(H, W, 3)` RGB.

    Raises:
        PhotoError: there is no such file, or it is not a whole image of a known format.
    """
    if isinstance(source, (str, Path)):
        name = f"Photo '{source}'"
        with _open_file(Path(source), name) as file:
            return _decode(file, name, max_pixels)
    name = "The photo"
    data = source if isinstance(source, (bytes, bytearray, memoryview)) else source.read()
    if isinstance(data, str):
        raise PhotoError(f"{name} is a file opened in text mode. Open it in binary mode ('rb').")
    return _decode(io.BytesIO(data), name, max_pixels)


def read_photo_size(source: str | Path | bytes | BinaryIO) -> tuple[int, int]:
    """(H, W) of a photo as `read_photo` would give it, from its header alone.

    Raises:
        PhotoError: there is no such file, or it is no image of a known format.
    """
    if isinstance(source, (str, Path)):
        name = f"Photo '{source}'"
        with _open_file(Path(source), name) as file:
            return _size(file, name)
    data = source if isinstance(source, bytes) else source.read()
    return _size(io.BytesIO(data), "The photo")


def check_whole(source: Path | bytes) -> None:
    """Refuse a photo that is cut short; only one that does not end as its format does is decoded.

    Raises:
        PhotoError: there is no such file, or it is damaged.
    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else _open_file(source, f"'{source}'")
    with opened as file:
        start = file.read(8)
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - 8))
        end = file.read()
    if not any(start.startswith(first) and end.endswith(last) for first, last in _ENDS):
        read_photo(source)


def read_label_map(path: Path) -> NDArray[np.generic]:
    """The numbers of a picture of masks `(H, W)`, see `label_map.map_numbers`.

    Raises:
        PhotoError: there is no such file, or it is damaged.
    """
    name = f"Mask '{path}'"
    with _open_file(path, name) as file:
        image = _open_image(file, name, DEFAULT_MAX_PIXELS)
        try:
            image.load()
        except _DECODER_ERRORS as error:
            raise PhotoError(f"{name} is damaged or cut short ({_reason(error)}).") from error
    return map_numbers(image)


def _size(file: BinaryIO, name: str) -> tuple[int, int]:
    image = _open_image(file, name, DEFAULT_MAX_PIXELS)
    width, height = image.size
    return (width, height) if _orientation(image) in _ON_ITS_SIDE else (height, width)


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        file = path.open("rb")
        if file.seekable():
            return file
        with file:
            return io.BytesIO(file.read())  # a pipe is read at once
    except FileNotFoundError as error:
        raise PhotoError(f"{name} does not exist. Check the path.") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{name} is a directory. Give the path of one image file.") from error
    except PermissionError as error:
        raise PhotoError(f"{name} may not be read. Check its permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise PhotoError(f"{name} cannot be read: {error}.") from error


def _decode(file: BinaryIO, name: str, max_pixels: int) -> NDArray[np.uint8]:
    image = _open_image(file, name, max_pixels)
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError(
            f"{name} has {width} x {height} = {width * height:,} pixels, the limit is "
            f"{max_pixels:,}. If you trust the file, raise the limit with --max-pixels."
        )
    try:
        image.load()
    except _DECODER_ERRORS as error:
        raise PhotoError(
            f"{name} is damaged or cut short ({_reason(error)}). Copy or download it again."
        ) from error
    return np.asarray(_upright(_to_rgb(image), _orientation(image)))


def _open_image(file: BinaryIO, name: str, max_pixels: int) -> ImageFile:
    """Read the header, hence the size, but no pixels."""
    head = file.read(16)
    file.seek(0)
    if not head:
        raise PhotoError(f"{name} is empty (zero bytes). Copy or download it again.")
    reader = next((reader for magic, reader in _READERS if head.startswith(magic)), None)
    if reader is None or (reader is WebPImageFile and head[8:12] != b"WEBP"):
        raise PhotoError(f"{name} is not an image that ovsam reads. Give a {_FORMATS} file.")
    try:
        return reader(file)
    except Image.DecompressionBombError as error:
        # Pillow's own limit, which its WebP and GIF readers check while they open.
        raise PhotoError(
            f"{name} has too many pixels, the limit is {max_pixels:,} ({_reason(error)}). If you "
            "trust the file, save it as PNG or JPEG and raise the limit with --max-pixels."
        ) from error
    except _DECODER_ERRORS as error:
        raise PhotoError(
            f"{name} starts like an image but has no pixels that can be read "
            f"({_reason(error)}). It may be damaged or cut short: copy or download it again."
        ) from error


def _reason(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale grey values `(H, W)` of more than eight bits to 0..255.

    16-bit values are divided by 257, so that 65535 is white. Wider integers and real numbers
    have no agreed white: the narrowest of the ranges 0..1 (real), 0..255 and 0..65535 that holds
    them is taken, and where none does, their own minimum is black and their maximum white.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    whites = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    white = next((white for white in whites if high <= white), None)
    if low >= 0 and white is not None:
        low, high = 0.0, white
    real = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    scaled: NDArray[np.float64] = (real - low) / max(high - low, np.finfo(np.float64).tiny) * 255
    return np.rint(scaled).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; upright (1) where the photo has none or its EXIF is damaged.

    To be asked after decoding: a PNG may carry it at its end, and Pillow turns a TIFF itself.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODER_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transpose = _UPRIGHT.get(orientation)
    return image if transpose is None else image.transpose(transpose)
