"""The numbers of a model, as frozen dataclasses that travel inside its checkpoint as JSON.

A checkpoint may come from anybody, so every field has bounds. They are far beyond what any model
here has, and low enough that a model within them can be laid out, without its weights, at once.

`§` and "Table" refer to the paper (Yuan et al., ECCV 2024, arXiv 2401.02955).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, FailFast, Field, model_validator
from pydantic.dataclasses import dataclass

TOKEN_HEADS = 8  # of the class token of Table 6 (the paper does not say)

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("it must be printable, in one line")
    return name


def current_name(name: str) -> str:
    """A model's name as it is now: `sam-vit-b` and its like of earlier versions are `sam-b` today.

    Example:
        >>> current_name("sam-vit-h+rn50x16-feature-crop")
        'sam-h+rn50x16-feature-crop'
    """
    return name.replace("sam-vit-", "sam-", 1) if name.startswith("sam-vit-") else name


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Width = Annotated[int, Field(ge=1, le=16384)]
"""Channels of a layer."""
EvenWidth = Annotated[int, Field(ge=2, le=16384, multiple_of=2)]
NoneOrWidth = Annotated[int, Field(ge=0, le=16384)]
Depth = Annotated[int, Field(ge=1, le=128)]
"""Blocks behind each other."""
_Blocks = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=128)]
Cells = Annotated[int, Field(ge=1, le=64)]
"""Side of a square that is pooled or attended to, in cells of a feature map."""
Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
"""Side of the model's input, in pixels; the trunks' last maps have stride 32."""
Grey = Annotated[float, Field(ge=0, le=255)]
"""Value of a colour channel."""
_Deviation = Annotated[float, Field(ge=0.001, le=255)]
_CropScale = Annotated[float, Field(ge=0.1, le=100)]
_Scale = Annotated[float, Field(ge=0.001, le=100)]
_Weight = Annotated[float, Field(ge=-10_000, le=10_000)]
_Row = Annotated[tuple[_Weight, ...], Field(min_length=1, max_length=64)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A fraction, score or IoU."""
Area = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Photo pixels."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class EncoderConfig:
    """The frozen vision-language encoder."""

    kind: Name
    """`open_clip`, `lite`, or `none` for SAM alone, which has no such encoder."""
    architecture: Name
    """open_clip's name of the image trunk, or one of `efficientnet.SCALES`."""
    channels: tuple[NoneOrWidth, NoneOrWidth, NoneOrWidth, NoneOrWidth]
    """Channels of C2..C5 (strides 4, 8, 16, 32)."""
    text_dim: NoneOrWidth
    """Width of the text embeddings."""
    pixel_mean: tuple[Grey, Grey, Grey] = (123.675, 116.28, 103.53)
    """Mean of the red, green and blue values 0..255 that the trunk was trained with."""
    pixel_std: tuple[_Deviation, _Deviation, _Deviation] = (58.395, 57.12, 57.375)
    """Their standard deviation."""
    pool_size: Cells = 12
    """Side of the region that the encoder's own head pools, in cells."""

    @model_validator(mode="after")
    def _sees(self) -> Self:
        widths = (*self.channels, self.text_dim)
        if self.kind == "none" and any(widths):
            raise ValueError("channels and text_dim must be 0 where kind is none")
        if self.kind != "none" and not all(widths):
            raise ValueError("channels and text_dim must be greater than 0")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ViTConfig:
    """The blocks of a plain vision transformer with windowed attention (ViTDet, SAM)."""

    dim: Width
    depth: Depth
    heads: Width
    window: Cells = 14
    """Side of an attention window, in tokens."""
    global_blocks: _Blocks
    """Indices of the blocks that attend to the whole photo instead."""

    @model_validator(mode="after")
    def _blocks(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        different = len(set(self.global_blocks)) == len(self.global_blocks)
        if not different or any(i >= self.depth for i in self.global_blocks):
            raise ValueError(
                f"global_blocks must be different numbers less than depth, {self.depth}"
            )
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class AdapterConfig(ViTConfig):
    """The SAM2CLIP adapter (§3.2)."""

    dim: Width = 1280
    depth: Depth = 5
    heads: Width = 16
    global_blocks: _Blocks = (4,)
    multi_scale: bool = True
    """Whether it sees C2..C5, or C4 alone (Table 5)."""
    position_embedding: bool = True
    """Whether the checkpoint brings SAM's absolute position embedding."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class SamConfig(ViTConfig):
    """SAM's own image encoder (Kirillov et al. 2023), in place of the adapter."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class TinyViTConfig:
    """MobileSAM's image encoder, a TinyViT (Wu et al. 2022), in place of SAM's and the adapter."""

    dims: tuple[EvenWidth, Width, Width, Width] = (64, 128, 160, 320)
    """Channels of the four stages; the first is of convolutions alone."""
    depths: tuple[Depth, Depth, Depth, Depth] = (2, 2, 6, 2)
    """Blocks of the stages."""
    heads: tuple[Width, Width, Width] = (4, 5, 10)
    """Attention heads of the second to the fourth stage."""
    windows: tuple[Cells, Cells, Cells] = (7, 14, 7)
    """Sides of their attention windows, in tokens."""

    @model_validator(mode="after")
    def _heads_share(self) -> Self:
        if any(dim % heads for dim, heads in zip(self.dims[1:], self.heads, strict=True)):
            raise ValueError(
                f"dims must be multiples of heads after the first, got {self.dims} and {self.heads}"
            )
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class DecoderConfig:
    """SAM's mask decoder."""

    mask_tokens: Literal[1, 4] = 4
    """4 = SAM (one clear answer, three alternatives); 1 = the authors' release."""
    iou_head: bool = True
    """Whether it predicts the IoU of its masks; the authors' release does not."""
    mlp_dim: Width = 2048
    """Hidden width of the transformer's MLPs."""
    iou_dim: Width = 256
    """Hidden width of the head that predicts the IoU."""
    high_resolution: bool = False
    """Whether stride-8 and stride-4 features of the trunk sharpen the edges."""
    box_as_mask: bool = False
    """Whether a box prompt also comes as the coarse mask that it is."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class RegionConfig:
    """CLIP2SAM's region head (§3.2)."""

    kind: Literal["pyramid", "token", "token+clip", "context"] = "pyramid"
    """What embeds a region (Table 6): RoIAlign on a feature pyramid; a class token that attends to
    C5; or that token joined with what C5 holds under the mask. Beyond the paper, `context`: means
    in the box, of the picture and of the whole photo."""
    fpn_dim: Width = 256
    """Channels of the pyramid, or of the class token, there a multiple of `TOKEN_HEADS`; half the
    hidden width of `context`."""
    levels: Annotated[
        tuple[Annotated[int, Field(ge=0, le=3)], ...], Field(min_length=1, max_length=4)
    ] = (0, 1, 2, 3)
    """Which of C2..C5 the feature pyramid is built of, the finest first."""
    finest_scale: Annotated[int, Field(ge=1, le=4096)] = 56
    """A region of less than twice this side (model pixels) is read from the finest level."""
    roi_size: Cells = 12
    """Side of a region that is pooled from the pyramid, in cells."""

    @model_validator(mode="after")
    def _head(self) -> Self:
        if any(b <= a for a, b in pairwise(self.levels)):
            raise ValueError("levels must be different and ascend")
        if self.kind.startswith("token") and self.fpn_dim % TOKEN_HEADS:
            raise ValueError(f"fpn_dim must be a multiple of {TOKEN_HEADS} for a class token")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class BaselineConfig:
    """A baseline of the paper (§3.1): the frozen encoder alone names what a mask cuts out."""

    cuts: Literal["image", "features"]
    """What is cut: the photo, so that the encoder sees each object's square (Image-Crop); or the
    encoder's features of the whole photo (Feature-Crop)."""
    context_tokens: Annotated[int, Field(ge=0, le=64)] = 0
    """Learned tokens before a class's name in place of the prompt templates (CoOp); 0 = none."""
    conv_adapter: Literal["vit-adapter", "mimdet"] | None = None
    """Learned convolutions beside the frozen trunk that change its C5; None = none."""

    @property
    def learns(self) -> bool:
        """Whether it has weights of its own, which must be trained before it is used."""
        return self.context_tokens > 0 or self.conv_adapter is not None


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ClickRanking:
    """A network of one hidden layer that ranks the masks found under a click.

    See `predictor/click_ranking.py`, whose features it takes.
    """

    weights: Annotated[tuple[_Row, ...], Field(min_length=1, max_length=64)]
    """A row for each feature with a number for each hidden unit."""
    biases: _Row
    """Of the hidden units."""
    output: _Row
    """What the hidden units' tanh is weighted with in the score."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(len(row) != len(self.biases) for row in (*self.weights, self.output)):
            raise ValueError("weights, biases and output must have as many hidden units each")
        return self


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ZoomConfig:
    """Encoding the square around an object again (ZoomIn of f-BRS, Sofiiuk et al., CVPR 2020)."""

    size: Side
    """Side of the square as the model sees it, in pixels; a multiple of 32."""
    crop_scales: Annotated[tuple[_CropScale, ...], Field(min_length=1, max_length=16)]
    """Sides of the squares as multiples of the longer side of the object's box, the widest last. An
    object in a given box is decoded in all of them and the masks are averaged; another, whose
    box is a guess, in the last alone."""
    click_scales: Annotated[tuple[_Scale, ...], Field(max_length=16)] = ()
    """Sides of the squares in which the object under a click is searched, as multiples of the
    photo's longer side; none = decode a click in the whole photo only."""
    click_size: Side = 128
    """Side of these squares as the model sees them, in pixels; a multiple of 32."""
    click_ranking: ClickRanking | None = None
    """What tells which of the masks in these squares is the object; None = the one that most
    others agree with."""

    @model_validator(mode="before")
    @classmethod
    def _older_key(cls, fields: Any) -> Any:
        """Checkpoints of earlier versions have `contexts` in place of `crop_scales`."""
        if isinstance(fields, dict) and "contexts" in fields and "crop_scales" not in fields:
            fields = {("crop_scales" if k == "contexts" else k): v for k, v in fields.items()}
        return fields


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class CalibrationFit:
    """What was fitted with a vocabulary of one size."""

    temperature: float = Field(default=1.0, ge=0.001, le=1000)
    """Divides the log scores before the softmax."""
    threshold: Share = 0.0
    """An object whose first name is less probable is none of the vocabulary's classes."""
    classes: int = Field(default=0, ge=0, le=10_000_000)
    """How many classes of the vocabulary may be the answer."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class CalibrationConfig:
    """What makes probabilities of a model's scores (Guo et al., ICML 2017); `ovsam calibrate`."""

    fits: Annotated[tuple[CalibrationFit, ...], Field(max_length=16)] = ()
    """By the number of classes, the fewest first; none = the model was never calibrated."""

    @model_validator(mode="before")
    @classmethod
    def _older_single(cls, fields: Any) -> Any:
        """Checkpoints of earlier versions have the numbers of one fit here."""
        if isinstance(fields, dict) and "fits" not in fields:
            fields = {"fits": (fields,) if fields.get("classes", 0) else ()}
        return fields

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if any(b.classes <= a.classes for a, b in pairwise(self.fits)):
            raise ValueError("fits must be of different numbers of classes and ascend")
        return self

    def temperature(self, classes: int) -> float:
        """For a vocabulary of so many classes: that of the fit whose number is the nearest.

        Near is in proportion: 1,000 is nearer to 100 than to 20,000. 1 where nothing was fitted.
        """
        if not self.fits:
            return 1.0
        near = min(self.fits, key=lambda fit: abs(math.log(max(1, fit.classes) / max(1, classes))))
        return near.temperature

    def threshold(self, classes: int) -> float:
        """For a vocabulary of so many classes: that of the next larger fit.

        Probabilities shrink as a vocabulary grows, so a fit's threshold is for no longer ones: 0
        where none is as large.
        """
        return next((fit.threshold for fit in self.fits if fit.classes >= classes), 0.0)

    def holds(self, classes: int) -> bool:
        """Whether scores over so many classes are probabilities: a fit has up to twice as many.

        Scores say too much of what a much shorter list lacks.
        """
        return any(classes <= fit.classes <= 2 * classes for fit in self.fits)


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ModelConfig:
    """Everything that decides the shapes and the arithmetic of a model."""

    name: Name
    image_size: Side
    """The photo's longest side as the model sees it, in pixels."""
    encoder: EncoderConfig
    adapter: AdapterConfig = AdapterConfig()
    sam: SamConfig | TinyViTConfig | None = None
    """What encodes the photo for the masks in place of the adapter, or None."""
    embed_dim: Annotated[int, Field(ge=16, le=16384, multiple_of=16)] = 256
    """Channels of the embedding that adapter, prompt encoder and decoder share."""
    decoder: DecoderConfig = DecoderConfig()
    region: RegionConfig | None = RegionConfig()
    """The region head; None = no names, a model that has masks alone."""
    baseline: BaselineConfig | None = None
    """What names an object in place of the region head, or None for the paper's own model."""
    zoom: ZoomConfig | None = None
    """How to zoom, or None for a model that decodes in the whole photo by default."""
    logit_scale: Annotated[float, Field(ge=0.001, le=10_000)] = 100.0
    """Multiplies cosines with the class prototypes (CLIP: exp(4.6052))."""
    fusion_alpha: Share = 0.1
    """Weight of the frozen encoder's score for classes that the region head was trained on (§3.2).
    """
    fusion_beta: Share = 0.9
    """The same for all other classes."""
    seen_classes: Annotated[tuple[str, ...], Field(max_length=1_000_000), FailFast()] = ()
    """Names (any synonym) of the classes that the region head was trained on."""
    calibration: CalibrationConfig = CalibrationConfig()
    """Fitted to the weights, so a model that is trained further has none."""

    @property
    def names_objects(self) -> bool:
        """Whether it names what it segments; SAM alone does not."""
        return self.baseline is not None or self.region is not None

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, fields: Any) -> Any:
        """Checkpoints of earlier versions have other names of SAMs."""
        match fields:
            case {"name": str(name)}:
                fields = {**fields, "name": current_name(name)}
        return fields

    @model_validator(mode="before")
    @classmethod
    def _older_oracle(cls, fields: Any) -> Any:
        """In earlier versions a model of masks alone was a baseline named by an oracle."""
        match fields:
            case {"name": str(name), "baseline": {"cuts": "nothing"}}:
                alone = {"name": name.removesuffix("-oracle"), "baseline": None, "region": None}
                fields = {**fields, **alone}
        return fields

    @model_validator(mode="after")
    def _zooms(self) -> Self:
        zoom = self.zoom
        if zoom is not None and max(zoom.size, zoom.click_size) > self.image_size:
            raise ValueError(
                f"zoom.size and zoom.click_size must be at most image_size, {self.image_size}"
            )
        return self
