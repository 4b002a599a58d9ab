"""MiniLM behind learned tokens, with gradients: what CoOp learns through.

The same layers as in `ovsam.text.minilm`, which embeds texts without them, and of the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ovsam.text.minilm import EPS, HEADS, LAYERS, MAX_TOKENS, POSITIONS, SEGMENTS, MiniLM


class TorchMiniLM(MiniLM):
    """A `MiniLM` that also takes token embeddings before a text."""

    def embed_in_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        """Learned tokens `(T, 384)` before each text, behind its start token: `(N, 384)`.

        Gradients reach `context`; the vectors are unit vectors on its device. What exceeds 256
        tokens of a text, the learned ones included, is ignored.
        """
        tokens = context.float().cpu()
        vectors = torch.empty(len(texts), self.dim)
        room = MAX_TOKENS - len(tokens)
        for rows, ids in self.batches(texts):
            if ids.shape[1] > room:
                ids[:, room - 1] = ids[:, -1]  # the end token
            words = torch.from_numpy(self.words(ids[:, :room]))
            learned = tokens.expand(len(words), -1, -1)
            vectors[rows] = self._sentences(torch.cat([words[:, :1], learned, words[:, 1:]], 1))
        return vectors.to(context.device)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        with torch.inference_mode(False):  # a context's gradient goes through them
            return {name: torch.from_numpy(array) for name, array in self.weights.items()}

    def _sentences(self, words: Tensor) -> Tensor:
        """Words `(B, T, 384)` -> the mean over the last layer's tokens, normalised: `(B, 384)`."""
        weights, length = self._tensors, words.shape[1]

        def linear(x: Tensor, name: str) -> Tensor:
            return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(
                x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPS
            )

        x = words + weights[POSITIONS][:length] + weights[SEGMENTS][0]
        x = norm(x, "embeddings.LayerNorm")  # (B, T, 384)
        for i in range(LAYERS):
            layer = f"encoder.layer.{i}"
            q, k, v = (
                linear(x, f"{layer}.attention.self.{name}")
                .reshape(len(x), length, HEADS, -1)
                .transpose(1, 2)  # (B, heads, T, 384 / heads)
                for name in ("query", "key", "value")
            )
            y = F.scaled_dot_product_attention(q, k, v)
            y = linear(y.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
            x = norm(x + y, f"{layer}.attention.output.LayerNorm")
            y = F.gelu(linear(x, f"{layer}.intermediate.dense"))
            x = norm(x + linear(y, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return F.normalize(x.mean(1), dim=-1)
