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
    """A photo's content at the model's scale -> what the encoder takes.

    Args:
        content: `(h, w, 3)` RGB, 0 to 255.
        input_hw: (H, W) of the model's input, at least (h, w).
        mean: of red, green and blue (`EncoderConfig.pixel_mean`).
        std: their standard deviation.

    Returns:
        `(1, 3, H, W)` float32, normalised, then padded with zeros on the right and below.
    """
    pixels = torch.from_numpy(content).float()
    pixels = (pixels - torch.tensor(mean)) / torch.tensor(std)
    height, width = content.shape[:2]
    pixels = pixels.permute(2, 0, 1)[None]  # (1, 3, h, w), channels last in memory
    return F.pad(pixels, (0, input_hw[1] - width, 0, input_hw[0] - height))


def normalised(photos: Tensor, content_hw: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """`to_pixels` for a batch of squares.

    Args:
        photos: `(B, S, S, 3)` uint8 RGB.
        content_hw: `(B, 2)` (h, w) of each square's top left part that is photo.
        mean: `(3,)` of red, green and blue.
        std: `(3,)` their standard deviation.

    Returns:
        `(B, 3, S, S)`, normalised, with zeros where there is no photo.
    """
    pixels = photos.permute(0, 3, 1, 2)  # channels last in memory, as all that is made of it
    pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    rows, columns = (torch.arange(size, device=pixels.device) for size in pixels.shape[2:])
    inside = (rows[:, None] < content_hw[:, 0, None, None]) & (
        columns < content_hw[:, 1, None, None]
    )
    return pixels * inside[:, None]
