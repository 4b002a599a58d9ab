"""Graphs as PyTorch exports them, of the few fields that are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ovsam.model.tiny_vit import _ConvNorm
from tools.sam_from_onnx.weights import decoder_weights, encoder_weights

Array = NDArray[Any]


def graph(initializers: dict[str, Array], *nodes: Any) -> Any:
    tensors = [SimpleNamespace(name=name, array=array) for name, array in initializers.items()]
    return SimpleNamespace(initializer=tensors, node=nodes)


def node(kind: str, name: str, *inputs: str, constant: Array | None = None) -> Any:
    attribute = SimpleNamespace(t=SimpleNamespace(array=constant))
    return SimpleNamespace(op_type=kind, name=name, input=inputs, attribute=[attribute])


def read(tensor: Any) -> Array:
    array: Array = tensor.array
    return array


def test_a_folded_norm_comes_out_as_one_that_adds_the_bias() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    found = encoder_weights(
        graph(
            {"onnx::Conv_1": weight, "onnx::Conv_2": bias},
            node("Conv", "/patch_embed/seq/seq.0/c/Conv", "x", "onnx::Conv_1", "onnx::Conv_2"),
        ),
        read,
    )
    prefix = "image_encoder.patch_embed.seq.0."
    state = {k.removeprefix(prefix): torch.from_numpy(array) for k, array in found.items()}
    module = _ConvNorm(3, 4, 3)
    module.load_state_dict({**state, "bn.num_batches_tracked": torch.zeros(())})
    x = torch.randn(1, 3, 5, 5)
    expected = F.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias), padding=1)
    torch.testing.assert_close(module(x), expected)


def test_layers_and_attention_of_the_encoder() -> None:
    linear, table = np.arange(6.0).reshape(2, 3), np.arange(4.0)[None]
    apart = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])  # of a 2 x 2 window
    found = encoder_weights(
        graph(
            {"onnx::MatMul_7": linear, "layers.1.blocks.0.attn.qkv.bias": np.ones(3)},
            node("Constant", "/layers.1/blocks.0/attn/Constant_5", constant=table[:, apart]),
            node("Constant", "/layers.1/blocks.0/attn/Constant_6", constant=np.array([1, -1])),
            node("MatMul", "/layers.1/blocks.0/attn/qkv/MatMul", "x", "onnx::MatMul_7"),
            node("Add", "/layers.1/blocks.0/Add", "x", "y"),
        ),
        read,
    )
    attention = "image_encoder.layers.1.blocks.0.attn"
    assert found.keys() == {
        f"{attention}.{name}" for name in ("attention_biases", "qkv.weight", "qkv.bias")
    }
    np.testing.assert_array_equal(found[f"{attention}.qkv.weight"], linear.T)
    np.testing.assert_array_equal(found[f"{attention}.attention_biases"], table)


def test_prompts_and_decoder() -> None:
    tokens = np.arange(20.0).reshape(1, 5, 4)
    found = decoder_weights(
        graph(
            {
                "model.prompt_encoder.not_a_point_embed.weight": np.zeros((1, 4)),
                "mask_decoder.iou_prediction_head.layers.0.bias": np.ones(4),
                "onnx::Mul_1": np.full((1, 4, 1, 1), 2.0),
                "onnx::Expand_2": tokens,
                "onnx::Mul_3": np.full((3, 1, 1), 3.0),
                "onnx::Add_4": np.full((6, 1, 1), 4.0),
            },
            node("Mul", "/Mul_9", "x", "onnx::Mul_1"),
            node("Expand", "/Expand_1", "onnx::Expand_2", "x"),
            node("Mul", "/mask_downscaling/mask_downscaling.1/Mul", "x", "onnx::Mul_3"),
            node("Add", "/output_upscaling/output_upscaling.1/Add_1", "x", "onnx::Add_4"),
        ),
        read,
    )
    shapes = {name: array.shape for name, array in found.items()}
    assert shapes == {
        "prompt_encoder.not_a_point_embed.weight": (1, 4),
        "mask_decoder.iou_prediction_head.layers.0.bias": (4,),
        "prompt_encoder.no_mask_embed.weight": (1, 4),
        "mask_decoder.iou_token.weight": (1, 4),
        "mask_decoder.mask_tokens.weight": (4, 4),
        "prompt_encoder.mask_downscaling.1.weight": (3,),
        "mask_decoder.output_upscaling.1.bias": (6,),
    }
    np.testing.assert_array_equal(found["mask_decoder.mask_tokens.weight"], tokens[0, 1:])


def test_a_graph_of_another_kind() -> None:
    with pytest.raises(ValueError, match=r"Gemm of mask_decoder\.head is none"):
        decoder_weights(
            graph({"onnx::Gemm_1": np.ones(2)}, node("Gemm", "/head/Gemm", "onnx::Gemm_1")), read
        )
