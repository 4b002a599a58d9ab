"""Names of models -> their configurations: the only file with the numbers of models."""

from __future__ import annotations

from dataclasses import replace

from ovsam.config import (
    AdapterConfig,
    BaselineConfig,
    CalibrationConfig,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    RegionConfig,
    SamConfig,
    TinyViTConfig,
    ZoomConfig,
    current_name,
)
from ovsam.errors import CheckpointError, UnknownModelError, quoted
from ovsam.vocabulary.load import load_vocabulary

RELEASED_DECODER = DecoderConfig(mask_tokens=1, iou_head=False)  # the authors' own


def _lite(size: int, channels: tuple[int, int, int, int]) -> ModelConfig:
    """`lite` on the trunk EfficientNet-Lite of a size, which has these channels of C2..C5."""
    return ModelConfig(
        name="lite" if size == 2 else f"lite{size}",
        image_size=512,
        encoder=EncoderConfig(
            kind="lite",
            architecture=f"efficientnet_lite{size}",
            channels=channels,
            text_dim=384,
            pixel_mean=(127.0, 127.0, 127.0),
            pixel_std=(128.0, 128.0, 128.0),
            pool_size=7,
        ),
        adapter=AdapterConfig(
            dim=192, depth=4, heads=6, window=8, global_blocks=(3,), position_embedding=False
        ),
        embed_dim=128,
        decoder=DecoderConfig(mlp_dim=512, iou_dim=128, high_resolution=True, box_as_mask=True),
        region=RegionConfig(
            kind="context", fpn_dim=224, levels=(2, 3), finest_scale=112, roi_size=7
        ),
        zoom=ZoomConfig(size=256, crop_scales=(1.35, 2.0), click_scales=(0.06, 0.15, 0.38, 0.95)),
        logit_scale=20.0,
        fusion_alpha=0.15,
        fusion_beta=0.5,
        seen_classes=tuple(synonyms[0] for synonyms in load_vocabulary("coco").synonyms),
    )


def _released(
    name: str,
    architecture: str,
    channels: tuple[int, int, int, int],
    text_dim: int,
    pool_size: int,
) -> ModelConfig:
    """The authors' model on a CLIP, one of open_clip's architectures."""
    return ModelConfig(
        name=name,
        image_size=1024,
        encoder=EncoderConfig(
            kind="open_clip",
            architecture=architecture,
            channels=channels,
            text_dim=text_dim,
            pool_size=pool_size,
        ),
        decoder=RELEASED_DECODER,
    )


_CLIPS = (
    # name, open_clip's name, channels of C2..C5, text_dim, pool_size (training pixels / 32)
    _released("rn50x16", "RN50x16-quickgelu", (384, 768, 1536, 3072), 768, 12),
    _released("rn50", "RN50-quickgelu", (256, 512, 1024, 2048), 1024, 7),
    _released("rn50x64", "RN50x64-quickgelu", (512, 1024, 2048, 4096), 1024, 14),
    _released("convnext-l", "convnext_large_d_320", (192, 384, 768, 1536), 768, 10),
)
_LITES = (
    _lite(2, (24, 48, 120, 1280)),
    _lite(0, (24, 40, 112, 1280)),  # smaller trunks, to compare (Table 7)
    _lite(1, (24, 40, 112, 1280)),
)
MODELS: dict[str, ModelConfig] = {config.name: config for config in (*_LITES, *_CLIPS)}

SINGLE = "-single"  # after a model's name: its adapter sees C4 alone (Table 5)

CONTEXT_TOKENS = 4  # CoOp's fewest: it found that shorter contexts carry over better
BASELINES: dict[str, BaselineConfig] = {
    "-image-crop": BaselineConfig(cuts="image"),
    "-image-crop-coop": BaselineConfig(cuts="image", context_tokens=CONTEXT_TOKENS),
    "-feature-crop": BaselineConfig(cuts="features"),
    "-feature-crop-coop": BaselineConfig(cuts="features", context_tokens=CONTEXT_TOKENS),
    "-feature-crop-vit-adapter": BaselineConfig(cuts="features", conv_adapter="vit-adapter"),
    "-feature-crop-mimdet": BaselineConfig(cuts="features", conv_adapter="mimdet"),
}
"""After a model's name: its masks, named as a baseline of Table 1 does."""

