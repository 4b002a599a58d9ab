"""Predictions as plain JSON: COCO run-length masks, no NaN, nothing that needs numpy to read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from ovsam.geometry import encode_rle
from ovsam.structures import Label, Prediction, Prompt
from ovsam.vocabulary.vocabulary import Vocabulary


def object_to_json(prompt: Prompt, prediction: Prediction) -> dict[str, object]:
    """One object's prompt, and its best mask with box, predicted IoU (`mask_score`) and names."""
    score = float(prediction.predicted_iou[0])
    kind = prediction.kinds[0]
    points = zip(prompt.points_xy.tolist(), prompt.point_labels.tolist(), strict=True)
    return {
        "prompt": {
            "points": [[x, y, label] for (x, y), label in points],
            "box_xyxy": None if prompt.box_xyxy is None else prompt.box_xyxy.tolist(),
        },
        "segmentation": encode_rle(prediction.mask),
        "box_xyxy": prediction.boxes_xyxy[0].tolist(),
        "mask_score": score if math.isfinite(score) else None,
        "labels": [_label_to_json(label) for label in prediction.labels[0]],
        "none_of_these": prediction.none_of_these[0],
        "none_score": float(prediction.none_scores[0]),
        "kind": None if kind is None else _label_to_json(kind),
        "calibrated": prediction.calibrated,
    }


def _label_to_json(label: Label) -> dict[str, object]:
    return {"name": label.name, "score": float(label.score)}


def photo_to_json(
    *,
    model: str,
    vocabulary: Vocabulary,
    photo: str,
    size_hw: tuple[int, int],
    prompts: Sequence[Prompt],
    predictions: Sequence[Prediction],
) -> dict[str, object]:
    """All objects of a photo with what made them."""
    return {
        "model": model,
        "vocabulary": {
            "name": vocabulary.name,
            "classes": len(vocabulary),
            "notes": list(vocabulary.notes),
        },
        "photo": photo,
        "size": {"width": size_hw[1], "height": size_hw[0]},
        "objects": [
            object_to_json(prompt, prediction)
            for prompt, prediction in zip(prompts, predictions, strict=True)
        ],
    }


def to_json_bytes(document: dict[str, object]) -> bytes:
    """UTF-8 JSON with a final newline; refuses NaN, which is not JSON.

    A byte of a file's name that is no UTF-8 is escaped as the lone surrogate that Python has for
    it; its `json` gives the same name back.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode(errors="backslashreplace")  # JSON escapes a surrogate the same way
