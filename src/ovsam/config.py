"""The numbers of a model, as frozen dataclasses that travel inside its checkpoint as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class EncoderConfig:
    """The frozen vision-language encoder."""

    kind: str
    """`open_clip`, `lite`, or `none` for SAM alone, which has no such encoder."""
    architecture: str
    """open_clip's name of the image trunk, or one of `efficientnet.SCALES`."""
    channels: tuple[int, int, int, int]
    """Channels of C2..C5 (strides 4, 8, 16, 32)."""
    text_dim: int
    """Width of the text embeddings."""
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """Mean of the red, green and blue values 0..255 that the trunk was trained with."""
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """Their standard deviation."""
    pool_size: int = 12
    """Side of the region that the encoder's own head pools, in cells."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class AdapterConfig:
    """The SAM2CLIP adapter (paper §3.2)."""

    dim: int = 1280
    depth: int = 5
    heads: int = 16
    window: int = 14
    """Side of an attention window in tokens."""
    global_blocks: tuple[int, ...] = (4,)
    """Blocks that attend to the whole photo instead."""
    multi_scale: bool = True
    """C2..C5, or C4 alone (Table 5)."""
    position_embedding: bool = True
    """Whether the checkpoint brings SAM's absolute position embedding."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class SamConfig:
    """SAM's own image encoder, which a baseline has in place of the adapter."""

    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    """Blocks that attend to the whole photo."""
    window: int = 14
    """Side of the other blocks' windows in tokens."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class DecoderConfig:
    """SAM's mask decoder."""

    mask_tokens: int = 4
    """4 = SAM (one clear answer, three alternatives); 1 = the authors' release."""
    iou_head: bool = True
    """Whether it estimates the quality of its masks; the authors' release does not."""
    mlp_dim: int = 2048
    iou_dim: int = 256
    high_resolution: bool = False
    """Whether stride-8 and stride-4 features of the trunk sharpen the edges."""
    box_as_mask: bool = False
    """Whether a box prompt also comes as the coarse mask that it is."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class RegionConfig:
    """CLIP2SAM's region head (paper §3.3)."""

    kind: Literal["pyramid", "token", "token+clip"] = "pyramid"
    """What embeds a region (Table 6): RoIAlign on a feature pyramid; a class token that attends to
    C5; or that token joined with what C5 holds under the mask."""
    fpn_dim: int = 256
    """Channels of the pyramid, or of the class token."""
    levels: tuple[int, ...] = (0, 1, 2, 3)
    """Which of C2..C5 the feature pyramid is built of."""
    finest_scale: int = 56
    """A region of less than twice this side (pixels) is read from the finest level."""
    roi_size: int = 12


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class BaselineConfig:
    """A baseline of the paper (§3.1): the frozen encoder alone names what a mask cuts out."""

    cuts: Literal["image", "features", "nothing"]
    """What is cut: the photo, so that the encoder sees each object's square (Image-Crop); or what
    the encoder made of the whole photo (Feature-Crop); or nothing: an oracle names (SAM alone)."""
    context_tokens: int = 0
    """Learned tokens before a class's name in place of the prompt templates (CoOp); 0 = none."""
    conv_adapter: Literal["vit-adapter", "mimdet"] | None = None
    """Learned convolutions beside the frozen trunk that change its C5, or none."""

    @property
    def learns(self) -> bool:
        """Whether it has weights of its own, which a run must have learnt."""
        return self.context_tokens > 0 or self.conv_adapter is not None


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ZoomConfig:
    """Re-encoding the square around an object (ZoomIn of RITM and f-BRS)."""

    size: int
    """Side of the square as the model sees it, in pixels; a multiple of 32."""
    contexts: tuple[float, ...]
    """Sides of the squares as multiples of the longer side of the object's box, the widest last. An
    object in a given box is looked at in all of them and the masks are averaged; another, whose
    box is a guess, in the last."""
    click_scales: tuple[float, ...] = ()
    """Sides of the squares in which the object under a click is looked for, as multiples of the
    photo's longer side; none = look at the whole photo only."""
    click_size: int = 128
    """Side of these squares as the model sees them, in pixels; a multiple of 32."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class CalibrationConfig:
    """What makes probabilities of a model's scores (Guo et al., ICML 2017); `ovsam calibrate`."""

    temperature: float = Field(default=1.0, gt=0)
    """Divides the log scores before the softmax. 1 = not calibrated."""
    threshold: float = Field(default=0.0, ge=0, le=1)
    """An object whose first name is less probable is none of the vocabulary's classes."""
    classes: int = Field(default=0, ge=0)
    """How many classes the vocabulary had that both were found with. Probabilities shrink as a
    vocabulary grows, so the threshold is for vocabularies of at most so many."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ModelConfig:
    """Everything that decides the shapes and the arithmetic of a model."""

    name: str
    image_size: int
    """The photo's longest side as the model sees it, in pixels."""
    encoder: EncoderConfig
    adapter: AdapterConfig = AdapterConfig()
    sam: SamConfig | None = None
    """What encodes the photo for the masks in place of the adapter, or None."""
    embed_dim: int = 256
    """Channels of the embedding that adapter, prompt encoder and decoder share."""
    decoder: DecoderConfig = DecoderConfig()
    region: RegionConfig = RegionConfig()
    baseline: BaselineConfig | None = None
    """What names an object in place of the region head, or None for the paper's own model."""
    zoom: ZoomConfig | None = None
    """How to zoom, or None for a model that answers from the whole photo by default."""
    logit_scale: float = 100.0
    """Multiplies cosines with the class prototypes (exp(4.6052))."""
    fusion_alpha: float = 0.1
    """Weight of the frozen encoder's score for classes that the region head was trained on."""
    fusion_beta: float = 0.9
    """The same for all other classes (paper §3.2)."""
    seen_classes: tuple[str, ...] = ()
    """Names (any synonym) of the classes that the region head was trained on."""
    calibration: CalibrationConfig = CalibrationConfig()
    """Fitted to the weights, so a model that is trained anew has none."""
