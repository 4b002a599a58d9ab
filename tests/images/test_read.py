"""Reading photos: every kind comes out upright, eight bits, RGB; every bad one is one sentence."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ovsam.errors import PhotoError
from ovsam.images.read import (
    DEFAULT_MAX_PIXELS,
    PHOTO_SUFFIXES,
    check_whole,
    read_label_map,
    read_photo,
    read_photo_size,
)

COLOURS = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), fill=st.nothing()
)
ORIENTED = {  # EXIF orientation -> how a camera stores an upright picture
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(height: int = 24, width: int = 36) -> NDArray[np.uint8]:
    """A smooth picture with an edge, so that JPEG keeps it nearly as it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, 80 + 90 * (x > width // 2)], -1).astype(
        np.uint8
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    code = kind + data
    return struct.pack(">I", len(data)) + code + struct.pack(">I", zlib.crc32(code))


def png_of(rows: bytes, width: int, height: int, depth: int = 8, *ihdr: int) -> bytes:
    """A PNG of unpacked rows, RGB unless said otherwise."""
    colour, interlaced = ihdr or (2, 0)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    return png_of(bytes(10), width, height)


# What can be read


@given(COLOURS)
def test_lossless_files_keep_every_pixel(pixels: NDArray[np.uint8]) -> None:
    image = Image.fromarray(pixels)
    for kind, options in (
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ):
        photo = read_photo(encoded(image, kind, **options))
        assert photo.dtype == np.uint8 and photo.flags.c_contiguous
        assert np.array_equal(photo, pixels), kind


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {}), ("GIF", {})]
)
def test_lossy_files_are_close(kind: str, options: dict[str, Any]) -> None:
    photo = read_photo(encoded(Image.fromarray(picture()), kind, **options))
    assert photo.shape == (24, 36, 3)
    assert np.abs(photo.astype(int) - picture()).mean() < 12


def test_sources(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(picture()))
    path = tmp_path / "größe 1.photo"  # the content decides, not the name
    path.write_bytes(data)
    with path.open("rb") as file:
        sources: list[Any] = [path, str(path), data, io.BytesIO(data), bytearray(data), file]
        for source in sources:
            assert np.array_equal(read_photo(source), picture())
        assert not file.closed


