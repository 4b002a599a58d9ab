"""What ONNX Runtime needs of a model: its graphs with their weights.

Graphs of `lite` ship without weights, which come from a checkpoint: so one file of weights serves
both engines, and `lite` that somebody trained runs on them as well. What `ovsam export` writes has
them within.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from ovsam.bounded_json import parse_json
from ovsam.config import CalibrationConfig, ModelConfig
from ovsam.errors import CheckpointError, first_line, quoted
from ovsam.model.checkpoint import joint_fingerprint, load_checkpoint
from ovsam.model.presets import MODELS
from ovsam.model.safetensors_file import Header, SafetensorsFile, read_metadata
from ovsam.model.state_dict import check_shapes
from ovsam.model.text_vectors import check_text_vectors, text_vectors

FORMAT: Literal["ovsam-onnx-1"] = "ovsam-onnx-1"
INDEX = "model.json"  # in a folder of graphs: what is in it
VECTORS = "names.safetensors"  # embeddings of names, of a model whose text side is not exported
GraphName = Literal["encoder", "decoder", "frozen", "regions"]
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)
SHIPPED_GRAPHS = Path(__file__).parent.parent / "weights" / "lite"
INDEX_BYTES = 16 * 2**20  # at most
GRAPH_BYTES = 2 * 2**30  # at most, which is protobuf's own bound


@dataclass(frozen=True)
class GraphFile:
    """One graph of a folder.

    Attributes:
        file: its name.
        sha256: of the file.
        weights: shapes by name of those that are not in it.
    """

    file: str
    sha256: str
    weights: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Index:
    """What a folder of graphs holds, as its `INDEX` says.

    Attributes:
        format: `FORMAT`.
        config: of the model.
        fingerprint: what tells its weights from all others; empty where they are not within.
        precision: what the weights are stored as.
        graphs: by name.
        text: what embeds names: the text tower of `lite`, or the vectors in `VECTORS`, made with
            a text model of this identity.
    """

    format: Literal["ovsam-onnx-1"]
    config: ModelConfig
    fingerprint: str
    precision: str
    graphs: dict[GraphName, GraphFile]
    text: str


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
        graphs: encoder, decoder, frozen, regions.
        text: see `Index`.
        text_vectors: embeddings `(text_dim,)` of names that come with it.
    """

    config: ModelConfig
    fingerprint: str
    graphs: dict[GraphName, OnnxGraph]
    text: str
    text_vectors: dict[str, NDArray[np.float32]]


INDEX_FILE = TypeAdapter(Index)


def fits_shipped_graphs(config: ModelConfig) -> bool:
    """Whether a checkpoint's weights fit the graphs that ship: those of `lite`, however trained."""
    return structure(config) == structure(MODELS["lite"])


def structure(config: ModelConfig) -> ModelConfig:
    """A configuration without what this program does outside the graphs."""
    return replace(
        config,
        zoom=None,
        logit_scale=1.0,
        fusion_alpha=0.0,
        fusion_beta=0.0,
        seen_classes=(),
        calibration=CalibrationConfig(),
    )


def is_exported(path: Path) -> bool:
    """Whether a path is that of a folder which `ovsam export` wrote."""
    return os.path.isfile(path / INDEX)


def checkpoint_on_onnx(path: Path) -> OnnxModel:
    """A checkpoint of `lite` in the graphs that ship.

    Raises:
        CheckpointError: see `load_checkpoint`; or its weights are not those of `lite`.
    """
    index = read_index(SHIPPED_GRAPHS)
    wanted = {k: v for graph in index.graphs.values() for k, v in graph.weights.items()}

    def check(config: ModelConfig, header: Header) -> None:
        text = {name: shape for name, shape in header.shapes.items() if name.startswith("text.")}
        check_text_vectors(config, path, header.metadata, text)
        # Whatever the graphs have no use for may be there, such as an embedding that no prompt has.
        found = {name: header.shapes[name] for name in wanted if name in header.shapes}
        check_shapes(wanted, found, path)

    config, arrays = load_checkpoint(path, check)
    metadata = read_metadata(path)
    text = {name: array for name, array in arrays.items() if name.startswith("text.")}
    parts: Any = parse_json(metadata["parts"])  # held against the weights when they were read
    graphs: dict[GraphName, OnnxGraph] = {
        name: OnnxGraph(_content(SHIPPED_GRAPHS, graph), {k: arrays[k] for k in graph.weights})
        for name, graph in index.graphs.items()
    }
    return OnnxModel(
        config,
        joint_fingerprint({k: v for k, v in parts.items() if k != "text"}),
        graphs,
        index.text,
        text_vectors(config, path, metadata, text),
    )


def exported_model(folder: Path) -> OnnxModel:
    """What `ovsam export` wrote into a folder.

    Raises:
        CheckpointError: a file is missing, damaged or another's.
    """
    index = read_index(folder)
    lacking = [name for name in GRAPHS if name not in index.graphs]
    if lacking:
        raise CheckpointError(
            f"'{folder / INDEX}' lacks the graph {' and '.join(lacking)}. Export the model again."
        )
    graphs: dict[GraphName, OnnxGraph] = {
        name: OnnxGraph(_content(folder, graph), {}) for name, graph in index.graphs.items()
    }
    vectors: dict[str, NDArray[np.float32]] = {}
    if os.path.exists(folder / VECTORS):
        with SafetensorsFile(folder / VECTORS) as file:
            metadata, arrays = file.header.metadata, file.arrays()
        vectors = text_vectors(index.config, folder / VECTORS, metadata, arrays)
    return OnnxModel(index.config, index.fingerprint, graphs, index.text, vectors)


def read_index(folder: Path) -> Index:
    """What a folder of graphs holds.

    Raises:
        CheckpointError: it does not say so, or not as this version does.
    """
    path = folder / INDEX
    try:
        if path.stat().st_size > INDEX_BYTES:
            raise CheckpointError(f"'{path}' has over {INDEX_BYTES:,} bytes: it is no index.")
        return INDEX_FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"])) or "it"
        raise CheckpointError(
            f"'{path}' is not what 'ovsam export' of this version writes ({quoted(place)}: "
            f"{first_line(ValueError(problem['msg']))}). Export the model again."
        ) from error


def _content(folder: Path, graph: GraphFile) -> bytes:
    path = folder / graph.file
    if Path(graph.file).name != graph.file:
        raise CheckpointError(f"A graph's file must lie in '{folder}', got {quoted(graph.file)}.")
    try:
        if path.stat().st_size > GRAPH_BYTES:
            raise CheckpointError(f"'{path}' has over {GRAPH_BYTES:,} bytes: it is no graph.")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    if hashlib.sha256(content).hexdigest() != graph.sha256:
        raise CheckpointError(
            f"'{path}' is not the file that {INDEX} beside it was written for: it is damaged, or "
            "of another export. Export the model again."
        )
    return content
