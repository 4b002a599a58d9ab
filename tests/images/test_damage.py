"""Damage: what a format can tell is refused, what is sound for all its oddity is read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fuzzing import examples
from ovsam.errors import PhotoError
from ovsam.images.damage import _lzw_size
from ovsam.images.read import check_whole, read_photo, read_photo_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
ADAM7 = (*PASSES, (0, 1, 1, 2))  # x, y, step in x, step in y


def picture(height: int = 21, width: int = 30) -> NDArray[np.uint8]:
    """A slope with noise, so that no codec makes it all one block."""
    y, x = np.mgrid[:height, :width]
    slope = np.stack([x * 255 // width, y * 255 // height, 80 + 90 * (x > width // 2)], -1)
    noise = np.random.default_rng(0).integers(-9, 10, slope.shape)
    return (slope + noise).clip(0, 255).astype(np.uint8)


RGB = picture()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    code = kind + content
    return struct.pack(">I", len(content)) + code + struct.pack(">I", zlib.crc32(code))


def png(*chunks: bytes, rows: bytes | None = None, ihdr: bytes | None = None) -> bytes:
    """A PNG of RGB, with chunks between its header and its pixels."""
    height, width, _ = RGB.shape
    unpacked = b"".join(b"\0" + row.tobytes() for row in RGB) if rows is None else rows
    header = ihdr or struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(unpacked)))
    return SIGNATURE + b"".join(parts) + chunk(b"IEND", b"")


def interlaced(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows = b""
    for x, y, step_x, step_y in ADAM7:
        part = pixels[y::step_y, x::step_x]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    return png(rows=rows, ihdr=struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))


def assert_refused(data: bytes, reason: str = ".") -> None:
    with pytest.raises(PhotoError, match=reason) as caught:
        read_photo(data)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    with pytest.raises(PhotoError, match=reason):
        check_whole(data)


# PNG


@pytest.mark.parametrize("step", [1, 2])
def test_a_png_with_any_byte_missing_or_changed_is_refused(step: int) -> None:
    data = encoded(Image.fromarray(RGB[:6, :8, 0] // 16), "PNG")
    for place in range(8, len(data) - 12):
        assert_refused(data[:place] + data[place + step :])
        assert_refused(data[:place] + bytes([data[place] ^ step]) + data[place + 1 :])


def test_big_or_broken_metadata_do_not_cost_the_photo() -> None:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x/>" * 750_000, zip=True)
    text.add_text("history", "x" * 3_000_000, zip=True)
    data = encoded(Image.fromarray(RGB), "PNG", pnginfo=text, icc_profile=bytes(3_000_000))
    assert np.array_equal(read_photo(data), RGB)
    wrong = chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?"
    unknown = chunk(b"prIv", b"1234")
    bomb = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(50_000_000)))
    assert np.array_equal(read_photo(png(wrong, unknown, bomb, chunk(b"zTXt", b"\0"))), RGB)


def test_metadata_that_turn_a_photo_must_be_sound() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(RGB), "PNG", exif=exif)
    start = data.index(b"eXIf")
    for place in range(start, start + 20):
        assert_refused(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], "checksum")


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 1), (8, 8), (9, 17), (21, 30)])
def test_interlaced(shape: tuple[int, int]) -> None:
    pixels = np.ascontiguousarray(RGB[: shape[0], : shape[1]])
    assert np.array_equal(read_photo(interlaced(pixels)), pixels)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits(bits: int) -> None:
    values = RGB[..., 0] >> (8 - bits)
    image = Image.fromarray(values).convert("P")
    image.putpalette([channel for value in range(256) for channel in (value, 255 - value, 7)])
    photo = read_photo(encoded(image, "PNG", bits=bits))
    assert np.array_equal(photo, np.stack([values, 255 - values, np.full_like(values, 7)], -1))


def test_pixels_must_fill_the_size_exactly() -> None:
    height, width, _ = RGB.shape
    rows = b"".join(b"\0" + row.tobytes() for row in RGB)
    assert np.array_equal(read_photo(png(rows=rows)), RGB)
    assert_refused(png(rows=rows[:-1]), "its pixels are fewer than its size says")
    assert_refused(png(rows=rows + b"\0"), "its pixels are more than its size says")
    for size in ((width, height - 1), (width - 1, height), (width, height + 1)):
        assert_refused(png(ihdr=struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)), "its pixels are")


def test_the_stream_must_end_with_its_checksum() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in RGB)
    whole = png(rows=rows)
    packed = zlib.compress(rows)
    for spoilt, reason in ((packed[:-1] + bytes([packed[-1] ^ 1]), "broken"), (packed[:-4], "end")):
        data = whole.replace(chunk(b"IDAT", packed), chunk(b"IDAT", spoilt))
        assert_refused(data, f"its compressed pixels (are|have no) {reason}")
    split = chunk(b"IDAT", packed[:9]) + chunk(b"IDAT", b"") + chunk(b"IDAT", packed[9:])
    assert np.array_equal(read_photo(whole.replace(chunk(b"IDAT", packed), split)), RGB)


def test_chunks_out_of_place() -> None:
    data = png()
    assert_refused(data[:-12], "it ends before its last chunk")
    assert_refused(data[:8] + data[33:], "its header is not where it belongs")
    assert_refused(png(chunk(b"IHDR", data[16:29])), "its header is not where it belongs")
    assert_refused(data[:33] + chunk(b"IEND", b""), "it has no pixels")
    ihdr = struct.pack(">IIBBBBB", 30, 21, 8, 3, 0, 0, 0)
    assert_refused(png(ihdr=ihdr), "its palette is missing")
    assert_refused(
        png(chunk(b"CgBI", b"1234")), r"a PNG with an extension \('CgBI'\), .* supported"
    )


# JPEG


def jpeg(**options: Any) -> bytes:
    large = Image.fromarray(RGB).resize((90, 63))
    return encoded(large, "JPEG", **({"quality": 92} | options))


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": "4:4:4"}),
        *({"keep_rgb": True}, {"subsampling": "4:1:1"}, {"optimize": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_sound_jpegs_give_what_pillow_gives(mode: str, options: dict[str, Any]) -> None:
    if mode != "RGB" and ("keep_rgb" in options or "subsampling" in options):
        pytest.skip("of colours alone")
    data = encoded(Image.fromarray(RGB).convert(mode), "JPEG", quality=90, **options)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(read_photo(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str
)
def test_a_jpeg_whose_code_runs_out_or_is_left_over(options: dict[str, Any]) -> None:
    data = jpeg(**options)
    end = data.rindex(b"\xff\xd9")
    assert_refused(data[: end - 60] + data[end:], "premature end|parts are not in order")
    assert_refused(data[:end] + bytes(range(1, 90)) + data[end:], "extraneous bytes")
    assert_refused(data[:end], "it has no end|it ends early")
    few = data[:end] + b"\0" * 4 + data[end:]  # some cameras write an even number of bytes
    assert np.array_equal(read_photo(few), read_photo(data))
    junk = data[:20] + b"\0" * 4 + data[20:]  # before the second segment
    assert np.array_equal(read_photo(junk), read_photo(data))


def test_restart_markers_in_order() -> None:
    data = jpeg(restart_marker_rows=1)
    first, second = data.index(b"\xff\xd0"), data.index(b"\xff\xd1")
    assert_refused(data[:first] + data[second:], "its parts are not in order")


def test_many_scans_of_a_large_size_are_not_decoded() -> None:
    data = jpeg(progressive=True)
    frame, scan = data.index(b"\xff\xc2"), data.index(b"\xff\xda")
    large = data[: frame + 5] + struct.pack(">HH", 8000, 8000) + data[frame + 9 : scan]
    assert_refused(
        large + data[scan : scan + 14] * 50 + b"\xff\xd9", r"has \d+ scans of 64,000,000"
    )


@pytest.mark.parametrize(("place", "value"), [(4, 12), (9, 2)])
def test_a_jpeg_that_no_decoder_knows_is_called_unsupported(place: int, value: int) -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + place] = value  # 12 bits, two colours
    with pytest.raises(PhotoError, match=r"rare kind .* not supported\. Save it as a PNG or JPEG"):
        read_photo(bytes(data))


# The others


def test_a_gif_whose_code_ends_early_or_goes_on() -> None:
    data = encoded(Image.fromarray(RGB).quantize(64), "GIF")
    assert len(read_photo(data)) == len(RGB)
    screen, start = data.index(b"\x2c\0\0\0\0"), len(data)
    for height in (20, 22):
        sized = data[: screen + 7] + struct.pack("<H", height) + data[screen + 9 : start]
        assert_refused(sized, "its pixels do not fill its size")
    assert_refused(data[:-3], "it ends early")
    assert np.array_equal(read_photo(data[:-1]), read_photo(data))  # but for the last byte


@pytest.mark.parametrize(("codes", "size"), [(b"\xaa", -1), (b"\0", 4)])
def test_a_gif_whose_code_has_no_end_is_not_followed(codes: bytes, size: int) -> None:
    """It begins anew for ever, or has more colours than pixels."""
    content = iter(codes * 10_000)
    assert _lzw_size(content, bits=1, limit=1) == size
    assert next(content, None) is not None, "the rest is left unread"


def test_a_gif_of_many_pictures_is_read_up_to_its_end() -> None:
    frames = [Image.fromarray(np.roll(RGB, i, 0)).quantize(16) for i in range(4)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(read_photo(data), np.asarray(frames[0].convert("RGB")))
    assert_refused(data[: len(data) * 2 // 3], "it ends early")


def test_a_webp_is_as_long_as_it_says() -> None:
    data = encoded(Image.fromarray(RGB), "WEBP", lossless=True)
    assert_refused(data[:-1], "no pixels that can be read")
    assert_refused(data[:30] + data[31:], "no pixels that can be read")


def test_a_bmp_holds_all_its_rows() -> None:
    data = encoded(Image.fromarray(RGB), "BMP")
    assert_refused(data[:-1], "it ends before its last row")
    wide = struct.pack("<IiiHHIIiiII", 40, 2**26, 1, 1, 8, 1, 4, 0, 0, 2, 0)
    head = b"BM" + struct.pack("<IHHI", 66, 0, 0, 62) + wide
    assert_refused(head + bytes(8) + b"\0\0\0\1", "it is too short for its size")


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_box_that_leaves_the_file(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(Image.fromarray(RGB), kind)
    assert_refused(data[:-1], "it ends early")
    assert np.array_equal(read_photo(data), np.asarray(Image.open(io.BytesIO(data))))


def test_what_a_decoder_quotes_of_the_file_is_shown_in_print() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (33, 21))).save(file)  # odd sizes are cut out of even ones
    data = file.getvalue()
    assert b"clap" in data
    with pytest.raises(PhotoError, match=r"'cl\?p'") as caught:
        read_photo(data.replace(b"clap", b"cl\x17p"))
    assert str(caught.value).isprintable()


# All formats


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def heic() -> bytes:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(RGB)).save(file, quality=90, exif=turned().tobytes())
    return file.getvalue()


def _save(kind: str, **options: Any) -> Callable[[], bytes]:
    return lambda: encoded(Image.fromarray(RGB), kind, **options)


SOUND: dict[str, Callable[[], bytes]] = {
    "JPEG": _save("JPEG", exif=turned()),
    "JPEG, progressive": _save("JPEG", progressive=True),
    "JPEG, restarts": _save("JPEG", restart_marker_rows=1),
    "MPO": lambda: encoded(
        Image.fromarray(RGB), "MPO", save_all=True, append_images=[Image.fromarray(RGB)]
    ),
    "PNG": _save("PNG", exif=turned()),
    "PNG, interlaced": lambda: interlaced(RGB),
    "PNG, palette": lambda: encoded(Image.fromarray(RGB).quantize(9), "PNG", transparency=2),
    "PNG, 16 bits": lambda: encoded(Image.fromarray(RGB[..., 0] * np.uint16(257)), "PNG"),
    "WebP": _save("WEBP", exif=turned()),
    "WebP, lossless": _save("WEBP", lossless=True),
    "GIF": lambda: encoded(Image.fromarray(RGB).quantize(64), "GIF"),
    "BMP": _save("BMP"),
    "TIFF": _save("TIFF", exif=turned()),
    "TIFF, LZW": _save("TIFF", compression="tiff_lzw"),
    "TIFF, deflate": _save("TIFF", compression="tiff_adobe_deflate"),
    "AVIF": _save("AVIF", exif=turned()),
    "HEIC": heic,
}
CHECKED = frozenset(kind for kind in SOUND if kind.startswith("PNG"))


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """A file with some bits turned, bytes taken away, added or repeated, numbers put, or cut."""
    spoilt = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, min(len(spoilt), 300)) | st.integers(0, len(spoilt)))
        match draw(st.sampled_from(["flip", "number", "take", "add", "repeat", "cut"])):
            case "flip":
                spoilt[at : at + 1] = bytes(
                    b ^ 1 << draw(st.integers(0, 7)) for b in spoilt[at:][:1]
                )
            case "number":
                number = draw(st.sampled_from([0, 1, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1]))
                order = draw(st.sampled_from(["<I", ">I"]))
                spoilt[at : at + 4] = struct.pack(order, number)
            case "take":
                del spoilt[at : at + draw(st.sampled_from([1, 2, 16, 400]))]
            case "add":
                spoilt[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "repeat":
                spoilt[at:at] = spoilt[at : at + draw(st.sampled_from([1, 12, 100]))]
            case "cut":
                del spoilt[at:]
    return bytes(spoilt)


@pytest.mark.parametrize("kind", SOUND)
def test_from_a_path_as_from_bytes(kind: str, tmp_path: Path) -> None:
    data = SOUND[kind]()
    path = tmp_path / "photo"
    path.write_bytes(data)
    photo = read_photo(data)
    assert np.array_equal(read_photo(path), photo)
    assert read_photo_size(path) == check_whole(path) == photo.shape[:2]
    with path.open("rb") as file:
        assert np.array_equal(read_photo(file), photo)


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.fuzz
@given(data=st.data())
@settings(
    max_examples=examples(60),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_damage_gives_a_photo_or_one_sentence(kind: str, data: st.DataObject) -> None:
    sound = SOUND[kind]()
    spoilt = data.draw(damage(sound))
    try:
        photo = read_photo(spoilt)
    except PhotoError as error:
        assert "\n" not in str(error) and str(error).endswith(".")
        with pytest.raises(PhotoError):
            check_whole(spoilt)
        return
    assert photo.dtype == np.uint8
    assert photo.shape == (*read_photo_size(spoilt), 3)
    assert check_whole(spoilt) == photo.shape[:2]
    if kind in CHECKED:
        assert np.array_equal(photo, read_photo(sound)), "a checksum tells"
