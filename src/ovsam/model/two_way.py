"""SAM's two-way transformer: a prompt's tokens attend to the image, and the image to them.

Ported from segment-anything (Apache-2.0), `transformer.py`; parameter names are SAM's, so that its
weights load as they are.
"""

from __future__ import annotations

from torch import Tensor, nn

from ovsam.model.attention import TransformerMLP, attended
from ovsam.model.folded import few_to_many, in_heads, many_to_few

DECODER_DEPTH = 2  # two-way blocks of SAM's mask decoder


class DownsampledAttention(nn.Module):
    """Multi-head attention of SAM's mask decoder.

    Args:
        dim: channels of queries, keys and values.
        heads: attention heads.
        downsample: attention takes place in `dim / downsample` channels.
    """

    def __init__(self, dim: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = dim // downsample
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries `(N, Q, dim)`, keys and values `(N, K, dim)` -> `(N, Q, dim)`."""
        q, k, v = (
            self._projected(q, self.q_proj),
            self._projected(k, self.k_proj),
            self._projected(v, self.v_proj),
        )
        x: Tensor = self.out_proj(attended(q, k, v).transpose(1, 2).flatten(2))
        return x

    def to_image(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`forward` for few queries and the many cells of an image as keys and values."""
        if self.training:  # the plain form has the quicker gradient
            return self(q, keys, values)  # type: ignore[no-any-return]
        few = self._projected(q, self.q_proj)
        x: Tensor = self.out_proj(few_to_many(few, keys, values, self.k_proj, self.v_proj))
        return x

    def from_image(self, queries: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`forward` for the many cells of an image as queries and few keys and values."""
        if self.training:
            return self(queries, k, v)  # type: ignore[no-any-return]
        few_k, few_v = self._projected(k, self.k_proj), self._projected(v, self.v_proj)
        return many_to_few(queries, few_k, few_v, self.q_proj, self.out_proj)

    def _projected(self, x: Tensor, projection: nn.Linear) -> Tensor:
        return in_heads(projection(x), self.heads)


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves, then to the image; an MLP; the image attends to the tokens.

    Args:
        dim: channels of tokens and image.
        heads: attention heads.
        mlp_dim: hidden channels of the MLP.
        skip_first_pe: whether the tokens attend to themselves without their positions, as in the
            first block, where they are their positions.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int, skip_first_pe: bool) -> None:
        super().__init__()
        self.self_attn = DownsampledAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = DownsampledAttention(dim, heads, downsample=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TransformerMLP(dim, mlp_dim, nn.ReLU())
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = DownsampledAttention(dim, heads, downsample=2)
        self.skip_first_pe = skip_first_pe

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens and image.

        Args:
            tokens: `(N, T, dim)`.
            image: `(N, H * W, dim)`, or `(1, H * W, dim)` where all prompts see the same.
            token_pe: positions, as `tokens`.
            image_pe: `(1, H * W, dim)`.

        Returns:
            Tokens `(N, T, dim)`, image `(N, H * W, dim)`.
        """
        if self.skip_first_pe:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        placed = image + image_pe
        tokens = self.norm2(
            tokens + self.cross_attn_token_to_image.to_image(tokens + token_pe, placed, image)
        )
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(
            image + self.cross_attn_image_to_token.from_image(placed, tokens + token_pe, tokens)
        )
        return tokens, image


class TwoWayTransformer(nn.Module):
    """SAM's decoder transformer: two-way blocks and a last attention of the tokens to the image.

    Args:
        dim: channels of tokens and image.
        heads: attention heads.
        mlp_dim: hidden channels of the MLPs.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(dim, heads, mlp_dim, skip_first_pe=(i == 0)) for i in range(DECODER_DEPTH)
        )
        self.final_attn_token_to_image = DownsampledAttention(dim, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Let tokens and image attend to each other.

        Args:
            image: `(N, dim, H, W)`, or `(1, dim, H, W)` where all prompts see the same.
            image_pe: its positions `(1, dim, H, W)`.
            tokens: `(N, T, dim)`.

        Returns:
            The tokens `(N, T, dim)` and the image `(N, H * W, dim)`, both updated.
        """
        image, image_pe = image.flatten(2).mT, image_pe.flatten(2).mT
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        found = self.final_attn_token_to_image.to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + found), image
