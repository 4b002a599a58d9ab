"""A model as ONNX files, which `predictor/onnx_backend.py` and other programs run.

See `onnx_graphs.py` for what is computed, and docs/export.md for the tensors one by one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from ovsam.errors import CheckpointError
from ovsam.model.checkpoint import fingerprints, joint_fingerprint
from ovsam.model.onnx_examples import Graph, graphs
from ovsam.model.onnx_files import (
    FORMAT,
    GRAPHS,
    INDEX,
    INDEX_FILE,
    VECTORS,
    GraphFile,
    GraphName,
    Index,
    structure,
)
from ovsam.model.ovsam import OVSAM
from ovsam.model.safetensors_file import write_safetensors
from ovsam.model.tensors import as_arrays
from ovsam.model.text_vectors import TEXT_NAMES, TEXT_VECTORS

Precision = Literal["float32", "float16"]

OPSET = 20  # the first with GELU
FOLDED = 2**20  # elements of constants that are computed beforehand, at most


def onnx_model(graph: Graph) -> ir.Model:
    """A graph in ONNX whose initialisers are the model's weights, by their names in a checkpoint.

    Nothing is computed from weights beforehand, so that the graph fits any weights.
    """
    first, last = graph.lists or ((), None)
    others = [name for name in graph.inputs if name not in (*first, *(last or ()))]
    arguments: tuple[Any, ...] = tuple(graph.inputs[name] for name in others)
    shapes: tuple[Any, ...] = tuple(graph.free[name] for name in others)
    if first:
        arguments = ([graph.inputs[name] for name in first], *arguments)
        shapes = ([graph.free[name] for name in first], *shapes)
    if last is not None:
        arguments = (*arguments, [graph.inputs[name] for name in last])
        shapes = (*shapes, [graph.free[name] for name in last])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module,
            arguments,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
            optimize=False,
        )
    assert program is not None
    return _simplified(program.model)


def _simplified(model: ir.Model) -> ir.Model:
    """Fold what depends on no weight, and leave out what the exporter says of its sources."""
    from onnxscript import optimizer

    graph, weights = model.graph, dict(model.graph.initializers)
    values = {name: weight.const_value for name, weight in weights.items()}
    own = len(graph.inputs)
    for name, weight in weights.items():  # an input has no value that could be folded
        del graph.initializers[name]
        weight.const_value = None
        graph.inputs.append(weight)
    optimizer.optimize(model, input_size_limit=FOLDED, output_size_limit=FOLDED)
    for weight in graph.inputs[own:]:
        graph.inputs.remove(weight)
        if weight.uses() and weight.name is not None:
            weight.const_value = values[weight.name]
            weight.name = weight.name.removeprefix("model.")
            graph.initializers[weight.name] = weight
    model.functions.clear()
    for node in graph:
        node.metadata_props.clear()
        node.name = node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
    return model


def export(
    model: OVSAM,
    folder: Path,
    precision: Precision = "float32",
    *,
    text: str,
    text_vectors: Mapping[str, NDArray[np.float32]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write a model's graphs, with all that runs them; the folder appears when it is whole.

    Args:
        model: with an adapter and a region head.
        folder: that is made; must not be there.
        precision: what weights are stored as; all is computed in float32.
        text: identity of the model that embeds names for it.
        text_vectors: embeddings `(text_dim,)` of names that go along.
        progress: called with the name of each graph before it is made.

    Raises:
        CheckpointError: see `graphs`; or the folder is there, or cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise CheckpointError(f"'{folder}' is there already: give a folder that is new.")
    fingerprint = joint_fingerprint(fingerprints(as_arrays(model.state_dict())))
    made = graphs(model)
    temporary = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        files: dict[GraphName, GraphFile] = {}
        for name in GRAPHS:
            if progress is not None:
                progress(name)
            onnx = stored(onnx_model(made[name]), precision)
            onnx.metadata_props["ovsam.fingerprint"] = fingerprint
            files[name] = write_graph(onnx, temporary / f"{name}.onnx")
        index = Index(FORMAT, model.config, fingerprint, precision, files, text)
        (temporary / INDEX).write_bytes(INDEX_FILE.dump_json(index, indent=1))
        if text_vectors:
            vectors = {TEXT_VECTORS: np.stack(list(text_vectors.values())).astype(np.float16)}
            names = json.dumps(list(text_vectors))
            write_safetensors(temporary / VECTORS, vectors, {TEXT_NAMES: names})
        temporary.rename(folder)
    except OSError as error:
        raise CheckpointError(f"Cannot write '{folder}': {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_without_weights(model: OVSAM, folder: Path, text: str) -> None:
    """Write a model's graphs for weights that come from a checkpoint; see `onnx_files.py`.

    Args:
        model: of the structure that they are to fit.
        folder: for the files; those of their names are replaced.
        text: identity of the model that embeds names for it.
    """
    known = model.state_dict()
    files: dict[GraphName, GraphFile] = {}
    made = graphs(model)
    for name in GRAPHS:
        onnx = onnx_model(made[name])
        apart = {}
        for key, weight in onnx.graph.initializers.items():
            if key in known:
                value = weight.const_value
                assert value is not None and value.dtype is not None
                apart[key] = tuple(known[key].shape)
                shape = ir.Shape(apart[key])
                weight.const_value = ir.ExternalTensor(
                    "checkpoint", 0, value.nbytes, value.dtype, shape=shape, name=key
                )
        files[name] = replace(write_graph(onnx, folder / f"{name}.onnx"), weights=apart)
    config = structure(model.config)
    index = Index(FORMAT, config, "", "checkpoint", files, text)
    (folder / INDEX).write_bytes(INDEX_FILE.dump_json(index, indent=1) + b"\n")


def write_graph(onnx: ir.Model, path: Path) -> GraphFile:
    """Write one graph's file."""
    content = ir.serde.serialize_model(onnx).SerializeToString(deterministic=True)
    path.write_bytes(content)
    return GraphFile(path.name, hashlib.sha256(content).hexdigest(), {})


def stored(model: ir.Model, precision: Precision) -> ir.Model:
    """A graph whose weights are stored in a precision, and computed with in float32.

    What is small or no matrix or kernel stays in float32.
    """
    if precision == "float32":
        return model
    graph = model.graph
    for name, weight in list(graph.initializers.items()):
        value = weight.const_value
        assert value is not None
        array = value.numpy()
        if array.dtype != np.float32 or array.ndim < 2:
            continue
        half = ir.Value(
            name=f"{name}.half",
            const_value=ir.tensor(array.astype(np.float16), name=f"{name}.half"),
            shape=weight.shape,
            type=ir.TensorType(ir.DataType.FLOAT16),
        )
        cast = ir.Node("", "Cast", [half], [ir.AttrInt64("to", ir.DataType.FLOAT)])
        [widened] = cast.outputs
        widened.name, widened.shape, widened.type = name, weight.shape, weight.type
        weight.replace_all_uses_with(widened)
        del graph.initializers[name]
        graph.initializers[f"{name}.half"] = half
        graph.insert_before(graph[0], cast)
    return model
