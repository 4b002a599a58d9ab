"""A model as ONNX files, which `predictor/onnx_backend.py` and other programs run.

See `onnx_graphs.py` for what is computed, and docs/export.md for the tensors one by one.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import Dim

from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError
from ovsam.model.onnx_graphs import DecoderGraph, EncoderGraph, RegionGraph, map_names, maps_of
from ovsam.model.ovsam import OVSAM

OPSET = 20  # the first with GELU
EXAMPLES = 2  # of all that may be any number: a dimension of 0 or 1 would be fixed
FOLDED = 2**20  # elements of constants that are computed beforehand, at most
SIDES = 3  # the side of example squares, in multiples of the least


@dataclass(frozen=True, eq=False)
class Graph:
    """What a graph is exported from.

    Attributes:
        module: computes it.
        inputs: examples by name, in the order of the module's arguments.
        outputs: names, in the order of what it returns.
        free: for each input the free dimensions by their places.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    free: dict[str, dict[int, Any]]


def sides(config: ModelConfig) -> tuple[int, ...]:
    """The sides of the squares that a model works with, model pixels: photos, zoom, clicks."""
    zoom = config.zoom
    found = {config.image_size} | ({zoom.size, zoom.click_size} if zoom is not None else set())
    return tuple(sorted(found))


def graphs(model: OVSAM) -> dict[str, Graph]:
    """The graphs of a model by name: encoder, decoder and, for one that names, regions.

    Raises:
        CheckpointError: it has no adapter, or a baseline names for it.
    """
    config = model.config
    if config.sam is not None or config.baseline is not None:
        raise CheckpointError(
            f"'{config.name}' cannot be exported: expected a model with an adapter and a region "
            "head of its own, such as lite or rn50x16, not SAM itself or a baseline."
        )
    allowed = sides(config)
    least = math.gcd(*allowed)
    fixed = len(allowed) == 1
    side = least if fixed else SIDES * least
    model = model.eval()
    encoder = EncoderGraph(model)
    pixels = torch.randint(256, (EXAMPLES, side, side, 3)).to(torch.uint8)
    content_hw = torch.full((EXAMPLES, 2), side)
    with torch.inference_mode():
        made = encoder.encoded(pixels, content_hw)
    features = maps_of(made)
    cells, photos = Dim("cells", min=1, max=64), Dim("photos", min=1, max=1024)

    def free(first: Dim, stride: int | None = None) -> dict[int, Any]:
        """Free are the number, and where there is a stride, the last two dimensions."""
        if stride is None or fixed:
            return {0: first}
        step = least // stride
        return {0: first, 2: step * cells, 3: step * cells}

    strides = {"embedding": 16, "high8": 8, "high4": 4}
    strides |= {
        name: side // tensor.shape[3]
        for name, tensor in features.items()
        if name not in strides and tensor.ndim == 4
    }
    found = {
        "encoder": Graph(
            encoder,
            {"pixels": pixels, "content_hw": content_hw},
            tuple(features),
            {
                "pixels": {0: photos}
                if fixed
                else {0: photos, 1: least * cells, 2: least * cells},
                "content_hw": {0: photos},
            },
        )
    }
    prompts, regions = Dim("prompts", min=1, max=65536), Dim("regions", min=1, max=65536)
    count = EXAMPLES + 1
    index = torch.arange(count) % EXAMPLES
    low = side // 4
    decoded = [name for name in ("embedding", "high8", "high4") if name in features]
    found["decoder"] = Graph(
        DecoderGraph(model, decoded),
        {
            **{name: features[name] for name in decoded},
            "index": index,
            "points_xy": torch.rand(count, 4, 2) * side,
            "point_labels": torch.tensor([[1, 0, 2, 3]] * count),
            "mask_input": torch.randn(EXAMPLES, 1, low, low),
            "mask_of_prompt": index.clone(),  # one tensor twice would be one input
        },
        ("mask_logits", "predicted_iou")[: 1 + config.decoder.iou_head],
        {
            **{name: free(photos, strides[name]) for name in decoded},
            "index": {0: prompts},
            "points_xy": {0: prompts, 1: Dim("points", min=1, max=65536)},
            "point_labels": {0: prompts, 1: Dim("points", min=1, max=65536)},
            "mask_input": free(Dim("masks", min=1, max=65536), 4),
            "mask_of_prompt": {0: prompts},
        },
    )
    if config.region is None:
        return found
    graph = RegionGraph(model, map_names(made))
    inputs = {
        **{name: features[name] for name in graph.maps},
        "index": index,
        "boxes_xyxy": torch.tensor([[0.0, 0, 1, 1]] * count) * side,
        "mask_logits": torch.randn(count, 1, low, low),
        "names": torch.randn(5, config.encoder.text_dim),
        "class_of_name": torch.arange(5) // 2,
        "seen": torch.arange(3) > 0,
    }
    names, classes = Dim("names", min=1, max=10**7), Dim("classes", min=1, max=10**7)
    shapes = {
        **{
            name: free(photos, strides[name]) if features[name].ndim == 4 else {0: photos}
            for name in graph.maps
        },
        "index": {0: regions},
        "boxes_xyxy": {0: regions},
        "mask_logits": free(regions, 4),
        "names": {0: names},
        "class_of_name": {0: names},
        "seen": {0: classes},
    }
    if "scenes" in features:
        inputs |= {"scenes": features["scenes"][:1], "photo_hw": torch.full((count, 2), 1.0 * side)}
        shapes |= {"scenes": {}, "photo_hw": {0: regions}}
    outputs = ("embeddings", "covered", "log_scores")
    found["regions"] = Graph(graph, inputs, outputs, shapes)
    return found


def onnx_model(graph: Graph) -> ir.Model:
    """A graph in ONNX whose initialisers are the model's weights, by their names in a checkpoint.

    Nothing is computed from weights beforehand, so that the graph fits any weights.
    """
    maps = getattr(graph.module, "maps", ())
    others = [name for name in graph.inputs if name not in maps]
    arguments: tuple[Any, ...] = tuple(graph.inputs[name] for name in others)
    shapes: tuple[Any, ...] = tuple(graph.free[name] for name in others)
    if maps:
        arguments = ([graph.inputs[name] for name in maps], *arguments)
        shapes = ([graph.free[name] for name in maps], *shapes)
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
        if weight.uses():
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
