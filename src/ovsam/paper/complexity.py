"""What a model costs: parameters and multiply-adds of each part, counted on the meta device.

Counted are the matrix products and convolutions that PyTorch runs (`FlopCounterMode`); what has no
such product is free: normalisation, activation, resizing, RoIAlign; so is comparing with the
prototypes. Prompts are counted as SAM and CLIP compute them: the cheaper order that the same sums
are put in here (`model/folded.py`) is no property of the model.

The paper does not say what its figures are of: they agree within 0.4 % with one photo and ten
prompts (Image-Crop's excess over SAM is ten crops of 384 pixels), so that is our total.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ovsam.config import DecoderConfig, ModelConfig, RegionConfig, current_name
from ovsam.errors import UnknownModelError
from ovsam.hub import find_model
from ovsam.model.baselines.conv_adapter import ConvAdapter
from ovsam.model.build import build
from ovsam.model.checkpoint import read_config
from ovsam.model.clip import ClipImageEncoder
from ovsam.model.features import ImageEncoder
from ovsam.model.mask import MaskDecoder
from ovsam.model.presets import MODELS, SAMS, SINGLE, as_baseline, named_config, split_baseline
from ovsam.model.prompt import PromptEncoder
from ovsam.model.region import ContextHead, PyramidHead, RegionHead, TokenHead

T = TypeVar("T")

PROMPTS = 10  # prompts per photo in a total


Per = Literal["photo", "prompt"]
"""How often a part runs."""


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes:
        name: what it is.
        per: whether it runs once for a photo or for each prompt.
        parameters: how many numbers it holds; 0 for a part that uses another's.
        multiply_adds: for one run.
    """

    name: str
    per: Per
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Complexity:
    """A model's parts and what the paper says of the whole.

    Attributes:
        model: its name.
        parts: in the order in which they run.
        paper: multiply-adds and parameters by the paper, or None if it does not have the model.
    """

    model: str
    parts: tuple[Part, ...]
    paper: tuple[float, float] | None

    @property
    def parameters(self) -> int:
        """Of all parts."""
        return sum(part.parameters for part in self.parts)

    @property
    def encode(self) -> int:
        """Multiply-adds for a photo, before any prompt."""
        return sum(part.multiply_adds for part in self.parts if part.per == "photo")

    @property
    def prompt(self) -> int:
        """Multiply-adds for a prompt."""
        return sum(part.multiply_adds for part in self.parts if part.per == "prompt")

    @property
    def total(self) -> int:
        """Multiply-adds for a photo and `PROMPTS` prompts."""
        return self.encode + PROMPTS * self.prompt


# Multiply-adds and parameters of arXiv 2401.02955, Tables 1, 3, 5 and 7.
_PAPER: Mapping[str, tuple[float, float]] = {
    "rn50": (728e9, 165e6),
    "rn50x16": (1180e9, 304e6),
    "rn50x64": (2098e9, 568e6),
    "convnext-l": (1313e9, 321e6),
    "convnext-l-single": (1280e9, 307e6),
    "sam-h": (3001e9, 641e6),
    "image-crop": (3748e9, 808e6),
    "feature-crop": (3545e9, 808e6),
}
_PAPER_BASELINES = {
    "image-crop": "sam-h+rn50x16-image-crop",
    "feature-crop": "sam-h+rn50x16-feature-crop",
}


def model_names() -> tuple[str, ...]:
    """The models that `complexity` knows by name: ours, and what the paper compares with."""
    return tuple(dict.fromkeys([*MODELS, *_PAPER]))


def complexity(name: str, *, zoom: bool = True, naming: bool = True) -> Complexity:
    """Count a model by its name or the path of its checkpoint.

    Args:
        name: one of `model_names`; a name or path as `ovsam.load` takes it.
        zoom: count what zooming takes, for a model that zooms by default; False = as it runs
            with `--no-zoom`.
        naming: count what names objects; False = masks alone.

    Raises:
        UnknownModelError: no model has that name.
        CheckpointError: there is no such file.

    Example:
        >>> round(complexity("rn50x16").encode / 1e9)
        1116
    """
    with torch.device("meta"), torch.inference_mode():
        config = _config(_PAPER_BASELINES.get(name, name))
        if not zoom:
            config = replace(config, zoom=None)
        if not naming:
            config = replace(config, region=None, baseline=None)
        parts = _ovsam_parts(config)
    return Complexity(name, parts, _PAPER.get(name))


def _config(name: str) -> ModelConfig:
    name = current_name(name)
    own, _ = split_baseline(name)
    if own.removesuffix(SINGLE) in MODELS or own.partition("+")[0] in SAMS:
        return named_config(name)
    try:
        found = find_model(name)
    except UnknownModelError as error:
        raise UnknownModelError(
            f"There is no model '{name}'. Give the path of a checkpoint or one of: "
            f"{', '.join(model_names())}."
        ) from error
    config = read_config(found.path)
    return as_baseline(config, found.baseline) if found.baseline else config


