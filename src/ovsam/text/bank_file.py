"""The vectors of a long vocabulary as one file, opened memory-mapped: a cache, like the store."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ovsam.files import replace_file

FILES_KEPT = 8  # the last used ones; 22,000 classes of `lite` take 29 MB

_log = logging.getLogger(__name__)
_TENSOR = "vectors"
_TOLERANCE = 1e-2  # of a vector's length; half precision is off by less than a thousandth


def read_vectors(path: Path, size: tuple[int, int]) -> Tensor | None:
    """The matrix `(S, D)` of unit vectors in half precision, memory-mapped; None = to be made anew.

    A file that is cut short, damaged or of another size counts as none.
    """
    try:
        with safe_open(path, "pt") as file:
            vectors: Tensor = file.get_tensor(_TENSOR)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        _log.warning("The names are embedded anew: %s: %s.", path, error)
        return None
    if vectors.shape != size or vectors.dtype != torch.float16 or not _are_units(vectors):
        _log.warning("The names are embedded anew: %s is damaged.", path)
        return None
    with suppress(OSError):
        os.utime(path)  # used now: others are deleted first
    return vectors


def write_vectors(path: Path, vectors: Tensor) -> None:
    """Write a matrix `(S, D)` in half precision; of its folder the last used files are kept.

    Where that cannot be done, the log says so.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, save({_TENSOR: vectors}))
        files = sorted(path.parent.glob(f"*{path.suffix}"), key=lambda file: file.stat().st_mtime)
        for file in files[:-FILES_KEPT]:
            file.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("The vectors of the names are not kept on disk: %s: %s.", path, error)


def _are_units(vectors: Tensor) -> bool:
    """Whether no vector has lost its length; half precision is enough to tell, and widens none."""
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    return bool(((lengths - 1).abs() < _TOLERANCE).all())
