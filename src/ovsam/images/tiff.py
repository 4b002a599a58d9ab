"""The first picture of a TIFF: what its directory says, held against the file, and its samples.

Pillow (through libtiff) decodes. What it is given is a file with one new directory of the few tags
that make pixels, so that nothing else in a hostile file is ever followed; and samples wider than
eight bits, which it does not know in most arrangements, are fetched as plain bytes.
"""

from __future__ import annotations

import ctypes
import io
import lzma
import math
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, _imaging
from PIL.TiffImagePlugin import TiffImageFile

from ovsam.images.damage import DamagedError, UnsupportedError, check_markers, inflated_size

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_LENGTH = 284, 317, 320, 322, 323
TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING = 324, 325, 338, 339, 530
_RAW_OF_A_CAMERA = 50706  # DNG: the first picture is a thumbnail
# All that pixels are made of: those above, options of the fax codes, inks, tables of JPEG and what
# the old kind of JPEG says, coefficients and reference colours of YCbCr.
_READ = frozenset(
    [
        *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, ORIENTATION),
        *(SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR, PREDICTOR, COLOUR_MAP, TILE_WIDTH),
        *(TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING),
        *(292, 293, 332, 347, *range(512, 522), 529, 531, 532, _RAW_OF_A_CAMERA),
    ]
)
_TYPES = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18),
        ("B", "c", "H", "I", "II", "b", "c", "h", "i", "ii", "f", "d", "I", "Q", "q", "Q"),
        strict=True,
    )
)
_PLAIN = {16: 4, 17: 9, 18: 13}  # 8 bytes -> 4 bytes
_RAW, _LZW, _JPEG_OLD, _JPEG, _PACKBITS, _LZMA = 1, 5, 6, 7, 32773, 34925
_DEFLATE = (8, 32946)
_CODES = {
    **{_RAW: "none", 2: "CCITT RLE", 3: "CCITT group 3", 4: "CCITT group 4", _LZW: "LZW"},
    **{_JPEG_OLD: "old JPEG", _JPEG: "JPEG", 8: "deflate", 32946: "deflate", _LZMA: "LZMA"},
    **{_PACKBITS: "PackBits", 50000: "Zstandard"},
}
# Bytes that a byte of a code can become at most; of fax codes, rows that a byte can hold.
_MOST_BYTES = {
    _LZW: 4096,
    **dict.fromkeys(_DEFLATE, 1040),
    _PACKBITS: 128,
    _JPEG: 4096,
    50000: 2**16,
}
_MOST_ROWS = {2: 1, 3: 2, 4: 8}
_OF_BYTES = frozenset((_RAW, _LZW, *_DEFLATE, _PACKBITS, _LZMA, 50000))
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_BANDS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3}
_OTHER_COLOURS = {_CMYK: "CMYK", _YCBCR: "YCbCr", _LAB: "LAB"}  # that Pillow makes RGB
_MOST_SAMPLES = 6  # for each pixel, that Pillow knows
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # their bits, the last first
_LARGEST_TILE = 2**24  # pixels; a tile may be larger than its picture
_MOST_TAGS = 4096
_MOST_PIECES = 2**18  # 64 million pixels in tiles of 16 x 16

_Tags = dict[int, tuple[int, Any]]  # tag -> its type and value: numbers, or bytes


class Piece(NamedTuple):
    """A strip or tile: where it lies and how many bytes it unpacks to."""

    offset: int
    length: int
    unpacked: int
    unpacked_full: int


