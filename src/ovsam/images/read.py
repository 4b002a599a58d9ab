"""Reads a photo as a person sees it: upright, eight bits, RGB, or one clear error."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ovsam.errors import PhotoError
from ovsam.formats.label_map import map_numbers
from ovsam.geometry import DEFAULT_MAX_PIXELS as DEFAULT_MAX_PIXELS
from ovsam.images.damage import (
    PNG_SIGNATURE,
    DamagedError,
    UnsupportedError,
    check_bmp,
    check_gif,
    check_heif,
    read_jpeg,
    read_png,
    webp_size,
)
from ovsam.images.rgb import strips, to_rgb, upright
from ovsam.images.tiff import Tiff

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif"),
)
"""In lower case: what the names of photos in a folder end in."""

_FORMATS = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"

# How decoders call a file that is sound, but not for them.
_NOT_SUPPORTED = re.compile(r"[Uu]nsupported|not installed|cannot handle \d+-(bit|layer)")

_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True)
class _Stored:
    """A picture as its file holds it, before any pixel is decoded.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.
        orientation: EXIF's 1..8, how to turn it.
        pixels: checks the whole file and decodes it, as stored: an image of Pillow, or numbers
            `(H, W)` or `(H, W, 3 or 4)`, a fourth being opacity.
    """

    width: int
    height: int
    orientation: int
    pixels: Callable[[], Image.Image | NDArray[Any]]

    @property
    def upright_size_hw(self) -> tuple[int, int]:
        """(H, W) of the photo as a person sees it."""
        on_its_side = self.orientation in _ON_ITS_SIDE
        return (self.width, self.height) if on_its_side else (self.height, self.width)


def read_photo(
    source: str | Path | bytes | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read a photo and turn it upright.

    The EXIF orientation is applied, transparency is laid on white, an animation gives its first
    frame, and more than eight bits are scaled to eight: a photo of 16 bits in which nothing is
    brighter than 1,023, 4,095 or 16,383 is taken as one of 10, 12 or 14 bits. The size is checked
    before any pixel is decoded.

    A damaged file is refused wherever its format tells: PNG by its checksums; all others by their
    length, by the structure of the file and by codes that break, but without compression, and
    where the changed code is a code, too, damaged pixels are pixels (see `ovsam.images.damage`).

    Args:
        source: a path, the bytes of a file, or a file opened in binary mode.
        max_pixels: photos of more pixels than this are refused.

    Returns:
        `(H, W, 3)` RGB, writable.

    Raises:
        PhotoError: there is no such file, it is not a whole image of a known format, or its kind
            is not supported.
    """
    file, name = _opened(source, "Photo")
    with file as opened:
        stored = _stored(opened, name, max_pixels)
        with np.errstate(invalid="ignore"):  # real numbers may be no numbers
            rgb = to_rgb(_decode(stored, name))
    return upright(rgb, stored.orientation)


def read_photo_size(source: str | Path | bytes | BinaryIO) -> tuple[int, int]:
    """(H, W) of a photo as `read_photo` would give it, from its header alone.

    Raises:
        PhotoError: there is no such file, it is no image of a known format, or it has more than
            `DEFAULT_MAX_PIXELS`.
    """
    file, name = _opened(source, "Photo")
    with file as opened:
        return _stored(opened, name, DEFAULT_MAX_PIXELS).upright_size_hw


def check_whole(source: str | Path | bytes | BinaryIO) -> tuple[int, int]:
    """Refuse what `read_photo` refuses, by reading it; a promise needs no less.

    Returns:
        (H, W) of the photo.

    Raises:
        PhotoError: as `read_photo`.
    """
    height, width, _ = read_photo(source).shape
    return height, width


