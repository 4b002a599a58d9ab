"""Small data sets of each layout, as files."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovsam.formats.layouts import list_photos
from photo_folder import HEIGHT, WIDTH, write_photo

SQUARE = [[10, 20], [30, 20], [30, 50], [10, 50]]
POLYGON = "1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8"
BOX = "0 0.5 0.5 0.2 0.4"


def shape(label: str = "cup", points: Any = SQUARE, **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon"} | more


def labelme(path: Path, *shapes: object, photo: str | None = "", **more: Any) -> Path:
    """A file and, where it is named "", the photo beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if photo == "":
        photo = f"{path.stem}.jpg"
        write_photo(path.parent / photo)
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": photo,
    }
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.write_text(json.dumps(content | more))
    return path


def no_report(error: Exception) -> None:
    pytest.fail(str(error))


def masks_of(folder: Path) -> list[list[tuple[str, Any]]]:
    listing = list_photos(folder, None, no_report)
    return [
        [(one.category, one.mask((HEIGHT, WIDTH))) for one in photo.instances]
        for photo in listing.photos
    ]


def png(mask: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def yolo(root: Path, content: str | None = None, **labels: str | None) -> Path:
    """Photos `train_a`: in `images/train/`, with `labels/train/`; None = no label file."""
    for name, text in labels.items():
        part, stem = name.split("_")
        write_photo(root / "images" / part / f"{stem}.jpg")
        (root / "labels" / part).mkdir(parents=True, exist_ok=True)
        if text is not None:
            (root / "labels" / part / f"{stem}.txt").write_text(text)
    if content is None:
        content = "train: images/train\nval: images/val\nnames: {0: cat, 1: coffee mug}\n"
    root.mkdir(exist_ok=True)
    (root / "data.yaml").write_text(content)
    return root / "data.yaml"


def mask_folder(root: Path, mask: Any, name: str = "a.png", photo: str = "a.jpg") -> Path:
    write_photo(root / "images" / photo)
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask).save(root / "masks" / name)
    return root
