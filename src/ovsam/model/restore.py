"""Checkpoints -> models with their text side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovsam.bounded_json import JsonError, parse_json
from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError
from ovsam.model.build import build, build_text_encoder, expected_state
from ovsam.model.checkpoint import load_checkpoint
from ovsam.model.clip import ClipTextEncoder
from ovsam.model.ovsam import OVSAM
from ovsam.model.presets import as_usable_baseline
from ovsam.model.safetensors_file import Header, read_metadata
from ovsam.model.state_dict import check_shapes, shapes_of
from ovsam.model.tensors import as_tensors, fill

TEXT_VECTORS = "text.vectors"  # (K, text_dim), a row for each of the names in
TEXT_NAMES = "text_names"  # this entry of the metadata, a JSON list


@dataclass(frozen=True, eq=False)
class Restored:
    """What a checkpoint holds.

    Attributes:
        model: the model, in eval mode.
        text_tower: CLIP's text side; None for `lite`, whose text side is MiniLM, and SAM alone.
        text_vectors: embeddings `(text_dim,)` of names that ship with the checkpoint, so that
            common vocabularies need no text tower.
    """

    model: OVSAM
    text_tower: ClipTextEncoder | None
    text_vectors: dict[str, NDArray[np.float32]]


def restore(path: str | Path, baseline: str = "") -> Restored:
    """A model and its text side from an ovsam checkpoint.

    Args:
        path: of the checkpoint.
        baseline: one of `presets.BASELINES`, whose naming is put in place of the model's own;
            nothing = as it is.

    Raises:
        CheckpointError: see `read_model`; or the baseline has weights of its own, or cannot be had.
    """
    config, state = read_model(path)
    if baseline:
        config = as_usable_baseline(config, baseline)
        state = {k: tensor for k, tensor in state.items() if not k.startswith("region_head.")}
    text_state = {name: tensor for name, tensor in state.items() if name.startswith("text.")}
    with torch.device("meta"):  # no time and memory for weights that are replaced at once
        model = build(config)
    fill(model, {name: state[name] for name in state.keys() - text_state.keys()}, path)
    model.eval()
    if config.encoder.kind != "open_clip":
        return Restored(model, None, _text_vectors(config, path, text_state))
    with torch.device("meta"):
        text = build_text_encoder(config)
    fill(text, {name.removeprefix("text."): tensor for name, tensor in text_state.items()}, path)
    return Restored(model, text.eval(), {})


def read_model(path: str | Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A checkpoint's configuration and all tensors of its model by name, as float32.

    Raises:
        CheckpointError: see `load_checkpoint` and `check_header`.
    """
    config, arrays = load_checkpoint(path, partial(check_header, path))
    return config, as_tensors(arrays)


def check_header(path: str | Path, config: ModelConfig, header: Header) -> None:
    """Refuse a checkpoint whose tensors are not those of its model, before any of them is read.

    Args:
        path: of the file, for the message.
        config: its configuration.
        header: of the file.

    Raises:
        CheckpointError: names what is missing, unexpected or of another shape.
    """
    found = header.shapes
    expected = shapes_of(expected_state(config))
    if config.encoder.kind != "open_clip":
        text = {name: shape for name, shape in found.items() if name.startswith("text.")}
        _check_text_vectors(config, path, header.metadata, text)
        found = {name: shape for name, shape in found.items() if name not in text}
    check_shapes(expected, found, path)


def _text_vectors(
    config: ModelConfig, path: str | Path, text_state: dict[str, Tensor]
) -> dict[str, NDArray[np.float32]]:
    names = _check_text_vectors(config, path, read_metadata(path), shapes_of(text_state))
    if not text_state:
        return {}
    return dict(zip(names, text_state[TEXT_VECTORS].numpy(), strict=True))


def _check_text_vectors(
    config: ModelConfig,
    path: str | Path,
    metadata: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[str]:
    """The names whose vectors a checkpoint brings along, in their order."""
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