def _ovsam_parts(config: ModelConfig) -> tuple[Part, ...]:
    model = build(config)
    adapter, sam, sharpen = model.adapter, model.sam, model.high_resolution
    trunk, own_head, pyramid = _encoder_parts(model.encoder, config.image_size)
    once, each = [trunk], [own_head]
    if adapter is not None:
        once.append(_part("SAM2CLIP adapter", "photo", adapter, lambda: adapter(pyramid))[0])
    if sam is not None:
        pixels = _pixels(config.image_size)
        once.insert(0, _part("SAM's encoder", "photo", sam, lambda: sam(pixels))[0])
    if model.conv_adapter is not None:
        once.append(_conv_adapter_part(model.conv_adapter, pyramid, config.image_size))
    if model.region_head is not None and config.region is not None:
        regions, region = _region_parts(model.region_head, config.region, pyramid)
        once.append(regions)
        each.insert(0, region)
    elif config.baseline is None or config.baseline.cuts == "image":
        if sam is not None:  # the trunk sees crops alone, or nothing
            once.remove(trunk)
        each = []
        if config.baseline is not None:
            crop = _crop_part(config, model.encoder)
            each = [crop if sam is not None else replace(crop, parameters=0)]
    if sharpen is not None:
        once.append(_part("high resolution", "photo", sharpen, lambda: sharpen(pyramid))[0])
    if zoom := config.zoom:  # the same weights once more
        crop, _ = _part(
            "zoom: encode again",
            "prompt",
            model,
            lambda: model.encode(_pixels(zoom.size), named=model.region_head is not None),
        )
        squares = len(zoom.crop_scales)  # around a given box; one around what a click has found
        once.append(replace(crop, parameters=0, multiply_adds=squares * crop.multiply_adds))
    return (
        *once,
        *_prompt_parts(config.embed_dim, config.decoder, zoom.size if zoom else config.image_size),
        *each,
    )


def _region_parts(
    head: RegionHead, config: RegionConfig, pyramid: Sequence[Tensor]
) -> tuple[Part, Part]:
    """The region head's maps of a photo, and what it does for a region."""
    if isinstance(head, ContextHead):
        means, _ = _part("means", "photo", nn.Identity(), lambda: head.pyramid(pyramid))
        joined = torch.empty(1, head.width)
        return means, _part("region head", "prompt", head, lambda: head.layers(joined))[0]
    if isinstance(head, PyramidHead):
        pooled = torch.empty(1, config.fpn_dim, config.roi_size, config.roi_size)
        return (
            _part("feature pyramid", "photo", head.fpn, lambda: head.pyramid(pyramid))[0],
            _part("region head", "prompt", head.roi_conv, lambda: head.roi_conv(pooled))[0],
        )
    assert isinstance(head, TokenHead)
    once, maps = _part("token's map", "photo", head.project, lambda: head.pyramid(pyramid))
    box, mask = torch.empty(1, 4), torch.empty(1, 1, *(8 * side for side in pyramid[3].shape[2:]))
    first = torch.zeros(1, dtype=torch.long)
    each, _ = _part("region head", "prompt", head, lambda: head(maps, box, first, mask))
    return once, replace(each, parameters=each.parameters - once.parameters)


def _encoder_parts(
    encoder: ImageEncoder, size: int
) -> tuple[Part, Part, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The frozen trunk on a photo and its own head on a region; C2..C5."""
    trunk, pyramid = _part("trunk", "photo", encoder, lambda: encoder(_pixels(size)))
    own_head, _ = _part(
        "trunk's own head", "prompt", encoder, lambda: _embed_region(encoder, pyramid[3])
    )
    return trunk, replace(own_head, parameters=0), pyramid


def _prompt_parts(dim: int, config: DecoderConfig, size: int) -> tuple[Part, Part]:
    """Prompt encoder and mask decoder for one box in an input of `size` pixels."""
    prompt_encoder, decoder = PromptEncoder(dim), MaskDecoder(dim, config)
    box, embedding = torch.empty(1, 4), torch.empty(1, dim, size // 16, size // 16)
    sharp = None
    if config.high_resolution:
        stride8 = torch.empty(1, dim // 4, size // 8, size // 8)
        sharp = stride8, torch.empty(1, dim // 8, size // 4, size // 4)
    prompt, (sparse, dense) = _part(
        "prompt encoder",
        "prompt",
        prompt_encoder,
        lambda: prompt_encoder(None, None, box, None, (size, size)),
    )
    mask, _ = _part(
        "mask decoder",
        "prompt",
        decoder,
        lambda: decoder(embedding, embedding, sparse, dense, sharp),
    )
    return prompt, mask


def _conv_adapter_part(adapter: ConvAdapter, pyramid: Sequence[Tensor], size: int) -> Part:
    return _part("conv adapter", "photo", adapter, lambda: adapter(_pixels(size), pyramid))[0]


def _crop_part(config: ModelConfig, encoder: ImageEncoder) -> Part:
    """The whole of the frozen encoder on a crop of the size that its own head was made for."""
    size = 32 * config.encoder.pool_size
    part, _ = _part(
        "trunk on the crop",
        "prompt",
        encoder,
        lambda: _embed_region(encoder, encoder(_pixels(size))[3]),
    )
    return part


def _embed_region(encoder: ImageEncoder, c5: Tensor) -> Tensor:
    if isinstance(encoder, ClipImageEncoder):
        side = encoder.pool_size
        pooled: Tensor = encoder.visual.attnpool(torch.empty(1, c5.shape[1], side, side))
        return pooled
    mask_logits = torch.empty(1, 1, 8 * c5.shape[2], 8 * c5.shape[3])
    return encoder.embed_regions(c5, torch.empty(1, 4), torch.zeros(1), mask_logits)


def _pixels(size: int) -> Tensor:
    return torch.empty(1, 3, size, size)


def _part(name: str, per: Per, module: nn.Module, run: Callable[[], T]) -> tuple[Part, T]:
    """Run something of `module`, and count it; its result is there too."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    with FlopCounterMode(display=False) as counter:
        result = run()
    # The counter takes a multiplication and an addition for two.
    return Part(name, per, parameters, counter.get_total_flops() // 2), result
