"""Checkpoints -> models with their text side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovsam.config import ModelConfig
from ovsam.model.build import build, build_text_encoder, expected_state
from ovsam.model.checkpoint import load_checkpoint
from ovsam.model.clip import ClipTextEncoder
from ovsam.model.ovsam import OVSAM
from ovsam.model.presets import as_usable_baseline
from ovsam.model.safetensors_file import Header, read_metadata
from ovsam.model.state_dict import check_shapes, shapes_of
from ovsam.model.tensors import as_arrays, as_tensors, fill
from ovsam.model.text_vectors import check_text_vectors, text_vectors


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
        vectors = text_vectors(config, path, read_metadata(path), as_arrays(text_state))
        return Restored(model, None, vectors)
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
        check_text_vectors(config, path, header.metadata, text)
        found = {name: shape for name, shape in found.items() if name not in text}
    check_shapes(expected, found, path)
