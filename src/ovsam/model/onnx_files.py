"""What ONNX Runtime needs of a model: its graphs with their weights.

Graphs of `lite` ship without weights, which come from a checkpoint: so one file of weights serves
both engines, and `lite` that somebody trained runs on them as well. What `ovsam export` writes has
them within.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ovsam.config import CalibrationConfig, ModelConfig
from ovsam.model.presets import MODELS

FORMAT = "ovsam-onnx-1"
INDEX = "model.json"  # in a folder of graphs: what is in it
SHIPPED_GRAPHS = Path(__file__).parent.parent / "weights" / "lite"

_CONFIG = TypeAdapter(ModelConfig)


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """One graph.

    Attributes:
        content: of its file, ONNX.
        weights: what is not in it, by name, float32.
    """

    content: bytes
    weights: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model for ONNX Runtime.

    Attributes:
        config: of the model.
        fingerprint: what tells its weights from all others.
        graphs: encoder, decoder and, if it names, regions.
        text_vectors: embeddings `(text_dim,)` of names that come with it.
    """

    config: ModelConfig
    fingerprint: str
    graphs: dict[str, OnnxGraph]
    text_vectors: dict[str, NDArray[np.float32]]


def fits_shipped_graphs(config: ModelConfig) -> bool:
    """Whether a checkpoint's weights fit the graphs that ship: those of `lite`, however trained."""
    return structure(config) == structure(MODELS["lite"])


def structure(config: ModelConfig) -> ModelConfig:
    """A configuration without what no graph depends on."""
    return replace(
        config,
        zoom=None,
        seen_classes=(),
        calibration=CalibrationConfig(),
    )
