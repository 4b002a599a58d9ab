"""What a report was made from, to distinguish it from one made from something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ovsam.errors import VocabularyError
from ovsam.files import sha256_of
from ovsam.vocabulary.load import load_vocabulary

Digest = Callable[[str], str | None]
"""The SHA-256 of what a name stands for; None where it stands for nothing."""


def provenance(
    *,
    annotations: Path,
    model: str,
    limit: int | None,
    model_sha256: Digest,
    vocabulary: str | None = None,
    detections: Path | None = None,
    teacher: str | None = None,
    more_vocabularies: Sequence[str] = (),
) -> dict[str, Any]:
    """Plain JSON values: names as they were typed, and the digest of what each stood for.

    Args:
        annotations: the ground truth.
        model: a model's name, or the path of its checkpoint.
        limit: how many photos at most; None = all.
        model_sha256: of a model's checkpoint by its name, `hub.checkpoint_sha256`.
        vocabulary: a built-in one's name, a path, or names; None = names play no part.
        detections: a detector's boxes, where they are the prompts.
        teacher: the model that another is compared with.
        more_vocabularies: what the same masks were named from, too.
    """
    names = {
        "annotations": str(annotations),
        "model": model,
        "vocabulary": vocabulary,
        "detections": None if detections is None else str(detections),
        "teacher": teacher,
    }
    described: dict[str, Any] = {
        what: {"name": name, "sha256": sha256_now(what, name, model_sha256)}
        for what, name in names.items()
        if name is not None
    }
    if more_vocabularies:
        described["more_vocabularies"] = [
            {"name": name, "sha256": vocabulary_sha256(name)} for name in more_vocabularies
        ]
    return {**described, "limit": limit}


def sha256_now(what: str, name: str, model_sha256: Digest) -> str | None:
    """The digest of what a name stands for now, where `what` is a key of `provenance`."""
    if what in ("model", "teacher"):
        return model_sha256(name)
    if what == "vocabulary":
        return vocabulary_sha256(name)
    return sha256_of(Path(name))


def vocabulary_sha256(name: str) -> str | None:
    """SHA-256 of a vocabulary's file; of a built-in one, or of names, that of its classes.

    None where there is no such vocabulary.
    """
    digest = sha256_of(Path(name))
    if digest is not None:
        return digest
    try:
        return load_vocabulary(name).fingerprint
    except VocabularyError:
        return None
