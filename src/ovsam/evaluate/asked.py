"""What a report was made from, so that it can be told from one made from something else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def asked(
    *,
    annotations: Path,
    model: str,
    vocabulary: str,
    limit: int | None,
    detections: Path | None = None,
) -> dict[str, Any]:
    """Plain JSON values: what was typed, and of what is a file its content's digest.

    Args:
        annotations: what is right.
        model: a model's name, or the path of its checkpoint.
        vocabulary: a built-in one's name, a path, or names.
        limit: how many photos at most; None = all.
        detections: a detector's boxes, where they are the prompts.
    """
    files = {"annotations": str(annotations), "model": model, "vocabulary": vocabulary}
    if detections is not None:
        files["detections"] = str(detections)
    described = {
        what: {"name": name, "sha256": fingerprint(Path(name))} for what, name in files.items()
    }
    return {**described, "limit": limit}


def fingerprint(path: Path) -> str | None:
    """SHA-256 of a file's content; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
