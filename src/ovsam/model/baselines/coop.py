"""Learned tokens before a class's name in place of prompt templates (CoOp, Zhou et al., IJCV 2022).

All classes share them (CoOp's unified context, §3.1 there), so that a class without training photos
can be the answer, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ovsam.text.encoder import Reading

INITIAL_STD = 0.02  # CoOp's


class CoOpTokens(nn.Module):
    """The tokens `(T, width)`: T embeddings, each as wide as those of the text model's own tokens.

    Args:
        count: T.
        width: of the text model's token embeddings.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, width))
        nn.init.normal_(self.tokens, std=INITIAL_STD)


class ContextEncoder(Protocol):
    """A text model that takes token embeddings before a text."""

    @property
    def identity(self) -> str:
        """See `TextEncoder`."""

    @property
    def dim(self) -> int:
        """See `TextEncoder`."""

    def embed_in_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        """Tokens `(T, width)` and N texts behind them -> `(N, dim)`, with gradients."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """See `TextEncoder`."""


class InContext:
    """A `TextEncoder` whose texts stand behind learned tokens.

    Args:
        encoder: the text model.
        context: `(T, width)`.
    """

    def __init__(self, encoder: ContextEncoder, context: Tensor) -> None:
        self.encoder, self.context = encoder, context.detach()
        self.dim = encoder.dim

    @property
    def identity(self) -> str:
        """That of the text model, and of the tokens."""
        tokens = self.context.float().cpu().contiguous().numpy().tobytes()
        return f"{self.encoder.identity}+{hashlib.blake2b(tokens, digest_size=8).hexdigest()}"

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> unit vectors `(N, dim)`."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        vectors = F.normalize(self.encoder.embed_in_context(texts, self.context), dim=-1)
        return vectors.cpu().numpy()

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the text model reads of each text."""
        return self.encoder.read(texts)
