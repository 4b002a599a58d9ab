"""What the stages share that train one of our models."""

from __future__ import annotations

import torch
from torch import Tensor

from ovsam.model.ovsam import OVSAM
from ovsam.train.stage import Stage


class ModelStage(Stage):
    """A stage of a model, with the statistics of the pixels that its trunk expects.

    Args:
        model: with its trunk's weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: OVSAM) -> None:
        super().__init__()
        self.model = model
        encoder = model.config.encoder
        self.register_buffer("mean", torch.tensor(encoder.pixel_mean), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.pixel_std), persistent=False)