SAMS: dict[str, SamConfig | TinyViTConfig] = {
    "mobile-sam": TinyViTConfig(),
    "sam-b": SamConfig(dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "sam-l": SamConfig(dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "sam-h": SamConfig(dim=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}
"""Alone: SAM itself, which has masks and no names. With `+` and a CLIP behind it: a baseline whose
masks are SAM's, one of `BASELINES` if its ending follows, else `DEFAULT_BASELINE`."""

DEFAULT_BASELINE = "-feature-crop"  # one pass of CLIP for a photo, not one for each object


def split_baseline(name: str) -> tuple[str, str]:
    """A model's name without its baseline, and the one of `BASELINES` behind it or nothing.

    Raises:
        UnknownModelError: the name ends in `-oracle`, as that of no model does.

    Example:
        >>> split_baseline("lite-image-crop")
        ('lite', '-image-crop')
    """
    if name.endswith("-oracle"):
        raise UnknownModelError(
            f"There is no model {quoted(name)}: annotated names are given to a measurement. Leave "
            "'-oracle' out and run 'ovsam evaluate' with --oracle-names."
        )
    ending = next((ending for ending in BASELINES if name.endswith(ending)), "")
    return name.removesuffix(ending), ending


def as_baseline(config: ModelConfig, ending: str) -> ModelConfig:
    """A model with the naming of a baseline, one of `BASELINES`, in place of its own.

    A SAM with a CLIP has no naming of its own: it may change from one to another that learns
    nothing.

    Raises:
        CheckpointError: it is a baseline already, or has no encoder that could name.
    """
    if config.sam is not None and config.baseline is not None and not config.baseline.learns:
        config = replace(config, name=split_baseline(config.name)[0], baseline=None)
    if config.baseline is not None:
        raise CheckpointError(
            f"'{config.name}' is a baseline already: leave '{ending}' out of the model's name."
        )
    if config.encoder.kind == "none":
        raise CheckpointError(
            f"'{config.name}{ending}' has nothing to name with: choose '{config.name}', which has "
            "masks alone, or put + and a CLIP behind a SAM, as in sam-h+rn50x16-feature-crop."
        )
    return replace(
        config,
        name=config.name + ending,
        baseline=BASELINES[ending],
        fusion_alpha=1.0,  # the frozen encoder's score alone counts
        fusion_beta=1.0,
        seen_classes=(),
        calibration=CalibrationConfig(),  # the model's own is of other scores
    )


def as_usable_baseline(config: ModelConfig, ending: str) -> ModelConfig:
    """As `as_baseline`, for one that is to be used as it is.

    Raises:
        CheckpointError: see `as_baseline`; or it has weights of its own.
    """
    config = as_baseline(config, ending)
    if BASELINES[ending].learns:
        raise CheckpointError(
            f"'{config.name}' has to be trained before it is used: run 'ovsam train' with one "
            "of its recipes (docs/baselines.md), and give the path of what it writes."
        )
    return config


def named_config(name: str) -> ModelConfig:
    """The configuration of a model by its name.

    Args:
        name: one of `MODELS`; with `SINGLE` or one of `BASELINES` behind it, or both in this order;
            one of `SAMS`; or one of `SAMS`, `+`, a CLIP of `MODELS` and, if not
            `DEFAULT_BASELINE`, one of `BASELINES`. Names of earlier versions are understood.

    Raises:
        UnknownModelError: unknown name; the message lists the valid ones.
        CheckpointError: a SAM alone with a baseline.

    Example:
        >>> named_config("rn50").encoder.channels
        (256, 512, 1024, 2048)
        >>> named_config("rn50-image-crop").baseline.cuts
        'image'
        >>> named_config("sam-b+rn50").name
        'sam-b+rn50-feature-crop'
        >>> named_config("sam-b").names_objects
        False
    """
    own, ending = split_baseline(current_name(name))
    sam, plus, clip = own.partition("+")
    if plus:
        config, ending = _sam_and_clip(name, sam, clip), ending or DEFAULT_BASELINE
    elif own in SAMS:
        config = _sam_alone(own)
    else:
        config = _ovsam(name, own)
    return as_baseline(config, ending) if ending else config


def _ovsam(name: str, own: str) -> ModelConfig:
    """The configuration of a model `own` that `name`, with a baseline or without, is made of."""
    base = own.removesuffix(SINGLE)
    if base not in MODELS:
        raise UnknownModelError(
            f"Unknown model '{name}'. Choose one of: {', '.join(MODELS)}; with {SINGLE} behind it "
            f"the adapter sees one scale, with {', '.join(BASELINES)} a baseline names."
        )
    config = MODELS[base]
    if own == base:
        return config
    return replace(config, name=own, adapter=replace(config.adapter, multi_scale=False))


def _sam_alone(name: str) -> ModelConfig:
    """SAM as it is released, which names nothing."""
    none = EncoderConfig(kind="none", architecture="none", channels=(0, 0, 0, 0), text_dim=0)
    return ModelConfig(name=name, image_size=1024, encoder=none, sam=SAMS[name], region=None)


def _sam_and_clip(name: str, sam: str, clip: str) -> ModelConfig:
    """SAM's encoder, prompt encoder and decoder with a CLIP; both see the same pixels."""
    clips = [each for each, config in MODELS.items() if config.encoder.kind == "open_clip"]
    if sam not in SAMS or clip not in clips:
        raise UnknownModelError(
            f"Unknown model '{name}'. Before the + choose one of {', '.join(SAMS)}, behind it one "
            f"of {', '.join(clips)}."
        )
    return replace(MODELS[clip], name=f"{sam}+{clip}", sam=SAMS[sam], decoder=DecoderConfig())
