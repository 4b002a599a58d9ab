"""A model of `lite`'s kind with a trunk of four convolutions: random weights, milliseconds."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import roi_align

from ovsam.config import (
    AdapterConfig,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    RegionConfig,
    ZoomConfig,
)
from ovsam.model.features import ImageEncoder
from ovsam.model.ovsam import OVSAM
from ovsam.model.region import PyramidHead
from ovsam.model.torch_bank import TorchBank
from ovsam.predictor.load_torch import torch_predictor
from ovsam.predictor.predictor import Predictor
from ovsam.text.bank import Bank
from ovsam.text.cache import TextStore
from ovsam.text.encoder import PLAIN_TEMPLATES, Reading
from ovsam.vocabulary.load import load_vocabulary

TEXT_DIM = 8
TINY = ModelConfig(
    name="tiny",
    image_size=128,
    encoder=EncoderConfig(
        kind="tiny", architecture="none", channels=(8, 12, 16, 24), text_dim=TEXT_DIM
    ),
    adapter=AdapterConfig(
        dim=32, depth=2, heads=4, window=4, global_blocks=(1,), position_embedding=False
    ),
    embed_dim=32,
    decoder=DecoderConfig(mlp_dim=32, iou_dim=32, high_resolution=True, box_as_mask=True),
    region=RegionConfig(fpn_dim=16, levels=(2, 3), finest_scale=32, roi_size=3),
    zoom=ZoomConfig(size=64, crop_scales=(1.6, 1.3), click_scales=(0.2, 0.5, 1.0), click_size=32),
    logit_scale=20.0,
    fusion_alpha=0.3,
    fusion_beta=0.5,
)
ONE_TOKEN = replace(
    TINY, name="tiny-released", decoder=DecoderConfig(mask_tokens=1, iou_head=False, mlp_dim=32)
)


class TinyEncoder(ImageEncoder):
    """Four strided convolutions; counts how often it runs, and how many images it sees."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        widths = (3, *config.channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, stride, stride=stride, bias=False), nn.BatchNorm2d(b), nn.ReLU()
            )
            for (a, b), stride in zip(itertools.pairwise(widths), (4, 2, 2, 2), strict=True)
        )
        self.to_text = nn.Linear(config.channels[-1], config.text_dim)
        self.calls = 0

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.calls += 1
        maps = []
        for stage in self.stages:
            pixels = stage(pixels)
            maps.append(pixels)
        return maps[0], maps[1], maps[2], maps[3]

    def embed_regions(
        self,
        c5: Tensor,
        boxes_xyxy: Tensor,
        batch: Tensor,
        mask_logits: Tensor,  # noqa: ARG002
    ) -> Tensor:
        rois = torch.cat([batch[:, None].to(boxes_xyxy), boxes_xyxy], 1)
        pooled = roi_align(c5, rois, 2, 1 / 32, aligned=True).mean((2, 3))
        embedded: Tensor = self.to_text(pooled)
        return embedded


class HashedText:
    """Made-up unit vectors that depend on the text alone; remembers what it was asked."""

    identity = "hashed"
    dim = TEXT_DIM

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        digests = [list(hashlib.sha256(text.encode()).digest()[:TEXT_DIM]) for text in texts]
        vectors = np.array(digests, np.float32) - 128
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """All of every text."""
        return [Reading(tuple(text.encode()), True, True) for text in texts]


def tiny_model(config: ModelConfig = TINY, seed: int = 12) -> OVSAM:
    """Random weights that make masks with an inside and an outside, and names that differ."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = OVSAM(config, TinyEncoder(config.encoder))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 and "norm" not in name:
                    nn.init.normal_(parameter, std=1.2 / parameter[0].numel() ** 0.5)
            balance(model.mask_decoder)
            for layer in model.mask_decoder.output_upscaling:
                if isinstance(layer, nn.ConvTranspose2d):  # smooth: masks rather than gratings
                    layer.weight.copy_(2 * layer.weight.mean((2, 3), keepdim=True))
    return model.eval()


def balance(mask_decoder: nn.Module) -> None:
    """Make random masks neither full nor empty: what a mask token weighs sums to nothing."""
    mlps = mask_decoder.output_hypernetworks_mlps
    assert isinstance(mlps, nn.ModuleList)
    for mlp in mlps:
        for parameter in list(mlp.parameters())[-2:]:
            parameter.sub_(parameter.mean(0))


def random_bank(classes: int) -> TorchBank:
    """Two names of random direction for each class."""
    vectors = F.normalize(torch.randn(2, classes, TEXT_DIM), dim=-1)
    return TorchBank((vectors,), torch.arange(classes))


def names_of(bank: Bank, number: int) -> NDArray[np.floating]:
    """The unit vectors `(P, D)` of one class."""
    at = int(bank.class_order[number])
    for group in bank.groups:
        if at < group.shape[1]:
            vectors: NDArray[np.floating] = group[:, at]
            return vectors
        at -= group.shape[1]
    raise AssertionError("the class is in no group")


def tiny_predictor(
    config: ModelConfig = TINY,
    *,
    model: OVSAM | None = None,
    text: HashedText | None = None,
    vocabulary: str = "cat, dog, coffee mug, tree, lamp",
    zoom: bool | None = None,
    clean: bool = True,
) -> Predictor:
    """A predictor of the tiny model that keeps its text embeddings in memory."""
    return torch_predictor(
        model or tiny_model(config),
        text or HashedText(),
        PLAIN_TEMPLATES,
        TextStore(None),
        load_vocabulary(vocabulary),
        zoom=zoom,
        clean=clean,
    )


def region_head(levels: tuple[int, ...], finest_scale: int) -> PyramidHead:
    """A region head on maps of one channel."""
    config = RegionConfig(fpn_dim=1, levels=levels, finest_scale=finest_scale, roi_size=2)
    return PyramidHead((1, 1, 1, 1), TEXT_DIM, config)
