"""What the graphs are traced with: examples of their inputs, and which dimensions are free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from ovsam.config import ModelConfig
from ovsam.errors import CheckpointError
from ovsam.model.onnx_files import GraphName
from ovsam.model.onnx_graphs import (
    DecoderGraph,
    EncoderGraph,
    FrozenGraph,
    RegionGraph,
    map_names,
    maps_of,
)
from ovsam.model.ovsam import OVSAM

EXAMPLES = 2  # of all that may be any number: a dimension of 0 or 1 would be fixed
SIDES = 3  # the side of example squares, in multiples of the least
MOST = 65536  # of what is counted; no bound that anybody holds


@dataclass(frozen=True, eq=False)
class Graph:
    """What a graph is exported from.

    Attributes:
        module: computes it.
        inputs: examples by name. Those of the module's first arguments, if these are lists, are
            joined in `lists`.
        outputs: names, in the order of what it returns.
        free: for each input the free dimensions by their places.
        lists: which inputs make up the module's first argument, and which its last; None = neither
            is a list.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    free: dict[str, dict[int, Any]]
    lists: tuple[tuple[str, ...], tuple[str, ...] | None] | None = None


def sides(config: ModelConfig) -> tuple[int, ...]:
    """The sides of the squares that a model works with, model pixels: photos, zoom, clicks."""
    zoom = config.zoom
    found = {config.image_size} | ({zoom.size, zoom.click_size} if zoom is not None else set())
    return tuple(sorted(found))


def check_exportable(config: ModelConfig) -> None:
    """Refuse a model that has no graphs.

    Raises:
        CheckpointError: it has no adapter, or no region head of its own.
    """
    if config.sam is not None or config.baseline is not None or config.region is None:
        raise CheckpointError(
            f"'{config.name}' cannot be exported: expected a model with an adapter and a region "
            "head of its own, such as lite or rn50x16, not SAM itself or a baseline."
        )


def graphs(model: OVSAM) -> dict[GraphName, Graph]:
    """The graphs of a model by name: encoder, decoder, frozen, regions.

    Raises:
        CheckpointError: see `check_exportable`.
    """
    config = model.config
    check_exportable(config)
    least, fixed = math.gcd(*sides(config)), len(sides(config)) == 1
    side = least if fixed else SIDES * least
    encoder = EncoderGraph(model.eval())
    pixels = torch.randint(256, (EXAMPLES, side, side, 3)).to(torch.uint8)
    content_hw = torch.full((EXAMPLES, 2), side)
    with torch.inference_mode():
        made = encoder.encoded(pixels, content_hw)
    features = maps_of(made)
    count, text_dim = EXAMPLES + 1, config.encoder.text_dim
    index = torch.arange(count) % EXAMPLES
    inputs = {
        **features,
        "pixels": pixels,
        "content_hw": content_hw,
        "index": index,
        "points_xy": torch.rand(count, 4, 2) * side,
        "point_labels": torch.tensor([[1, 0, 2, 3]] * count),
        "mask_input": torch.randn(EXAMPLES, 1, side // 4, side // 4),
        "mask_of_prompt": index.clone(),  # one tensor twice would be one input
        "boxes_xyxy": torch.tensor([[0.0, 0, 1, 1]] * count) * side,
        "mask_logits": torch.randn(count, 1, side // 4, side // 4),
        "names": torch.randn(5, text_dim),
        "class_of_name": torch.arange(5) // 2,
        "seen": torch.arange(3) > 0,
        "frozen": torch.randn(count, text_dim),
        "covered": index == 0,
        "photo_hw": torch.full((count, 2), 1.0 * side),
    }
    free = _free_dimensions(features, least, side, fixed)
    if "scenes" in features:  # those of one photo, which all the squares are parts of
        inputs["scenes"] = features["scenes"][:1]

    def graph(
        module: nn.Module,
        first: tuple[str, ...],
        names: tuple[str, ...],
        outputs: tuple[str, ...],
        last: tuple[str, ...] | None = None,
    ) -> Graph:
        wanted = (*first, *names, *(last or ()))
        return Graph(
            module,
            {name: inputs[name] for name in wanted},
            outputs,
            {name: free[name] for name in wanted},
            (first, last) if first else None,
        )

    head = model.region_head
    assert head is not None
    masks = ("mask_logits",) if head.sees_masks else ()
    around = ("scenes", "photo_hw") if head.sees_surroundings else ()
    decoder = DecoderGraph(model, [k for k in ("embedding", "high8", "high4") if k in features])
    regions, frozen = RegionGraph(model, map_names(made)), FrozenGraph(model)
    prompts = ("index", "points_xy", "point_labels", "mask_input", "mask_of_prompt")
    vocabulary = ("names", "class_of_name", "seen", "frozen", "covered")
    masked = ("mask_logits", "predicted_iou")[: 1 + config.decoder.iou_head]
    return {
        "encoder": graph(encoder, (), ("pixels", "content_hw"), tuple(features)),
        "decoder": graph(decoder, decoder.maps, prompts, masked),
        "frozen": graph(
            frozen, frozen.maps, ("index", "boxes_xyxy", "mask_logits"), ("embedding", "covered")
        ),
        "regions": graph(
            regions,
            regions.maps,
            ("index", "boxes_xyxy", *vocabulary),
            ("embedding", "log_scores"),
            (*masks, *around),
        ),
    }


def _free_dimensions(
    features: dict[str, Tensor], least: int, side: int, fixed: bool
) -> dict[str, dict[int, Any]]:
    """For each input the free dimensions by their places.

    Args:
        features: what the encoder gives for squares of `side`.
        least: of which all sides are multiples, model pixels.
        side: of the examples.
        fixed: whether there is no other.
    """
    cells, photos = Dim("cells", min=1, max=64), Dim("photos", min=1, max=MOST)
    prompts, points = Dim("prompts", min=1, max=MOST), Dim("points", min=1, max=MOST)
    masks = Dim("masks", min=1, max=MOST)
    names, classes = Dim("names", min=1, max=10**7), Dim("classes", min=1, max=10**7)

    def maps(number: Any, stride: int) -> dict[int, Any]:
        step = least // stride
        return {0: number} if fixed else {0: number, 2: step * cells, 3: step * cells}

    found = {
        name: maps(photos, side // tensor.shape[3]) if tensor.ndim == 4 else {0: photos}
        for name, tensor in features.items()
    }
    squares = {0: photos} if fixed else {0: photos, 1: least * cells, 2: least * cells}
    return {
        **found,
        "pixels": squares,
        "content_hw": {0: photos},
        "index": {0: prompts},
        "points_xy": {0: prompts, 1: points},
        "point_labels": {0: prompts, 1: points},
        "mask_input": maps(masks, 4),
        "mask_of_prompt": {0: prompts},
        "boxes_xyxy": {0: prompts},
        "mask_logits": maps(prompts, 4),
        "names": {0: names},
        "class_of_name": {0: names},
        "seen": {0: classes},
        "frozen": {0: prompts},
        "covered": {0: prompts},
        "photo_hw": {0: prompts},
        "scenes": {},
    }
