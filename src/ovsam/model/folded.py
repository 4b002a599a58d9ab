"""Attention between few and many, with the projections of the many folded into the few.

Attention projects queries, keys and values before it compares them. Where a handful of tokens meets
the thousands of cells of an image, nearly all of its work is to project cells. But sums and products
may be taken in another order, with the same result to rounding:

    q · (W x + b) = (Wᵀ q) · x + q · b      a score: the few are projected back
    Σ a (W x + b) = W (Σ a x) + b           a mean, whose weights a have the sum 1: projected after it

The cells x are then only read. What is paid instead: each head has scores and means of its own, in
all channels of x instead of its share of them. It pays as long as tokens x heads are fewer than the
channels that cells would be projected to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def in_heads(x: Tensor, heads: int) -> Tensor:
    """`(N, T, heads * D)` -> `(N, heads, T, D)`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def few_to_many(
    q: Tensor, keys: Tensor, values: Tensor, k_proj: nn.Linear, v_proj: nn.Linear
) -> Tensor:
    """Few queries attend to many cells: `(N, T, heads * D)`, before the output's projection.

    Args:
        q: `(N, heads, T, D)`, projected.
        keys: `(N, K, C)` as they come, before `k_proj`.
        values: `(N, K, C)`, before `v_proj`.
        k_proj: C channels to heads * D. Its bias adds the same to all scores of a query, which the
            softmax does not see.
        v_proj: C channels to heads * D.
    """
    heads, few = q.shape[1:3]
    folded = _per_head(q * q.shape[-1] ** -0.5, k_proj.weight)  # (N, heads, T, C)
    weights = (folded.flatten(1, 2) @ keys.mT).softmax(-1)  # (N, heads * T, K)
    means = (weights @ values).unflatten(1, (heads, few))  # (N, heads, T, C)
    attended = torch.einsum("nhtc,hdc->nhtd", means, v_proj.weight.unflatten(0, (heads, -1)))
    return attended.transpose(1, 2).flatten(2) + v_proj.bias


def many_to_few(
    queries: Tensor, k: Tensor, v: Tensor, q_proj: nn.Linear, out_proj: nn.Linear
) -> Tensor:
    """Many cells attend to few keys and values: `(N, K, C)`, the output projected.

    Args:
        queries: `(N, K, C)` as they come, before `q_proj`.
        k: `(N, heads, T, D)`, projected.
        v: `(N, heads, T, D)`, projected.
        q_proj: C channels to heads * D.
        out_proj: heads * D channels to C.
    """
    heads = k.shape[1]
    scaled = k * k.shape[-1] ** -0.5
    folded = _per_head(scaled, q_proj.weight)  # (N, heads, T, C)
    constant = scaled @ q_proj.bias.unflatten(0, (heads, -1))[..., None]  # (N, heads, T, 1)
    scores = folded.flatten(1, 2) @ queries.mT + constant.flatten(1, 2)  # (N, heads * T, K)
    weights = scores.unflatten(1, (heads, -1)).softmax(2).flatten(1, 2)  # over the T of a head
    outputs = _per_head(v, out_proj.weight.mT)  # (N, heads, T, C)
    return weights.mT @ outputs.flatten(1, 2) + out_proj.bias


def _per_head(x: Tensor, weight: Tensor) -> Tensor:
    """Each head's `(N, heads, T, D)` by its own rows of `(heads * D, C)` -> `(N, heads, T, C)`.

    Not a broadcast product: that would copy the weights for each of the N.
    """
    return torch.einsum("nhtd,hdc->nhtc", x, weight.unflatten(0, (x.shape[1], -1)))
