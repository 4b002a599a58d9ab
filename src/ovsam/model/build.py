"""Names -> configurations -> models: the only file with architecture numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovsam.bounded_json import JsonError, parse_json
from ovsam.config import (
    AdapterConfig,
    BaselineConfig,
    CalibrationConfig,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    RegionConfig,
    SamConfig,
    ZoomConfig,
)
from ovsam.errors import CheckpointError, UnknownModelError
from ovsam.model.baselines.coop import PromptContext
from ovsam.model.checkpoint import Header, differences, fill, load_checkpoint, read_metadata
from ovsam.model.clip import (
    CONVNEXTS,
    RESNETS,
    ClipTextEncoder,
    clip_image_encoder,
    clip_text_encoder,
    clip_token_width,
)
from ovsam.model.efficientnet import SCALES
from ovsam.model.features import ImageEncoder, NoEncoder
from ovsam.model.ovsam import OVSAM
from ovsam.vocabulary.load import load_vocabulary

SHIPPED = Path(__file__).parents[1] / "weights" / "lite.safetensors"  # `lite`, with the package
TEXT_VECTORS = "text.vectors"  # (K, text_dim), a row for each of the names in
TEXT_NAMES = "text_names"  # this entry of the metadata, a JSON list
RELEASED_DECODER = DecoderConfig(mask_tokens=1, iou_head=False)

_RN50X16 = ModelConfig(
    name="rn50x16",
    image_size=1024,
    encoder=EncoderConfig(
        kind="open_clip",
        architecture="RN50x16-quickgelu",
        channels=(384, 768, 1536, 3072),
        text_dim=768,
        pool_size=12,
    ),
    decoder=RELEASED_DECODER,
)

_LITE = ModelConfig(
    name="lite",
    image_size=512,
    encoder=EncoderConfig(
        kind="lite",
        architecture="efficientnet_lite2",
        channels=(24, 48, 120, 1280),
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
    region=RegionConfig(levels=(2, 3), finest_scale=112, roi_size=7),
    zoom=ZoomConfig(size=256, contexts=(1.35, 2.0), click_scales=(0.06, 0.15, 0.38, 0.95)),
    logit_scale=20.0,
    fusion_alpha=0.3,
    fusion_beta=0.5,
    seen_classes=tuple(synonyms[0] for synonyms in load_vocabulary("coco").synonyms),
)

# Smaller trunks of its family, to compare (Table 7).
_LITE0, _LITE1 = (
    replace(
        _LITE,
        name=f"lite{size}",
        encoder=replace(
            _LITE.encoder,
            architecture=f"efficientnet_lite{size}",
            channels=(24, 40, 112, 1280),
        ),
    )
    for size in (0, 1)
)

MODELS: dict[str, ModelConfig] = {
    "lite": _LITE,
    "lite0": _LITE0,
    "lite1": _LITE1,
    "rn50x16": _RN50X16,
    "rn50": replace(
        _RN50X16,
        name="rn50",
        encoder=EncoderConfig(
            kind="open_clip",
            architecture="RN50-quickgelu",
            channels=(256, 512, 1024, 2048),
            text_dim=1024,
            pool_size=7,
        ),
    ),
    "rn50x64": replace(
        _RN50X16,
        name="rn50x64",
        encoder=EncoderConfig(
            kind="open_clip",
            architecture="RN50x64-quickgelu",
            channels=(512, 1024, 2048, 4096),
            text_dim=1024,
            pool_size=14,
        ),
    ),
    "convnext-l": replace(
        _RN50X16,
        name="convnext-l",
        encoder=EncoderConfig(
            kind="open_clip",
            architecture="convnext_large_d_320",
            channels=(192, 384, 768, 1536),
            text_dim=768,
            pool_size=10,  # 320 pixels at stride 32
        ),
    ),
}


SINGLE = "-single"  # after a model's name: its adapter sees C4 alone (Table 5)

ORACLE = "-oracle"  # after a model's name: its masks, and the right names, which it is told
CONTEXT_TOKENS = 4  # CoOp's fewest: it found that shorter contexts carry over better
BASELINES: dict[str, BaselineConfig] = {
    "-image-crop": BaselineConfig(cuts="image"),
    "-image-crop-coop": BaselineConfig(cuts="image", context_tokens=CONTEXT_TOKENS),
    "-feature-crop": BaselineConfig(cuts="features"),
    "-feature-crop-coop": BaselineConfig(cuts="features", context_tokens=CONTEXT_TOKENS),
    "-feature-crop-vit-adapter": BaselineConfig(cuts="features", conv_adapter="vit-adapter"),
    "-feature-crop-mimdet": BaselineConfig(cuts="features", conv_adapter="mimdet"),
    ORACLE: BaselineConfig(cuts="nothing"),
}
"""After a model's name: its masks, named as a baseline of Table 1 does, or by an oracle."""


