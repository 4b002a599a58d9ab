"""The memory that `ovsam segment` takes for photos of 100 megapixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 12_000, 8_400
MOST_BYTES = 1_500_000_000

# Not by ru_maxrss: that begins with the peak of the parent, which has run other tests.
_PEAK = """
import re, sys
from pathlib import Path
from ovsam.cli.app import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""

BOX = ("--box", "1000,800,8000,8100")  # of a photo that lies or stands
ALL = ("--box", "0,0,12000,8400")
POINT = ("--point", "5000,4000")


def photo(kind: str) -> NDArray[Any]:
    """Blobs of colour; grey, or with opacity, and of 16 bits where the kind says so."""
    channels = {"grey": 1, "rgba": 4}.get(kind.removesuffix("16"), 3)
    cells = np.random.default_rng(0).integers(0, 256, (7, 10, channels)).astype(np.uint8)
    pixels = np.asarray(cv2.resize(cells, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    return pixels * np.uint16(257) if kind.endswith("16") else pixels


def write_photo(path: Path, kind: str, orientation: int, **options: Any) -> None:
    if kind.endswith("16"):  # which Pillow cannot write
        assert orientation == 1
        cv2.imwrite(str(path), photo(kind), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(kind)).save(path, exif=exif, **options)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "kind", "orientation", "options", "prompt", "outputs"),
    [
        ("a.jpg", "rgb", 1, {}, BOX, ["o.json"]),
        ("a.jpg", "rgb", 1, {}, POINT, ["o.json"]),
        ("a.jpg", "rgb", 1, {}, ALL, ["o.json", "o.png"]),
        ("a.jpg", "rgb", 1, {}, (*BOX, *POINT), ["o.json", "o.jpg"]),
        ("a.jpg", "rgb", 6, {}, BOX, ["o.png"]),
        ("a.jpg", "rgb", 7, {"progressive": True}, POINT, ["o.jpg"]),
        ("a.png", "rgb", 1, {"compress_level": 1}, POINT, ["o.json", "o.png"]),
        ("a.png", "rgb", 8, {"compress_level": 1}, BOX, ["o.json", "o.jpg"]),
        ("a.png", "rgba", 3, {"compress_level": 1}, BOX, ["o.json", "o.jpg"]),
        ("a.png", "grey16", 1, {}, BOX, ["o.json", "o.jpg"]),
        ("a.png", "rgb16", 1, {}, POINT, ["o.json", "o.jpg"]),
    ],
)
def test_photos_of_100_megapixels(
    name: str,
    kind: str,
    orientation: int,
    options: dict[str, Any],
    prompt: tuple[str, ...],
    outputs: list[str],
    tmp_path: Path,
) -> None:
    write_photo(tmp_path / name, kind, orientation, **options)
    paths = [tmp_path / path for path in outputs]
    written = [part for p in paths for part in ("--json" if p.suffix == ".json" else "-o", str(p))]
    command = [sys.executable, "-c", _PEAK, "segment", str(tmp_path / name), *prompt, *written]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_size for path in paths)
    assert int(done.stdout.split()[-1]) * 1024 < MOST_BYTES
