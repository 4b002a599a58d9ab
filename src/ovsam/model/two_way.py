"""SAM's two-way transformer: a prompt's tokens attend to the image, and the image to them.

Ported from segment-anything (Apache-2.0), `transformer.py`; parameter names are SAM's, so that its
weights load as they are. Training computes as SAM does. Otherwise what does not depend on the
prompt is projected once (`SharedProjections`), and nothing else of the image is (`folded.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ovsam.model.attention import TransformerMLP, attended
from ovsam.model.folded import few_to_many, in_heads, many_to_few, scores

DECODER_DEPTH = 2  # two-way blocks of SAM's mask decoder


@dataclass(frozen=True, eq=False)
class BlockProjections:
    """Of the image, what a block's attentions have in common for all prompts.

    Attributes:
        keys: `(heads, H * W, D)`, for the tokens' attention to the image.
        queries: `(heads, H * W, D)`, for the image's attention to the tokens.
        values: `(heads, H * W, D)`; None where the keys and queries are of the positions alone, and
            each prompt has made an image of its own.
    """

    keys: Tensor
    queries: Tensor
    values: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SharedProjections:
    """Of an image and its positions, all that is projected once, whatever the prompts.

    Attributes:
        image: for the first block, where all prompts see the same image; else None.
        positions: for each block.
        last: `(heads, H * W, D)` the positions as keys of the last attention.
    """

    image: BlockProjections | None
    positions: tuple[BlockProjections, ...]
    last: Tensor

    def without_image(self) -> SharedProjections:
        """For prompts whose masks make an image of its own for each from the start."""
        return replace(self, image=None)

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        blocks = (*self.positions, *([self.image] if self.image is not None else []))
        parts = [self.last, *(t for b in blocks for t in (b.keys, b.queries, b.values))]
        return sum(tensor.nbytes for tensor in parts if tensor is not None)

    def blocks(self) -> Iterable[BlockProjections]:
        """For each block, the image's if there is one for it."""
        first = self.positions[0] if self.image is None else self.image
        return (first, *self.positions[1:])


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
        q, k, v = self.queries(q), self.keys(k), self.values(v)
        x: Tensor = self.out_proj(attended(q, k, v).transpose(1, 2).flatten(2))
        return x

    def to_image(self, q: Tensor, image: Tensor, keys: Tensor, values: Tensor | None) -> Tensor:
        """`forward` for the tokens as queries and the image as keys and values.

        Args:
            q: `(N, T, dim)`.
            image: `(N, H * W, dim)`, read where `values` is None.
            keys: see `BlockProjections`.
            values: see `BlockProjections`.
        """
        few = self.queries(q)
        if values is None:
            found = few_to_many(few, image, self.k_proj, self.v_proj, keys)
        else:
            k, v = (x.expand(few.shape[0], -1, -1, -1) for x in (keys, values))
            found = attended(few, k, v).transpose(1, 2).flatten(2)
        x: Tensor = self.out_proj(found)
        return x

    def from_image(self, image: Tensor, k: Tensor, v: Tensor, shared: BlockProjections) -> Tensor:
        """The image `(N, H * W, dim)`, or `(1, ...)` for all, plus `forward` with it as queries.

        Args:
            image: without its positions.
            k: tokens as keys, `(N, T, dim)`.
            v: tokens as values, `(N, T, dim)`.
            shared: the queries, or their positions' part.
        """
        cells = image if shared.values is None else None
        by_place = scores(self.keys(k), cells, self.q_proj, shared.queries)
        return many_to_few(image, by_place, self.values(v), self.out_proj)

    def queries(self, x: Tensor) -> Tensor:
        """`(N, Q, dim)` -> `(N, heads, Q, D)`."""
        return in_heads(self.q_proj(x), self.heads)

    def keys(self, x: Tensor) -> Tensor:
        """`(N, K, dim)` -> `(N, heads, K, D)`."""
        return in_heads(self.k_proj(x), self.heads)

    def values(self, x: Tensor) -> Tensor:
        """`(N, K, dim)` -> `(N, heads, K, D)`."""
        return in_heads(self.v_proj(x), self.heads)


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
        """Update tokens `(N, T, dim)` and image `(N, H * W, dim)`, their positions alike."""
        tokens = self._among_tokens(tokens, token_pe)
        tokens = self.norm2(
            tokens + self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        )
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(
            image + self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens)
        )
        return tokens, image

    def folded(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, shared: BlockProjections
    ) -> tuple[Tensor, Tensor]:
        """`forward` with what all prompts share; the image may be `(1, H * W, dim)` for them."""
        tokens = self._among_tokens(tokens, token_pe)
        found = self.cross_attn_token_to_image.to_image(
            tokens + token_pe, image, shared.keys, shared.values
        )
        tokens = self.norm2(tokens + found)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.cross_attn_image_to_token.from_image(image, tokens + token_pe, tokens, shared)
        return tokens, self.norm4(image)

    def shared(self, placed: Tensor, image: Tensor | None) -> BlockProjections:
        """What `folded` needs, of an image `(1, H * W, dim)` or of positions alone.

        Args:
            placed: `(1, H * W, dim)` the image with its positions, or these alone.
            image: `(1, H * W, dim)`; None = positions alone.
        """
        to_image, from_image = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        return BlockProjections(
            keys=to_image.keys(placed)[0].contiguous(),
            queries=from_image.queries(placed)[0].contiguous(),
            values=None if image is None else to_image.values(image)[0].contiguous(),
        )

    def _among_tokens(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        if self.skip_first_pe:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        return tokens


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

    def forward(
        self,
        image: Tensor,
        image_pe: Tensor | None,
        tokens: Tensor,
        shared: SharedProjections | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Let tokens and image attend to each other.

        Args:
            image: `(N, dim, H, W)`, or `(1, dim, H, W)` where all prompts see the same.
            image_pe: its positions `(1, dim, H, W)`; None where `shared` is given.
            tokens: `(N, T, dim)`.
            shared: what `shared` gave for this image, or `without_image`. None = in training as SAM
                computes it, whose gradient is quicker, else made here.

        Returns:
            The tokens `(N, T, dim)` and the image `(N, H * W, dim)`, both updated.
        """
        if shared is None:
            assert image_pe is not None
            if self.training:
                return self._plain(image.flatten(2).mT, image_pe.flatten(2).mT, tokens)
            shared = self.shared(None, image_pe)
        image, token_pe = image.flatten(2).mT, tokens
        for layer, projections in zip(self.layers, shared.blocks(), strict=True):
            assert isinstance(layer, TwoWayBlock)
            tokens, image = layer.folded(tokens, image, token_pe, projections)
        last = self.final_attn_token_to_image
        tokens = tokens + last.to_image(tokens + token_pe, image, shared.last, None)
        return self.norm_final_attn(tokens), image

    def _plain(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` as SAM has it; image and positions are `(N, H * W, dim)` here."""
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        tokens = tokens + self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens), image

    def shared(self, image: Tensor | None, image_pe: Tensor) -> SharedProjections:
        """What all prompts share that see one image `(1, dim, H, W)` first; None = each its own.

        Args:
            image: the embedding, with the dense prompt that stands for no mask.
            image_pe: positions `(1, dim, H, W)`.
        """
        pe = image_pe.flatten(2).mT
        blocks = [layer for layer in self.layers if isinstance(layer, TwoWayBlock)]
        first = None
        if image is not None:
            cells = image.flatten(2).mT
            first = blocks[0].shared(cells + pe, cells)
        last = self.final_attn_token_to_image.keys(pe)[0].contiguous()
        return SharedProjections(first, tuple(block.shared(pe, None) for block in blocks), last)
