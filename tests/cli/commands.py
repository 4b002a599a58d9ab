"""What tests of commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coco_rows import polygon, row

Run = Callable[..., Any]
DEVICES = "--device must be one of cpu, cuda, mps, openvino, coreml, tensorrt, directml"


def assert_error(result: Any, message: str, code: int = 1) -> None:
    """One sentence on stderr that holds `message`, nothing on stdout, this exit code."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == ""


def write_annotations() -> None:
    content = {
        "images": [{"id": 1, "file_name": "photo.jpg", "width": 300, "height": 200}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [row(1, 1, 1, [10, 20, 100, 100], polygon(10, 20, 110, 120))],
    }
    Path("instances.json").write_text(json.dumps(content))