def read_label_map(path: Path) -> NDArray[np.generic]:
    """The numbers of a picture of masks `(H, W)`, see `label_map.map_numbers`.

    It is checked for damage as a photo is.

    Raises:
        PhotoError: there is no such file, it is damaged, or it has more than `DEFAULT_MAX_PIXELS`.
    """
    file, name = _opened(path, "Mask")
    with file as opened:
        pixels = _decode(_stored(opened, name, DEFAULT_MAX_PIXELS), name)
    if isinstance(pixels, Image.Image):
        return map_numbers(pixels)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]  # grey saved as colour
    if pixels.ndim != 2:
        raise PhotoError(
            f"{name} must have one number for each pixel, got {pixels.shape[2]} of {pixels.dtype}. "
            "Save it as PNG."
        )
    return pixels


def _opened(
    source: str | Path | bytes | BinaryIO, what: str
) -> tuple[AbstractContextManager[BinaryIO], str]:
    """The file, which is closed only if it was opened here, and how messages call it."""
    if isinstance(source, (str, Path)):
        name = f"{what} {str(source)!r}"  # one line, whatever a file is called
        return _open_file(Path(source), name), name
    name = f"The {what.lower()}"
    data = source if isinstance(source, (bytes, bytearray, memoryview)) else source.read()
    if isinstance(data, str):
        raise PhotoError(f"{name} is a file opened in text mode. Open it in binary mode ('rb').")
    return nullcontext(io.BytesIO(data)), name


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


def _stored(file: BinaryIO, name: str, max_pixels: int) -> _Stored:
    """Read the header, hence the size, but no pixels."""
    head = file.read(64)
    file.seek(0)
    if not head:
        raise PhotoError(f"{name} is empty (zero bytes). Copy or download it again.")
    open_ = _opener(head)
    if open_ is None:
        raise PhotoError(f"{name} is not an image that ovsam reads. Give a {_FORMATS} file.")

    def check_size(width: int, height: int) -> None:
        if width * height > max_pixels:
            raise PhotoError(
                f"{name} has {width} x {height} = {width * height:,} pixels, the limit is "
                f"{max_pixels:,}. If you trust the file, raise the limit with --max-pixels."
            )

    try:
        if open_ is _open_webp:  # whose reader takes memory for its canvas when it opens
            check_size(*webp_size(head))
        with _without_warnings():
            stored = open_(file)
    except PhotoError:
        raise  # from `check_size`
    except UnsupportedError as error:
        raise _unsupported(name, error) from error
    except Image.DecompressionBombError as error:
        # Pillow's own limit, which its WebP and GIF readers check while they open.
        raise PhotoError(
            f"{name} has too many pixels, the limit is {max_pixels:,} ({_reason(error)}). If you "
            "trust the file, save it as PNG or JPEG and raise the limit with --max-pixels."
        ) from error
    except Exception as error:  # decoders raise all kinds on damaged files
        if _NOT_SUPPORTED.search(str(error)):
            kind = UnsupportedError(f"an image of a rare kind ({_reason(error)})")
            raise _unsupported(name, kind) from error
        raise PhotoError(
            f"{name} starts like an image but has no pixels that can be read "
            f"({_reason(error)}). It may be damaged or cut short: copy or download it again."
        ) from error
    check_size(stored.width, stored.height)
    return stored


def _decode(stored: _Stored, name: str) -> Image.Image | NDArray[Any]:
    try:
        with _without_warnings():
            pixels = stored.pixels()
    except UnsupportedError as error:
        raise _unsupported(name, error) from error
    except Exception as error:
        raise PhotoError(
            f"{name} is damaged or cut short ({_reason(error)}). Copy or download it again."
        ) from error
    size = pixels.size if isinstance(pixels, Image.Image) else pixels.shape[1::-1]
    if size != (stored.width, stored.height):
        raise PhotoError(
            f"{name} is damaged: its header says {stored.width} x {stored.height} pixels, and it "
            f"has {size[0]} x {size[1]}. Copy or download it again."
        )
    return pixels


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of odd metadata and of its own limit, in lines for programmers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unsupported(name: str, error: UnsupportedError) -> PhotoError:
    return PhotoError(f"{name} is {error}, which is not supported. {error.remedy}.")