SAMS: dict[str, SamConfig] = {
    "sam-vit-b": SamConfig(dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "sam-vit-l": SamConfig(dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "sam-vit-h": SamConfig(dim=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}
"""With `+` before a CLIP and one of `BASELINES` behind it: a baseline whose masks are SAM's. With
`ORACLE` alone: SAM itself."""


def split_baseline(name: str) -> tuple[str, str]:
    """A model's name, and the one of `BASELINES` behind it or nothing.

    Example:
        >>> split_baseline("lite-image-crop")
        ('lite', '-image-crop')
    """
    ending = next((ending for ending in BASELINES if name.endswith(ending)), "")
    return name.removesuffix(ending), ending


def as_baseline(config: ModelConfig, ending: str) -> ModelConfig:
    """A model with the naming of a baseline, one of `BASELINES`, in place of its own.

    Raises:
        CheckpointError: it is a baseline already.
    """
    if config.baseline is not None:
        raise CheckpointError(
            f"'{config.name}' is a baseline already: leave '{ending}' out of the model's name."
        )
    return replace(
        config,
        name=config.name + ending,
        baseline=BASELINES[ending],
        fusion_alpha=1.0,  # nothing but the frozen encoder has a say
        fusion_beta=1.0,
        seen_classes=(),
        calibration=CalibrationConfig(),  # the model's own is of other scores
    )


def named_config(name: str) -> ModelConfig:
    """The configuration of a model by its name.

    Args:
        name: one of `MODELS`; with `SINGLE` or one of `BASELINES` behind it, or both in this order;
            one of `SAMS`, `+`, a CLIP of `MODELS` and one of `BASELINES`; or one of `SAMS` and
            `ORACLE`.

    Raises:
        UnknownModelError: unknown name; the message lists the valid ones.

    Example:
        >>> named_config("rn50").encoder.channels
        (256, 512, 1024, 2048)
        >>> named_config("rn50-image-crop").baseline.cuts
        'image'
        >>> named_config("sam-vit-b+rn50-feature-crop").sam.depth
        12
    """
    own, ending = split_baseline(name)
    sam, plus, clip = own.partition("+")
    if plus:
        return as_baseline(_joined(name, sam, clip), _known_ending(name, ending))
    if own in SAMS:
        return as_baseline(_alone(own, ending), ending)
    base = own.removesuffix(SINGLE)
    if base not in MODELS:
        raise UnknownModelError(
            f"Unknown model '{name}'. Choose one of: {', '.join(MODELS)}; with {SINGLE} behind it "
            f"the adapter sees one scale, with {', '.join(BASELINES)} a baseline names."
        )
    config = MODELS[base]
    if own != base:
        config = replace(config, name=own, adapter=replace(config.adapter, multi_scale=False))
    return as_baseline(config, ending) if ending else config


def _known_ending(name: str, ending: str) -> str:
    if not ending:
        raise CheckpointError(
            f"'{name}' is a SAM and a CLIP without what joins them: put one of "
            f"{', '.join(BASELINES)} behind it."
        )
    return ending


def _alone(sam: str, ending: str) -> ModelConfig:
    """SAM as it is released, which names nothing."""
    if ending != ORACLE:
        raise CheckpointError(
            f"'{sam}{ending}' has nothing to name with: choose {sam}{ORACLE}, which is told the "
            f"names, or put + and a CLIP behind {sam}, as in {sam}+rn50x16-feature-crop."
        )
    nothing = EncoderConfig(kind="none", architecture="none", channels=(0, 0, 0, 0), text_dim=0)
    return ModelConfig(name=sam, image_size=1024, encoder=nothing, sam=SAMS[sam])


def _joined(name: str, sam: str, clip: str) -> ModelConfig:
    """SAM's encoder, prompts and decoder with a CLIP; both see the same pixels."""
    if sam not in SAMS or clip not in MODELS or MODELS[clip].encoder.kind != "open_clip":
        clips = [each for each, config in MODELS.items() if config.encoder.kind == "open_clip"]
        raise UnknownModelError(
            f"Unknown model '{name}'. Before the + choose one of {', '.join(SAMS)}, behind it one "
            f"of {', '.join(clips)}."
        )
    return replace(MODELS[clip], name=f"{sam}+{clip}", sam=SAMS[sam], decoder=DecoderConfig())


def build(config: ModelConfig) -> OVSAM:
    """A model with random weights; build it on `torch.device("meta")` to see shapes only.

    Raises:
        CheckpointError: an encoder that is unknown, or whose numbers are not those given.
    """
    baseline = config.baseline
    if config.encoder.kind == "none" and (
        config.sam is None or baseline is None or baseline.cuts != "nothing"
    ):
        raise CheckpointError(
            f"'{config.name}' has no encoder, so that it needs SAM's own and nothing that names."
        )
    context = None
    if baseline is not None and baseline.context_tokens:
        is_clip = config.encoder.kind == "open_clip"
        width = clip_token_width(config.encoder) if is_clip else config.encoder.text_dim
        context = PromptContext(baseline.context_tokens, width)
    return OVSAM(config, _build_encoder(config.encoder), context)


def _build_encoder(config: EncoderConfig) -> ImageEncoder:
    if config.kind == "open_clip":
        _check_architecture(config, RESNETS + CONVNEXTS)
        return clip_image_encoder(config)
    if config.kind == "lite":
        from ovsam.model.lite import LiteImageEncoder

        _check_architecture(config, tuple(SCALES))
        return LiteImageEncoder(config)
    if config.kind == "none":
        return NoEncoder()
    raise CheckpointError(
        f"Unknown kind of encoder '{config.kind}'. Choose one of: open_clip, lite, none."
    )


def _check_architecture(config: EncoderConfig, known: tuple[str, ...]) -> None:
    # A checkpoint brings this name along, and 'hf-hub:...' would reach out to the network.
    if config.architecture not in known:
        raise CheckpointError(
            f"Unknown {config.kind} architecture '{config.architecture}'. "
            f"Choose one of: {', '.join(known)}."
        )


def build_text_encoder(config: ModelConfig) -> ClipTextEncoder:
    """The empty text tower of a model whose encoder is a CLIP (`encoder.kind == "open_clip"`)."""
    _check_architecture(config.encoder, RESNETS + CONVNEXTS)
    return clip_text_encoder(config.encoder)


@dataclass(frozen=True, eq=False)
class Restored:
    """What a checkpoint holds.

    Attributes:
        model: the model, in eval mode.
        text_tower: CLIP's text side; None for `lite`, whose text side is MiniLM, and SAM alone.
        text_vectors: embeddings of names that ship with the checkpoint, so that common
            vocabularies need no text tower.
    """

    model: OVSAM
    text_tower: ClipTextEncoder | None
    text_vectors: dict[str, NDArray[np.float32]]


def expected_state(config: ModelConfig) -> dict[str, Tensor]:
    """Every tensor of a checkpoint of this configuration, CLIP's text included, on `meta`.

    Not for `lite`, whose text side is no part of it.

    Raises:
        CheckpointError: see `build`; or the encoder's maps or its text are not as wide as it says.
    """
    with torch.device("meta"), torch.no_grad():  # no time and memory for weights
        model = build(config)
        state = dict(model.state_dict())
        encoder = config.encoder
        if encoder.kind != "none":
            maps = model.encoder(torch.empty(1, 3, 64, 64))
            widths = tuple(each.shape[1] for each in maps)
            _check_told(encoder, "channels", widths, encoder.channels)
        if encoder.kind == "open_clip":
            text = build_text_encoder(config)
            _check_told(encoder, "text_dim", text.dim, encoder.text_dim)
            state |= {f"text.{name}": tensor for name, tensor in text.state_dict().items()}
    position = state.get("encoder.visual.attnpool.positional_embedding")
    if position is not None:
        cells = math.isqrt(len(position) - 1)
        _check_told(encoder, "pool_size", cells, encoder.pool_size)
    return state


def _check_told(encoder: EncoderConfig, field: str, found: object, told: object) -> None:
    if found != told:
        raise CheckpointError(
            f"The {encoder.kind} architecture '{encoder.architecture}' has {field} {found}, the "
            f"configuration says {told}."
        )


def check_header(path: str | Path, config: ModelConfig, header: Header) -> None:
    """Refuse a checkpoint whose tensors are not those of its model, before any of them is read.

    Args:
        path: of the file, for the message.
        config: its configuration.
        header: of the file.

    Raises:
        CheckpointError: names what is missing, unexpected or of another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in expected_state(config).items()}
    found = header.shapes
    if config.encoder.kind != "open_clip":
        text = {name: shape for name, shape in found.items() if name.startswith("text.")}
        _check_text_vectors(config, path, header.metadata, text)
        found = {name: shape for name, shape in found.items() if name not in text}
    problems = differences(expected, found)
    if problems:
        raise CheckpointError(f"The weights in '{path}' do not fit the model: {problems}.")


def read_model(path: str | Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A checkpoint's configuration and all tensors of its model by name, as float32.

    Raises:
        CheckpointError: see `load_checkpoint` and `check_header`.
    """
    return load_checkpoint(path, partial(check_header, path))


def restore(path: str | Path, baseline: str = "") -> Restored:
    """A model and its text side from an ovsam checkpoint.

    Args:
        path: of the checkpoint.
        baseline: one of `BASELINES`, whose naming is put in place of the model's own; nothing = as
            it is.

    Raises:
        CheckpointError: see `read_model`.
    """
    config, state = read_model(path)
    if baseline:
        config = as_baseline(config, baseline)
        if config.baseline is not None and config.baseline.learns:
            raise CheckpointError(
                f"'{config.name}' has to be trained before it is used: run 'ovsam train' with one "
                "of its recipes (docs/baselines.md), and give the path of what it writes."
            )
        state = {k: tensor for k, tensor in state.items() if not k.startswith("region_head.")}
    text_state = {name: tensor for name, tensor in state.items() if name.startswith("text.")}
    with torch.device("meta"):  # no time and memory for weights that are replaced at once
        model = build(config)
    fill(model, {name: state[name] for name in state.keys() - text_state.keys()}, path)
    model.eval()
    if config.encoder.kind != "open_clip":
        return Restored(model, None, _text_vectors(config, path, text_state))
    with torch.device("meta"):
        text = build_text_encoder(config)
    fill(text, {name.removeprefix("text."): tensor for name, tensor in text_state.items()}, path)
    return Restored(model, text.eval(), {})


def _text_vectors(
    config: ModelConfig, path: str | Path, text_state: dict[str, Tensor]
) -> dict[str, NDArray[np.float32]]:
    shapes = {name: tuple(tensor.shape) for name, tensor in text_state.items()}
    names = _check_text_vectors(config, path, read_metadata(path), shapes)
    if not text_state:
        return {}
    return dict(zip(names, text_state[TEXT_VECTORS].numpy(), strict=True))


def _check_text_vectors(
    config: ModelConfig,
    path: str | Path,
    metadata: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[str]:
    """The names whose vectors a checkpoint brings along, in their order."""
    if not shapes:
        return []
    names = text_names(metadata)
    if names is None or TEXT_VECTORS not in shapes:
        raise CheckpointError(f"'{path}' does not say which names its text vectors embed.")
    wanted = (len(names), config.encoder.text_dim)
    if len(shapes) > 1 or shapes[TEXT_VECTORS] != wanted:
        raise CheckpointError(
            f"The text vectors in '{path}' must have shape {wanted}, got "
            f"{shapes[TEXT_VECTORS]}. Fetch the file again."
        )
    return names


def text_names(metadata: Mapping[str, str]) -> list[str] | None:
    """The names that a checkpoint brings vectors of; None where what it says is no such list."""
    try:
        names = parse_json(metadata.get(TEXT_NAMES, "[]"))
    except JsonError:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return names
