"""What can be told about damage in a photo's file before its pixels are believed.

Decoders forgive much: they show what they can of a damaged photo. A mask or a measurement needs the
opposite, so whatever a format says about itself is held against the file here. Each function names
what its format cannot tell.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray


class DamagedError(Exception):
    """The file contradicts itself or ends early; the message is a phrase, such as "no end"."""


class UnsupportedError(Exception):
    """A sound file of a kind that is not read.

    Attributes:
        remedy: a phrase that says what to do.
    """

    def __init__(self, kind: str, remedy: str = "Save it as a PNG or JPEG of 8 bits") -> None:
        """Say which kind of file it is, such as "a camera's raw file"."""
        super().__init__(kind)
        self.remedy = remedy


# PNG

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples of a pixel
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_INTERLACED = (*_PASSES, (0, 1, 1, 2))  # x, y, step in x, step in y of Adam7's seven pictures
# Chunks that change no pixel: a wrong checksum in one costs nothing.
_IGNORED = frozenset(
    b"tEXt zTXt iTXt iCCP gAMA cHRM sRGB cICP mDCV cLLI sBIT bKGD hIST pHYs sPLT tIME oFFs pCAL "
    b"sCAL sTER acTL fcTL fdAT caBX iDOT vpAg prVW mkBF mkTS mkBS mkBT npOl npTc gIFg gIFx".split()
)
_TURNING_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # may say what is up
_INFLATED_AT_ONCE = 2**20


class Png(NamedTuple):
    """A PNG reduced to what makes its pixels.

    Attributes:
        width: in pixels, as stored.
        height: in pixels, as stored.
        depth: bits of a sample.
        colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        head: the chunks up to the pixels, with EXIF that stood behind them.
        texts: text chunks that may say how the photo is turned.
        pixels: the chunks of pixels, each with length and checksum; empty unless asked for.
    """

    width: int
    height: int
    depth: int
    colour: int
    head: bytes
    texts: bytes
    pixels: bytes

    def file(self, *, with_texts: bool) -> bytes:
        """As a PNG file; without pixels where they were not asked for."""
        return b"".join(
            (
                PNG_SIGNATURE,
                self.head,
                self.texts if with_texts else b"",
                self.pixels or _chunk(b"IDAT", b""),
                _chunk(b"IEND", b""),
            )
        )


def read_png(file: BinaryIO, *, whole: bool) -> Png:
    """Read a PNG and check all that makes its pixels.

    Every checksum (CRC-32) of a chunk that pixels depend on, the end of the compressed stream and
    its checksum (Adler-32), and that it fills the picture exactly: no damage to pixels passes,
    but for one in four billion. Metadata are dropped, however large or broken, and so is what
    follows the end.

    Args:
        file: a binary file at its start.
        whole: whether to read the pixels; if not, they are passed over.

    Raises:
        DamagedError: something is wrong or missing.
        UnsupportedError: the file needs an extension of the format.
    """
    file.seek(len(PNG_SIGNATURE))
    head: list[bytes] = []
    late: list[bytes] = []
    texts: list[bytes] = []
    parts: list[bytes] = []
    header: tuple[int, ...] | None = None
    seen: set[bytes] = set()
    for kind, content, sound in _chunks(file, whole):
        if not sound and (kind not in _IGNORED or content.startswith(_TURNING_TEXTS)):
            raise DamagedError(f"the checksum of its chunk {_named(kind)} is wrong")
        if (kind == b"IHDR") == bool(seen):
            raise DamagedError("its header is not where it belongs")
        seen.add(kind)
        if kind == b"IHDR":
            header = _png_header(content)
            head.append(_chunk(kind, content))
        elif kind == b"IDAT":
            parts.append(content)
        elif kind in (b"PLTE", b"tRNS"):
            head.append(_chunk(kind, content))
        elif kind == b"eXIf":
            late.append(_chunk(kind, content))
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and sound and content.startswith(_TURNING_TEXTS):
            texts.append(_chunk(kind, content))
        elif kind[:1].isupper() and kind != b"IEND":
            raise UnsupportedError(f"a PNG with an extension ({_named(kind)})")
    if header is None or b"IDAT" not in seen:
        raise DamagedError("it has no pixels")
    width, height, depth, colour, interlaced = header
    if colour == 3 and b"PLTE" not in seen:
        raise DamagedError("its palette is missing")
    pixels = b""
    if whole:
        _check_inflated(parts, _png_bytes(width, height, depth * _BANDS[colour], bool(interlaced)))
        pixels = b"".join(_chunk(b"IDAT", part) for part in parts)
    return Png(width, height, depth, colour, b"".join(head + late), b"".join(texts), pixels)


def _chunks(file: BinaryIO, whole: bool) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, content and whether the checksum is right, up to the chunk that ends the file."""
    while True:
        start = file.read(8)
        if len(start) < 8:
            raise DamagedError("it ends before its last chunk")
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if length >= 2**31 or not kind.isalpha():
            raise DamagedError(f"{_named(kind)} is no chunk of a PNG")
        if kind == b"IDAT" and not whole:
            file.seek(length + 4, 1)
            yield kind, b"", True
            continue
        content, code = file.read(length), file.read(4)
        if len(code) < 4:
            raise DamagedError("it ends within a chunk")
        yield kind, content, zlib.crc32(content, zlib.crc32(kind)) == int.from_bytes(code, "big")
        if kind == b"IEND":
            return