@dataclass(frozen=True)
class Tiff:
    """What the first directory of a TIFF says about pixels, checked.

    Attributes:
        order: `<` or `>`, the order of bytes.
        tags: what `_READ` names, as it stands there.
        span: first byte and length of the directory.
        length: of the file in bytes.
    """

    order: str
    tags: _Tags
    span: tuple[int, int]
    length: int

    @classmethod
    def read(cls, file: BinaryIO) -> Tiff:
        """Read the directory, no pixels.

        Raises:
            DamagedError: it contradicts itself or points out of the file.
            UnsupportedError: it is of a kind that is not read.
        """
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        if len(head) < (16 if big else 8):
            raise DamagedError("it ends within its header")
        start = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
        tags, size = _directory(file, order, big, start, length)
        tiff = cls(order, tags, (start, size), length)
        tiff._check_kind()
        return tiff

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag; none where it is missing."""
        kind, values = self.tags.get(tag, (3, ()))
        if kind not in (1, 3, 4, 6, 8, 9, 13, 16, 17, 18) or any(value < 0 for value in values):
            raise DamagedError(f"its tag {tag} is no whole number")
        return tuple(values)

    def number(self, tag: int, default: int | None = None) -> int:
        """The first number of a tag."""
        found = self.numbers(tag)
        if not found and default is None:
            raise DamagedError(f"its tag {tag} is missing")
        return found[0] if found else int(default or 0)

    @property
    def size_hw(self) -> tuple[int, int]:
        """As stored, in pixels."""
        return self.number(HEIGHT), self.number(WIDTH)

    @property
    def orientation(self) -> int:
        """How to turn it, as EXIF says it; 1 is upright."""
        kind, values = self.tags.get(ORIENTATION, (3, (1,)))
        return values[0] if kind == 3 and values else 1

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return self.number(BITS, 1)

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        default = 3 if self._photometric == _YCBCR and self._compression == _JPEG_OLD else 1
        return self.number(SAMPLES, default)

    @property
    def _compression(self) -> int:
        return self.number(COMPRESSION, 1)

    @property
    def _photometric(self) -> int:
        return self.number(PHOTOMETRIC, 0)

    @property
    def _planar(self) -> bool:
        return self.number(PLANAR, 1) == 2 and self.samples > 1

    @property
    def _tiled(self) -> bool:
        return TILE_OFFSETS in self.tags

    @property
    def _as_bytes(self) -> bool:
        """Whether samples are whole bytes that `_samples` fetches; Pillow knows all others."""
        plain = self._photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK)
        wide = self.bits > 8 or self._format != 1
        return (
            self._compression in _OF_BYTES
            and self.bits in (8, 16, 32, 64)
            and ((plain and wide) or (self._planar and self._photometric != _PALETTE))
        )

    @property
    def _format(self) -> int:
        formats = set(self.numbers(SAMPLE_FORMAT)) or {1}
        if len(formats) > 1:
            raise UnsupportedError("a TIFF whose samples are of several types")
        found = formats.pop()
        return 1 if found == 4 else found

    def _check_kind(self) -> None:
        height, width = self.size_hw
        if not height or not width:
            raise DamagedError(f"its header says {width} x {height} pixels")
        if _RAW_OF_A_CAMERA in self.tags:
            raise UnsupportedError("a camera's raw file (DNG)")
        if self._compression not in _CODES:
            raise UnsupportedError(f"a TIFF with compression {self._compression}")
        if self._photometric not in _BANDS:
            raise UnsupportedError(f"a TIFF with colours of kind {self._photometric}")
        if not 1 <= self.samples <= 64:
            raise UnsupportedError(f"a TIFF with {self.samples} samples for each pixel")
        bits = self.numbers(BITS) or (1,)
        if len(set(bits[: self.samples])) > 1:
            raise UnsupportedError(f"a TIFF whose samples have {', '.join(map(str, bits))} bits")
        if not 1 <= self.bits <= 64:
            raise DamagedError(f"its samples have {self.bits} bits")
        if len(bits) not in (1, self.samples):
            raise DamagedError(f"it has {self.samples} samples for a pixel and bits of {len(bits)}")
        if self.number(PLANAR, 1) not in (1, 2) or self.number(FILL_ORDER, 1) not in (1, 2):
            raise DamagedError("its arrangement of samples is none")
        if self.number(PREDICTOR, 1) not in (1, 2, 3):
            raise DamagedError(f"its predictor {self.number(PREDICTOR)} is none")
        bands = _BANDS[self._photometric]
        if self.samples < bands:
            raise DamagedError(f"it has {self.samples} samples for a pixel of {bands} colours")
        if self._format not in (1, 2, 3) or (self._format == 3 and self.bits not in (16, 32, 64)):
            raise UnsupportedError(f"a TIFF with samples of type {self._format}, {self.bits} bits")
        several = self.samples > 1 and not self._as_bytes
        if several and (self.bits < 8 or self.samples > _MOST_SAMPLES):
            raise UnsupportedError(self._described())

    def _grid(self) -> tuple[int, int, int]:
        """Rows and columns of a strip or tile, and how many there are for each plane."""
        height, width = self.size_hw
        if not self._tiled:
            rows = min(height, self.number(ROWS_PER_STRIP, height) or height)
            return rows, width, math.ceil(height / rows)
        rows, columns = self.number(TILE_LENGTH), self.number(TILE_WIDTH)
        if not rows or not columns or rows * columns > max(_LARGEST_TILE, 4 * height * width):
            raise DamagedError(f"its tiles are of {columns} x {rows} pixels")
        return rows, columns, math.ceil(height / rows) * math.ceil(width / columns)

    def pieces(self) -> list[Piece]:
        """Its strips or tiles in order, each within the file and on bytes of its own.

        Raises:
            DamagedError: one is missing, lies elsewhere, or has another length than it needs.
        """
        if self._compression == _JPEG_OLD:
            return []  # which may have none; libtiff looks after the rest
        height, _ = self.size_hw
        rows, columns, count = self._grid()
        planes = self.samples if self._planar else 1
        offsets = self.numbers(TILE_OFFSETS if self._tiled else STRIP_OFFSETS)
        lengths = self.numbers(TILE_COUNTS if self._tiled else STRIP_COUNTS)
        if len(offsets) != count * planes:
            raise DamagedError(f"it needs {count * planes} strips or tiles and has {len(offsets)}")
        if len(offsets) > _MOST_PIECES:
            raise UnsupportedError(f"a TIFF of {len(offsets):,} strips or tiles")
        bits = columns * self.bits * (1 if self._planar else self.samples)
        row_bytes = math.ceil(bits / 8)
        if not any(lengths):  # old programs left them out
            if self._compression != _RAW and len(offsets) > 1:
                raise DamagedError("it does not say how long its strips are")
            lengths = ()
        elif len(lengths) != len(offsets):
            raise DamagedError(f"it has {len(offsets)} strips and lengths of {len(lengths)}")
        found = []
        for index, offset in enumerate(offsets):
            full = rows * row_bytes
            needed = full
            if not self._tiled and index % count == count - 1:
                needed = (height - rows * (count - 1)) * row_bytes
            length = self.length - offset if self._compression != _RAW else needed
            length = lengths[index] if lengths else length
            most = _MOST_BYTES.get(self._compression, needed) * length
            most_rows = _MOST_ROWS.get(self._compression, needed) * length
            if needed > most or needed > most_rows * row_bytes:
                raise DamagedError(f"{length:,} bytes cannot hold the rows of a strip")
            found.append(Piece(offset, length, needed, full))  # more than it needs if subsampled
        self._check_spans(found)
        return found

    @property
    def _subsampled(self) -> bool:
        return self._photometric == _YCBCR and self.numbers(SUBSAMPLING) != (1, 1)

    def _check_spans(self, pieces: Sequence[Piece]) -> None:
        start, size = self.span
        for piece in pieces:
            if piece.length < 1 or piece.offset < 8 or piece.offset + piece.length > self.length:
                raise DamagedError("a strip of it is not within the file")
            if piece.offset < start + size and start < piece.offset + piece.length:
                raise DamagedError("a strip of it lies on its directory")
        # Tiles of one colour may be shared, but not a code that has many bytes for each of them.
        if sum(p.length for p in pieces) > self.length + 2 * sum(p.unpacked_full for p in pieces):
            raise DamagedError("strips of it are shared that cannot be")
        spans = sorted({piece[:2] for piece in pieces})
        for (before, length), (after, _) in pairwise(spans):
            if before + length > after:
                raise DamagedError("strips of it overlap")

    def check(self, data: bytes) -> None:
        """Hold strips or tiles against the bytes they are.

        Only deflate (zlib) has a checksum, so that no damage to its pixels passes. Without
        compression, and with PackBits and LZMA, each strip must hold its rows exactly; with the
        other compressions libtiff says where a code breaks or runs out. Changed pixels that leave
        the lengths as they were cannot be told, and neither can changed colours of a palette or
        numbers in the header that fit: the format has no checksum of its own.

        Raises:
            DamagedError: something is wrong or missing.
        """
        unpacked = self._unpacked_size()
        for piece in self.pieces():
            content = data[piece.offset : piece.offset + piece.length]
            if self._compression == _JPEG:
                check_markers(content)
            if unpacked is None:
                continue
            if self.number(FILL_ORDER, 1) == 2:
                content = content.translate(_TURNED)
            wanted = (piece.unpacked, piece.unpacked_full)
            size = unpacked(content, piece.unpacked_full)
            # The last strip may be filled up, and a length made even.
            if size not in wanted and not (
                self._compression == _RAW and wanted[0] < size < wanted[0] + 4
            ):
                raise DamagedError("a strip of it does not hold the rows that it should")

    def _unpacked_size(self) -> Callable[[bytes, int], int] | None:
        if self._subsampled:
            return None  # which `pixels` reads of JPEG alone
        if self._compression == _RAW:
            return lambda content, _: len(content)
        if self._compression in _DEFLATE:
            return lambda content, limit: inflated_size([content], limit)
        if self._compression == _PACKBITS:
            return _packbits_size
        return _xz_size if self._compression == _LZMA else None

    def pixels(self, data: bytes) -> Image.Image | NDArray[Any]:
        """Decode it, as stored: not turned.

        Args:
            data: the whole file, for which `check` has been called.

        Returns:
            An image of Pillow; or numbers of any type, grey `(H, W)`, RGB `(H, W, 3)`, or RGB and
            opacity `(H, W, 4)`, 0 black (real and signed numbers as they stand there).

        Raises:
            UnsupportedError: samples are arranged as is not read.
            DamagedError: they cannot be decoded.
        """
        if self._as_bytes:
            return self._colours(data)
        if self._compression in _OF_BYTES and self._subsampled:
            raise UnsupportedError("a TIFF with subsampled colours that are not JPEG")
        try:
            image = self._opened(data, {t: v for t, v in self.tags.items() if t != ORIENTATION})
        except SyntaxError as error:
            raise UnsupportedError(self._described()) from error
        return _decoded(image)

    def _described(self) -> str:
        """In a few words, for who has to convert it."""
        kind = {1: "unsigned", 2: "signed", 3: "real"}[self._format]
        return (
            f"a TIFF with {self.samples} samples of {self.bits} bits ({kind}) for each pixel, "
            f"colours of kind {self._photometric} and compression {_CODES[self._compression]}"
        )

    def _opened(self, data: bytes, tags: _Tags) -> TiffImageFile:
        return _OneTiff(io.BytesIO(_with_directory(data, self.order, tags)))

    def _samples(self, data: bytes) -> NDArray[Any]:
        """All samples `(H, W, samples)` as the numbers they are, in this machine's order of bytes.

        Raises:
            UnsupportedError: their arrangement is not read.
        """
        height, width = self.size_hw
        _, columns, count = self._grid()
        across = math.ceil(width / columns)
        kind = f"{'_uif'[self._format]}{self.bits // 8}"
        bands = 1 if self._planar else self.samples
        pieces = self.pieces()
        planes = []
        for first in range(0, len(pieces), count):
            plane = self._plane(data, pieces[first : first + count], columns * across, bands)
            plane = plane.reshape(height, across, columns * bands * (self.bits // 8))
            values = _without_predictor(
                plane, self.number(PREDICTOR, 1), self.order + kind, columns, bands
            )
            planes.append(values.reshape(height, across * columns, bands)[:, :width])
        return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)

    def _plane(
        self, data: bytes, pieces: Sequence[Piece], columns: int, bands: int
    ) -> NDArray[np.uint8]:
        """Unpacked bytes `(H, columns x bands x bytes of a sample)`, as a grey picture of bytes."""
        wide = bands * (self.bits // 8)
        tags = {
            tag: self.tags[tag]
            for tag in (HEIGHT, COMPRESSION, FILL_ORDER, ROWS_PER_STRIP, TILE_LENGTH)
            if tag in self.tags
        }
        tags |= {WIDTH: (4, (columns * wide,)), BITS: (3, (8,)), PHOTOMETRIC: (3, (1,))}
        tags |= {SAMPLES: (3, (1,))}
        if self._tiled:
            tags |= {TILE_WIDTH: (4, (self.number(TILE_WIDTH) * wide,))}
        at, lengths = (TILE_OFFSETS, TILE_COUNTS) if self._tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        tags |= {
            at: (4, tuple(piece.offset for piece in pieces)),
            lengths: (4, tuple(piece.length for piece in pieces)),
        }
        return np.asarray(_decoded(self._opened(data, tags)))

    def _colours(self, data: bytes) -> Image.Image | NDArray[Any]:
        """What `pixels` returns of a picture that is `_as_bytes`."""
        bands, extra = _BANDS[self._photometric], self.numbers(EXTRA_SAMPLES)
        spare = self.samples - bands
        if (spare and not extra and self._photometric != _RGB) or (bands == 1 and spare > 1):
            raise UnsupportedError(self._described())
        values = self._samples(data)
        if self._photometric in _OTHER_COLOURS:
            if self._format != 1 or self.bits > (16 if self._photometric == _CMYK else 8):
                raise UnsupportedError(self._described())
            eight = (values[..., :bands] >> (self.bits - 8)).astype(np.uint8)
            mode = _OTHER_COLOURS[self._photometric]
            return Image.frombytes(mode, eight.shape[1::-1], eight.tobytes())
        colours = values[..., 0] if bands == 1 else values[..., :bands]
        if self._photometric == _WHITE_IS_ZERO and colours.dtype.kind == "u":
            colours = np.iinfo(colours.dtype).max - colours
        # RGB and one more, of which nothing is said, is RGBA to all programs that write it so.
        meaning = extra[0] if extra else 2 if spare == 1 else 0
        if not spare or meaning not in (1, 2, 999):
            return colours
        opacity = values[..., bands]
        colours = np.dstack([colours] * 3) if colours.ndim == 2 else colours
        if meaning == 1:
            colours = _not_multiplied(colours, opacity)
        return np.dstack([colours, opacity])


def _decoded(image: TiffImageFile) -> TiffImageFile:
    """Decode it, holding libtiff to what it complains of: Pillow forgives, and fax codes go on."""
    with _complaints() as messages:
        try:
            image.load()
        except OSError as error:
            raise DamagedError(messages[0] if messages else str(error)) from error
    if messages:
        raise DamagedError(messages[0])
    return image


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """The first thing that libtiff calls an error in this thread, which it else prints.

    There is none where libtiff is no shared library; then it prints as ever.
    """
    messages: list[str] = []
    owner = threading.get_ident()

    def keep(_: bytes, text: bytes, _values: int) -> None:
        if not messages and threading.get_ident() == owner:
            messages.append(text.partition(b"%")[0].decode("latin-1").strip())

    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):
        yield messages
        return
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    handler = _HANDLER(keep)
    with _ONE_AT_A_TIME:  # the handler is libtiff's only one
        before = set_handler(ctypes.cast(handler, ctypes.c_void_p))
        try:
            yield messages
        finally:
            set_handler(before)


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_ONE_AT_A_TIME = threading.Lock()


class _OneTiff(TiffImageFile):
    """Pillow's reader without its check of a global limit; the size has been held to ours."""

    def load_prepare(self) -> None:
        self.im = Image.new(self.mode, self.size).im
        super().load_prepare()


