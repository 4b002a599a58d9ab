"""Photos of one size, all black."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "empty.png"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    return tmp_path