def _chunk(kind: bytes, content: bytes) -> bytes:
    code = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", code)))


def _named(kind: bytes) -> str:
    return repr(kind.decode("latin-1"))


def _png_header(content: bytes) -> tuple[int, int, int, int, int]:
    if len(content) != 13:
        raise DamagedError("its header has a wrong length")
    width, height, depth, colour, compression, filters, interlaced = struct.unpack(
        ">IIBBBBB", content
    )
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise DamagedError(f"its header says {width} x {height} pixels")
    if depth not in _DEPTHS.get(colour, ()) or compression or filters or interlaced > 1:
        raise DamagedError("its header is not one of a PNG")
    return width, height, depth, colour, interlaced


def _png_bytes(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of all rows, each with a byte before it that says how it is filtered."""
    total = 0
    for x, y, step_x, step_y in _INTERLACED if interlaced else ((0, 0, 1, 1),):
        columns = max(0, -(-(width - x) // step_x))
        rows = max(0, -(-(height - y) // step_y))
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def _check_inflated(parts: list[bytes], size: int) -> None:
    got = inflated_size(parts, size)
    if got != size:
        raise DamagedError(f"its pixels are {'more' if got > size else 'fewer'} than its size says")


def inflated_size(parts: list[bytes], limit: int) -> int:
    """Bytes that a zlib stream in parts unpacks to; a little more than `limit` where it is more.

    Raises:
        DamagedError: it does not end, or its checksum is wrong.
    """
    inflater, size = zlib.decompressobj(), 0
    try:
        for part in parts:
            while part and not inflater.eof and size <= limit:
                most = min(_INFLATED_AT_ONCE, limit - size + 1)
                size += len(inflater.decompress(part, most))
                part = inflater.unconsumed_tail
        while not inflater.eof and size <= limit:
            more = inflater.decompress(b"", _INFLATED_AT_ONCE)
            if not more:
                break
            size += len(more)
    except zlib.error as error:
        raise DamagedError("its compressed pixels are broken") from error
    if not inflater.eof and size <= limit:
        raise DamagedError("its compressed pixels have no end")
    return size


# JPEG

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SCANS = 16  # a progressive photo has about ten; more are a matter of its size
_MOST_SCANNED = 2**31  # pixels times scans, each of which is a pass over all pixels
_PADDING = 16  # bytes that some cameras leave before the end, or between parts of the header
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x(d9|e.|fe|db|c0|c2|dd)")


def read_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a JPEG, refusing one whose code is not whole from its first bit to its last.

    The format has no checksums. Damage shows where the code breaks, runs out, or leaves bytes
    over, and where restart markers are not in order; changed bits that happen to be another code
    of the same length give other pixels and cannot be told. What follows the end is ignored: more
    pictures (MPO), a film, a camera's notes.

    Args:
        data: the file.

    Returns:
        `(H, W, 3)` RGB, the same as Pillow's; None where Pillow has to decode it, which forgives:
        four colours (checked here), a few bytes left over, and kinds that are not known here.

    Raises:
        DamagedError: something is wrong or missing.
        UnsupportedError: it is of a kind that no decoder here knows.
    """
    check_markers(data)
    try:
        if simplejpeg.decode_jpeg_header(data, strict=False)[2] in ("CMYK", "YCCK"):
            simplejpeg.decode_jpeg(data, "CMYK", min_factor=8, strict=True)
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
        return pixels
    except ValueError as error:
        reason = str(error)
        over = _LEFT_OVER.search(reason)
        if reason.startswith("Corrupt JPEG data: ") and (over is None or int(over[1]) > _PADDING):
            raise DamagedError(reason.removeprefix("Corrupt JPEG data: ")) from error
        if reason.startswith(("Unsupported JPEG process", "Unsupported JPEG data precision")):
            raise UnsupportedError(f"a JPEG of a rare kind ({reason})") from error
        return None


def check_markers(data: bytes) -> None:
    """Check that a JPEG's segments follow each other up to its end, without decoding.

    Raises:
        DamagedError: something is missing or not in order.
    """
    at, scans, within_scan, expected, size = 2, 0, False, 0, 0
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise DamagedError("it has no end")
        marker, at = found[1][0], found.end()
        if marker == 0xD9:
            return
        if 0xD0 <= marker <= 0xD7:
            if within_scan and marker - 0xD0 != expected:
                raise DamagedError("its parts are not in order")
            expected = (marker - 0xD0 + 1) % 8
            continue
        if marker in (0x01, 0xD8):
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise DamagedError("it ends within its header" if not scans else "it ends early")
        if marker in _FRAMES and length >= 7:
            height, width = struct.unpack(">HH", data[at + 3 : at + 7])
            size = max(size, height * width)
        at += length
        if marker == 0xDA:
            scans, within_scan, expected = scans + 1, True, 0
            if scans > _SCANS and scans * size > _MOST_SCANNED:
                raise DamagedError(f"it has {scans} scans of {size:,} pixels")


# WebP, GIF, BMP, HEIC and AVIF


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height of the canvas of a WebP, from the first 30 bytes of the file.

    The rest is left to its decoder, libwebp, which refuses what is shorter than it says and code
    that breaks. The format has no checksums: other changed bits give other pixels.

    Raises:
        DamagedError: they are none of a WebP.
    """
    kind = head[12:16]
    if len(head) >= 30 and kind == b"VP8X":
        return (
            int.from_bytes(head[24:27], "little") + 1,
            int.from_bytes(head[27:30], "little") + 1,
        )
    if len(head) >= 25 and kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(head) >= 30 and kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        return (
            int.from_bytes(head[26:28], "little") & 0x3FFF,
            int.from_bytes(head[28:30], "little") & 0x3FFF,
        )
    raise DamagedError("its header is not one of a WebP")


def check_gif(data: bytes) -> None:
    """Check that a GIF's first picture is whole, and all blocks up to the last.

    The format has no checksums: changed bits give other pixels and cannot be told, unless they
    leave too few or too many of them.

    Raises:
        DamagedError: something is wrong or missing.
    """
    pictures = 0
    at = 13 + _colours(data[10:11])
    while at < len(data) and data[at] != 0x3B:
        block, at = data[at], at + 1
        if block == 0x2C:
            width, height = struct.unpack("<HH", data[at + 4 : at + 8].ljust(4, b"\0"))
            code_at = at + 9 + _colours(data[at + 8 : at + 9])
            content, at = _sub_blocks(data, code_at + 1)
            if pictures == 0:
                pixels = width * height
                if code_at >= len(data) or _lzw_size(content, data[code_at], pixels) != pixels:
                    raise DamagedError("its pixels do not fill its size")
            pictures += 1
        elif block == 0x21:
            _, at = _sub_blocks(data, at + 1)
        elif block:
            raise DamagedError("it has a block of no known kind")
    if not pictures:
        raise DamagedError("it has no picture")


def _colours(flags: bytes) -> int:
    """Bytes of the colours that follow."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _sub_blocks(data: bytes, at: int) -> tuple[bytes, int]:
    parts: list[bytes] = []
    while True:
        if at >= len(data):
            raise DamagedError("it ends early")
        length, at = data[at], at + 1
        if not length:
            return b"".join(parts), at
        parts.append(data[at : at + length])
        at += length


def _lzw_size(content: Iterable[int], bits: int, limit: int) -> int:
    """Pixels that the code of a GIF unpacks to, up to a little more than `limit`; -1 for none."""
    if not 1 <= bits <= 11:
        return -1
    clear, end = 1 << bits, (1 << bits) + 1
    lengths = [1] * clear + [0, 0]  # of what a code stands for
    width, previous, size, pool, pool_bits, cleared = bits + 1, 0, 0, 0, 0, 0
    for byte in content:
        if size > limit:
            break
        pool |= byte << pool_bits
        pool_bits += 8
        while pool_bits >= width:
            code = pool & (1 << width) - 1
            pool >>= width
            pool_bits -= width
            if code == clear:
                cleared += 1
                if cleared > limit + 4096:
                    return -1
                del lengths[end + 1 :]
                width, previous = bits + 1, 0
                continue
            if code == end:
                return size
            if code < len(lengths):
                length = lengths[code]
            elif code == len(lengths) and previous:
                length = previous + 1
            else:
                return -1
            size += length
            if previous and len(lengths) < 4096:
                lengths.append(previous + 1)
                if len(lengths) == 1 << width and width < 12:
                    width += 1
            previous = length
    return size


_MOST_BMP_PIXELS = 4096  # for a byte of its runs; they hold 127, but may leave rows out


def check_bmp(data: bytes) -> None:
    """Check that an uncompressed BMP holds as many bytes as its size needs.

    The format has no checksums: changed bytes give other pixels and cannot be told.

    Raises:
        DamagedError: it ends early.
    """
    (start, header) = struct.unpack("<II", data[10:18].ljust(8, b"\0"))
    if header < 40 or len(data) < 54:
        return  # the old kind of OS/2: the reader says whether it is whole
    width, height, _, bits, compression = struct.unpack("<iiHHI", data[18:34])
    if compression in (1, 2) and width * abs(height) > _MOST_BMP_PIXELS * len(data):
        raise DamagedError("it is too short for its size")
    if compression in (0, 3) and start + -(-width * bits // 32) * 4 * abs(height) > len(data):
        raise DamagedError("it ends before its last row")


def check_heif(data: bytes) -> None:
    """Check that the boxes of a HEIC or AVIF lie within the file.

    The formats have no checksums: changed bits within the pixels often break the code, which the
    decoder then says, and else give other pixels and cannot be told. What follows the boxes is
    ignored.

    Raises:
        DamagedError: it ends early.
    """
    at, seen = 0, set[bytes]()
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        header = 8
        if length == 1:
            length, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + length if length else len(data)
        if (length and length < header) or end > len(data):
            if seen >= {b"meta", b"mdat"} and kind not in (b"meta", b"mdat"):
                return  # no box: what somebody has put behind the file
            raise DamagedError("it ends early")
        seen.add(kind)
        at = end
    if b"meta" not in seen and b"moov" not in seen:
        raise DamagedError("it has no description of its pixels")