def _not_multiplied(colours: NDArray[Any], opacity: NDArray[Any]) -> NDArray[Any]:
    opaque = 1.0 if colours.dtype.kind == "f" else float(np.iinfo(colours.dtype).max)
    share = opacity[..., None].astype(np.float64) / opaque
    divided = colours / np.where(share > 0, share, 1.0)
    return divided.clip(0, opaque).astype(colours.dtype)


def _directory(file: BinaryIO, order: str, big: bool, start: int, length: int) -> tuple[_Tags, int]:
    """The tags of a directory that are of use, and its length in bytes."""
    count_kind, entry, inline = ("Q", 20, 8) if big else ("H", 12, 4)
    wide = struct.calcsize(count_kind)
    if start + wide > length:
        raise DamagedError("its directory is not within the file")
    file.seek(start)
    (count,) = struct.unpack(order + count_kind, file.read(wide))
    size = wide + count * entry
    if not 0 < count <= _MOST_TAGS or start + size > length:
        raise DamagedError(f"its directory of {count:,} tags is not within the file")
    entries = file.read(count * entry)
    tags: _Tags = {}
    for at in range(0, len(entries), entry):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), entries, at)
        if tag not in _READ or tag in tags:
            continue
        if kind not in _TYPES:
            raise DamagedError(f"its tag {tag} is of no known type")
        code = _TYPES[kind]
        item = struct.calcsize("=" + code)
        bytes_ = item * number
        if bytes_ <= inline:
            content = entries[at + entry - inline : at + entry][:bytes_]
        else:
            where = struct.unpack_from(order + ("Q" if big else "I"), entries, at + entry - inline)
            if where[0] + bytes_ > length:
                raise DamagedError(f"its tag {tag} is not within the file")
            file.seek(where[0])
            content = file.read(bytes_)
        if code == "c":
            tags[tag] = (kind, content)
        else:
            tags[tag] = (kind, struct.unpack(f"{order}{number * len(code)}{code[0]}", content))
    return tags, size


