"""The backend that runs a model with torch, on a processor or a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovsam.model.checkpoint import fingerprints, joint_fingerprint
from ovsam.model.ovsam import OVSAM, Features
from ovsam.model.pixels import to_pixels
from ovsam.model.prompt_batch import PromptBatch
from ovsam.model.region import Surroundings
from ovsam.model.tensors import as_arrays
from ovsam.model.torch_bank import PrototypesOnDevice
from ovsam.text.prototypes import ClassPrototypes

# Model pixels of the prompts that are decoded together: one prompt in a photo of 1024 x 1024, 16 in
# squares of 256. More no longer fit a processor's cache, and take longer each.
DECODED_AT_ONCE = 1024 * 1024


class TorchBackend:
    """See `Backend`.

    Args:
        model: with its weights; it is moved to the device, and never trains again.
        device: "cpu", "cuda", "mps".
    """

    def __init__(self, model: OVSAM, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._model = model.eval().to(self._device)
        self._model.to(memory_format=torch.channels_last)
        self._prototypes = PrototypesOnDevice(self._device)

    @property
    def engine(self) -> str:
        """See `Backend.engine`."""
        return "torch"

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._device)

    @property
    def threads(self) -> int:
        """See `Backend.threads`."""
        return torch.get_num_threads()

    def use_threads(self, count: int) -> None:
        """See `Backend.use_threads`."""
        torch.set_num_threads(count)

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of the weights."""
        return joint_fingerprint(fingerprints(as_arrays(self._model.state_dict())))

    @torch.inference_mode()
    def encode(
        self,
        contents: Sequence[NDArray[Any]],
        input_hw: tuple[int, int],
        *,
        masked: bool = True,
        named: bool = True,
    ) -> Features:
        """See `Backend.encode`."""
        encoder = self._model.config.encoder
        pixels = [
            to_pixels(content, input_hw, encoder.pixel_mean, encoder.pixel_std)
            for content in contents
        ]
        batch = torch.cat(pixels).to(self._device, memory_format=torch.channels_last)
        content_hw = torch.tensor([content.shape[:2] for content in contents], device=self._device)
        return self._model.encode(batch, named, masked, content_hw)

    @torch.inference_mode()
    def decode(
        self, features: Features, prompts: PromptBatch[NDArray[Any]], index: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Backend.decode`."""
        assert features.embedding is not None, "encoded without `masked`"
        masks, scores = [], []
        at_once = max(1, DECODED_AT_ONCE // math.prod(features.input_hw))
        for start in range(0, len(prompts), at_once):
            some = slice(start, start + at_once)
            logits, predicted_iou = self._model.decode(
                features,
                prompts.map(lambda array, some=some: torch.from_numpy(array[some])),  # type: ignore[misc]
                self._indices(index[some]) if len(features.embedding) > 1 else None,
            )
            if predicted_iou is None:
                predicted_iou = logits.new_full(logits.shape[:2], torch.nan)
            masks.append(_array(logits))
            scores.append(_array(predicted_iou))
        return np.concatenate(masks), np.concatenate(scores)

    @torch.inference_mode()
    def score(
        self,
        features: Features,
        boxes_xyxy: NDArray[np.float64],
        mask_logits: NDArray[np.float32],
        index: NDArray[np.int64],
        prototypes: ClassPrototypes,
        photo: Features,
        photo_hw: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """See `Backend.score`."""
        surroundings = None
        if photo.scenes is not None:
            sizes = torch.from_numpy(photo_hw.astype(np.float32)).to(self._device)
            surroundings = Surroundings(photo.scenes.expand(len(sizes), -1), sizes)
        scores = self._model.label(
            features,
            torch.from_numpy(boxes_xyxy.astype(np.float32)).to(self._device),
            torch.from_numpy(mask_logits[:, None]).to(self._device),
            self._prototypes.of(prototypes),
            self._indices(index),
            surroundings,
        )
        return _array(scores.log_softmax(-1))

    def _indices(self, index: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(index).to(self._device)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.cpu().numpy(), np.float32)
