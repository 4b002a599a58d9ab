"""TIFF: every arrangement of samples gives its pixels; what is not read is called unsupported."""

from __future__ import annotations

import ctypes
import io
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, _imaging

from fuzzing import examples
from ovsam.errors import PhotoError
from ovsam.images.read import read_photo, read_photo_size

RGB: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (37, 45, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    """As tifffile writes it."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def with_tag(data: bytes, tag: int, value: int, kind: int = 4) -> bytes:
    """A plain TIFF with one number of its first directory changed."""
    changed = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", data, place)[0] == tag:
            number = struct.pack(order + {3: "HH", 4: "I"}[kind], *[value, 0][: 5 - kind])
            struct.pack_into(order + "HI4s", changed, place + 2, kind, 1, number)
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


def compressed(compression: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "TIFF", compression=compression, **options)
    return file.getvalue()


# What is read


@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), (">", False), (">", True)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rowsperstrip": 8},
        {"tile": (16, 32)},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "rowsperstrip": 8},
        {"compression": "zlib", "predictor": True, "tile": (16, 32)},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int32", "float32", "float64"])
def test_every_arrangement(
    kind: str, options: dict[str, Any], planar: str, bigtiff: bool, byteorder: str
) -> None:
    if kind.startswith("float") and "predictor" in options:
        pytest.skip("tifffile needs more packages to write it; OpenCV does, below")
    scale = {"uint16": 257, "float32": 1 / 255, "float64": 1 / 255}.get(kind, 1)
    values = (RGB.astype(float) * scale).astype(kind)
    whole = options | {"bigtiff": bigtiff, "byteorder": byteorder}
    stored = values.transpose(2, 0, 1) if planar == "separate" else values
    data = tiff(stored, photometric="rgb", planarconfig=planar, **whole)
    assert np.array_equal(read_photo(data), RGB)
    assert read_photo_size(data) == RGB.shape[:2]
    if planar == "contig":
        grey = read_photo(tiff(values[..., 0], photometric="minisblack", **whole))
        assert np.array_equal(grey, np.dstack([GREY] * 3))


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_what_opencv_writes(kind: str, predictor: int) -> None:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[kind]
    options = [cv2.IMWRITE_TIFF_PREDICTOR, predictor] if kind != "float32" else []
    done, file = cv2.imencode(".tif", (RGB[..., ::-1].astype(float) * scale).astype(kind), options)
    assert done
    assert np.array_equal(read_photo(file.tobytes()), RGB)


def test_floating_point_predictor() -> None:
    done, file = cv2.imencode(
        ".tif", (RGB[..., ::-1] / 255).astype(np.float32), [cv2.IMWRITE_TIFF_PREDICTOR, 3]
    )
    assert done
    assert np.array_equal(read_photo(file.tobytes()), RGB)


@pytest.mark.parametrize(
    "compression",
    ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "raw"],
)
@pytest.mark.parametrize("rows", [None, 8])
def test_lossless_compressions(compression: str, rows: int | None) -> None:
    info = {} if rows is None else {278: rows}
    assert np.array_equal(read_photo(compressed(compression, tiffinfo=info)), RGB)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax(compression: str) -> None:
    file = io.BytesIO()
    Image.fromarray(GREY > 99).save(file, "TIFF", compression=compression)
    assert np.array_equal(read_photo(file.getvalue())[..., 0] == 255, GREY > 99)


def test_jpeg_within() -> None:
    smooth = cv2.GaussianBlur(RGB, (0, 0), 6)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "TIFF", compression="jpeg", quality=95)
    assert np.abs(read_photo(file.getvalue()).astype(int) - smooth).mean() < 4


def test_white_may_be_zero() -> None:
    for values in (GREY, GREY * np.uint16(257)):
        photo = read_photo(tiff(values, photometric="miniswhite"))
        assert np.array_equal(photo[..., 0], 255 - GREY)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_opacity(kind: type[np.generic]) -> None:
    white: Any = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[kind]
    pixel = np.zeros((4, 4, 4), kind)
    pixel[..., 1] = white
    pixel[2:, :, 3] = white
    for extra, expected in (("unassalpha", 255), ("assocalpha", 255), ("unspecified", 0)):
        shown = read_photo(tiff(pixel, photometric="rgb", extrasamples=[extra]))
        assert shown[3, 0].tolist() == [0, 255, 0]
        if extra == "assocalpha":
            continue  # colours brighter than their opacity are none
        assert shown[0, 0].tolist() == [expected, 255, expected]


def test_four_colours_of_sixteen_bits() -> None:
    values = np.zeros((4, 4, 4), np.uint16)
    values[..., 1:3] = 65535
    photo = read_photo(tiff(values, photometric="separated"))
    assert np.abs(photo.astype(int) - [255, 0, 0]).max() < 6


def test_colours_in_planes_of_their_own_are_not_mixed_up() -> None:
    lab = np.zeros((4, 4, 3), np.uint8)
    lab[..., 0] = 255
    photo = read_photo(tiff(lab.transpose(2, 0, 1), photometric="cielab", planarconfig="separate"))
    assert photo.min() > 240


def test_signed_numbers() -> None:
    values = np.array([[-100, 0, 100]], np.int16)
    assert read_photo(tiff(values))[0, :, 0].tolist() == [0, 128, 255]
    assert read_photo(tiff(np.array([[0, 100]], np.int8)))[0, :, 0].tolist() == [0, 100]


def test_real_numbers_that_are_none() -> None:
    """Also those that processors signal of, which numpy warns of."""
    values = np.zeros((1, 4), np.uint32)
    values[0] = [0x7FA00000, 0x7F800000, 0x3F800000, 0]  # signalling, infinite, 1, 0
    assert read_photo(tiff(values.view(np.float32)))[0, :, 0].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize(
    "compression",
    ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "raw"],
)
def test_bits_may_be_stored_the_last_first(compression: str) -> None:
    data = bytearray(compressed(compression, tiffinfo={266: 1}))
    strip = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    start, end = strip.dataoffsets[0], strip.dataoffsets[0] + strip.databytecounts[0]
    data[start:end] = [int(f"{byte:08b}"[::-1], 2) for byte in data[start:end]]
    assert np.array_equal(read_photo(with_tag(bytes(data), 266, 2, kind=3)), RGB)


def test_more_pages_and_more_bands() -> None:
    assert np.array_equal(read_photo(tiff(np.stack([RGB, RGB[::-1]]), photometric="rgb")), RGB)
    five = np.dstack([RGB, RGB[..., :2]])
    data = tiff(five, photometric="rgb", extrasamples=["unspecified", "unspecified"])
    assert np.array_equal(read_photo(data), RGB)


def test_lengths_may_be_left_out_where_they_follow() -> None:
    data = tiff(RGB, photometric="rgb")
    (start,) = struct.unpack_from("<I", data, 4)
    at = data.index(struct.pack("<HH", 279, 4), start)
    spoilt = data[:at] + struct.pack("<H", 280) + data[at + 2 :]
    assert np.array_equal(read_photo(spoilt), RGB)


@pytest.mark.parametrize(
    "data",
    [
        tiff(np.zeros((8, 8, 7), np.uint8), photometric="minisblack", planarconfig="contig"),
        tiff(np.zeros((8, 8), np.complex64)),
        tiff(np.zeros((8, 8, 3), np.uint16), photometric="cielab"),
        with_tag(tiff(RGB, photometric="rgb"), 259, 50001),
        tiff(RGB > 99, photometric="rgb"),
        with_tag(tiff(RGB, photometric="rgb"), 262, 32844),
    ],
)
def test_the_rest_is_called_unsupported(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    message = r"is a TIFF .* not supported\. Save it as a PNG or JPEG of 8 bits\.$"
    with pytest.raises(PhotoError, match=message):
        read_photo(data)
    assert not caplog.records, "one sentence, and none of Pillow's"


# What is refused


def test_the_checksum_of_deflate_finds_every_changed_byte() -> None:
    data = compressed("tiff_adobe_deflate")
    strip = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    start, length = strip.dataoffsets[0], strip.databytecounts[0]
    for place in range(start, start + length, 7):
        spoilt = bytearray(data)
        spoilt[place] ^= 0x10
        with pytest.raises(PhotoError, match="damaged or cut short"):
            read_photo(bytes(spoilt))


@pytest.mark.parametrize("tag", [256, 257, 258, 277])
@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate", "packbits"])
def test_a_header_that_does_not_fit_its_pixels(compression: str, tag: int) -> None:
    value = {256: 44, 257: 36, 258: 4, 277: 4}[tag]
    with pytest.raises(PhotoError):
        read_photo(with_tag(compressed(compression), tag, value, kind=3))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((273, 10**6), "a strip of it is not within the file"),
        ((273, 0), "a strip of it is not within the file"),
        ((279, 10**6), "a strip of it is not within the file"),
        ((278, 1), "it needs 37 strips or tiles and has 1"),
        ((259, 0), "a TIFF with compression 0"),
        ((256, 0), "its header says 0 x 37 pixels"),
        ((284, 7), "its arrangement of samples is none"),
    ],
)
def test_numbers_that_cannot_be(change: tuple[int, int], sentence: str) -> None:
    with pytest.raises(PhotoError, match=sentence):
        read_photo(with_tag(compressed("raw"), *change))


@pytest.mark.parametrize("size", [(1, 2**27), (2**27, 1), (45, 2_900_000), (11585, 11585)])
@pytest.mark.parametrize("rows", [1, 2**31 - 1])
@pytest.mark.parametrize(
    "compression",
    ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3"],
)
def test_a_few_bytes_that_promise_many_pixels_are_not_decoded(
    compression: str, rows: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(GREY > 99) if compression == "group3" else Image.fromarray(RGB)
    picture.save(file, "TIFF", compression=compression)
    data = with_tag(with_tag(with_tag(file.getvalue(), 256, size[0]), 257, size[1]), 278, rows)
    if compression == "group3" and size[0] > 1000:
        pytest.skip("a fax may be of white alone: a few bytes, and wide")
    monkeypatch.setattr("PIL.Image.core.new", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(PhotoError, match=r"needs|cannot hold|not within|not hold"):
        read_photo(data)


def test_what_libtiff_complains_of_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    if not hasattr(ctypes.CDLL(_imaging.__file__), "TIFFSetErrorHandler"):
        pytest.skip("libtiff is no shared library here")
    fax = io.BytesIO()
    Image.fromarray(GREY > 99).save(fax, "TIFF", compression="group4")
    for data, reason in ((fax.getvalue(), "Bad code word"), (compressed("tiff_lzw"), "table|data")):
        spoilt = bytearray(data)
        middle = len(data) // 2
        spoilt[middle : middle + 8] = b"\xff" * 8
        with pytest.raises(PhotoError, match=reason):
            read_photo(bytes(spoilt))
    assert capfd.readouterr().err == ""


def shared_strips(rows: int, strip: bytes, compression: int) -> bytes:
    """One byte wide; all its strips of one row are the same bytes."""
    at = 8 + len(strip) + len(strip) % 2
    entries = [
        *((256, 4, 1, 1), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, compression)),
        *((262, 3, 1, 1), (273, 4, rows, at), (278, 4, 1, 1), (279, 4, rows, at + 4 * rows)),
    ]
    return b"".join(
        (
            struct.pack("<2sHI", b"II", 42, at + 8 * rows),
            strip.ljust(at - 8, b"\0"),
            struct.pack(f"<{rows}I", *[8] * rows),
            struct.pack(f"<{rows}I", *[len(strip)] * rows),
            struct.pack("<H", len(entries)),
            *(struct.pack("<HHII", *entry) for entry in entries),
            bytes(4),
        )
    )


def test_strips_may_share_bytes_that_are_few() -> None:
    assert read_photo(shared_strips(40, b"\0\7", 32773))[:, 0, 0].tolist() == [7] * 40
    # Bytes without a meaning before the pixel, to be read again for each row.
    many = shared_strips(40, b"\x80" * 10_000 + b"\0\7", 32773)
    with pytest.raises(PhotoError, match="strips of it are shared that cannot be"):
        read_photo_size(many)


def test_very_many_strips_are_not_looked_at() -> None:
    with pytest.raises(PhotoError, match=r"is a TIFF of 262,145 strips or tiles, which is not"):
        read_photo_size(shared_strips(2**18 + 1, b"\0\7", 32773))


def test_a_directory_without_end_and_one_that_follows_itself() -> None:
    data = compressed("raw")
    (start,) = struct.unpack_from("<I", data, 4)
    spoilt = bytearray(data)
    struct.pack_into("<H", spoilt, start, 0xFFFF)
    with pytest.raises(PhotoError, match="its directory of 65,535 tags"):
        read_photo(bytes(spoilt))
    (count,) = struct.unpack_from("<H", data, start)
    looped = bytearray(data)
    struct.pack_into("<I", looped, start + 2 + 12 * count, start)
    assert np.array_equal(read_photo(bytes(looped)), RGB)


KINDS: tuple[Callable[[], bytes], ...] = (
    lambda: tiff(RGB, photometric="rgb", tile=(16, 16)),
    lambda: tiff(RGB, photometric="rgb", compression="zlib", predictor=True),
    lambda: tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    lambda: tiff(GREY.astype(np.uint16), bigtiff=True),
    lambda: tiff((RGB / 255).astype(np.float32), photometric="rgb", byteorder=">"),
    lambda: compressed("tiff_lzw", tiffinfo={278: 8, 317: 2}),
    lambda: compressed("jpeg"),
    lambda: compressed("packbits"),
)


@given(st.sampled_from(KINDS), st.integers(0, 200), st.integers(0, 255), st.data())
@pytest.mark.fuzz
@settings(max_examples=examples(200), derandomize=True, deadline=None)
def test_any_damage_is_refused_or_leaves_the_size_that_is_said(
    made: Callable[[], bytes], place: int, value: int, data: st.DataObject
) -> None:
    spoilt = bytearray(made())
    spoilt[place] = value
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(spoilt)))
        spoilt[at : at + 1] = data.draw(st.binary(max_size=2))
    try:
        photo = read_photo(bytes(spoilt), max_pixels=10**6)
    except PhotoError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    else:
        assert photo.shape == (*read_photo_size(bytes(spoilt)), 3)
