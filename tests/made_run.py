"""A small set of tables and the reports that its rows ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ovsam.evaluate.provenance import asked
from ovsam.paper.table_set import Folders
from ovsam.vocabulary.builtin import COCO_NOVEL

SET = """
title = "Two models"
about = "Made up `of <it>`."

[models.plain]
model = "lite"

[models.trained]
model = "{run}/trained/lite.safetensors"
make = ["ovsam train clip2sam-lite --data {data} -o {run}/trained"]
after = ["plain"]
cost = "lite"

[measurements.box]
annotations = "truth.json"
images = "photos"
prompts = "box"
vocabulary = "coco-ov"
zoom = false

[[tables]]
name = "Table 1"
title = "a | b"
plot = ["top-1"]
columns = [
    { heading = "IoU", report = "coco", figure = "by_novelty.base.iou" },
    { heading = "top-1", report = "coco", figure = "accuracy" },
    { heading = "multiply-adds, G", cost = "multiply_adds" },
    { heading = "parameters, M", cost = "parameters" },
]
rows = [
    { method = "Plain", reports = { coco = "plain/box" }, paper = [50, 40, 3000, nan] },
    { method = "Trained", reports = { coco = "trained/box" }, paper = [60, 70.5, 1180, nan] },
    { method = "<Others>", gap = "not ours", paper = [1, 2, nan, nan] },
]

[[pictures]]
name = "both"
title = "Both"
reports = ["plain/box", "trained/box"]
"""


def folders(root: Path) -> Folders:
    """A run folder and a data folder."""
    for name in ("run", "data"):
        (root / name).mkdir(exist_ok=True)
    (root / "data" / "truth.json").write_text("{}")
    return Folders(root / "run", root / "data")


def outcome(number: int, category: str, iou: float, rank: int, name: str = "") -> dict[str, Any]:
    return {
        "annotation_id": number,
        "category": category,
        "area": 9.0,
        "iou": iou,
        "boundary_iou": iou,
        "rank": rank,
        "name": name or (category if rank == 0 else "dog"),
        "score": 0.5,
    }


def write_report(where: Folders, name: str, outcomes: list[dict[str, Any]], **changes: Any) -> Path:
    """A report as `ovsam evaluate --json` writes it for MODEL/box of `SET`."""
    base = [one["iou"] for one in outcomes if one["category"] == "person"]
    model = "lite" if name.startswith("plain") else str(where.run / "trained/lite.safetensors")
    content: dict[str, Any] = {
        "iou": sum(one["iou"] for one in outcomes) / len(outcomes),
        "accuracy": sum(one["rank"] == 0 for one in outcomes) / len(outcomes),
        "by_novelty": {"base": {"iou": sum(base) / len(base)}},
        "instances": len(outcomes),
        "novel": list(COCO_NOVEL),
        "vocabulary": "coco-ov",
        "prompts": "box",
        "zoom": False,
        "photos": 2,
        "outcomes": outcomes,
        "asked": asked(
            annotations=where.data / "truth.json", model=model, vocabulary="coco-ov", limit=None
        ),
    }
    path = where.report(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, **changes}))
    return path