def _with_directory(data: bytes, order: str, tags: _Tags) -> bytes:
    """The file with another directory, at its end; a BigTIFF becomes a plain one.

    Raises:
        UnsupportedError: the file is too large for that.
    """
    start = len(data) + len(data) % 2
    after = start + 2 + len(tags) * 12 + 4
    entries, behind = [struct.pack(order + "H", len(tags))], []
    try:
        for tag, (kind, values) in sorted(tags.items()):
            kind = _PLAIN.get(kind, kind)
            code = _TYPES[kind]
            if code == "c":
                content, number = values, len(values)
            else:
                content = struct.pack(f"{order}{len(values)}{code[0]}", *values)
                number = len(values) // len(code)
            entries.append(struct.pack(order + "HHI", tag, kind, number))
            if len(content) > 4:
                entries.append(struct.pack(order + "I", after))
                content += b"\0" * (len(content) % 2)
                behind.append(content)
                after += len(content)
            else:
                entries.append(content.ljust(4, b"\0"))
        entries.append(bytes(4))  # no directory follows
        head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    except struct.error as error:
        raise UnsupportedError("a TIFF of more than 4 GiB") from error
    return b"".join((head, data[8:], b"\0" * (len(data) % 2), *entries, *behind))


def _packbits_size(content: bytes, limit: int) -> int:
    """Bytes that they unpack to, up to a little more than the limit."""
    at, size = 0, 0
    while at < len(content) and size <= limit:
        code = content[at]
        if code == 128:
            at += 1
        elif code < 128:
            at += 2 + code
            size += 1 + code
            if at > len(content):
                raise DamagedError("a strip of it ends early")
        else:
            at += 2
            size += 257 - code
    return size


