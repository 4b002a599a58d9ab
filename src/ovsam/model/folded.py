"""Attention between few and many, with the projections of the many folded into the few.

Attention projects queries, keys and values before it compares them. Where a handful of tokens
meets the thousands of cells of an image, nearly all of its work is to project cells. But sums and
products may be taken in another order, with the same result to rounding:

    q · (W x + b) = (Wᵀ q) · x + q · b      a score: the few are projected back
    Σ a (W x + b) = W (Σ a x) + b           a mean, as its weights a have the sum 1: projected last

The cells x are then only read. What is paid instead: each head has scores and means of its own in
all channels of x, not in its share of them. It pays as long as tokens x heads are fewer than the
channels that cells would be projected to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def in_heads(x: Tensor, heads: int) -> Tensor:
    """`(N, T, heads * D)` -> `(N, heads, T, D)`."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def few_to_many(
    q: Tensor,
    cells: Tensor,
    k_proj: nn.Linear,
    v_proj: nn.Linear,
    projected: Tensor | None = None,
) -> Tensor:
    """Few queries attend to many cells: `(N, T, heads * D)`, before the output's projection.

    Args:
        q: `(N, heads, T, D)`, projected.
        cells: keys and values `(N, K, C)`, or `(1, K, C)` for all, not projected.
        k_proj: C channels to heads * D.
        v_proj: C channels to heads * D.
        projected: what `scores` adds to the projected keys. Without it the bias of `k_proj` is left
            out: it adds the same to all scores of a query, which the softmax does not see.
    """
    heads = q.shape[1]
    weights = scores(q, cells, k_proj, projected).softmax(-1)  # (N, heads, T, K)
    means = torch.unflatten(weights.flatten(1, 2) @ cells, 1, (heads, -1))  # (N, heads, T, C)
    values = torch.einsum("nhtc,hdc->nthd", means, torch.unflatten(v_proj.weight, 0, (heads, -1)))
    return values.flatten(2) + v_proj.bias


def many_to_few(cells: Tensor, scores: Tensor, v: Tensor, out_proj: nn.Linear) -> Tensor:
    """Many cells attend to few values, and the result is added to them: `(N, K, C)`.

    Args:
        cells: `(N, K, C)`, or `(1, K, C)` for all.
        scores: `(N, heads, T, K)`.
        v: `(N, heads, T, D)`, projected.
        out_proj: heads * D channels to C.
    """
    # A head's weights have the sum 1, so each head may bring its share of the bias along.
    outputs = _per_head(v, out_proj.weight.mT) + out_proj.bias / v.shape[1]  # (N, heads, T, C)
    return torch.baddbmm(cells, scores.softmax(2).flatten(1, 2).mT, outputs.flatten(1, 2))


def scores(
    few: Tensor, cells: Tensor | None, projection: nn.Linear, projected: Tensor | None
) -> Tensor:
    """Scaled products of few tokens and many cells: `(N, heads, T, K)`.

    Args:
        few: queries of the cells or keys for them, `(N, heads, T, D)`, projected.
        cells: `(N, K, C)`, or `(1, K, C)` for all, not projected; None = `projected` is all.
        projection: of the cells, C channels to heads * D. Its bias is expected in `projected`.
        projected: `(heads, K, D)` what is added to the projected cells of each of the N.
    """
    few = few * few.shape[-1] ** -0.5
    if projected is not None:
        shared = torch.einsum("nhtd,hkd->nhtk", few, projected)
        if cells is None:
            return shared
    assert cells is not None
    folded = _per_head(few, projection.weight).flatten(1, 2)  # (N, heads * T, C)
    if projected is None:
        products = folded @ cells.mT
    else:
        cells = cells.expand(few.shape[0], -1, -1)
        products = torch.baddbmm(shared.flatten(1, 2), folded, cells.mT)
    return torch.unflatten(products, 1, few.shape[1:3])


def _per_head(x: Tensor, weight: Tensor) -> Tensor:
    """Each head's `(N, heads, T, D)` by its own rows of `(heads * D, C)` -> `(N, heads, T, C)`.

    Not a broadcast product: that would copy the weights for each of the N.
    """
    return torch.einsum("nhtd,hdc->nhtc", x, torch.unflatten(weight, 0, (x.shape[1], -1)))
