"""What a report was made from, so that it can be told from one made from something else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def asked(
    *,
    annotations: Path,
    model: str,
    limit: int | None,
    vocabulary: str | None = None,
    detections: Path | None = None,
    teacher: str | None = None,
) -> dict[str, Any]:
    """Plain JSON values: what was typed, and the digest of what it stood for.

    Args:
        annotations: what is right.
        model: a model's name, or the path of its checkpoint.
        limit: how many photos at most; None = all.
        vocabulary: a built-in one's name, a path, or names; None = names play no part.
        detections: a detector's boxes, where they are the prompts.
        teacher: the model that another is compared with.
    """
    names = {
        "annotations": str(annotations),
        "model": model,
        "vocabulary": vocabulary,
        "detections": None if detections is None else str(detections),
        "teacher": teacher,
    }
    described: dict[str, Any] = {
        what: {"name": name, "sha256": fingerprint_of(what, name)}
        for what, name in names.items()
        if name is not None
    }
    return {**described, "limit": limit}


def fingerprint_of(what: str, name: str) -> str | None:
    """The digest of what a name stands for now, where `what` is a key of `asked`."""
    if what in ("model", "teacher"):
        return model_fingerprint(name)
    if what == "vocabulary":
        return vocabulary_fingerprint(name)
    return fingerprint(Path(name))


def fingerprint(path: Path) -> str | None:
    """SHA-256 of a file's content; None where there is no such file."""
    try:
        if not path.is_file():  # a device, such as a report may name, can be without an end
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # names instead of a path may be too long, or hold a null byte
        return None


def model_fingerprint(name: str) -> str | None:
    """SHA-256 of the checkpoint that a model's name or path stands for on this machine.

    That of a baseline behind a model is of the model's and the baseline's name: it has no file of
    its own. None where there is no checkpoint; nothing is fetched.
    """
    from ovsam.errors import CheckpointError
    from ovsam.hub import RELEASES, locate, release_path
    from ovsam.model.presets import split_baseline

    digest = fingerprint(Path(name))
    if digest is not None:
        return digest
    own, baseline = split_baseline(name)
    try:
        digest = fingerprint(release_path(own) if own in RELEASES else locate(own))
    except CheckpointError:  # no model has this name
        return None
    if digest is None or not baseline:
        return digest
    return hashlib.sha256(f"{digest}{baseline}".encode()).hexdigest()


def vocabulary_fingerprint(name: str) -> str | None:
    """SHA-256 of a vocabulary's file; of a built-in one, or of names, that of its classes.

    None where there is no such vocabulary.
    """
    from ovsam.errors import VocabularyError
    from ovsam.vocabulary.load import load_vocabulary

    digest = fingerprint(Path(name))
    if digest is not None:
        return digest
    try:
        return load_vocabulary(name).fingerprint
    except VocabularyError:
        return None
