"""Embeddings of names that ship with a checkpoint, so that common words need no text model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovsam.bounded_json import JsonError, parse_json
from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError
from ovsam.model.state_dict import shapes_of

TEXT_VECTORS = "text.vectors"  # (K, text_dim), a row for each of the names in
TEXT_NAMES = "text_names"  # this entry of the metadata, a JSON list


def text_vectors(
    config: ModelConfig,
    path: str | Path,
    metadata: Mapping[str, str],
    arrays: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[np.float32]]:
    """The vectors `(text_dim,)` that a checkpoint brings along, by their names.

    Args:
        config: its configuration.
        path: of the file, for the message.
        metadata: of the file.
        arrays: its arrays whose names begin with `text.`.

    Raises:
        CheckpointError: see `check_text_vectors`.
    """
    names = check_text_vectors(config, path, metadata, shapes_of(arrays))
    return dict(zip(names, arrays[TEXT_VECTORS], strict=True)) if arrays else {}


def check_text_vectors(
    config: ModelConfig,
    path: str | Path,
    metadata: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[str]:
    """The names whose vectors a checkpoint brings along, in their order.

    Args:
        config: its configuration.
        path: of the file, for the message.
        metadata: of the file.
        shapes: of its arrays whose names begin with `text.`.

    Raises:
        CheckpointError: it does not say whose vectors they are, or they have another shape.
    """
    if not shapes:
        return []
    names = text_names(metadata)
    if names is None or TEXT_VECTORS not in shapes:
        raise CheckpointError(f"'{path}' does not say which names its text vectors embed.")
    wanted = (len(names), config.encoder.text_dim)
    if len(shapes) > 1 or shapes[TEXT_VECTORS] != wanted:
        raise CheckpointError(
            f"The text vectors in '{path}' must have shape {wanted}, got "
            f"{shapes[TEXT_VECTORS]}. Fetch the file again."
        )
    return names


def text_names(metadata: Mapping[str, str]) -> list[str] | None:
    """The names that a checkpoint brings vectors of; None where its metadata has no such list."""
    try:
        names = parse_json(metadata.get(TEXT_NAMES, "[]"))
    except JsonError:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names
