"""Checkpoints as somebody else might write them: sound ones of the tiny model, and changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from ovsam.config import BaselineConfig, ModelConfig, RegionConfig, SamConfig, TinyViTConfig
from ovsam.errors import CheckpointError
from ovsam.model import build as building
from ovsam.model.checkpoint import save_checkpoint
from ovsam.model.ovsam import OVSAM
from ovsam.model.restore import restore
from tiny_model import TEXT_DIM, TINY, TinyEncoder, tiny_model

WHOLE = replace(
    TINY,
    adapter=replace(TINY.adapter, position_embedding=True),
    seen_classes=("cat", "dog"),
)
CONFIGS = {
    "whole": WHOLE,
    "token": replace(WHOLE, region=RegionConfig(kind="token+clip", fpn_dim=16)),
    "baseline": replace(WHOLE, baseline=BaselineConfig(cuts="features", context_tokens=2)),
    "sam": replace(WHOLE, sam=SamConfig(dim=32, depth=2, heads=4, global_blocks=(1,), window=4)),
    "mobile-sam": replace(
        WHOLE,
        sam=TinyViTConfig(
            dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), heads=(1, 2, 2), windows=(2, 3, 2)
        ),
    ),
}
JSON = TypeAdapter(ModelConfig)
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
CUT = st.tuples(st.floats(-1, 1), st.sampled_from([0, 1, 1, 2, 8, 10**9]), st.binary(max_size=3))
"""Where bytes change, how many are taken away, and what is put in their place; see `edited`."""


def let_tiny_models_load(patch: pytest.MonkeyPatch) -> None:
    """Make checkpoints of the tiny model load like any other."""
    own = building._build_encoder
    patch.setattr(
        building,
        "_build_encoder",
        lambda config: TinyEncoder(config) if config.kind == "tiny" else own(config),
    )


def write_sound(folder: Path) -> dict[str, Path]:
    """Sound checkpoints of the tiny model by the names of `CONFIGS`, with vectors of two names."""
    paths = {}
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        model = building.build(config) if config.sam is not None else tiny_model(config)
        if config.baseline is not None:
            model = building.build(config)
        state = {**model.state_dict(), "text.vectors": torch.eye(TEXT_DIM)[:2]}
        said = {"text_names": '["cat", "dog"]', "licence": "MIT"}
        paths[name] = folder / f"{name}.safetensors"
        save_checkpoint(paths[name], state, config, said)
    return paths


def packed(header: object, body: bytes) -> bytes:
    """A safetensors file."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Its header and its tensors."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_metadata(content: bytes, **metadata: str) -> bytes:
    header, body = unpacked(content)
    header["__metadata__"] |= metadata
    return packed(header, body)


def one_sentence(error: Exception) -> str:
    message = str(error)
    assert message.endswith(".") and message.isprintable(), message
    assert len(message) < 6000
    return message


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        restore(path)
    return one_sentence(caught.value)


def loads_or_is_refused(path: Path, tensors: dict[str, Tensor]) -> OVSAM | None:
    try:
        restored = restore(path)
    except CheckpointError as error:
        one_sentence(error)
        return None
    state = restored.model.state_dict()
    vectors = [torch.from_numpy(vector) for vector in restored.text_vectors.values()]
    if vectors:
        state["text.vectors"] = torch.stack(vectors)
    assert state.keys() <= tensors.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, tensors[name]), name
    return restored.model


def replaced(content: Any, where: tuple[Any, ...], value: Any) -> Any:
    if not where:
        return value
    copy = content.copy()
    copy[where[0]] = replaced(content[where[0]], where[1:], value)
    return copy


def as_json(config: ModelConfig) -> Any:
    return json.loads(JSON.dump_json(config))


def edited(content: bytes, cuts: list[tuple[float, int, bytes]], header: int) -> bytes:
    """Some bytes replaced, taken away or added; a place below 0 counts within the header."""
    for place, length, new in cuts:
        start = int((place + 1) * header) if place < 0 else int(place * len(content))
        content = content[:start] + new + content[start + length :]
    return content