def _xz_size(content: bytes, limit: int) -> int:
    unpacker, size = lzma.LZMADecompressor(), 0
    try:
        while not unpacker.eof and size <= limit:
            part = unpacker.decompress(content, limit - size + 1)
            content = b""
            size += len(part)
            if not part and unpacker.needs_input:
                raise DamagedError("a strip of it ends early")
    except lzma.LZMAError as error:
        raise DamagedError("its compressed pixels are broken") from error
    return size


def _without_predictor(
    rows: NDArray[np.uint8], predictor: int, kind: str, columns: int, bands: int
) -> NDArray[Any]:
    """Numbers from unpacked bytes `(H, strips or tiles, bytes)`; each tile's rows begin anew."""
    stored = np.dtype(kind)
    values: NDArray[Any]
    if predictor == 3 and stored.kind == "f":
        height, across, _ = rows.shape
        steps = rows.reshape(height, across, -1, bands)
        planes = np.cumsum(steps, axis=2, dtype=np.uint8)
        planes = planes.reshape(height, across, stored.itemsize, columns * bands)
        values = np.ascontiguousarray(np.moveaxis(planes, 2, 3)).view(stored.newbyteorder(">"))
        return values.astype(stored.newbyteorder("=")).reshape(height, across * columns, bands)
    values = rows.view(stored).astype(stored.newbyteorder("="))
    if predictor == 2:
        whole = values.view(f"u{stored.itemsize}").reshape(*rows.shape[:2], columns, bands)
        values = np.cumsum(whole, axis=2, dtype=whole.dtype).view(values.dtype)
    return values
