"""Configurations -> models with random weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ovsam.config import EncoderConfig, ModelConfig
from ovsam.errors import CheckpointError
from ovsam.model.baselines.coop import CoOpTokens
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


def build(config: ModelConfig) -> OVSAM:
    """A model with random weights; build it on `torch.device("meta")` to see shapes only.

    Raises:
        CheckpointError: an encoder that is unknown or does not go with the rest.
    """
    if config.encoder.kind == "none" and (config.sam is None or config.names_objects):
        raise CheckpointError(
            f"'{config.name}' has no encoder, so that it needs SAM's own and nothing that names."
        )
    tokens = None
    if config.baseline is not None and config.baseline.context_tokens:
        is_clip = config.encoder.kind == "open_clip"
        width = clip_token_width(config.encoder) if is_clip else config.encoder.text_dim
        tokens = CoOpTokens(config.baseline.context_tokens, width)
    return OVSAM(config, _build_encoder(config.encoder), tokens)


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


def expected_state(config: ModelConfig) -> dict[str, Tensor]:
    """Every tensor of a checkpoint of this configuration, on `meta`.

    CLIP's text tower is included, under `text.`; `lite`'s text model is no part of a checkpoint.

    Raises:
        CheckpointError: see `build`; or the encoder's maps or its text are not as wide as the
            configuration says.
    """
    encoder = config.encoder
    with torch.device("meta"), torch.no_grad():  # no time and memory for weights
        model = build(config)
        state = dict(model.state_dict())
        if encoder.kind != "none":
            maps = model.encoder(torch.empty(1, 3, 64, 64))
            widths = tuple(each.shape[1] for each in maps)
            _check_claim(encoder, "channels", widths, encoder.channels)
        if encoder.kind == "open_clip":
            text = build_text_encoder(config)
            _check_claim(encoder, "text_dim", text.dim, encoder.text_dim)
            state |= {f"text.{name}": tensor for name, tensor in text.state_dict().items()}
    position = state.get("encoder.visual.attnpool.positional_embedding")
    if position is not None:
        cells = math.isqrt(len(position) - 1)
        _check_claim(encoder, "pool_size", cells, encoder.pool_size)
    return state


def _check_claim(encoder: EncoderConfig, field: str, found: object, claimed: object) -> None:
    if found != claimed:
        raise CheckpointError(
            f"The {encoder.kind} architecture '{encoder.architecture}' has {field} {found}, the "
            f"configuration says {claimed}."
        )