def _opener(head: bytes) -> Callable[[BinaryIO], _Stored] | None:
    """What reads files that begin so.

    Readers are called directly instead of `Image.open`, for two reasons. That one checks the size
    against a global of Pillow, which a library must not change and cannot ignore; and it tries some
    forty formats, among them ones that start other programs.
    """
    if head.startswith(b"\xff\xd8\xff"):  # an MPO (two views of a phone) gives its main view
        return _open_jpeg
    if head.startswith(PNG_SIGNATURE):
        return _open_png
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _open_tiff
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _open_webp
    if head.startswith((b"GIF87a", b"GIF89a")):
        return partial(_of_pillow, reader=GifImageFile, check=check_gif)
    if head.startswith(b"BM"):
        return partial(_of_pillow, reader=BmpImageFile, check=check_bmp)
    if head[4:8] == b"ftyp":
        brands = head[8 : max(12, min(64, int.from_bytes(head[:4], "big")))]
        if b"avif" in brands or b"avis" in brands:
            return partial(_of_pillow, reader=AvifImageFile, check=check_heif)
        if any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")):
            return _open_heic
    return None


def _of_pillow(
    file: BinaryIO,
    reader: Callable[[BinaryIO], ImageFile],
    check: Callable[[bytes], None] = lambda _: None,
) -> _Stored:
    image = reader(file)

    def pixels() -> Image.Image:
        file.seek(0)
        check(file.read())
        file.seek(0)
        image = reader(file)
        image.load()
        return image

    return _Stored(*image.size, _orientation(image), pixels)


def _open_jpeg(file: BinaryIO) -> _Stored:
    image = JpegImageFile(file)

    def pixels() -> Image.Image | NDArray[Any]:
        file.seek(0)
        data = file.read()
        decoded = read_jpeg(data)
        if decoded is not None:
            return decoded
        image = JpegImageFile(io.BytesIO(data))
        image.load()
        return image

    return _Stored(*image.size, _orientation(image), pixels)


def _open_webp(file: BinaryIO) -> _Stored:
    return _of_pillow(file, WebPImageFile)


def _open_heic(file: BinaryIO) -> _Stored:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnsupportedError(
            "a HEIC photo",
            "Install the package that reads it by "
            f"'{sys.executable} -m pip install pillow-heif', or save it as JPEG",
        ) from error
    return _of_pillow(file, HeifImageFile, check_heif)  # which turns it upright itself


def _open_png(file: BinaryIO) -> _Stored:
    header = read_png(file, whole=False)
    try:
        orientation = _orientation(PngImageFile(io.BytesIO(header.file(with_texts=True))))
    except Exception:  # texts too large or broken
        orientation = _orientation(PngImageFile(io.BytesIO(header.file(with_texts=False))))

    def pixels() -> Image.Image | NDArray[Any]:
        data = read_png(file, whole=True).file(with_texts=False)
        if header.depth == 16 and header.colour:  # Pillow would give the upper eight bits
            values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if values is None or values.dtype != np.uint16 or values.ndim != 3:
                raise DamagedError("its pixels cannot be decoded")
            order = cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
            for rows in strips((header.height, header.width)):
                values[rows] = cv2.cvtColor(values[rows], order)
            return values
        image = PngImageFile(io.BytesIO(data))
        image.load()
        return image

    return _Stored(header.width, header.height, orientation, pixels)


def _open_tiff(file: BinaryIO) -> _Stored:
    tiff = Tiff.read(file)
    tiff.pieces()

    def pixels() -> Image.Image | NDArray[Any]:
        file.seek(0)
        data = file.read()
        tiff.check(data)
        return tiff.pixels(data)

    height, width = tiff.size_hw
    return _Stored(width, height, tiff.orientation, pixels)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)  # a decoder quotes the file


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; upright (1) where the photo has none or its EXIF is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) else 1
