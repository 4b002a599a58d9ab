"""The graph of an exported SAM -> its weights under SAM's own names.

Most initializers have their names. The exporter renames those that it transposes, reshapes or folds
into others; they are found by the node that reads them, whose name is that of its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Read = Callable[[Any], Array]
"""`onnx.numpy_helper.to_array`."""

EPSILON = 1e-5  # of PyTorch's batch norm


def encoder_weights(graph: Any, read: Read) -> dict[str, Array]:
    """The image encoder's, a TinyViT's, of `encoder.onnx`."""
    weights: dict[str, Array] = {}
    own = {each.name: read(each) for each in graph.initializer}
    for node in graph.node:
        module, renamed = f"image_encoder.{_module(node.name)}", _renamed(node, own)
        if node.op_type == "Conv" and renamed:  # with the batch norm that was folded into it
            weights |= _conv_and_norm(module, *renamed)
        elif node.op_type == "Constant" and module.endswith(".attn"):
            bias = read(node.attribute[0].t)
            if bias.ndim == 3:  # (heads, queries, keys); the first query sees each offset in order
                weights[f"{module}.attention_biases"] = bias[:, 0]
        elif renamed:
            weights |= _of_module(node.op_type, module, renamed[0])
    named = {f"image_encoder.{name}": array for name, array in own.items() if "::" not in name}
    return {**named, **weights}


def decoder_weights(graph: Any, read: Read) -> dict[str, Array]:
    """The prompt encoder's and the mask decoder's, of `sam.onnx`."""
    own = {each.name: read(each) for each in graph.initializer}
    weights = {name.removeprefix("model."): own[name] for name in own if "::" not in name}
    for node in graph.node:
        renamed = _renamed(node, own)
        if not renamed:
            continue
        module, [array, *_] = _module(node.name), renamed
        part = "prompt_encoder" if module.startswith("mask_downscaling") else "mask_decoder"
        if node.op_type == "Expand":  # the tokens for each prompt: of the IoU, then of the masks
            weights["mask_decoder.iou_token.weight"] = array[0, :1]
            weights["mask_decoder.mask_tokens.weight"] = array[0, 1:]
        elif module:
            weights |= _of_module(node.op_type, f"{part}.{module}", array)
        else:
            weights["prompt_encoder.no_mask_embed.weight"] = array.reshape(1, -1)
    return weights


def _renamed(node: Any, own: Mapping[str, Array]) -> list[Array]:
    return [own[name] for name in node.input if name in own and "::" in name]


def _module(node: str) -> str:
    """A node's name -> its module's.

    Example:
        >>> _module("/patch_embed/seq/seq.0/c/Conv")
        'patch_embed.seq.0.c'
    """
    scopes = node.split("/")[1:-1]
    # A member of a list stands behind the list: seq/seq.0.
    inner = zip_longest(scopes, scopes[1:], fillvalue="")
    return ".".join(scope for scope, then in inner if not then.startswith(f"{scope}."))


def _of_module(operation: str, module: str, array: Array) -> dict[str, Array]:
    match operation:
        case "MatMul":  # of a linear layer
            return {f"{module}.weight": array.T}
        case "Mul":  # of a layer norm over channels
            return {f"{module}.weight": array.ravel()}
        case "Add":
            return {f"{module}.bias": array.ravel()}
    raise ValueError(f"{operation} of {module} is none that a SAM has")


def _conv_and_norm(conv: str, weight: Array, bias: Array) -> dict[str, Array]:
    """A convolution with bias as one without and a batch norm that only adds the bias."""
    norm = f"{conv.removesuffix('.c')}.bn"
    return {
        f"{conv}.weight": weight,
        f"{norm}.weight": np.ones_like(bias),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": np.zeros_like(bias),
        f"{norm}.running_var": np.full_like(bias, 1 - EPSILON),
    }
