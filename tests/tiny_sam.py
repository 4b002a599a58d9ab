"""SAM's image encoder, tiny, with random weights, and as SAM is released."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn


def sam_encoder(global_blocks: tuple[int, ...] = (1,)) -> ImageEncoderViT:
    """SAM's encoder on 64 pixels: 4 x 4 tokens, windows of 3, random weights."""
    encoder = ImageEncoderViT(
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        out_chans=8,
        window_size=3,
        use_rel_pos=True,
        global_attn_indexes=global_blocks,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return encoder.eval()


def write_sam(path: Path, encoder: ImageEncoderViT) -> Path:
    """As SAM is released: all three parts in one state dict."""
    state = {f"image_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({**state, "mask_decoder.iou_token.weight": torch.zeros(1, 256)}, path)
    return path
