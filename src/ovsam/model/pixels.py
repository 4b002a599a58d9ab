"""A frame's content as the tensor that the encoder takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def to_pixels(
    content: NDArray[Any],
    input_hw: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Content `(h, w, 3)` RGB, 0 to 255 -> `(1, 3, H, W)`, normalised, then padded with zeros."""
    pixels = torch.from_numpy(content).float()
    pixels = (pixels - torch.tensor(mean)) / torch.tensor(std)
    height, width = content.shape[:2]
    pixels = pixels.permute(2, 0, 1)[None]  # (1, 3, h, w), channels last in memory
    return F.pad(pixels, (0, input_hw[1] - width, 0, input_hw[0] - height))


def normalised(photos: Tensor, content_hw: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The same for a batch `(B, S, S, 3)` uint8 of which `content_hw` `(B, 2)` is photo."""
    pixels = (photos - mean) / std
    cells = torch.arange(pixels.shape[1], device=pixels.device)
    inside = (cells[None, :, None] < content_hw[:, 0, None, None]) & (
        cells[None, None, :] < content_hw[:, 1, None, None]
    )
    return (pixels * inside[..., None]).permute(0, 3, 1, 2)  # channels last in memory