def turned(kind: str, pixels: NDArray[np.uint8], orientation: int) -> bytes:
    """A file of a format that stores an upright picture as a camera held otherwise does."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(ORIENTED[orientation](pixels)))
    if kind == "HEIC":
        heif = pytest.importorskip("pillow_heif")
        file = io.BytesIO()
        made = heif.from_pillow(stored)
        made.save(file, quality=95, chroma=444, exif=exif.tobytes())
        return file.getvalue()
    if kind == "PNG, EXIF at its end":
        head, mid, end = encoded(stored).partition(b"\0\0\0\0IEND")
        return head + png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + mid + end
    if kind.startswith("TIFF, "):
        return encoded(stored, "TIFF", exif=exif, compression=kind.removeprefix("TIFF, "))
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    }
    return encoded(stored, kind, exif=exif, **options.get(kind, {}))


@pytest.mark.parametrize("orientation", sorted(ORIENTED))
@pytest.mark.parametrize(
    "kind",
    [
        *("JPEG", "PNG", "PNG, EXIF at its end", "TIFF", "TIFF, tiff_lzw"),
        *("TIFF, tiff_adobe_deflate", "WEBP", "AVIF", "HEIC"),
    ],
)
def test_every_orientation_of_every_format(kind: str, orientation: int) -> None:
    data = turned(kind, picture(), orientation)
    photo = read_photo(data)
    assert photo.shape == picture().shape
    assert read_photo_size(data) == picture().shape[:2]
    assert check_whole(data) == picture().shape[:2]
    off = np.abs(photo.astype(int) - picture()).mean()
    assert off < 5 if kind in ("JPEG", "AVIF", "HEIC") else off == 0


@given(COLOURS, st.sampled_from(sorted(ORIENTED)), st.sampled_from(["PNG", "TIFF", "WEBP"]))
def test_any_turned_picture(pixels: NDArray[np.uint8], orientation: int, kind: str) -> None:
    data = turned(kind, pixels, orientation)
    assert np.array_equal(read_photo(data), pixels)
    assert read_photo_size(data) == pixels.shape[:2]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientation_without_meaning_is_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert np.array_equal(read_photo(encoded(Image.fromarray(picture()), exif=exif)), picture())


@pytest.mark.parametrize("exif", [b"Exif\x00\x00II*\x00", b"Exif\x00\x00garbage!", b"Exif\x00\x00"])
def test_damaged_exif_does_not_cost_the_photo(exif: bytes) -> None:
    photo = read_photo(encoded(Image.fromarray(picture()), "JPEG", exif=exif))
    assert np.array_equal(photo, read_photo(encoded(Image.fromarray(picture()), "JPEG")))


def test_damaged_exif_in_the_text_of_a_png() -> None:
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 8\nno hexadecimal")
    photo = read_photo(encoded(Image.fromarray(picture()), pnginfo=text))
    assert np.array_equal(photo, picture())


@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 8), st.integers(1, 8))))
@settings(max_examples=50)
def test_sixteen_bit_grey_is_divided_by_257(values: NDArray[np.uint16]) -> None:
    values[0, 0] |= 2**15  # it uses its range
    expected = np.rint(values / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        photo = read_photo(encoded(Image.fromarray(values), kind))
        assert np.array_equal(photo, np.stack([expected] * 3, -1))
    swapped = Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes())
    assert np.array_equal(read_photo(encoded(swapped, "TIFF"))[..., 0], expected)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_a_sensor_of_fewer_bits_is_not_nearly_black(kind: str, bits: int, bands: int) -> None:
    white = 2**bits - 1
    values = np.zeros((2, 3, bands), np.uint16)
    values[..., :3] = white // 2
    values[0, 0, :3] = white
    values[0, 1, :3] = 0
    values[..., 3:] = 65535  # opaque
    done, file = cv2.imencode(kind, values)
    assert done
    grey = read_photo(file.tobytes())
    assert (grey == grey[..., :1]).all()
    assert grey[..., 0].tolist() == [[255, 0, 127], [127] * 3]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_colours_are_their_upper_eight(kind: str) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (9, 11, 3), dtype=np.uint16)
    done, file = cv2.imencode(".png" if kind == "PNG" else ".tif", values[..., ::-1])
    assert done
    assert np.array_equal(read_photo(file.tobytes()), values >> 8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 10**6]], np.int32), [0, 255]),
        (np.array([[7, 7]], np.int32), [7, 7]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 200]], np.float32), [0, 100, 200]),
        (np.array([[0, np.nan, 1, np.inf, -np.inf]], np.float32), [0, 0, 255, 255, 0]),
        (np.array([[np.nan, np.nan]], np.float32), [0, 0]),
        (np.array([[-5, -5]], np.float32), [0, 0]),
        (np.array([[-3e38, 3e38]], np.float32), [0, 255]),
    ],
)
def test_wide_integers_and_real_numbers(values: NDArray[Any], expected: list[int]) -> None:
    photo = read_photo(encoded(Image.fromarray(values), "TIFF"))
    assert photo[0, :, 0].tolist() == expected
    assert (photo == photo[..., :1]).all()


def test_grey_and_black_and_white() -> None:
    grey = picture()[..., 0]
    assert np.array_equal(read_photo(encoded(Image.fromarray(grey)))[..., 2], grey)
    bits = Image.fromarray((grey > 99).astype(np.uint8) * 255).convert("1")
    assert np.array_equal(read_photo(encoded(bits))[..., 1] == 255, grey > 99)


def test_palette() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    for kind in ("PNG", "GIF", "BMP"):
        assert read_photo(encoded(image, kind)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_transparent_palette_is_laid_on_white(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    photo = read_photo(encoded(image, transparency=transparency))
    assert photo.tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (0, 0, 0, 51), [204, 204, 204]),
        ("LA", (40, 0), [255, 255, 255]),
        ("LA", (40, 255), [40, 40, 40]),
        ("LA", (0, 51), [204, 204, 204]),
    ],
)
def test_alpha_is_laid_on_white(mode: str, pixel: tuple[int, ...], expected: list[int]) -> None:
    photo = read_photo(encoded(Image.new(mode, (3, 2), pixel)))
    assert (photo == expected).all() and photo.shape == (2, 3, 3)


def test_transparent_colour_of_an_rgb_png() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    photo = read_photo(encoded(image, transparency=(1, 2, 3)))
    assert photo.tolist() == [[[255, 255, 255], [9, 9, 9]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    photo = read_photo(encoded(Image.new("CMYK", (16, 8), (0, 255, 255, 0)), kind))
    assert np.abs(photo.astype(int) - [255, 0, 0]).max() < 6


def test_lab() -> None:
    photo = read_photo(encoded(Image.new("LAB", (4, 2), (255, 128, 128)), "TIFF"))
    assert photo.shape == (2, 4, 3)
    assert photo.min() >= 250  # white, but for what colour management rounds


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    photo = read_photo(data)
    assert photo.shape == (10, 20, 3)
    assert (photo == [255, 0, 0]).all()


@pytest.mark.parametrize("suffix", [".HEIC", ".Avif", ".JPE", ".jfif", ".heif", ".TIFF"])
def test_suffixes_of_photos(suffix: str) -> None:
    assert suffix.lower() in PHOTO_SUFFIXES


def test_heic() -> None:
    photo = read_photo(turned("HEIC", picture(), 1))
    assert np.abs(photo.astype(int) - picture()).mean() < 5


def test_without_its_reader_a_heic_photo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = turned("HEIC", picture(), 1)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = r"The photo is a HEIC photo, .* -m pip install pillow-heif', or save it as JPEG\.$"
    for read in (read_photo, read_photo_size):
        with pytest.raises(PhotoError, match=message):
            read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIC"])
def test_what_follows_the_end_is_ignored(kind: str) -> None:
    image = Image.fromarray(picture())
    data = turned(kind, picture(), 1) if kind == "HEIC" else encoded(image, kind)
    for more in (b"\0", b"what a camera adds", bytes(1000), data):
        assert np.array_equal(read_photo(data + more), read_photo(data))


def test_label_maps_are_numbers(tmp_path: Path) -> None:
    values = np.arange(300, dtype=np.uint16).reshape(15, 20)
    Image.fromarray(values).save(tmp_path / "wide.png")
    assert np.array_equal(read_label_map(tmp_path / "wide.png"), values)
    cv2.imwrite(str(tmp_path / "colour.png"), np.dstack([values] * 3))
    assert np.array_equal(read_label_map(tmp_path / "colour.png"), values)
    cv2.imwrite(str(tmp_path / "wide.tif"), values)
    assert np.array_equal(read_label_map(tmp_path / "wide.tif"), values)


# What cannot


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"Photo '.*no\.png' does not exist\. Check the path"):
        read_photo(tmp_path / "no.png")


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "no\x1b[31m\n.png"
    with pytest.raises(PhotoError, match=r"/no\\x1b\[31m\\n\.png' does not exist"):
        read_photo(path)
    path.write_bytes(b"text")
    with pytest.raises(PhotoError, match=r"/no\\x1b\[31m\\n\.png' is not an image"):
        read_photo(path)


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"is a directory\. Give the path of one image file"):
        read_photo(str(tmp_path))


def test_null_byte_and_endless_name() -> None:
    with pytest.raises(PhotoError, match="cannot be read: embedded null byte"):
        read_photo("a\0b.png")
    with pytest.raises(PhotoError, match="cannot be read"):
        read_photo("x" * 10_000)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(Image.fromarray(picture())))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    if os.name != "posix" or os.geteuid() == 0:  # to whom no file is closed
        monkeypatch.setattr(Path, "open", refuse)
    else:
        path.chmod(0)
    with pytest.raises(PhotoError, match=r"secret\.png' may not be read\. Check its permissions"):
        read_photo(path)


def test_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(PhotoError, match=r"empty\.jpg' is empty \(zero bytes\)"):
        read_photo(path)
    with pytest.raises(PhotoError, match=r"The photo is empty \(zero bytes\)"):
        read_photo(b"")


@pytest.mark.parametrize(
    "data", [b"<html></html>", b"\x00" * 100, b"%!PS-Adobe EPSF", b"RIFF1234WAVE"]
)
def test_not_an_image(data: bytes) -> None:
    message = r"is not an image that ovsam reads\. Give a JPEG, PNG, .*GIF, AVIF or HEIC file"
    with pytest.raises(PhotoError, match=message):
        read_photo(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.9])
def test_truncated(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(
        PhotoError, match=r"damaged or cut short.*opy or download it again"
    ) as caught:
        read_photo(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        png_header(0, 5),
        b"BM" + struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, 0, 4, 1, 24) + bytes(24),
    ],
)
def test_no_pixels(data: bytes) -> None:
    with pytest.raises(PhotoError, match="has no pixels that can be read"):
        read_photo(data)


def test_text_file_object() -> None:
    with pytest.raises(PhotoError, match="text mode"):
        read_photo(io.StringIO("x"))  # type: ignore[arg-type]


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    message = (
        r"The photo has 60000 x 60000 = 3,600,000,000 pixels, the limit is 134,217,728\. "
        r"If you trust the file, raise the limit with --max-pixels"
    )
    with pytest.raises(PhotoError, match=message):
        read_photo(png_header(60000, 60000))
    with pytest.raises(PhotoError, match=message):
        read_photo_size(png_header(60000, 60000))
    (tmp_path / "mask.png").write_bytes(png_header(60000, 60000))
    with pytest.raises(PhotoError, match=r"Mask .*mask.png' has 60000 x 60000 = 3,600,000,000"):
        read_label_map(tmp_path / "mask.png")
    assert DEFAULT_MAX_PIXELS == 134_217_728


def test_too_many_pixels_in_a_webp() -> None:
    canvas = (16383 - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + canvas
    data = b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    message = r"16383 x 16383 = 268,402,689 pixels, the limit is 134,217,728\. .*--max-pixels"
    for read in (read_photo, read_photo_size):
        with pytest.raises(PhotoError, match=message):
            read(data)


def test_limit_is_a_parameter_and_inclusive() -> None:
    data = encoded(Image.fromarray(picture(10, 20)))
    assert read_photo(data, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(PhotoError, match=r"20 x 10 = 200 pixels, the limit is 199\."):
        read_photo(data, max_pixels=199)


def test_pillows_own_limit_neither_interferes_nor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Image.open would refuse 800 pixels
    for kind in ("JPEG", "PNG", "BMP", "TIFF", "GIF"):
        data = encoded(Image.fromarray(picture(20, 40)), kind)
        assert read_photo(data).shape == (20, 40, 3), kind
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.undo()
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(os.name != "posix", reason="needs a named pipe")
def test_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (tmp_path / "photo.png").write_bytes(encoded(Image.fromarray(picture())))
    copy = "import sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read())"
    with subprocess.Popen([sys.executable, "-c", copy, tmp_path / "photo.png", path]):
        assert np.array_equal(read_photo(path), picture())
